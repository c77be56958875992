"""Bounds that are carried from one E-step to the next, for as long as they pay."""

from __future__ import annotations

from ..distributions.blocks import BlockEvaluator, NaturalForm
from ..distributions.components import Components
from .bounds import BoundedEvaluator, Place, moves_between, nothing_known
from .bounds_call import BoundedPairs
from .rows import Rows

__all__ = ["CarriedBounds"]

_MOST_BYTES = 1 << 28  # for bounds
_FEWEST_ROWS_PER_FEATURE = 128  # of fewer, how components moved costs more than is gained
_MOST_EVALUATED = 0.75  # of the pairs; from here on, one matrix product is faster
_MOST_FAILURES = 2  # one after the other: a reading that evaluates many makes their bounds new


class CarriedBounds:
    """What is known of all rows from step to step, and whether it pays to use it.

    Bounds hold for any mixture that follows, however its components were moved. They are used once
    a reading finds few responsibilities above rounding. Where they leave out little, they rest for
    some readings, each time for twice as many.

    Args:
        n_rows: how many there are; each reading must give the same ones in the same order.

    Attributes:
        share: how many of the pairs of rows and components the last reading evaluated.
    """

    def __init__(self, n_rows: int) -> None:
        self._n_rows = n_rows
        self._known: tuple[Place, BoundedPairs] | None = None
        self._is_on, self._n_failures = False, 0
        self._n_resting, self._next_rest = 0, 1
        self.share = 1.0

    @classmethod
    def of(cls, rows: Rows) -> CarriedBounds | None:
        """Bounds for rows that are all at hand, and of which nothing but all values is known."""
        if rows.n_rows is None or rows.known or rows.missing != "error":
            return None
        return cls(rows.n_rows)

    def evaluator(
        self, components: Components, plain: BlockEvaluator, n_restarts: int
    ) -> BlockEvaluator | BoundedEvaluator:
        """Returns who evaluates components of restarts in the next reading: the plain evaluator,
        or one that uses bounds.
        """
        known, self._known = self._known, None
        if not (self._is_on and self._suits(components, plain)):
            return plain
        place = Place.of(components)
        sizes = n_restarts, len(place.means), self._n_rows
        before, pairs = known or (place, nothing_known(*sizes))
        if pairs.sizes != sizes:
            before, pairs = place, nothing_known(*sizes)
        return BoundedEvaluator(components, plain, pairs, place, moves_between(before, place))

    def _suits(self, components: Components, plain: BlockEvaluator) -> bool:
        n_components, n_features = components.means.shape
        is_bounded = components.covariance.bounds_distances
        is_natural = isinstance(plain.parts[0][1], NaturalForm)
        is_many = self._n_rows >= _FEWEST_ROWS_PER_FEATURE * n_features
        is_held = 4 * n_components * self._n_rows <= _MOST_BYTES
        return is_bounded and is_natural and is_many and is_held

    def conclude(self, evaluator: BlockEvaluator | BoundedEvaluator, is_sparse: bool) -> None:
        """Takes notice of a reading of all rows, by the evaluator that this gave for it, and of
        whether few responsibilities were above rounding.
        """
        if not isinstance(evaluator, BoundedEvaluator):
            self.share = 1.0
            self._is_on = is_sparse and not self._n_resting
            self._n_resting = max(0, self._n_resting - 1)
            return
        self.share = evaluator.share
        self._known = evaluator.place, evaluator.pairs
        is_failure = self.share > _MOST_EVALUATED
        self._n_failures = self._n_failures + 1 if is_failure else 0
        if self._n_failures > _MOST_FAILURES or not is_sparse:
            self._rest()

    def _rest(self) -> None:
        self._known, self._is_on, self._n_failures = None, False, 0
        self._n_resting, self._next_rest = self._next_rest, 2 * self._next_rest
