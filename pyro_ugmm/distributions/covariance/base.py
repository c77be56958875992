"""What a covariance structure is."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from ...checks import check, check_precision
from ..missing import MatrixCompletion, VarianceCompletion
from .moments import SecondMoments

__all__ = ["Covariance"]


class Covariance(ABC):
    r"""The covariances :math:`\Sigma_1, \dots, \Sigma_K` of a mixture's components.

    A subclass is one structure. It knows the shape of its ``values``, how to whiten deviations
    from the means, and the few operations on second moments from which EM is made; the mixture
    and the fitter know nothing else about it. In shapes, leading dots are batch dimensions, which
    broadcast against those of the mixture's means ``(..., K, D)``.

    Args:
        values: the variances or matrices, in the structure's shape.
        validate_args: whether to check that they are positive definite; by default, as Pyro's
            distributions do.

    Raises:
        ValueError: if the values do not have the structure's shape, are not floating-point
            numbers, or are not positive definite.

    Example:
        >>> import torch
        >>> from pyro_ugmm.distributions import DiagonalCovariance
        >>> covariance = DiagonalCovariance(torch.ones(3, 2))
        >>> covariance.dense(n_components=3, n_features=2).shape
        torch.Size([3, 2, 2])
    """

    name: ClassVar[str]
    """What the structure is called in ``initialize`` and in scikit-learn (there: diag)."""

    def __init__(self, values: Tensor, *, validate_args: bool | None = None) -> None:
        check_precision(self.argument, values)
        check(self._fits(values.shape), self.argument, self.shape_text, tuple(values.shape))
        self.values = values
        if validate_args is None:
            validate_args = torch.distributions.Distribution._validate_args
        if validate_args:
            self._check_positive_definite()

    argument: ClassVar[str]
    """The name of the constructor's argument, for errors."""
    shape_text: ClassVar[str]
    """The shape of ``values``, for errors."""
    values_dim: ClassVar[int]
    """How many dimensions ``values`` has after the batch's and the components'."""
    per_component: ClassVar[bool] = True
    """Whether each component has values of its own."""

    @classmethod
    def _fits(cls, shape: Sequence[int]) -> bool:
        return len(shape) >= cls.values_dim + cls.per_component and 0 not in shape

    @abstractmethod
    def _check_positive_definite(self) -> None:
        """Raises a ``ValueError`` unless all covariances are positive definite."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.argument}: {tuple(self.values.shape)})"

    # -- shape ------------------------------------------------------------------------------

    @property
    def batch_shape(self) -> torch.Size:
        """The leading dimensions of ``values``."""
        n_batch = self.values.dim() - self.values_dim - self.per_component
        return torch.Size(self.values.shape[:n_batch])

    @property
    def n_components(self) -> int | None:
        """The number of components, or ``None`` if all share their values."""
        return self.values.shape[len(self.batch_shape)] if self.per_component else None

    @property
    def n_features(self) -> int | None:
        """The number of dimensions, or ``None`` if the values fit any."""
        return self.values.shape[-1] if self.values_dim else None

    def reindex(self, function: Callable[[Tensor], Tensor]) -> Self:
        """Applies ``function``, which may only touch leading dimensions, to all tensors."""
        return type(self)(function(self.values), validate_args=False)

    def to(self, *args: Any, **kwargs: Any) -> Self:
        """Converts as :meth:`torch.Tensor.to` does."""
        return type(self)(self.values.to(*args, **kwargs), validate_args=False)

    def tensors(self) -> dict[str, Tensor]:
        """Returns all that is known, by name, for :meth:`from_tensors`."""
        return {"values": self.values}

    @classmethod
    def from_tensors(cls, tensors: dict[str, Tensor]) -> Self:
        """Takes what :meth:`tensors` gave, so that nothing is computed anew."""
        return cls(tensors["values"], validate_args=False)

    # -- densities --------------------------------------------------------------------------

    @abstractmethod
    def whiten(self, deviations: Tensor) -> Tensor:
        r"""Multiplies deviations ``(..., K, D)`` by a :math:`L_k^{-1}`, :math:`\Sigma = LL^T`."""

    @abstractmethod
    def color(self, noise: Tensor, component: Tensor) -> Tensor:
        """Gives white noise ``(n, D)`` the covariance of ``component``, an index ``(n,)`` into
        the batch and the components, flattened.
        """

    @abstractmethod
    def log_determinant(self, n_features: int) -> Tensor:
        r"""Evaluates :math:`\log |\Sigma_k|`, shape ``(..., K)``, or ``(..., 1)`` if shared."""

    def log_density(self, x: Tensor, means: Tensor) -> Tensor:
        r"""Evaluates :math:`\log \mathcal{N}(x \mid \mu_k, \Sigma_k)` of rows ``(..., D)``, shape
        ``(..., K)``.
        """
        n_features = means.shape[-1]
        z = self.whiten(x.unsqueeze(-2) - means)
        constant = self.log_determinant(n_features) + n_features * math.log(2 * math.pi)
        return -0.5 * (z.square().sum(-1) + constant)

    @abstractmethod
    def dense(self, n_components: int, n_features: int) -> Tensor:
        """Returns the matrices, shape ``(..., K, D, D)``."""

    @abstractmethod
    def n_parameters(self, n_components: int, n_features: int) -> int:
        """Counts the free parameters."""

    @abstractmethod
    def marginal(self, dims: Tensor) -> "Covariance":
        """Returns the covariances of some dimensions."""

    @abstractmethod
    def conditional(self, kept: Tensor, given: Tensor) -> tuple["Covariance", Tensor]:
        r"""Returns the covariances of dimensions ``kept`` given others, and the regression
        coefficients :math:`\Sigma_{ab} \Sigma_{bb}^{-1}`, which broadcast to
        ``(..., K, n_kept, n_given)``.
        """

    # -- blocks of rows (D, B), without a batch: what evaluation and EM are made of ----------

    moments: ClassVar[type[SecondMoments]]
    """The structure's second moments."""
    natural_from: ClassVar[int] = 1
    """From how many components on the natural form is the faster one."""

    @abstractmethod
    def natural(self, means: Tensor) -> tuple[Tensor, Tensor]:
        r"""Returns what multiplies a row, ``(K, D)``, and its products, ``(K, n_products)``.

        With :math:`\Lambda = \Sigma^{-1}`, the log density is, but for a constant,
        :math:`(\Lambda\mu)^T y - \tfrac12 y^T \Lambda y`.
        """

    @abstractmethod
    def canceling(self, means: Tensor) -> Tensor:
        r"""Returns how large the terms are that cancel in the natural form, ``(K,)``.

        .. math:: \sum_i \Lambda_{ii} (\mu_i^2 + \Sigma_{ii})

        at a component's own rows, where they sum to about :math:`D`.
        """

    def common_term(self, y: Tensor) -> Tensor | None:
        """What is the same in all components' log densities of rows ``(D, B)``."""
        return None

    @abstractmethod
    def whitener(self, n_components: int) -> Tensor:
        """Returns a tensor of three dimensions, the first K, for :meth:`whiten_block`."""

    @staticmethod
    def whiten_block(whitener: Tensor, deviations: Tensor, out: Tensor) -> None:
        """Whitens deviations ``(K, D, B)``."""
        torch.mul(whitener, deviations, out=out)

    @abstractmethod
    def complete(self, x: Tensor, means: Tensor) -> MatrixCompletion | VarianceCompletion:
        """Completes rows ``(n, D)`` that have NaN for what is missing."""

    @classmethod
    @abstractmethod
    def regularized(cls, values: Tensor, floor: float) -> tuple[Self, Tensor]:
        """Adds ``floor`` to the variances, and more where that leaves a covariance singular.

        Also returns where more was needed, for each variance or matrix.
        """

    @classmethod
    @abstractmethod
    def from_moments(
        cls, moments: Tensor, mass: Tensor, n_features: int, floor: float
    ) -> tuple[Self, Tensor]:
        """Divides central second moments by ``mass``, ``(..., K)``, and adds ``floor`` to the
        variances.

        Also returns which components, ``(..., K)``, needed more than that to be positive definite.
        """

    @abstractmethod
    def smallest_variance(self) -> Tensor:
        """The variance along the narrowest direction, ``(..., K)`` or ``(..., 1)``."""
