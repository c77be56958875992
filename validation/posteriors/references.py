"""Writes the references anew: four long chains for each posterior, and bridge sampling.

Run as ``make references``; takes two to three hours. Those whose chains agree are written to
``validation/references``.
"""

import argparse
import itertools
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from pyro_ugmm.distributions import FullCovariance, GaussianMixture
from pyro_ugmm.sampling.target import Target

from .bridge import bridge
from .cases import CASES, Case
from .chains import Chains, run_chains
from .hand_written import check_same
from .summaries import FOLDER, Reference, summarize

_N_CHAINS, _BLOCK = 4, 512
_MOST_R_HAT = 1.01


@dataclass(frozen=True)
class _Length:
    """How many draws a chain keeps, out of how many, and whether the posterior is nearly normal."""

    n_draws: int
    thinning: int
    is_bridged: bool = False


_LENGTHS = {
    "separated": _Length(2000, 2, is_bridged=True),
    "old_faithful": _Length(4000, 50),
    "petals": _Length(4000, 5),
    "galaxies": _Length(4000, 5),
    "network_4_3": _Length(8000, 5, is_bridged=True),
    "network_4_8_3": _Length(4000, 2),
}


def _orders(case: Case, draws: dict[str, Tensor]) -> list[dict[str, Tensor]]:
    """Draws of a mixture, ordered by the first feature of means, in all orders of components."""
    if "means" not in draws:
        return [draws]
    first = draws["means"][..., 0].argsort(-1)
    at = torch.arange(len(first)).unsqueeze(-1)
    ordered = {site: value[at, first] for site, value in draws.items()}
    orders = itertools.permutations(range(case.model.n_components))
    return [{site: value[:, [*order]] for site, value in ordered.items()} for order in orders]


@torch.no_grad()
def _log_evidence(case: Case, chains: Chains, ess: float) -> tuple[float, float]:
    """Bridges from normal densities, one for each order of components.

    They are fitted to every other draw, and know nothing of the rest.
    """
    target = Target(case.model, case.rows)
    orders = [target.coordinates.flatten(draws) for draws in _orders(case, chains.draws)]
    even = torch.full((len(orders),), 1 / len(orders), dtype=torch.float64)
    means = torch.stack([order[::2].mean(0) for order in orders])
    covariance = FullCovariance(torch.stack([torch.cov(order[::2].T) for order in orders]))

    def log_density(position: Tensor) -> Tensor:
        parts = [target.path.at(part, 1.0).log_density(1.0) for part in position.split(_BLOCK)]
        return torch.cat(parts)

    draws = target.coordinates.flatten(chains.draws)[1::2]
    torch.manual_seed(0)
    return bridge(log_density, draws, GaussianMixture(even, means, covariance), 0.5 * ess)


def make_reference(name: str, n_draws: int, thinning: int, is_bridged: bool) -> Reference:
    """Runs the chains of a case."""
    case = CASES[name]()
    check_same(case)
    chains = run_chains(case, _N_CHAINS, n_draws, thinning)
    summaries = summarize(case.evaluate(chains.draws), _N_CHAINS)
    ess = summaries["log likelihood"].ess
    evidence = _log_evidence(case, chains, ess) if is_bridged else (None, None)
    return Reference(
        _N_CHAINS,
        n_draws * thinning,
        chains.n_gradients,
        chains.n_divergent,
        chains.seconds,
        *evidence,
        summaries,
    )


def main() -> None:
    """Runs the chains of all cases, or of those asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default=",".join(CASES), help=f"some of {[*CASES]}")
    parser.add_argument("--factor", type=float, default=1.0, help="times as many draws")
    parser.add_argument("--out", type=Path, default=FOLDER)
    options = parser.parse_args()
    torch.set_num_threads(1)
    for name in options.only.split(","):
        length = _LENGTHS[name]
        n_draws = int(options.factor * length.n_draws)
        reference = make_reference(name, n_draws, length.thinning, length.is_bridged)
        is_one = reference.r_hat < _MOST_R_HAT
        if is_one:
            reference.save(name, options.out)
        said = f"R-hat {reference.r_hat:.4f}, ESS {reference.ess:.0f}, {reference.seconds:.0f} s"
        print(f"{name}: {said}" + ("" if is_one else ": no reference"), flush=True)


if __name__ == "__main__":
    main()
