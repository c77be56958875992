"""Truths drawn from the prior, and data drawn given these."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from ..checks import check
from ..programs.names import names_of
from ..programs.simulation import simulation_of
from ..programs.traced import Rows
from ..randomness import seeded

__all__ = ["DataSimulation"]


class DataSimulation:
    """Draws data sets of a model, whose observed sites are among its data as they are.

    What is missing in the data, NaN, is missing in all data sets.

    Args:
        model: the model, in evaluation mode.
        rows: data like those to be simulated.

    Raises:
        ValueError: if a site that is observed is none of the data, such as a function of them, or
            is drawn by looking at what is observed.
    """

    def __init__(self, model: Callable, rows: Rows) -> None:
        self._model, self._rows = model, tuple(_apart(part) for part in rows)
        self._simulation = simulation_of(model, self._rows)
        observed = self._observed(self._rows)
        self._places = {site: _place(site, value, self._rows) for site, value in observed.items()}
        self._check()

    def draw(self) -> tuple[dict[str, Tensor], Rows]:
        """Draws a truth, ``(1,)`` and a site's shape, and data."""
        truth = self._simulation.sample_prior(1)
        return truth, self._with(self._drawn(self._rows, truth))

    def are_finite(self, rows: Rows) -> bool:
        """Whether what was drawn of such data is finite."""
        gaps = {
            at: self._rows[at].isnan() for at, part in self._places.values() if part is not None
        }
        places = (at for at, _ in self._places.values())
        return all(bool((rows[at].isfinite() | gaps.get(at, False)).all()) for at in places)

    def _observed(self, rows: Rows) -> Mapping[str, Tensor | None]:
        return names_of(self._model, rows).observed_rows(*rows).values

    def _drawn(self, rows: Rows, truth: dict[str, Tensor]) -> dict[str, Tensor]:
        draws = self._simulation.sample_rows(*rows, draws=truth)
        parts = {site: part for site, (_, part) in self._places.items()}
        return {site: _as_data(value[0], parts[site]) for site, value in draws.items()}

    def _with(self, drawn: Mapping[str, Tensor]) -> Rows:
        """The data, with what was drawn in its place."""
        rows = [part.clone() if isinstance(part, Tensor) else part for part in self._rows]
        for site, (at, part) in self._places.items():
            if part is None:
                rows.append(drawn[site])
            else:
                place = rows[at].as_strided(part.shape, part.stride(), part.storage_offset())
                place.copy_(drawn[site])
        return tuple(rows)

    def _check(self) -> None:
        """Checks that the model observes what was drawn, and would draw it again given that."""
        truth = self._simulation.sample_prior(1)
        with seeded(0):
            drawn = self._drawn(self._rows, truth)
        rows = self._with(drawn)
        observed = self._observed(rows)
        with seeded(0):
            again = self._drawn(rows, truth)
        for site, value in drawn.items():
            _check_observed(site, _is_same(value, observed[site]))
            expected = f"a model that draws {site} given what sample returns, not given the data"
            check(_is_same(value, again[site]), "model", expected, "one that looks at the data")


def _apart(part: Tensor) -> Tensor:
    """A tensor that shares no memory with another, in which its views are known by their place."""
    return part.clone(memory_format=torch.contiguous_format) if isinstance(part, Tensor) else part


def _place(site: str, value: Tensor | None, rows: Rows) -> tuple[int, Tensor | None]:
    """Which argument holds an observed value, and the view of it that does."""
    if value is None:
        return len(rows), None
    parts = [(i, part) for i, part in enumerate(rows) if isinstance(part, Tensor)]
    views = [(i, value) for i, part in parts if _is_view(value, part)]
    copies = [(i, part) for i, part in parts if _is_same(value, part)]
    _check_observed(site, bool(views or copies))
    return (views or copies)[-1]


def _is_view(value: Tensor, part: Tensor) -> bool:
    """Whether a tensor is a view of another, each number of it once."""
    is_shared = value.untyped_storage().data_ptr() == part.untyped_storage().data_ptr()
    return is_shared and all(
        step for step, length in zip(value.stride(), value.shape, strict=True) if length > 1
    )


def _as_data(drawn: Tensor, part: Tensor | None) -> Tensor:
    """What was drawn, as the data hold it."""
    if part is None:
        return drawn
    return torch.where(part.isnan(), part, drawn.reshape(part.shape).to(part))


def _is_same(value: Tensor, other: Tensor | None) -> bool:
    """Whether tensors hold the same numbers, in whatever shape and precision, but for missing."""
    if other is None or value.numel() != other.numel():
        return False
    value, other = value.flatten().to(other), other.flatten()
    is_missing = value.isnan() | other.isnan()
    return torch.equal(value[~is_missing], other[~is_missing])


def _check_observed(site: str, is_data: bool) -> None:
    expected = f"a model that observes its data as they are (obs=y), as {site}"
    check(is_data, "model", expected, "one that observes a function of them")
