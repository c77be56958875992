"""What a covariance structure is."""

import math
from abc import abstractmethod
from typing import ClassVar, Self

import torch
from torch import Tensor

from ...checks import check
from ...precision import full_precision
from ..completion import Completion, MatrixCompletion
from ..noise import as_matrices
from ..noisy_completion import NoisyMatrixCompletion
from .moments import SecondMoments
from .tensors import ComponentTensors

__all__ = ["Covariance"]


class Covariance(ComponentTensors):
    r"""The covariances :math:`\Sigma_1, \dots, \Sigma_K` of a mixture's components.

    A subclass is one structure, and what it is made of is its own. It says what its arguments are,
    how to whiten deviations from the means, and what it keeps of second moments, from which EM is
    made; the mixture and the fitter know nothing else about it. In shapes, leading dots are batch
    dimensions, which broadcast against those of the mixture's means ``(..., K, D)``.

    Args:
        tensors: the variances or matrices, as :attr:`arguments` says.
        validate_args: whether to check that they are positive definite; by default, as Pyro's
            distributions do.

    Raises:
        ValueError: if a tensor does not have the structure's shape or is not of floating-point
            numbers, or a covariance is not positive definite.

    Example:
        >>> import torch
        >>> from pyro_ugmm.distributions import DiagonalCovariance
        >>> covariance = DiagonalCovariance(torch.ones(3, 2))
        >>> covariance.dense(n_components=3, n_features=2).shape
        torch.Size([3, 2, 2])
    """

    name: ClassVar[str]
    """What the structure is called, in ``initialize`` and in files."""

    @property
    @abstractmethod
    def n_features(self) -> int | None:
        """The number of dimensions, or ``None`` if the tensors fit any."""

    # -- densities --------------------------------------------------------------------------

    @abstractmethod
    def whiten(self, deviations: Tensor) -> Tensor:
        r"""Multiplies deviations ``(..., K, D)`` by a :math:`L_k^{-1}`, :math:`\Sigma = LL^T`."""

    @abstractmethod
    def color(self, noise: Tensor, index: Tensor) -> Tensor:
        """Gives white noise ``(n, D)`` the covariances at ``index``, which is :meth:`place`'s."""

    def place(self, component: Tensor, n_components: int) -> Tensor:
        """Returns where the covariances of components, shape ``(..., *batch)``, are: an index into
        the batch and the components, flattened.
        """
        shape = *self.batch_shape, self.n_distinct(n_components)
        index = torch.arange(math.prod(shape), device=component.device).reshape(shape)
        index = index.expand(*component.shape, n_components)
        return index.gather(-1, component.unsqueeze(-1)).flatten()

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

    def for_sklearn(self, n_components: int, n_features: int) -> "Covariance":
        """Returns the same covariances in a structure that scikit-learn has, if there is one."""
        return self

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

    moments: ClassVar[SecondMoments]
    """What is kept of rows' second moments, which may depend on the covariances."""
    natural_from: ClassVar[int] = 1
    """From how many components on the natural form is the faster one."""

    def natural(self, means: Tensor) -> tuple[Tensor, Tensor]:
        r"""Returns what multiplies a row, ``(K, D)``, and its products, ``(K, n_products)``.

        With :math:`\Lambda = \Sigma^{-1}`, the log density is, but for a constant,
        :math:`(\Lambda\mu)^T y - \tfrac12 y^T \Lambda y`.
        """
        raise NotImplementedError

    def canceling(self, means: Tensor) -> Tensor:
        r"""Returns how large the terms are that cancel in the natural form, ``(K,)``.

        .. math:: \sum_i \Lambda_{ii} (\mu_i^2 + \Sigma_{ii})

        at a component's own rows, where they sum to about :math:`D`. They are infinite, and
        :meth:`natural` is not asked, of a structure that has no natural form.
        """
        return torch.full_like(means[..., 0], math.inf)

    def common_term(self, y: Tensor) -> Tensor | None:
        """What is the same in all components' log densities of rows ``(D, B)``."""
        return None

    bounds_distances: ClassVar[bool] = False
    """Whether :meth:`whitener` is of a matrix for each component, whose moves bound distances."""

    @abstractmethod
    def whitener(self, n_components: int) -> Tensor:
        """Returns a tensor of three dimensions, the first K, for :meth:`whiten_block`."""

    @staticmethod
    def whiten_block(whitener: Tensor, deviations: Tensor, out: Tensor) -> None:
        """Whitens deviations ``(K, D, B)``."""
        torch.mul(whitener, deviations, out=out)

    @full_precision
    def complete(self, x: Tensor, means: Tensor, noise: Tensor | None = None) -> Completion:
        """Completes rows ``(n, D)`` that have NaN for what is missing, or are measured with errors
        of variances ``(n, D)`` or covariances ``(n, D, D)``.
        """
        matrices = self.dense(*means.shape)
        if noise is None:
            return MatrixCompletion(x, means, matrices)
        return NoisyMatrixCompletion(x, means, matrices, as_matrices(noise, x.dim()))

    @abstractmethod
    def regularized(self, floor: float) -> tuple[Self, Tensor]:
        """Adds ``floor`` to the variances, and more where that leaves a covariance singular.

        Also returns which components needed more, ``(..., K)``, or ``(..., 1)`` if shared.
        """

    @classmethod
    def from_moments(
        cls, moments: Tensor, mass: Tensor, n_features: int, floor: float
    ) -> tuple[Self, Tensor]:
        """Divides central second moments by ``mass``, ``(..., K)``, and regularizes the result.

        A structure whose M-step has no closed form has :meth:`refitted` and :meth:`unit` instead.
        """
        raise NotImplementedError

    def refitted(
        self, moments: Tensor, mass: Tensor, n_features: int, floor: float
    ) -> tuple["Covariance", Tensor]:
        """Is :meth:`from_moments` of rows that were shared out under these covariances."""
        return self.from_moments(moments, mass, n_features, floor)

    has_rank: ClassVar[bool] = False
    """Whether there is a rank to ask for."""
    n_start_steps: ClassVar[int] = 1
    """How many M-steps lead to a start, with rows that keep their components."""

    @property
    def rank(self) -> int | None:
        """The rank, of a structure that has one."""
        return None

    @classmethod
    def checked_rank(cls, rank: int | None, n_features: int) -> int | None:
        """Checks the rank that was asked for."""
        check(rank is None, "rank", f"None, as {cls.name!r} covariances have none", rank)
        return None

    @classmethod
    def unit(cls, means: Tensor, rank: int | None = None) -> "Covariance":
        """Returns identity matrices, as many as there are means ``(..., K, D)``; of a structure
        with a rank, what its M-steps begin with.
        """
        cls.checked_rank(rank, means.shape[-1])
        none, mass = torch.zeros_like(means), torch.ones_like(means[..., 0])
        return cls.from_moments(cls.moments.outer(none, mass), mass, means.shape[-1], 1.0)[0]

    @abstractmethod
    def smallest_variance(self) -> Tensor:
        """The variance along the narrowest direction, ``(..., K)`` or ``(..., 1)``."""
