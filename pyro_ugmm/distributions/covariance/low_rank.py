"""A few factors that features share, and a variance of each feature's own."""

from typing import ClassVar, Self

import torch
from torch import Tensor

from ...checks import check, check_broadcast, check_integer, check_same_kind, check_values
from ...precision import full_precision
from .base import Covariance
from .full import FullCovariance
from .moments import SecondMoments
from .tensors import Argument
from .woodbury import LowRankForm, principal_factor

__all__ = ["LowRankCovariance"]


class LowRankMoments(SecondMoments):
    r"""Products with the factors' posterior means :math:`z = \beta_k v`, and squares.

    Of :math:`S_k = \sum_n r_{nk} v v^T` it keeps :math:`S_k \beta_k^T` and the diagonal,
    ``(K, D, R + 1)``: all that the M-step of a mixture of factor analyzers needs.

    Args:
        projection: :math:`\beta`, shape ``(..., K, R, D)``.
    """

    def __init__(self, projection: Tensor) -> None:
        self._projection = projection

    def sum(self, weighted: Tensor, deviations: Tensor) -> Tensor:
        z = torch.bmm(self._projection, deviations)
        squares = (weighted * deviations).sum(-1, keepdim=True)
        return torch.cat([torch.bmm(weighted, z.mT), squares], -1)

    @full_precision
    def outer(self, vectors: Tensor, mass: Tensor) -> Tensor:
        column = vectors.unsqueeze(-1)
        with_z = column * (self._projection @ column).mT
        return mass[..., None, None] * torch.cat([with_z, column.square()], -1)

    @full_precision
    def project(self, matrices: Tensor) -> Tensor:
        diagonal = matrices.diagonal(dim1=-2, dim2=-1).unsqueeze(-1)
        return torch.cat([matrices @ self._projection.mT, diagonal], -1)


