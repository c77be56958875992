"""Draws from the posterior, by a fitted guide or by MCMC, and what the model makes of them."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyro
import pyro.poutine as poutine
import torch
from pyro.infer import MCMC
from pyro.poutine.util import prune_subsample_sites
from torch import Tensor

from ..checks import check, check_integer, check_seed, kind_of
from ..ensemble import Ensemble
from ..nn.mode import training_mode
from ..programs.draws import repeated
from ..programs.guide_check import check_guide
from ..programs.joint import LogJoint
from ..programs.sites import LatentSite, sites_of
from ..programs.traced import Rows, run
from ..pyro_state import exclusive_pyro
from ..randomness import seeded
from ..sampling import PosteriorSample

__all__ = ["PosteriorDraws", "evaluation", "in_blocks", "posterior_draws"]

Sites = Mapping[str, LatentSite]

_DRAWS_DIM = -2  # to the left of the rows
MOST_VALUES = 1 << 24


@dataclass(frozen=True, eq=False)
class PosteriorDraws:
    """Draws of all latent sites.

    Attributes:
        values: by site, ``(S,)`` and its shape.
        n_chains: how many chains the draws come from, one after the other.
        log_q: the log density of the guide that made them, shape ``(S,)``.
        diverging: which transitions of MCMC diverged, shape ``(S,)``; those of a guide do not.
        energy: of transitions of MCMC whose kernel keeps it, shape ``(S,)``.
        attributes: how they were made, in words.
    """

    values: dict[str, Tensor]
    diverging: Tensor
    n_chains: int = 1
    log_q: Tensor | None = None
    energy: Tensor | None = None
    attributes: dict[str, Any] = field(default_factory=dict)


@contextlib.contextmanager
def evaluation(model: Any, seed: int | None) -> Iterator[None]:
    """Turns dropout and gradients off within, and seeds torch's generators if there is a seed.

    What a guide makes when it first runs can be trained after, so inference mode is off, too.
    Modes, generators and Pyro's handlers belong to all threads: one is within at a time.
    """
    seed = check_seed("seed", seed)
    with (
        exclusive_pyro(),
        training_mode(model, False),
        torch.inference_mode(False),
        torch.no_grad(),
        seeded(seed),
    ):
        yield


def posterior_draws(
    model: Callable, inference: Any, num_samples: int, rows: Rows
) -> PosteriorDraws:
    """Takes draws from a guide, or those that sampling has made, which are as many as they are.

    Raises:
        ValueError: if a latent site of the model is missing among them.
    """
    sites = sites_of(model, rows).latent_sites()
    check(sites, "model", "a model with priors", "one without, which leaves nothing to infer")
    if isinstance(inference, MCMC):
        return _mcmc_draws(sites, inference)
    if isinstance(inference, PosteriorSample):
        return _sample_draws(sites, inference)
    if isinstance(inference, Ensemble):
        expected = (
            "an ensemble of one model's guides (a network has no other, if Priors(weights=1.0))"
        )
        check(inference.guide is not None, "inference", expected, f"{inference!r}")
        inference = inference.guide
    num_samples = check_integer("num_samples", num_samples)
    expected = "a fitted guide, a PosteriorSample, or MCMC that was run"
    is_guide = callable(inference) and not isinstance(inference, type)
    check(is_guide, "inference", expected, kind_of(inference))
    check_guide("inference", inference, sites, rows)  # and it makes its parameters
    draw = _draws_at_once if isinstance(model, LogJoint) else _draws_one_by_one
    values, log_q = draw(sites, inference, num_samples, rows)
    attributes = {
        "inference_method": "independent draws from a guide fitted by variational inference",
        "guide": type(inference).__name__,
    }
    diverging = torch.zeros(num_samples, dtype=torch.bool)
    return PosteriorDraws(values, diverging, log_q=log_q, attributes=attributes)


def _draws_at_once(
    sites: Sites, guide: Callable, num_samples: int, rows: Rows
) -> tuple[dict[str, Tensor], Tensor]:
    """Runs the guide of a model that evaluates many draws, with all in a plate of their own."""
    program = pyro.plate("_draws", num_samples, dim=_DRAWS_DIM)(guide)
    trace = prune_subsample_sites(poutine.trace(program).get_trace(*rows))
    values = {
        name: trace.nodes[name]["value"].expand(num_samples, 1, *site.shape).squeeze(1)
        for name, site in sites.items()
    }
    return values, _log_density(trace, num_samples)


def _draws_one_by_one(
    sites: Sites, guide: Callable, num_samples: int, rows: Rows
) -> tuple[dict[str, Tensor], Tensor]:
    """Runs the guide of any model, so that it sees one draw."""

    def one(_: int) -> tuple[dict[str, Tensor], Tensor]:
        trace = prune_subsample_sites(run(guide, rows))
        return {name: trace.nodes[name]["value"] for name in sites}, trace.log_prob_sum()

    return repeated(one, num_samples)


def _log_density(trace: poutine.Trace, num_samples: int) -> Tensor:
    """Sums the log densities of all sites of a vectorized trace per draw: shape ``(S,)``."""
    trace.compute_log_prob()
    total = torch.zeros(())
    for site in trace.nodes.values():
        if site["type"] == "sample":
            log_prob = site["log_prob"]
            shape = torch.broadcast_shapes(log_prob.shape, (num_samples, 1))
            total = total.to(log_prob) + log_prob.expand(shape).sum(-1)
    return total


def _mcmc_draws(sites: Sites, mcmc: MCMC) -> PosteriorDraws:
    samples = mcmc.get_samples(group_by_chain=True)
    check(samples, "inference", "MCMC that was run (call its run first)", "one without samples")
    values, shape = {}, (0, 0)
    for name, site in sites.items():
        check(name in samples, "inference", f"samples of the site {name!r}", f"of {[*samples]}")
        shape = tuple(samples[name].shape[:2])
        values[name] = samples[name].reshape(-1, *site.shape)
    n_chains, n_draws = shape
    diverging = torch.zeros(n_chains, n_draws, dtype=torch.bool)
    for chain, found in enumerate(mcmc._diagnostics):  # Pyro's summary of it needs two draws
        diverging[chain, found.get("divergences", [])] = True
    energies = [chain["energy"] for chain in mcmc._diagnostics if "energy" in chain]
    energy = torch.tensor(energies, dtype=torch.float64).flatten() if energies else None
    attributes = {
        "inference_method": f"Markov chain Monte Carlo by {type(mcmc.kernel).__name__}",
        "n_chains": n_chains,
    }
    return PosteriorDraws(
        values, diverging.flatten(), n_chains, energy=energy, attributes=attributes
    )


def _sample_draws(sites: Sites, sample: PosteriorSample) -> PosteriorDraws:
    """The draws of sequential Monte Carlo, whose populations stand for chains."""
    for name, site in sites.items():
        shape = tuple(sample.draws[name].shape[1:]) if name in sample.draws else None
        expected = f"draws of the site {name!r} of shape {tuple(site.shape)}"
        got = f"of {[*sample.draws]}" if shape is None else f"shape {shape}"
        check(shape == tuple(site.shape), "inference", expected, got)
    attributes = {
        "inference_method": "tempered sequential Monte Carlo",
        "n_chains": sample.num_populations,
        "log_evidence": sample.log_evidence,
        "log_evidence_error": sample.log_evidence_error,
        "verdict": sample.reason,
        **({} if sample.moved is None else {"moved": sample.moved.sentence}),
    }
    values = {name: sample.draws[name] for name in sites}
    diverging = torch.zeros(sample.num_draws, dtype=torch.bool)
    return PosteriorDraws(values, diverging, sample.num_populations, attributes=attributes)


def in_blocks(
    function: Callable[[dict[str, Tensor]], Any], draws: dict[str, Tensor], values_per_draw: int
) -> Any:
    """Applies a function to blocks of draws, so that memory does not grow with their number.

    Args:
        function: of draws; returns tensors, or one, whose first dimension is ``S``.
        draws: by site, ``(S,)`` and its shape.
        values_per_draw: how many numbers the function holds for each draw.
    """
    size = max(1, MOST_VALUES // values_per_draw)
    n_draws = len(next(iter(draws.values())))
    parts = [
        _arrays(function({site: value[at : at + size] for site, value in draws.items()}))
        for at in range(0, n_draws, size)
    ]
    if isinstance(parts[0], np.ndarray):
        return np.concatenate(parts)
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _arrays(values: Any) -> Any:
    if isinstance(values, Tensor):
        return values.cpu().numpy()
    return {name: value.cpu().numpy() for name, value in values.items()}
