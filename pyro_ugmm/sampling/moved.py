"""How far quantities moved from a guide to the posterior."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Change", "Moved", "changes"]

_TAIL = 0.05
_MOST_COLUMNS = 1024


class Change(NamedTuple):
    """How far the elements of a quantity moved; NaN where nothing varies.

    Attributes:
        shift: of the mean, in posterior standard deviations.
        width: the guide's 90 % interval's over the posterior's: 0.25 of a guide that is four times
            too narrow.

    Example:
        >>> import torch
        >>> from pyro_ugmm.sampling import Change
        >>> change = Change(shift=torch.tensor([0.5, -2.0]), width=torch.tensor([0.9, 0.25]))
        >>> change.worst_shift, change.worst_width
        (-2.0, 0.25)
    """

    shift: Tensor
    width: Tensor

    @property
    def worst_shift(self) -> float:
        """The one that is farthest from zero."""
        return float(self.shift.flatten()[_farthest(self.shift)])

    @property
    def worst_width(self) -> float:
        """The one that is farthest from one, by its logarithm."""
        return float(self.width.flatten()[_farthest(self.width.log())])


def _farthest(distances: Tensor) -> int:
    """Where the largest is, whatever its sign, of those that are numbers."""
    return int(distances.abs().nan_to_num(-1.0, math.inf).argmax())


@dataclass(frozen=True, eq=False, repr=False)
class Moved:
    """How far quantities moved from a guide to the posterior: the guide, judged.

    Each has a ``shift`` of the mean, in posterior standard deviations, and a ``width``, the
    guide's 90 % interval's over the posterior's, element by element. Sites of a mixture say
    nothing where the labels of components switch; the other quantities are free of labels.

    Attributes:
        n_temperatures: how many it took; one, if the guide is right.
        quantities: the log prior, the log likelihood, and the rows' log-likelihoods.
        sites: the latent sites.

    Example:
        >>> import torch
        >>> from pyro_ugmm.guides import full_rank
        >>> from pyro_ugmm.models import BayesianGaussianMixture, Priors
        >>> from pyro_ugmm.sampling import sample_posterior
        >>> x = torch.randn(50, 1)
        >>> model = BayesianGaussianMixture(1, 1, priors=Priors.from_data(x))
        >>> sample = sample_posterior(model, x, start=full_rank(model), seed=0, progress=False)
        >>> sample.moved.sites["means"].shift.shape
        torch.Size([1, 1])
    """

    n_temperatures: int
    quantities: dict[str, Change]
    sites: dict[str, Change]

    @property
    def sentence(self) -> str:
        """What moved most, in words."""
        free, sites = _said(self.quantities), _said(self.sites)
        return (
            f"from the guide in {_counted(self.n_temperatures)}: of what is free of labels, "
            f"{free}; of the sites, {sites}"
        )

    def __repr__(self) -> str:
        rows = [("", "shift (posterior sd)", "width (guide / posterior)")]
        for mark, changes in (("*", self.quantities), ("", self.sites)):
            rows += [
                (f"{name}{mark}", f"{c.worst_shift:+.2f}", f"{c.worst_width:.2f}")
                for name, c in changes.items()
            ]
        names, shifts, widths = (max(map(len, column)) for column in zip(*rows, strict=True))
        lines = [f"{a:<{names}}  {b:>{shifts}}  {c:>{widths}}" for a, b, c in rows]
        what = f"Moved in {_counted(self.n_temperatures)}, the worst of each (* free of labels)"
        return "\n".join([what, *lines])


def changes(before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> dict[str, Change]:
    """Compares draws of quantities, ``(S, ...)``, before and after, each element for itself."""
    return {name: _change(values, after[name]) for name, values in before.items()}


def _change(before: Tensor, after: Tensor) -> Change:
    columns = [one.reshape(len(one), -1).split(_MOST_COLUMNS, -1) for one in (before, after)]
    parts = [_change_of_columns(*pair) for pair in zip(*columns, strict=True)]
    return Change(*(torch.cat(part).reshape(after.shape[1:]) for part in zip(*parts, strict=True)))


def _change_of_columns(before: Tensor, after: Tensor) -> Change:
    before, after = before.double(), after.double()
    return Change((after.mean(0) - before.mean(0)) / after.std(0), _width(before) / _width(after))


def _width(values: Tensor) -> Tensor:
    """The length of the middle 90 percent."""
    ranked, last = values.sort(0).values, len(values) - 1
    return ranked[round((1 - _TAIL) * last)] - ranked[round(_TAIL * last)]


def _counted(n_temperatures: int) -> str:
    return "one temperature" if n_temperatures == 1 else f"{n_temperatures} temperatures"


def _said(changes: Mapping[str, Change]) -> str:
    names = [*changes]
    shifts = torch.tensor([changes[name].worst_shift for name in names])
    widths = torch.tensor([changes[name].worst_width for name in names])
    moved, off = _farthest(shifts), _farthest(widths.log())
    return (
        f"{names[moved]} moved by {abs(float(shifts[moved])):.2f} posterior sd, and in "
        f"{names[off]} the guide is {float(widths[off]):.2f} times as wide"
    )
