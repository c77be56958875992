"""The guides that files hold: how each is made, and which matrices it takes."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from pyro.infer.autoguide import (
    AutoGuide,
    AutoLowRankMultivariateNormal,
    AutoMultivariateNormal,
    AutoNormal,
)
from torch import Tensor
from torch.distributions import biject_to

from ..checks import check
from ..guides import full_rank, low_rank, mean_field
from .tensors import check_shape

__all__ = ["GUIDES"]


@dataclass(frozen=True)
class SavedGuide:
    """A kind of guide.

    Attributes:
        kind: its class.
        factory: makes one for a model.
        has_rank: whether it is made with a rank.
        matrix: the name of its matrix, whose size grows with that of the model, if it has one.
        width: of that, given how many latent values there are and the rank.
    """

    kind: type[AutoGuide]
    factory: Callable[..., AutoGuide]
    has_rank: bool = False
    matrix: str = ""
    width: Callable[[int, int], int] = lambda n_latent, rank: 0

    def make(self, rank: int | None, model: Any, tensors: Mapping[str, Tensor]) -> AutoGuide:
        """Makes a guide for a model, and its parameters, if a file holds tensors for them.

        Raises:
            ValueError: if it does not, or a rank is given to what has none.
        """
        name = self.kind.__name__
        n_latent = _count_latent_values(model)
        check(n_latent, "guide", "null, since the model has no priors", repr(name))
        fits = (rank is not None) == self.has_rank
        check(fits, "rank", f"one, or null, as fits {name}", repr(rank))
        if self.matrix:
            shape = (n_latent, self.width(n_latent, rank or 0))
            check_shape(tensors, f"guide.{self.matrix}", shape)
        guide = self.factory(model, rank=rank) if self.has_rank else self.factory(model)
        with torch.no_grad():
            guide(*model.example_rows())  # makes the parameters
        return guide


def _count_latent_values(model: Any) -> int:
    shapes = (
        biject_to(prior.support).inverse_shape(prior.event_shape)
        for prior in model.site_distributions().values()
    )
    return sum(map(math.prod, shapes))


GUIDES = {
    one.kind.__name__: one
    for one in (
        SavedGuide(AutoNormal, mean_field),
        SavedGuide(
            AutoLowRankMultivariateNormal,
            low_rank,
            has_rank=True,
            matrix="cov_factor",
            width=lambda n_latent, rank: rank,
        ),
        SavedGuide(
            AutoMultivariateNormal,
            full_rank,
            matrix="scale_tril_unconstrained",
            width=lambda n_latent, rank: n_latent,
        ),
    )
}
"""By the name of their class."""
