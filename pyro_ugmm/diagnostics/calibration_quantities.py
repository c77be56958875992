"""What of a truth and of posterior draws is compared, to see whether an inference is calibrated."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..checks import check
from ..programs.joint import LogJoint, joint_of
from ..programs.names import names_of
from ..programs.sites import sites_of
from ..programs.traced import Rows, count_rows
from .draws import in_blocks

__all__ = ["Quantities", "Quantity"]

Quantity = Callable[[Mapping[str, Tensor], Any, Tensor | None], Any]
"""Of draws ``(S,)`` by site, rows, and labels or targets: numbers of shape ``(S,)``.

Or of a dictionary of the model's arguments, and None.
"""

_MOST_NUMBERS = 12  # of a site
_N_ROWS = 3
_EXCHANGEABLE = ("component", "neuron")
_ROTATED = "common_factor"


class Quantities:
    """The quantities of a model, by name.

    The log prior and the log likelihood are always among them: they know no labels, and the second
    looks at the data, so that an inference that ignores these cannot pass (Modrák and others 2023).

    Args:
        model: the model.
        rows: data like those to be simulated.
        given: the user's, in place of the rows' log-likelihoods and numbers of sites.

    Attributes:
        joint: the model's log joint density.

    Raises:
        ValueError: if the model has no priors that can be drawn from, or no likelihood.
    """

    def __init__(
        self, model: Callable, rows: Rows, given: Mapping[str, Quantity] | None = None
    ) -> None:
        self._given = _checked(given)
        sites = sites_of(model, rows).latent_sites()
        check(sites, "model", "a model with priors", "one without, which leaves nothing to infer")
        improper = [name for name, site in sites.items() if not site.is_density]
        check(not improper, "model", "priors that are densities", f"scaled or masked {improper}")
        self.joint: LogJoint = joint_of(model, rows)
        expected = "one with a likelihood (objective='conditional' has one)"
        check(self.joint.has_likelihood, "model", expected, "objective='score', which is none")
        dims, self._is_own = names_of(model, rows).dims(), self._given is None
        self._numbers = [
            (name, i, f"{name}{[*place] if place else ''}")
            for name, site in sites.items()
            if self._is_own and not _is_exchangeable(dims.get(name, ()), site.shape)
            for i, place in _places(site.shape)
        ]

    def evaluate(
        self, rows: Rows, draws: Mapping[str, Tensor], x: Any, y: Any
    ) -> dict[str, Tensor]:
        """Evaluates draws ``(S,)``: shape ``(S,)`` each, float64, on the CPU.

        Args:
            rows: the data.
            draws: by site.
            x: the data as quantities take them, with ``y``.
            y: labels or targets.

        Raises:
            ValueError: if a quantity of the user's is not ``(S,)`` numbers.
        """
        terms = self._terms(rows, draws)
        total = torch.cat([*terms.values()], -1).sum(-1)
        values = {"log_prior": self.joint.log_prior(draws), "log_likelihood": total}
        if self._is_own:
            values |= _some_rows(terms)
        values |= {
            label: draws[name].reshape(len(total), -1)[:, i] for name, i, label in self._numbers
        }
        for name, quantity in (self._given or {}).items():
            values[name] = torch.as_tensor(quantity(draws, x, y))
            shape = tuple(values[name].shape)
            expected = f"numbers of shape ({len(total)},), one for each draw"
            check(shape == (len(total),), f"quantities[{name!r}]", expected, f"shape {shape}")
        return {name: value.detach().double().cpu() for name, value in values.items()}

    def _terms(self, rows: Rows, draws: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The log-likelihoods, ``(S, n)``, by observed site."""
        size = count_rows(rows) * self.joint.values_per_row
        found = in_blocks(lambda some: self.joint.site_terms(*rows, draws=some), dict(draws), size)
        return {
            name: torch.from_numpy(term).double().reshape(len(term), -1)
            for name, term in found.items()
        }


def _some_rows(terms: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The log-likelihoods of some rows, spread evenly over those of all sites."""
    places = [(name, i) for name, term in terms.items() for i in range(term.shape[1])]
    at = torch.linspace(0, len(places) - 1, _N_ROWS).long().unique().tolist()
    chosen = [places[i] for i in at]
    return {
        f"log_likelihood[{i if len(terms) == 1 else f'{name}, {i}'}]": terms[name][:, i]
        for name, i in chosen
    }


def _checked(given: Any) -> Mapping[str, Quantity] | None:
    if given is None:
        return None
    is_named = isinstance(given, Mapping) and all(isinstance(name, str) for name in given)
    expected = "functions of draws, x and y by name, or None"
    check(is_named, "quantities", expected, type(given).__name__)
    for name, quantity in given.items():
        check(callable(quantity), f"quantities[{name!r}]", "a function", type(quantity).__name__)
        check(name not in ("log_prior", "log_likelihood"), "quantities", "other names", name)
    return given


def _is_exchangeable(dims: Sequence[str], shape: Sequence[int]) -> bool:
    """Whether a site numbers what could be numbered or turned otherwise, such as a mixture's
    components, and the factors of each.
    """
    if _ROTATED in dims:
        return True
    named = zip(dims, shape, strict=False)
    return any(dim.startswith(_EXCHANGEABLE) and length > 1 for dim, length in named)


def _places(shape: Sequence[int]) -> list[tuple[int, tuple[int, ...]]]:
    """A site's numbers, by their flat index and their place; of many, some spread evenly."""
    step = math.ceil(math.prod(shape) / _MOST_NUMBERS) or 1
    return [*enumerate(np.ndindex(*shape))][::step]
