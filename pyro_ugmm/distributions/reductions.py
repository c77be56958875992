"""What becomes of the joint log densities of rows and components."""

from abc import ABC, abstractmethod

from torch import Tensor

from .components import Components
from .far_rows import far_log_prob, settle_far_rows
from .steep import is_gentle

__all__ = ["LogDensity", "MostProbable", "Reduction", "Responsibilities"]


class Reduction(ABC):
    """Reduces joint log densities along the dimension of the components."""

    @abstractmethod
    def reduce(self, log_joint: Tensor, dim: int) -> Tensor:
        """Reduces joint log densities that are not all lost."""

    def of_rows(self, log_joint: Tensor, x: Tensor, components: Components) -> Tensor:
        """Reduces joint log densities ``(..., K)`` of rows ``(..., D)``, however far they are."""
        return self.reduce(settle_far_rows(log_joint, x, components), -1)

    def trailing_shape(self, n_components: int) -> tuple[int, ...]:
        """The dimensions of a row's result."""
        return ()


class LogDensity(Reduction):
    """The logarithm of the sum, which needs to know of far rows only for its gradients."""

    def reduce(self, log_joint: Tensor, dim: int) -> Tensor:
        return log_joint.logsumexp(dim)

    def of_rows(self, log_joint: Tensor, x: Tensor, components: Components) -> Tensor:
        result = self.reduce(log_joint, -1)
        return result if is_gentle(result) else far_log_prob(log_joint, x, components)


class Responsibilities(Reduction):
    """Each component's share of the sum."""

    def reduce(self, log_joint: Tensor, dim: int) -> Tensor:
        return log_joint.softmax(dim)

    def trailing_shape(self, n_components: int) -> tuple[int, ...]:
        return (n_components,)


class MostProbable(Reduction):
    """The component of the largest share."""

    def reduce(self, log_joint: Tensor, dim: int) -> Tensor:
        return log_joint.max(dim).indices  # argmax takes many times as long along the first
