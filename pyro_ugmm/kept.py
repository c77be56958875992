"""What is computed from tensors and wanted again, kept until these hold other numbers."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor

__all__ = ["Kept"]

_R = TypeVar("_R")


class Kept:
    """Results by name, kept as long as the tensors that they were computed from hold the same.

    What these held is copied and compared: torch does not count changes made through ``.data``,
    as by ``torch.nn.utils.vector_to_parameters``, or through memory shared with NumPy. To compare
    costs one pass over the tensors, and on an accelerator one synchronization. A copy of this
    object is empty.

    Example:
        >>> import torch
        >>> from pyro_ugmm.kept import Kept
        >>> kept, tensor = Kept(), torch.ones(2)
        >>> kept.get("sum", [tensor], tensor.sum)
        tensor(2.)
        >>> tensor.data.mul_(3)
        tensor([3., 3.])
        >>> kept.get("sum", [tensor], tensor.sum)
        tensor(6.)
    """

    def __init__(self) -> None:
        self._known: tuple[list[Tensor], dict[str, Any]] = [], {}

    def __reduce__(self) -> tuple:
        return Kept, ()

    def find(self, name: str, tensors: Sequence[Tensor]) -> Any:
        """Returns what was kept by that name of tensors that hold the same now, or ``None``."""
        copies, results = self._known
        return results[name] if name in results and _hold_the_same(copies, tensors) else None

    def keep(self, name: str, tensors: Sequence[Tensor], result: Any) -> None:
        """Keeps a result, and forgets those of other numbers."""
        copies, results = self._known
        if not _hold_the_same(copies, tensors):
            copies, results = [tensor.detach().clone() for tensor in tensors], {}
        results[name] = result
        self._known = copies, results

    def get(self, name: str, tensors: Sequence[Tensor], compute: Callable[[], _R]) -> _R:
        """Returns what was kept, or else computes and keeps it."""
        known = self.find(name, tensors)
        if known is None:
            known = compute()
            self.keep(name, tensors, known)
        return known


def _hold_the_same(copies: Sequence[Tensor], tensors: Sequence[Tensor]) -> bool:
    if len(copies) != len(tensors):
        return False
    for a, b in zip(copies, tensors, strict=True):
        if a.dtype != b.dtype or a.device != b.device or a.shape != b.shape:
            return False
    if all(tensor.is_cpu for tensor in tensors) and all(map(torch.equal, copies, tensors)):
        return True
    return bool(torch.stack([*map(_equal, copies, tensors)]).all()) if copies else True


def _equal(a: Tensor, b: Tensor) -> Tensor:
    """Whether two tensors are equal, NaN being so to itself."""
    return ((a == b) | (a.isnan() & b.isnan())).all()
