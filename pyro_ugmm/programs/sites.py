"""The latent sites of a program, and where inference starts, for guides."""

from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from pyro.distributions import MaskedDistribution
from torch import Tensor
from torch.distributions import biject_to, constraints

from ..checks import check
from .plates import plates_of
from .traced import Rows, Traced, count_rows, layers_of

__all__ = [
    "LatentSite",
    "LatentSites",
    "check_start",
    "discrete_sites",
    "sites_of",
    "sites_of_rows",
]


class LatentSite(NamedTuple):
    """What a guide needs to know of a site.

    Attributes:
        shape: of one value.
        support: the values that it takes.
        is_density: whether its prior is the density of its draws: not scaled, nor masked.

    Example:
        >>> from pyro_ugmm.models import BayesianGaussianMixture
        >>> BayesianGaussianMixture(3, 2).latent_sites()["means"].shape
        torch.Size([3, 2])
    """

    shape: torch.Size
    support: constraints.Constraint
    is_density: bool = True


@runtime_checkable
class LatentSites(Protocol):
    """A model that knows its latent sites without data.

    Example:
        >>> from pyro_ugmm.models import BayesianGaussianMixture
        >>> from pyro_ugmm.programs.sites import LatentSites
        >>> model = BayesianGaussianMixture(2, 1, "spherical")
        >>> isinstance(model, LatentSites), model.latent_sites()["means"].shape
        (True, torch.Size([2, 1]))
    """

    @abstractmethod
    def latent_sites(self) -> dict[str, LatentSite]:
        """The latent sites, by name."""

    @abstractmethod
    def start_values(self, start: Any = None) -> dict[str, Tensor]:
        """Values of all sites to start from: the model's own, or those of a point estimate."""

    @abstractmethod
    def take_start(self, start: Any) -> None:
        """Copies from a point estimate what has no prior, and is to be learned, in place."""


class _TracedSites:
    """The sites of a plain program, which start at zero in unconstrained coordinates."""

    def __init__(self, model: Callable, rows: Rows) -> None:
        self._latent = Traced(model, rows).latent

    def latent_sites(self) -> dict[str, LatentSite]:
        return {
            name: LatentSite(node["value"].shape, node["fn"].support, _is_density(node))
            for name, node in self._latent.items()
        }

    def start_values(self, start: Any = None) -> dict[str, Tensor]:
        given = check_start(start)
        sites = self.latent_sites()
        unknown = sorted(given.keys() - sites.keys())
        check(not unknown, "start", f"values of sites among {[*sites]}", unknown)
        return {name: self._start(name, site, given.get(name)) for name, site in sites.items()}

    def _start(self, name: str, site: LatentSite, value: Tensor | None) -> Tensor:
        like = self._latent[name]["value"]
        to_support = biject_to(site.support)
        if value is None:
            return to_support(like.new_zeros(to_support.inverse_shape(site.shape)))
        value = torch.as_tensor(value).detach().to(like)
        shape = tuple(value.shape)
        check(shape == tuple(site.shape), "start", f"{name} of shape {tuple(site.shape)}", shape)
        is_inside = bool(site.support.check(value).all())
        is_inside = is_inside and bool(to_support.inv(value).isfinite().all())
        check(is_inside, "start", f"{name} strictly within {site.support}", str(value))
        return value

    def take_start(self, start: Any) -> None:
        """A plain program learns its parameters from where they are."""


def _is_density(node: Mapping[str, Any]) -> bool:
    is_masked = any(isinstance(one, MaskedDistribution) for one in layers_of(node["fn"]))
    is_scaled = bool((torch.as_tensor(node["scale"]) != 1).any())
    return not (is_masked or is_scaled) and node["mask"] is None


def check_start(start: Any) -> Mapping[str, Any]:
    """Checks that a plain program's start is values by site, or None, and returns them."""
    is_values = start is None or isinstance(start, Mapping)
    check(is_values, "start", "values by site, or None", type(start).__name__)
    return start or {}


def discrete_sites(model: Callable, rows: Rows) -> tuple[frozenset[str], int]:
    """The discrete latent sites of a plain program, which are summed out; our models have none.

    And how many dimensions plates take, to the left of which is room for their values.
    """
    if isinstance(model, LatentSites):
        return frozenset(), 1
    traced = Traced(model, rows)
    return traced.discrete, traced.n_plate_dims


def sites_of_rows(model: Callable, rows: Rows) -> list[str]:
    """The latent sites of a plain program that have a value for each row; our models have none."""
    if isinstance(model, LatentSites):
        return []
    traced, n_rows = Traced(model, rows), count_rows(rows)
    frames = (frame for node in traced.observed.values() for frame in plates_of(node))
    plates = {frame.name for frame in frames if frame.size == n_rows}
    latent = traced.latent.items()
    return [name for name, node in latent if plates & {frame.name for frame in plates_of(node)}]


def sites_of(model: Callable, rows: Rows) -> LatentSites:
    """Answers for the latent sites of any program, with data for one that has to run for it."""
    return model if isinstance(model, LatentSites) else _TracedSites(model, rows)
