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

Quantity = Callable[[Mapping[str, Tensor], Tensor, Tensor | None], Any]
"""Of draws ``(S,)`` by site, rows, and labels or targets: numbers of shape ``(S,)``."""

_MOST_NUMBERS = 12  # of a site
_N_ROWS = 3
_EXCHANGEABLE = ("component", "neuron")


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
        names: the quantities' names.

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
        n_rows, dims = count_rows(rows), names_of(model, rows).dims()
        own = self._given is None
        at = torch.linspace(0, n_rows - 1, _N_ROWS).long().unique().tolist()
        self._rows = at if own else []
        self._numbers = [
            (name, i, f"{name}{[*place] if place else ''}")
            for name, site in sites.items()
            if own and not _is_exchangeable(dims.get(name, ()), site.shape)
            for i, place in _places(site.shape)
        ]
        of_rows = [f"log_likelihood[{i}]" for i in self._rows]
        others = [*(label for *_, label in self._numbers), *(self._given or {})]
        self.names = ("log_prior", "log_likelihood", *of_rows, *others)

    def evaluate(self, rows: Rows, draws: Mapping[str, Tensor]) -> Tensor:
        """Evaluates draws ``(S,)``: shape ``(S, Q)``, float64, on the CPU.

        Raises:
            ValueError: if a quantity of the user's is not ``(S,)`` numbers.
        """
        n_draws, size = (
            len(next(iter(draws.values()))),
            count_rows(rows) * self.joint.values_per_row,
        )
        terms = torch.from_numpy(
            in_blocks(lambda some: self.joint.row_terms(*rows, draws=some), dict(draws), size)
        ).double()
        columns = [self.joint.log_prior(draws), terms.sum(-1), *terms[:, self._rows].T]
        columns += [draws[name].reshape(n_draws, -1)[:, i] for name, i, _ in self._numbers]
        x, y = rows[0], rows[1] if len(rows) > 1 else None
        for name, quantity in (self._given or {}).items():
            values = torch.as_tensor(quantity(draws, x, y))
            fits = tuple(values.shape) == (n_draws,)
            expected = f"numbers of shape ({n_draws},), one for each draw"
            check(fits, f"quantities[{name!r}]", expected, f"shape {tuple(values.shape)}")
            columns.append(values)
        return torch.stack([column.detach().double().cpu() for column in columns], -1)


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
    """Whether a site numbers what could be numbered otherwise, such as a mixture's components."""
    named = zip(dims, shape, strict=False)
    return any(dim.startswith(_EXCHANGEABLE) and length > 1 for dim, length in named)


def _places(shape: Sequence[int]) -> list[tuple[int, tuple[int, ...]]]:
    """A site's numbers, by their flat index and their place; of many, some spread evenly."""
    step = math.ceil(math.prod(shape) / _MOST_NUMBERS) or 1
    return [*enumerate(np.ndindex(*shape))][::step]
