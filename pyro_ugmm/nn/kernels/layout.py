"""How leading dimensions of inputs and parameters fall into sets of parameters and their rows."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

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
        >>> layout.n_sets, layout.n_rows, layout.terms_per_set
        (8, 50, 600)
    """

    _batch: tuple[int, ...]
    _sets_of: tuple[int, ...]

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

    def _spread(self, sets: Sequence[Sequence[int]]) -> None:
        """Finds along which dimensions parameters vary."""
        self._batch = batch = tuple(torch.broadcast_shapes(self._batch, *sets))
        width = len(batch)
        along = [(1,) * (width - len(one)) + tuple(one) for one in sets]
        self._sets_of = tuple(i for i in range(width) if any(one[i] > 1 for one in along))
        self.n_sets = math.prod(batch[i] for i in self._sets_of)
        self.n_rows = math.prod(batch[i] for i in range(width) if i not in self._sets_of)

    @property
    def terms_per_set(self) -> int:
        """How many (row, neuron, input) each set evaluates."""
        return self.n_rows * self.n_neurons * self.n_inputs

    @property
    def _order(self) -> tuple[int, ...]:
        """The leading dimensions, those of sets first."""
        rows = (i for i in range(len(self._batch)) if i not in self._sets_of)
        return (*self._sets_of, *rows)

    def stacked(self, x: Tensor, *parameters: Tensor) -> tuple[Tensor, ...]:
        """Returns inputs ``(S, n, K)``, or ``(1, n, K)`` where all sets have the same, and
        parameters ``(S, J, K)``.
        """
        return self._stacked_inputs(x), *map(self._stacked_parameter, parameters)

    def sets(self, x: Tensor, *parameters: Tensor) -> list[tuple[Tensor, ...]]:
        """Returns the inputs ``(n, K)`` and parameters ``(J, K)`` of each set."""
        if not self._sets_of:
            return [tuple(map(self._flat, (x, *parameters)))]
        inputs, *stacked = self.stacked(x, *parameters)
        rows = inputs if len(inputs) == self.n_sets else [inputs[0]] * self.n_sets
        return list(zip(rows, *stacked, strict=True))

    def _flat(self, tensor: Tensor) -> Tensor:
        return tensor if tensor.dim() == 2 else tensor.reshape(-1, self.n_inputs)

    def restored(self, scores: Tensor) -> Tensor:
        """Returns scores ``(S, n, J)`` in the shape that was asked for."""
        if not self._sets_of:
            is_flat = len(self._batch) == 1 and scores.dim() == 2
            return scores if is_flat else scores.reshape(*self._batch, self.n_neurons)
        order = self._order
        scores = scores.reshape(*(self._batch[i] for i in order), self.n_neurons)
        return scores.permute(*sorted(range(len(order)), key=order.__getitem__), -1)

    def _stacked_inputs(self, x: Tensor) -> Tensor:
        width, n_sets = len(self._batch), len(self._sets_of)
        x = x.reshape(*(1,) * (width + 1 - x.dim()), *x.shape)
        is_shared = all(x.shape[i] == 1 for i in self._sets_of)
        sizes = [1 if is_shared and i in self._sets_of else self._batch[i] for i in range(width)]
        x = x.expand(*sizes, -1).permute(*self._order, -1)
        return x.reshape(math.prod(x.shape[:n_sets]), -1, self.n_inputs)

    def _stacked_parameter(self, parameter: Tensor) -> Tensor:
        width, shape = len(self._batch), (self.n_neurons, self.n_inputs)
        parameter = parameter.reshape(*(1,) * (width + 2 - parameter.dim()), *parameter.shape)
        sizes = [self._batch[i] if i in self._sets_of else 1 for i in range(width)]
        parameter = parameter.expand(*sizes, *shape).permute(*self._order, -2, -1)
        return parameter.reshape(-1, *shape)
