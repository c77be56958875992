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
        if any(sets):
            self._spread(sets)
        else:
            self._order = tuple(range(len(self._batch)))

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

    @property
    def n_terms(self) -> int:
        """How many (set, row, neuron, input) there are."""
        return self.n_sets * self.n_rows * self.n_neurons * self.n_inputs

    @property
    def _is_in_order(self) -> bool:
        return self._order == tuple(range(len(self._order)))

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
        shape = self._inputs_shape(x.shape)
        if not self._is_plain(x.shape, shape):
            x = x.expand(*shape).permute(*self._order, -1)
        return x.reshape(-1, self.n_rows, self.n_inputs).contiguous()

    def gradient_of_inputs(self, stacked: Tensor, shape: Sequence[int]) -> Tensor:
        """Returns the gradient of inputs of that shape from that of what was stacked."""
        full = self._inputs_shape(shape)
        if self._is_plain(shape, full):
            return stacked.view(shape)
        ordered = stacked.view(*(full[i] for i in self._order), self.n_inputs)
        return ordered.permute(*self._places, -1).sum_to_size(shape)

    def _inputs_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        """That of inputs that have all dimensions of sets or, if all sets have the same, none."""
        missing = len(self._batch) + 1 - len(shape)
        shape = (1,) * missing + tuple(shape)
        is_shared = all(shape[i] == 1 for i in self._sets_of)
        return shape if is_shared else (*self._batch, self.n_inputs)

    def _is_plain(self, shape: Sequence[int], full: Sequence[int]) -> bool:
        """Whether inputs need neither be repeated nor put in another order."""
        is_shared = len(self._sets_of) == 0 or all(full[i] == 1 for i in self._sets_of)
        return is_shared or (self._is_in_order and math.prod(shape) == math.prod(full))


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
