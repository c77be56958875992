"""The density that particles come from: the prior, or a guide."""

from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import Any, Protocol

import torch
from pyro import poutine
from pyro.infer.autoguide import AutoContinuous, AutoGuideList, AutoNormal
from pyro.poutine.util import prune_subsample_sites
from torch import Tensor

from ..checks import check, kind_of
from ..guides import ConjugateGuide
from ..programs.coordinates import Coordinates
from ..programs.draws import evaluated, repeated
from ..programs.guide_check import check_guide
from ..programs.traced import Rows, is_point, run

__all__ = ["Reference", "guide_reference"]


class Reference(Protocol):
    """A density over positions that can be sampled."""

    def sample(self, num_samples: int) -> Tensor:
        """Draws positions, ``(S, n)``."""

    def log_density(self, position: Tensor) -> Tensor:
        """Evaluates the log density of positions ``(S, n)``, shape ``(S,)``."""


class _OfAutoNormal:
    """Independent normal distributions of each coordinate."""

    def __init__(self, guide: AutoNormal, coordinates: Coordinates, rows: Rows) -> None:
        names = [*coordinates.shapes]
        loc, scale = (
            torch.cat([attrgetter(name)(part).detach().flatten() for name in names])
            for part in (guide.locs, guide.scales)
        )
        self._normal = torch.distributions.Normal(loc, scale, validate_args=False)

    def sample(self, num_samples: int) -> Tensor:
        return self._normal.sample((num_samples,))

    def log_density(self, position: Tensor) -> Tensor:
        return self._normal.log_prob(position).sum(-1)


class _OfAutoContinuous:
    """A joint distribution of all coordinates, in the order of the guide's own."""

    def __init__(self, guide: AutoContinuous, coordinates: Coordinates, rows: Rows) -> None:
        with torch.no_grad():
            self._posterior = guide.get_posterior(*rows)
        expected = "a guide with a density (such as AutoLaplaceApproximation's approximation)"
        got = f"{type(guide).__name__}, which is a point"
        check(not is_point(self._posterior), "start", expected, got)
        count, n_values = guide.latent_dim, coordinates.n_values
        check(count == n_values, "start", f"a guide of the model's {n_values} values", count)
        places = torch.arange(coordinates.n_values)
        theirs = {site["name"]: place for site, place in guide._unpack_latent(places)}
        order = [theirs[name].flatten() for name in coordinates.shapes]
        self._order = torch.cat(order)
        self._back = self._order.argsort()

    def sample(self, num_samples: int) -> Tensor:
        with torch.no_grad():
            return self._posterior.sample((num_samples,))[:, self._order]

    def log_density(self, position: Tensor) -> Tensor:
        return self._posterior.log_prob(position[:, self._back])


class _OfConjugate:
    """A density of the sites' values in closed form."""

    def __init__(self, guide: ConjugateGuide, coordinates: Coordinates, rows: Rows) -> None:
        self._guide, self._coordinates = guide, coordinates

    def sample(self, num_samples: int) -> Tensor:
        return self._coordinates.flatten(self._guide.draw((num_samples,)))

    def log_density(self, position: Tensor) -> Tensor:
        values, volume = self._coordinates.values(position)
        return self._guide.log_density(values) + volume


class _OfFunction:
    """A program that draws the sites themselves."""

    def __init__(self, guide: Callable, coordinates: Coordinates, rows: Rows) -> None:
        self._guide, self._coordinates, self._rows = guide, coordinates, rows

    def _of_one(self, draw: Mapping[str, Tensor]) -> tuple[Tensor]:
        trace = prune_subsample_sites(run(self._guide, self._rows, draw))
        return (trace.log_prob_sum(),)

    def sample(self, num_samples: int) -> Tensor:
        def one(_: int) -> dict[str, Tensor]:
            nodes = poutine.trace(self._guide).get_trace(*self._rows).nodes
            return {name: nodes[name]["value"] for name in self._coordinates.shapes}

        with torch.no_grad():
            values = repeated(one, num_samples)
        for name, site in self._coordinates.sites.items():
            is_inside = bool(site.support.check(values[name]).all())
            check(is_inside, "start", f"a guide that draws {name} of {site.support}", "others")
        return self._coordinates.flatten(values)

    def log_density(self, position: Tensor) -> Tensor:
        values, volume = self._coordinates.values(position)
        (log_q,) = evaluated(self._of_one, values, self._coordinates.n_values)
        return log_q + volume


class _OfAutoGuideList:
    """Guides of some sites each, independent of each other."""

    def __init__(self, guide: AutoGuideList, coordinates: Coordinates, rows: Rows) -> None:
        places = coordinates.split(torch.arange(coordinates.n_values))
        parts = [_coordinates_of(part, coordinates, rows) for part in guide]
        self._parts = [_reference_of(*pair, rows) for pair in zip(guide, parts, strict=True)]
        self._sizes = [part.n_values for part in parts]
        self._order = torch.cat([places[name].flatten() for part in parts for name in part.sites])
        self._back = self._order.argsort()

    def sample(self, num_samples: int) -> Tensor:
        return torch.cat([part.sample(num_samples) for part in self._parts], -1)[:, self._back]

    def log_density(self, position: Tensor) -> Tensor:
        values = position[:, self._order].split(self._sizes, -1)
        pairs = zip(self._parts, values, strict=True)
        return torch.stack([part.log_density(value) for part, value in pairs]).sum(0)


def _coordinates_of(guide: Callable, coordinates: Coordinates, rows: Rows) -> Coordinates:
    """Those of the sites that a guide draws."""
    with torch.no_grad():
        drawn = poutine.trace(guide).get_trace(*rows).nodes
    return Coordinates({name: site for name, site in coordinates.sites.items() if name in drawn})


_KINDS: list[tuple[type, type]] = [
    (AutoNormal, _OfAutoNormal),
    (AutoContinuous, _OfAutoContinuous),
    (AutoGuideList, _OfAutoGuideList),
    (ConjugateGuide, _OfConjugate),
]


def _reference_of(guide: Any, coordinates: Coordinates, rows: Rows) -> Reference:
    """Makes the reference of a guide that draws the sites."""
    for kind, reference in _KINDS:
        if isinstance(guide, kind):
            return reference(guide, coordinates, rows)
    with torch.no_grad():
        drawn = poutine.trace(guide).get_trace(*rows).nodes
    auxiliary = [name for name, node in drawn.items() if node.get("infer", {}).get("is_auxiliary")]
    points = [name for name in coordinates.shapes if is_point(drawn[name]["fn"])]
    expected = "a guide with a density: AutoNormal, one of Pyro's AutoContinuous, or a function"
    got = f"{type(guide).__name__}, which draws {[*auxiliary, *points]}"
    check(not auxiliary and not points, "start", expected, got)
    return _OfFunction(guide, coordinates, rows)


def guide_reference(guide: Any, coordinates: Coordinates, rows: Rows) -> Reference:
    """Makes the reference of a fitted guide.

    Raises:
        ValueError: if it is none of the program's, or has no density of its sites.
    """
    is_guide = callable(guide) and not isinstance(guide, type)
    check(is_guide, "start", "a fitted guide, or None", kind_of(guide))
    check_guide("start", guide, coordinates.sites, rows)
    return _reference_of(guide, coordinates, rows)