class LowRankCovariance(Covariance):
    r"""Covariances :math:`\Sigma_k = F_k F_k^T + \mathrm{diag}(v_k)` of rank :math:`R` and a rest.

    A component is a factor analyzer: :math:`x = \mu_k + F_k z + \varepsilon` with
    :math:`z \sim \mathcal{N}(0, I)` in :math:`R` dimensions and independent
    :math:`\varepsilon \sim \mathcal{N}(0, \mathrm{diag}(v_k))`. With :math:`U = V^{-1/2} F` and
    :math:`M = I + U^T U`, densities take the inverse and the determinant from

    .. math:: \Sigma^{-1} = V^{-1/2} (I - U M^{-1} U^T) V^{-1/2}, \qquad
        |\Sigma| = |M| \prod_d v_d,

    so that a row costs :math:`KDR` rather than :math:`KD^2`, and so does EM (Ghahramani and Hinton
    1996, *The EM algorithm for mixtures of factor analyzers*). Marginals and conditionals are of
    low rank too. A factor is determined but for a rotation; one of zeros EM leaves as it is.

    Args:
        factor: :math:`F`, shape ``(..., K, D, R)`` with :math:`1 \le R \le D`.
        variances: :math:`v`, positive, shape ``(..., K, D)``.
        validate_args: whether to check the values; by default, as Pyro's distributions do.

    Raises:
        ValueError: if shapes do not fit, the rank is out of its range, the factor is not finite, or
            a variance is not finite and positive.

    Example:
        >>> import torch
        >>> from pyro_ugmm.distributions import LowRankCovariance
        >>> covariance = LowRankCovariance(torch.ones(3, 5, 2), torch.ones(3, 5))
        >>> covariance
        LowRankCovariance(factor: (3, 5, 2), variances: (3, 5))
        >>> covariance.dense(3, 5)[0, 0]
        tensor([3., 2., 2., 2., 2.])
    """

    name = "low_rank"
    arguments: ClassVar = {
        "factor": Argument(2, "a matrix for each component, shape (..., K, D, R)"),
        "variances": Argument(1, "a variance for each component and feature, shape (..., K, D)"),
    }
    has_rank = True
    n_start_steps = 5

    def __init__(
        self, factor: Tensor, variances: Tensor, *, validate_args: bool | None = None
    ) -> None:
        super().__init__(factor, variances, validate_args=validate_args)
        _check_fits(factor, variances)
        batch = self.batch_shape
        self._factor = factor.expand(*batch, *factor.shape[-3:])
        self._variances = variances.expand(*batch, *variances.shape[-2:])
        self._tensors = {"factor": self._factor, "variances": self._variances}

    @classmethod
    def checked_rank(cls, rank: int | None, n_features: int) -> int:
        got = check_integer("rank", rank)
        check(got <= n_features, "rank", f"at most {n_features}, as there are features", got)
        return got

    @property
    def n_features(self) -> int:
        return self._factor.shape[-2]

    @property
    def rank(self) -> int:
        return self._factor.shape[-1]

    def check_positive_definite(self) -> None:
        factor, variances = (tensor.detach() for tensor in self._tensors.values())
        check_values("factor", factor, factor.isfinite(), "finite values")
        valid = variances.isfinite() & (variances > 0)
        check_values("variances", variances, valid, "finite positive values")

    @property
    def _form(self) -> LowRankForm:
        return LowRankForm(self._factor, self._variances)

    def whiten(self, deviations: Tensor) -> Tensor:
        return self._form.whiten(deviations)

    def color(self, noise: Tensor, index: Tensor) -> Tensor:
        return self._form.color(noise, index)

    def log_determinant(self, n_features: int) -> Tensor:
        return self._form.log_determinant()

    @full_precision
    def dense(self, n_components: int, n_features: int) -> Tensor:
        return self._factor @ self._factor.mT + self._variances.diag_embed()

    def n_parameters(self, n_components: int, n_features: int) -> int:
        of_factor = n_features * self.rank - self.rank * (self.rank - 1) // 2
        full = n_features * (n_features + 1) // 2
        return n_components * min(n_features + of_factor, full)

    def marginal(self, dims: Tensor) -> "LowRankCovariance":
        return self._of(self._factor[..., dims, :], self._variances[..., dims])

    @full_precision
    def conditional(self, kept: Tensor, given: Tensor) -> tuple["LowRankCovariance", Tensor]:
        factor = self._factor[..., kept, :]
        evidence = LowRankForm(self._factor[..., given, :], self._variances[..., given])
        left = self._of(evidence.given(factor), self._variances[..., kept])
        return left, factor @ evidence.projection()

    @staticmethod
    def _of(factor: Tensor, variances: Tensor) -> "LowRankCovariance":
        """Takes a factor that may have more columns than rows, and then makes it square."""
        if factor.shape[-1] > factor.shape[-2]:
            factor = torch.linalg.qr(factor.mT).R.mT
        return LowRankCovariance(factor, variances, validate_args=False)

    def for_sklearn(self, n_components: int, n_features: int) -> FullCovariance:
        return FullCovariance(self.dense(n_components, n_features), validate_args=False)

    # -- blocks of rows ---------------------------------------------------------------------

    @property
    def moments(self) -> LowRankMoments:  # type: ignore[override]
        return LowRankMoments(self._form.projection())

    def whitener(self, n_components: int) -> Tensor:
        return self._form.whitener()

    @staticmethod
    def whiten_block(whitener: Tensor, deviations: Tensor, out: Tensor) -> None:
        rank = whitener.shape[-1] // 2
        scale, scaled, whitening = whitener.split([1, rank, rank], -1)
        torch.mul(scale, deviations, out=out)
        out.baddbmm_(scaled, torch.bmm(whitening.mT, deviations), alpha=-1)

    # -- estimates --------------------------------------------------------------------------

    def refitted(
        self, moments: Tensor, mass: Tensor, n_features: int, floor: float
    ) -> tuple["LowRankCovariance", Tensor]:
        # In terms of these covariances, what is maximized is -M/2 (log|Sigma| + tr(T Sigma^-1)),
        # with T = moments / M. Any positive semidefinite T is the second moment of some deviations
        # d, of which z given d is N(beta d, I - beta F) as of rows: the step of EM over these needs
        # T beta^T and diag T alone, and does not lower the objective. So it is exact, too, where
        # rows of a prior were added to T, whether or not M counts them (Sigma's inverse Wishart
        # density has nu S in T and nu in M; that of the mean adds to T only). The prior is a
        # function of Sigma, which the expansion by the covariance of z leaves as it is.
        averages = moments / mass[..., None, None]
        factor, variances = self._form.maximized(averages[..., :-1], averages[..., -1])
        return type(self)(factor, variances, validate_args=False).regularized(floor)

    def regularized(self, floor: float) -> tuple[Self, Tensor]:
        smallest = torch.finfo(self._variances.dtype).tiny ** 0.5
        variances = self._variances + floor
        raised = variances.clamp(min=smallest)
        return type(self)(self._factor, raised, validate_args=False), (variances < smallest).any(-1)

    @classmethod
    def unit(cls, means: Tensor, rank: int | None = None) -> Self:
        """Returns random directions, of which the first M-step makes Nyström's approximation, as
        next to nothing is left to the variances.
        """
        shape = means.shape[-1], cls.checked_rank(rank, means.shape[-1])
        generator = torch.Generator().manual_seed(0)
        cpu = generator.device
        factor = torch.randn(shape, generator=generator, dtype=torch.float64, device=cpu).to(means)
        least = torch.finfo(means.dtype).tiny ** 0.8
        variances = torch.full_like(means, least)
        return cls(factor.expand(*means.shape, -1), variances, validate_args=False)

    @full_precision
    def pooled(self, weights: Tensor) -> Self:
        """Returns the average, as far as its rank allows, with all of its variances."""
        n_components, shares = self._factor.shape[-3], weights.unsqueeze(-1)
        parts = self._factor * shares.sqrt().unsqueeze(-1)
        total = (shares * (self._variances + self._factor.square().sum(-1))).sum(-2)
        factor, variances = principal_factor(parts.movedim(-3, -2).flatten(-2), total, self.rank)
        batch = total.shape[:-1]
        return type(self)(
            factor.unsqueeze(-3).expand(*batch, n_components, -1, -1),
            variances.unsqueeze(-2).expand(*batch, n_components, -1),
            validate_args=False,
        )

    @full_precision
    def smallest_variance(self) -> Tensor:
        return torch.linalg.eigvalsh(self.dense(*self._variances.shape[-2:]))[..., 0]


def _check_fits(factor: Tensor, variances: Tensor) -> None:
    """Checks that a factor is of a rank, and that variances fit it."""
    *shape, rank = factor.shape[-3:]
    expected = f"a rank of at most {shape[-1]}, as there are features"
    check(rank <= shape[-1], "factor", expected, rank)
    expected, got = f"{tuple(shape)} in the last dimensions, as factor has", tuple(variances.shape)
    check(got[-2:] == tuple(shape), "variances", expected, f"shape {got}")
    check_same_kind({"factor": factor, "variances": variances})
    check_broadcast({"factor": factor.shape[:-3], "variances": variances.shape[:-2]})
