"""The tensors that components' covariances are made of, whatever these mean."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NamedTuple, Self

import torch
from torch import Tensor

from ...checks import check, check_precision

__all__ = ["Argument", "ComponentTensors"]


class Argument(NamedTuple):
    """An argument of a structure's constructor: its dimensions for one component, and its shape in
    words.
    """

    n_dims: int
    shape: str


class ComponentTensors(ABC):
    """Tensors whose leading dimensions are those of a batch and of the components.

    What is done to all covariances alike, such as choosing some of a batch, is done here.
    """

    arguments: ClassVar[dict[str, Argument]]
    """The constructor's arguments, in their order."""
    is_shared: ClassVar[bool] = False
    """Whether all components have the same covariance, so that no dimension is theirs."""

    def __init__(self, *tensors: Tensor, validate_args: bool | None = None) -> None:
        self._tensors = dict(zip(self.arguments, tensors, strict=True))
        for name, tensor in self._tensors.items():
            check_precision(name, tensor)
            fits = self._fits(name, tensor.shape)
            check(fits, name, self.arguments[name].shape, tuple(tensor.shape))
        if validate_args is None:
            validate_args = torch.distributions.Distribution._validate_args
        if validate_args:
            self.check_positive_definite()

    def _fits(self, name: str, shape: Sequence[int]) -> bool:
        return len(shape) + self.is_shared > self.arguments[name].n_dims and 0 not in shape

    @abstractmethod
    def check_positive_definite(self) -> None:
        """Raises a ``ValueError`` unless all covariances are positive definite."""

    def __repr__(self) -> str:
        shapes = (f"{name}: {tuple(tensor.shape)}" for name, tensor in self._tensors.items())
        return f"{type(self).__name__}({', '.join(shapes)})"

    def _leading(self, name: str) -> torch.Size:
        """The dimensions of the batch and the components."""
        shape = self._tensors[name].shape
        return shape[: len(shape) - self.arguments[name].n_dims]

    @property
    def batch_shape(self) -> torch.Size:
        """The leading dimensions, without that of the components."""
        leading = [self._leading(name) for name in self.arguments]
        batches = leading if self.is_shared else [shape[:-1] for shape in leading]
        return batches[0] if len(batches) == 1 else torch.broadcast_shapes(*batches)

    @property
    def n_components(self) -> int | None:
        """The number of components, or ``None`` if all have the same covariance."""
        return None if self.is_shared else self._leading(next(iter(self.arguments)))[-1]

    @classmethod
    def n_distinct(cls, n_components: int) -> int:
        """How many covariances so many components have."""
        return 1 if cls.is_shared else n_components

    def tensors(self, *, computed: bool = False) -> dict[str, Tensor]:
        """Returns the constructor's arguments by name, for :meth:`from_tensors`.

        Args:
            computed: whether to add what was computed from them, so that nothing is computed anew.
        """
        return dict(self._tensors)

    @classmethod
    def from_tensors(
        cls, tensors: dict[str, Tensor], *, validate_args: bool | None = False
    ) -> Self:
        """Takes what :meth:`tensors` gave."""
        return cls(*(tensors[name] for name in cls.arguments), validate_args=validate_args)

    # -- batches ----------------------------------------------------------------------------

    def reindex(self, function: Callable[[Tensor], Tensor]) -> Self:
        """Applies ``function``, which may only touch the batch's dimensions, to all tensors."""
        return type(self)(*map(function, self._tensors.values()), validate_args=False)

    def expand(self, batch_shape: Sequence[int]) -> Self:
        """Broadcasts the batch to ``batch_shape``."""
        n_batch = len(self.batch_shape)
        if self.batch_shape == torch.Size(batch_shape):
            return self
        return self.reindex(lambda t: t.expand(*batch_shape, *t.shape[n_batch:]))

    @classmethod
    def stack(cls, covariances: "Sequence[Self]") -> Self:
        """Makes a batch, along a new first dimension."""
        parts = zip(*(one._tensors.values() for one in covariances), strict=True)
        return cls(*map(torch.stack, parts), validate_args=False)

    def joined(self) -> Self:
        """Returns the covariances of a batch of shape ``(S,)`` as those of one mixture, of S times
        as many components; a covariance that all components share is that of a batch of one. So is
        one without a batch.
        """
        if not self.batch_shape:
            return self
        return self.reindex(lambda t: t.squeeze(0) if self.is_shared else t.flatten(0, 1))

    def to(self, *args: Any, **kwargs: Any) -> Self:
        """Converts as :meth:`torch.Tensor.to` does."""
        tensors = (tensor.to(*args, **kwargs) for tensor in self._tensors.values())
        return type(self)(*tensors, validate_args=False)

    # -- components -------------------------------------------------------------------------

    def _by_tensor(self, per_component: Tensor, name: str) -> Tensor:
        """Gives numbers ``(..., K)``, or ``(...)`` if shared, a tensor's trailing dimensions."""
        return per_component.reshape(*per_component.shape, *(1,) * self.arguments[name].n_dims)

    def where(self, mask: Tensor, other: Self) -> Self:
        """Takes another one's covariances where ``mask``, shape ``(..., K)``, is true; one that all
        components share, where it is true of all of them.
        """
        mask = mask.all(-1) if self.is_shared else mask
        tensors = (
            torch.where(self._by_tensor(mask, name), other._tensors[name], tensor)
            for name, tensor in self._tensors.items()
        )
        return type(self)(*tensors, validate_args=False)

    def pooled(self, weights: Tensor) -> Self:
        """Returns the average by weights ``(..., K)``, for all components; itself if shared."""
        if self.is_shared:
            return self
        averages = []
        for name, tensor in self._tensors.items():
            product = self._by_tensor(weights, name) * tensor
            at = product.dim() - 1 - self.arguments[name].n_dims
            averages.append(product.sum(at, keepdim=True).expand_as(product))
        return type(self)(*averages, validate_args=False)

    def is_finite(self, largest: float = math.inf) -> Tensor:
        """Whether a component's numbers are finite and below ``largest``, shape ``(..., K)``, or
        ``(..., 1)`` if shared.
        """
        flags = None
        for name, tensor in self._tensors.items():
            mine = (tensor.abs() < largest).reshape(*self._leading(name), -1).all(-1)
            flags = mine if flags is None else flags & mine
        assert flags is not None
        return flags.unsqueeze(-1) if self.is_shared else flags

    def relative_change(self, other: Self) -> Tensor:
        """The largest difference to another one's numbers, in units of the largest number."""
        changes = []
        for name, tensor in self._tensors.items():
            largest = tensor.abs().amax().clamp(min=torch.finfo(tensor.dtype).tiny)
            changes.append((tensor - other._tensors[name]).abs().amax() / largest)
        return torch.stack(changes).amax()

    @classmethod
    def concerned(cls, flags: Tensor) -> list[int | None]:
        """The components flagged, ``(K,)``; or once ``None``, for all, if they share theirs."""
        if cls.is_shared:
            return [None] if flags.any() else []
        return [*flags.nonzero()[:, 0].tolist()]
