"""Models and data whose posteriors are known from long chains."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pyro_ugmm.datasets import iris
from pyro_ugmm.models import BayesianGaussianMixture, Priors, UGMMClassifier
from pyro_ugmm.nn import UGMMNetwork

from .quantities import of_mixture, of_network

__all__ = ["CASES", "Case"]

_BLOCK = 256
_DATA = Path(__file__).parents[1] / "data"


@dataclass(frozen=True, eq=False)
class Case:
    """A model, its data, and what is compared of its posterior.

    Attributes:
        title: what it is.
        model: in double precision.
        rows: what the model is given.
        quantities: of draws ``(S,)`` by site: what knows no labels, ``(S,)`` each, by name.
    """

    title: str
    model: Any
    rows: tuple[Tensor, ...]
    quantities: Callable[[dict[str, Tensor]], dict[str, Tensor]]

    def evaluate(self, draws: dict[str, Tensor]) -> dict[str, Tensor]:
        """The quantities of many draws, some at a time."""
        n_draws = len(next(iter(draws.values())))
        parts = [
            self.quantities({site: value[at] for site, value in draws.items()})
            for at in torch.arange(n_draws).split(_BLOCK)
        ]
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def _mixture(title: str, x: Tensor, n_components: int, covariance: str = "full") -> Case:
    priors = Priors.from_data(x)
    model = BayesianGaussianMixture(n_components, x.shape[1], covariance, priors).double()
    return Case(title, model, (x,), of_mixture(model, x))


def _table(name: str) -> Tensor:
    return torch.from_numpy(np.loadtxt(_DATA / name, delimiter=",", skiprows=1, ndmin=2))


def _separated() -> Case:
    """Two clusters of 70 and 130 rows, the second narrower."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(200, 2, generator=generator, dtype=torch.float64)
    x = torch.cat([noise[:70] - 2, 0.7 * noise[70:] + 2]).round(decimals=3)
    return _mixture("two clusters, K=2", x, 2)


def _old_faithful() -> Case:
    """Eruptions and the time to the next, in minutes (Azzalini and Bowman 1990; R's faithful)."""
    return _mixture("Old Faithful, K=3", _table("old_faithful.csv"), 3)


def _petals() -> Case:
    """Lengths and widths of three species.

    There is no reference: four chains of 22,000 draws stayed where they were (R-hat 2.8).
    """
    return _mixture("Iris' petals, K=4", iris(dtype=torch.float64).x[:, 2:], 4)


def _galaxies() -> Case:
    """Velocities of 82 galaxies in 1000 km/s (Postman, Huchra and Geller 1986; Roeder 1990)."""
    return _mixture("galaxy velocities, K=6", _table("galaxies.csv"), 6, "diagonal")


def _network(*sizes: int) -> Case:
    """A network that learns four of five rows of Iris, and is asked for the fifth."""
    x, y, *_ = iris(dtype=torch.float64)
    held_out = torch.arange(len(x)) % 5 == 0
    known = x[~held_out]
    x = (x - known.mean(0)) / known.std(0)
    torch.manual_seed(0)  # the scale of hidden scores, and so of their priors, is the network's
    model = UGMMClassifier(UGMMNetwork(sizes, normalization="none"), Priors(weights=1.0)).double()
    rows = (x[~held_out], y[~held_out])
    return Case(f"network {[*sizes]}, Iris", model, rows, of_network(model, rows, x[held_out]))


CASES: dict[str, Callable[[], Case]] = {
    "separated": _separated,
    "old_faithful": _old_faithful,
    "petals": _petals,
    "galaxies": _galaxies,
    "network_4_3": lambda: _network(4, 3),
    "network_4_8_3": lambda: _network(4, 8, 3),
}
