"""What a method tried on one training part, and what it chose."""

import math
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from torch import Tensor

__all__ = ["Candidate", "Density", "Search", "Settings"]


class Settings(NamedTuple):
    """What all methods share.

    Attributes:
        sizes: the numbers of components to choose from.
        ranks: of low-rank covariances, to choose from.
        products: the numbers of products of neurons, to choose from.
        gaussians: of each neuron of these, to choose from.
        most: the number of components of variational Bayes.
        n_init: restarts.
        max_iter: the most iterations.
        reg_covar: what is added to variances.
        seed: of the starts.
    """

    sizes: range
    ranks: tuple[int, ...]
    products: tuple[int, ...]
    gaussians: tuple[int, ...]
    most: int
    n_init: int
    max_iter: int
    reg_covar: float
    seed: int = 0


class Density(Protocol):
    """What rows left out are asked of."""

    def log_prob(self, x: Tensor, /) -> Tensor:
        """The log density of each row, of ``(n, D)``."""


@dataclass(frozen=True)
class Candidate:
    """A fitted density.

    Attributes:
        density: what it is.
        n_components: how many there are; of variational Bayes, how many have a row.
        structure: of the covariances.
        converged: whether the fit did.
        bic: what the choice goes by; the lower the better.
        unsound: whether the method itself passes it over where there are others.
        least_variance: in any direction, of a component.
    """

    density: Density
    n_components: int
    structure: str
    converged: bool
    bic: float = 0.0
    unsound: bool = False
    least_variance: float = math.inf


@dataclass
class Search:
    """All candidates of a method, and what kept it from others, in words."""

    candidates: list[Candidate] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def best(self, structure: str | None = None) -> Candidate | None:
        """The lowest BIC, of one structure or of all; sound ones come first."""
        asked = [one for one in self.candidates if structure in (None, one.structure)]
        return min(asked, key=lambda one: (one.unsound, one.bic), default=None)
