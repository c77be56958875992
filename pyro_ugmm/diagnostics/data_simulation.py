"""Truths drawn from the prior, and data drawn given these."""

from collections.abc import Callable

from torch import Tensor

from ..checks import check
from ..programs.names import names_of
from ..programs.simulation import simulation_of
from ..programs.traced import Rows

__all__ = ["DataSimulation"]


class DataSimulation:
    """Draws data sets of a model, whose observed site is among its data as it is.

    Args:
        model: the model, in evaluation mode.
        rows: data like those to be simulated.

    Raises:
        ValueError: if what is observed is none of the data, such as a function of them.
    """

    def __init__(self, model: Callable, rows: Rows) -> None:
        self._simulation, self._rows = simulation_of(model, rows), rows
        observed = names_of(model, rows).observed_rows(*rows)
        expected = "a model with one observed site"
        check(len(observed.values) == 1, "model", expected, [*observed.values])
        ((self._site, value),) = observed.values.items()
        given = [id(part) for part in observed.given.values()]
        places = [
            i for i, part in enumerate(rows) if isinstance(part, Tensor) and id(part) not in given
        ]
        expected = f"a model that observes its data as they are (obs=y), as {self._site}"
        found = places or value is None
        check(found, "model", expected, "one that observes a function of them")
        self._at = places[-1] if places else len(rows)

    def draw(self) -> tuple[dict[str, Tensor], Rows]:
        """Draws a truth, ``(1,)`` and a site's shape, and data."""
        truth = self._simulation.sample_prior(1)
        drawn = self._simulation.sample_rows(*self._rows, draws=truth)[self._site][0]
        like = self._rows[self._at] if self._at < len(self._rows) else drawn
        drawn = drawn.to(like.dtype).reshape(like.shape)
        return truth, (*self._rows[: self._at], drawn, *self._rows[self._at + 1 :])
