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
_DRAWS_PER_PARTICLE = 32


def _pyros_chain(
    case: Case, start: dict[str, torch.Tensor], n_draws: int, n_warmup: int
) -> tuple[dict[str, torch.Tensor], float, float]:
    """One chain that starts in the posterior; its draws, and the warmup's and their seconds."""
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
    start_of_all = time.perf_counter()
    mcmc.run(*case.rows)
    return mcmc.get_samples(), began[0] - start_of_all, time.perf_counter() - began[0]


def _rate(summaries: dict[str, Summary], seconds: float) -> dict[str, float]:
    sizes = [summary.ess for summary in summaries.values()]
    return {"smallest": min(sizes) / seconds, "median": statistics.median(sizes) / seconds}


def measure(case: Case, num_particles: int, n_draws: int, n_warmup: int) -> dict[str, Any]:
    """Both, one after the other: all of a run from the prior, and a chain with its warmup."""
    sizes = {"num_particles": num_particles, "draws_per_particle": _DRAWS_PER_PARTICLE}
    sample = sample_posterior(case.model, *case.rows, **sizes, seed=0, progress=False)
    ours = _rate(summarize(case.evaluate(sample.draws), _N_POPULATIONS), sample.seconds)
    torch.manual_seed(0)
    start = {site: value[-1].clone() for site, value in sample.draws.items()}
    draws, warmup, seconds = _pyros_chain(case, start, n_draws, n_warmup)
    summaries = summarize(case.evaluate(draws), 1)
    return {
        "case": case.title,
        **sizes,
        "n_draws": n_draws,
        "n_warmup": n_warmup,
        "seconds": sample.seconds,
        "warmup_seconds": warmup,
        "chain_seconds": seconds,
        "ours": ours,
        "theirs": _rate(summaries, warmup + seconds),
        "theirs_without_warmup": _rate(summaries, seconds),
    }


def report(records: list[dict[str, Any]]) -> list[str]:
    """The rates as Markdown."""
    first = records[0]
    lines = [
        "## Effective draws per second",
        "",
        f"Sequential Monte Carlo, {first['num_particles']} particles in {_N_POPULATIONS} "
        f"populations that leave {first['draws_per_particle']} draws each, from the prior to the "
        f"posterior; and one chain of Pyro's NUTS with a compiled density, {first['n_warmup']} "
        f"steps of warmup and {first['n_draws']} draws, which begins in the posterior. One thread, "
        "one run, double precision. Effective sizes are ArviZ's, of the quantities above: the "
        "smallest and the median, by the seconds of the whole run; of the chain also without its "
        "warmup. A chain that stays in one mode does not know what it misses: its rate is then "
        "too high. Target: 20 times.",
        "",
        "| posterior | s | smallest | median | NUTS: s | smallest | median | times: smallest "
        "| median | smallest, without warmup |",
        "| :--- |" + " ---: |" * 9,
    ]
    for record in records:
        ours, theirs, later = (record[k] for k in ("ours", "theirs", "theirs_without_warmup"))
        cells = [record["case"], f"{record['seconds']:.1f}"]
        cells += [f"{rate:.2f}" for rate in ours.values()]
        cells.append(f"{record['warmup_seconds'] + record['chain_seconds']:.1f}")
        cells += [f"{rate:.2f}" for rate in theirs.values()]
        cells += [f"{ours[k] / theirs[k]:.1f}" for k in ours]
        cells.append(f"{ours['smallest'] / later['smallest']:.1f}")
        lines.append(f"| {' | '.join(cells)} |")
    return [*lines, ""]
