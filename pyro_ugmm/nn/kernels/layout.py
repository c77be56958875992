"""How leading dimensions of inputs and parameters fall into sets of parameters and their rows."""

import math
from collections.abc import Sequence

from torch import Tensor

from ...checks import check

__all__ = ["Layout"]


class Layout:
    """Dimensions along which parameters vary number the sets, all others number the rows.

    Args:
        rows: the inputs' leading dimensions ``B``.
        sets: those of each parameter, which broadcast to ``P``.
        n_neurons: how many neurons there are.
        n_inputs: how many inputs each has.

    Attributes:
        n_sets: how many sets of parameters there are.
        n_rows: how many rows each of them evaluates.

    Example:
        >>> from pyro_ugmm.nn.kernels.layout import Layout
        >>> layout = Layout((50,), [(8, 1), (), ()], 3, 4)  # eight draws of one parameter
        >>> layout.n_sets, layout.n_rows, layout.n_terms
        (8, 50, 4800)
    """

    _batch: tuple[int, ...]
    _sets_of: tuple[int, ...]
    _order: tuple[int, ...]
    """The leading dimensions, those of sets first."""
    _is_in_order: bool

    def __init__(
        self,
        rows: Sequence[int],
        sets: Sequence[Sequence[int]],
        n_neurons: int,
        n_inputs: int,
    ) -> None:
        self.n_neurons, self.n_inputs = n_neurons, n_inputs
        self.n_sets, self.n_rows = 1, math.prod(rows)
        self._batch, self._sets_of = tuple(rows), ()
        self._order, self._is_in_order = tuple(range(len(self._batch))), True
        if any(sets):
            self._spread(sets)

    def _spread(self, sets: Sequence[Sequence[int]]) -> None:
        """Finds along which dimensions parameters vary."""
        width = max(len(self._batch), *map(len, sets))
        rows, *along = [(1,) * (width - len(one)) + tuple(one) for one in (self._batch, *sets)]
        self._batch = batch = tuple(map(_broadcast, rows, *along))
        self._sets_of = tuple(i for i in range(width) if any(one[i] > 1 for one in along))
        rows_of = tuple(i for i in range(width) if i not in self._sets_of)
        self.n_sets = math.prod([batch[i] for i in self._sets_of])
        self.n_rows = math.prod([batch[i] for i in rows_of])
        self._order = self._sets_of + rows_of
        self._is_in_order = self._order == tuple(range(width))

    @property
    def n_terms(self) -> int:
        """How many (set, row, neuron, input) there are."""
        return self.n_sets * self.n_rows * self.n_neurons * self.n_inputs

    @property
    def shape(self) -> tuple[int, ...]:
        """That of the scores, dimensions of sets first."""
        return (*(self._batch[i] for i in self._order), self.n_neurons)

    @property
    def stacked_shape(self) -> tuple[int, int, int]:
        """That of the scores with one dimension of sets and one of rows."""
        return self.n_sets, self.n_rows, self.n_neurons

    def restored(self, scores: Tensor) -> Tensor:
        """Returns scores of :attr:`shape` with their dimensions as they were given."""
        return scores if self._is_in_order else scores.permute(*self._places, -1)

    @property
    def _places(self) -> list[int]:
        """Where in the order each leading dimension is."""
        return sorted(range(len(self._order)), key=self._order.__getitem__)

    def stacked(self, parameter: Tensor) -> Tensor:
        """Returns a parameter as ``(S, J, K)``."""
        if parameter.numel() != self.n_sets * self.n_neurons * self.n_inputs:
            parameter = parameter.expand(*self._parameter_shape)
        return parameter.reshape(self.n_sets, self.n_neurons, self.n_inputs).contiguous()

    def gradient(self, stacked: Tensor, shape: Sequence[int]) -> Tensor:
        """Returns the gradient of a parameter of that shape from that of what was stacked."""
        if stacked.numel() == math.prod(shape):
            return stacked.view(shape)
        return stacked.view(self._parameter_shape).sum_to_size(shape)

    @property
    def _parameter_shape(self) -> tuple[int, ...]:
        batch = (size if i in self._sets_of else 1 for i, size in enumerate(self._batch))
        return *batch, self.n_neurons, self.n_inputs

    def stacked_inputs(self, x: Tensor) -> Tensor:
        """Returns inputs as ``(S, n, K)``, or ``(1, n, K)`` where all sets have the same."""
        if not self._is_plain(x.shape):
            x = x.expand(*self._batch, -1).permute(*self._order, -1)
        return x.reshape(-1, self.n_rows, self.n_inputs).contiguous()

    def gradient_of_inputs(self, stacked: Tensor, shape: Sequence[int]) -> Tensor:
        """Returns the gradient of inputs of that shape from that of what was stacked."""
        if self._is_plain(shape):
            return stacked.view(shape)
        ordered = stacked.view(*(self._batch[i] for i in self._order), self.n_inputs)
        return ordered.permute(*self._places, -1).sum_to_size(shape)

    def _is_plain(self, shape: Sequence[int]) -> bool:
        """Whether inputs need neither be repeated nor put in another order: either all sets have
        the same, or each has its own and all dimensions are in order.
        """
        if not self._sets_of:
            return True
        n_values = math.prod(shape)
        is_shared = n_values == self.n_rows * self.n_inputs and all(
            shape[i - len(self._batch) - 1] == 1
            for i in self._sets_of
            if i > len(self._batch) - len(shape)
        )
        is_own = n_values == self.n_sets * self.n_rows * self.n_inputs
        return is_shared or (is_own and self._is_in_order)


def _broadcast(*sizes: int) -> int:
    """As ``torch.broadcast_shapes`` does, which takes longer than a small layer."""
    common = 1
    for size in sizes:
        check(
            1 in (size, common) or size == common,
            "x and parameters",
            "batch shapes that broadcast",
            sizes,
        )
        common = size if common == 1 else common
    return common
