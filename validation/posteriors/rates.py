"""Effective draws per second, against Pyro's NUTS."""

import statistics
import time
from typing import Any

import torch
from pyro.infer import MCMC, NUTS
from pyro.infer.autoguide.initialization import init_to_value

from pyro_ugmm.sampling import sample_posterior

from .cases import Case
from .summaries import Summary, summarize

__all__ = ["measure", "report"]

_N_POPULATIONS = 4


def _pyros_chain(
    case: Case, start: dict[str, torch.Tensor], n_draws: int, n_warmup: int
) -> tuple[dict[str, torch.Tensor], float]:
    """One chain that starts in the posterior; its draws, and their seconds without the warmup."""
    kernel = NUTS(
        case.model,
        jit_compile=True,
        ignore_jit_warnings=True,
        init_strategy=init_to_value(values=start),
    )
    began: list[float] = []

    def note(*of_sample: Any) -> None:
        if of_sample[2] == "Sample" and not began:
            began.append(time.perf_counter())

    mcmc = MCMC(kernel, n_draws, n_warmup, disable_progbar=True, hook_fn=note)
    mcmc.run(*case.rows)
    return mcmc.get_samples(), time.perf_counter() - began[0]


def _rate(summaries: dict[str, Summary], seconds: float) -> dict[str, float]:
    sizes = [summary.ess for summary in summaries.values()]
    return {"smallest": min(sizes) / seconds, "median": statistics.median(sizes) / seconds}


def measure(case: Case, num_particles: int, n_draws: int, n_warmup: int) -> dict[str, Any]:
    """Both, one after the other: all of a run from the prior, and a chain after its warmup."""
    sample = sample_posterior(
        case.model, *case.rows, num_particles=num_particles, seed=0, progress=False
    )
    ours = _rate(summarize(case.evaluate(sample.draws), _N_POPULATIONS), sample.seconds)
    torch.manual_seed(0)
    start = {site: value[-1].clone() for site, value in sample.draws.items()}
    draws, seconds = _pyros_chain(case, start, n_draws, n_warmup)
    theirs = _rate(summarize(case.evaluate(draws), 1), seconds)
    return {
        "case": case.title,
        "num_particles": num_particles,
        "n_draws": n_draws,
        "seconds": sample.seconds,
        "chain_seconds": seconds,
        "ours": ours,
        "theirs": theirs,
    }


def report(records: list[dict[str, Any]]) -> list[str]:
    """The rates as Markdown."""
    lines = [
        "## Effective draws per second",
        "",
        f"Sequential Monte Carlo, {records[0]['num_particles']} particles in {_N_POPULATIONS} "
        "populations, from the prior to the posterior; and one chain of Pyro's NUTS with a "
        f"compiled density, {records[0]['n_draws']} draws, whose warmup is not counted and which "
        "begins in the posterior. One thread, one run, double precision. Effective sizes are "
        "ArviZ's, of the quantities above: the smallest and the median. A chain that stays "
        "in one mode does not know what it misses: its rate is then too high. Target: 20 times.",
        "",
        "| posterior | s | smallest | median | NUTS: s | smallest | median | times: smallest "
        "| median |",
        "| :--- |" + " ---: |" * 8,
    ]
    for record in records:
        cells = [record["case"], f"{record['seconds']:.1f}"]
        cells += [f"{rate:.2f}" for rate in record["ours"].values()]
        cells.append(f"{record['chain_seconds']:.1f}")
        cells += [f"{rate:.2f}" for rate in record["theirs"].values()]
        cells += [f"{record['ours'][k] / record['theirs'][k]:.1f}" for k in record["ours"]]
        lines.append(f"| {' | '.join(cells)} |")
    return [*lines, ""]
