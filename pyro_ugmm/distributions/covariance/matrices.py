"""Covariances that are matrices: one for each component, or one for all."""

from collections.abc import Callable, Sequence
from typing import Self

import torch
from torch import Tensor

from ...checks import check_values
from ...kept import Kept
from ...precision import full_precision
from ...tracking import is_recorded, is_tracked, known_to_hold
from ..factorization import factorize
from .base import Covariance
from .indexing import map_by_index
from .moments import SecondMoments

__all__ = ["MatrixCovariance", "MatrixMoments", "apply_matrices"]


def apply_matrices(matrices: Tensor, vectors: Tensor) -> Tensor:
    """Multiplies matrices ``(..., M, D)`` by vectors ``(..., D)``, broadcasting leading dimensions.

    Dimensions along which the matrices do not vary become columns of one matrix product, so the
    matrices are never copied for them.
    """
    batch = torch.broadcast_shapes(matrices.shape[:-2], vectors.shape[:-1])
    n_batch = len(batch)
    sizes = (1,) * (n_batch - matrices.dim() + 2) + tuple(matrices.shape[:-2])
    rows = [i for i, size in enumerate(sizes) if size > 1]
    columns = [i for i, size in enumerate(sizes) if size == 1]
    order = [*rows, n_batch, *columns, n_batch + 1]  # the last is a column more, of size one
    vectors = vectors.expand(*batch, -1).unsqueeze(-1).permute(order)
    n_rows = len(rows)
    matrices = matrices.reshape(*vectors.shape[:n_rows], *matrices.shape[-2:])
    product = matrices @ vectors.flatten(n_rows + 1)
    product = product.reshape(*product.shape[: n_rows + 1], *vectors.shape[n_rows + 1 :])
    back = sorted(range(len(order)), key=order.__getitem__)
    return product.permute(back).squeeze(-1)


class MatrixMoments(SecondMoments):
    """Moments that are matrices."""

    def at_least(self, central: Tensor, least: Tensor) -> Tensor:
        needed = (least - central).diagonal(dim1=-2, dim2=-1).clamp(min=0)
        return central + needed.diag_embed()


class MatrixCovariance(Covariance):
    """Covariances given as matrices, used through their Cholesky factors."""

    def __init__(self, values: Tensor, *, validate_args: bool | None = None) -> None:
        self._kept = Kept()
        self._given: Tensor | None = None
        self.values = values
        super().__init__(values, validate_args=validate_args)

    @classmethod
    @full_precision
    def from_factor(cls, factor: Tensor) -> Self:
        """Takes lower triangular factors :math:`L` with positive diagonals; gradients flow
        through them, and no matrix needs to be factored.
        """
        covariance = cls(factor @ factor.mT, validate_args=False)
        covariance._set_factor(factor)
        return covariance

    def _fits(self, name: str, shape: Sequence[int]) -> bool:
        return super()._fits(name, shape) and shape[-1] == shape[-2]

    @property
    def n_features(self) -> int:
        return self.values.shape[-1]

    @property
    def _argument(self) -> str:
        return next(iter(self.arguments))

    def check_positive_definite(self) -> None:
        values = self.values.detach()
        check_values(self._argument, values, values.isfinite(), "finite values")
        scale = values.diagonal(dim1=-2, dim2=-1).abs().sqrt()
        tolerance = 1e-5 * scale.unsqueeze(-1) * scale.unsqueeze(-2)
        symmetric = (values - values.mT).abs() <= tolerance
        check_values(self._argument, values, symmetric, "symmetric matrices")
        self._refuse_if(torch.linalg.cholesky_ex(values).info > 0)

    def _refuse_if(self, failed: Tensor) -> None:
        if is_recorded() or known_to_hold(~failed):
            return
        at = tuple(int(i) for i in failed.nonzero()[0])
        smallest = torch.linalg.eigvalsh(self.values.detach()[at])[0].item()
        raise ValueError(
            f"{self._argument}: expected positive definite matrices, got one whose smallest "
            f"eigenvalue is {smallest:.3g} in {self.values.dtype}"
            + (f" at index {at}" if at else "")
        )

    def _known(self, name: str) -> Tensor | None:
        if is_tracked(self.values):
            return self._given if name == "factor" else None
        known = self._kept.find(name, [self.values])
        fits = known is not None and known.requires_grad == self.values.requires_grad
        return known if fits else None

    def _cached(self, name: str, compute: Callable[[], Tensor]) -> Tensor:
        """Computes a tensor, once as long as ``values`` do not change and need no gradient."""
        known = self._known(name)
        if known is not None:
            return known
        if self.values.requires_grad or is_tracked(self.values):
            return compute()
        with torch.inference_mode(False):
            result = compute()
            self._kept.keep(name, [self.values], result)
            return result

    @property
    def factor(self) -> Tensor:
        """The Cholesky factors :math:`L`, in the shape of ``values``."""

        def compute() -> Tensor:
            factor, info = torch.linalg.cholesky_ex(0.5 * (self.values + self.values.mT))
            if not torch.distributions.Distribution._validate_args:  # as while particles move
                return factor.masked_fill((info > 0)[..., None, None], torch.nan)
            self._refuse_if(info > 0)
            return factor

        return self._cached("factor", compute)

    @property
    def inverse_factor(self) -> Tensor:
        """The inverses of the Cholesky factors."""

        def compute() -> Tensor:
            eye = torch.eye(
                self.values.shape[-1], dtype=self.values.dtype, device=self.values.device
            )
            return torch.linalg.solve_triangular(self.factor, eye, upper=False)

        return self._cached("inverse_factor", compute)

    def _by_component(self, tensor: Tensor) -> Tensor:
        """Gives a tensor in the shape of ``values`` a dimension for the components."""
        return tensor.unsqueeze(-3) if self.is_shared else tensor

    def reindex(self, function: Callable[[Tensor], Tensor]) -> Self:
        other = type(self)(function(self.values), validate_args=False)
        factor = self._known("factor")
        if factor is not None:
            other._set_factor(function(factor))
        return other

    def tensors(self, *, computed: bool = False) -> dict[str, Tensor]:
        return {**super().tensors(), **({"factor": self.factor} if computed else {})}

    @classmethod
    def from_tensors(
        cls, tensors: dict[str, Tensor], *, validate_args: bool | None = False
    ) -> Self:
        covariance = super().from_tensors(tensors, validate_args=validate_args)
        if "factor" in tensors:
            covariance._set_factor(tensors["factor"])
        return covariance

    def _set_factor(self, factor: Tensor) -> None:
        if is_tracked(self.values):  # which nobody can compare
            self._given = factor
        else:
            self._kept.keep("factor", [self.values], factor)

    @full_precision
    def whiten(self, deviations: Tensor) -> Tensor:
        return apply_matrices(self._by_component(self.inverse_factor), deviations)

    @full_precision
    def color(self, noise: Tensor, index: Tensor) -> Tensor:
        factors = self.factor.reshape(-1, *self.factor.shape[-2:])
        return map_by_index(lambda rows, i: rows @ factors[i].mT, noise, index, len(factors))

    def log_determinant(self, n_features: int) -> Tensor:
        factor = self._by_component(self.factor)
        return 2 * factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)

    def dense(self, n_components: int, n_features: int) -> Tensor:
        values = self._by_component(self.values)
        return values.expand(*values.shape[:-3], n_components, n_features, n_features)

    def n_parameters(self, n_components: int, n_features: int) -> int:
        return self.n_distinct(n_components) * n_features * (n_features + 1) // 2

    def marginal(self, dims: Tensor) -> Self:
        return type(self)(self.values[..., dims[:, None], dims], validate_args=False)

    def conditional(self, kept: Tensor, given: Tensor) -> tuple[Self, Tensor]:
        n_given, order = len(given), torch.cat([given, kept])
        _, factor, _ = factorize(self.values[..., order[:, None], order])
        of_given, across = factor[..., :n_given, :n_given], factor[..., n_given:, :n_given]
        regression = torch.linalg.solve_triangular(of_given, across, upper=False, left=False)
        left = type(self).from_factor(factor[..., n_given:, n_given:])
        return left, self._by_component(regression)

    def whitener(self, n_components: int) -> Tensor:
        inverse = self._by_component(self.inverse_factor)
        return inverse.expand(n_components, *inverse.shape[-2:])

    @staticmethod
    def whiten_block(whitener: Tensor, deviations: Tensor, out: Tensor) -> None:
        torch.bmm(whitener, deviations, out=out)

    def canceling(self, means: Tensor) -> Tensor:
        precision = self._by_component(self.inverse_factor).square().sum(-2)
        variance = self._by_component(self.values).diagonal(dim1=-2, dim2=-1)
        return (precision * (means.square() + variance)).sum(-1)

    def regularized(self, floor: float) -> tuple[Self, Tensor]:
        matrices = self.values.clone()
        matrices.diagonal(dim1=-2, dim2=-1).add_(floor)
        matrices, factor, is_raised = factorize(matrices)
        covariance = type(self)(matrices, validate_args=False)
        covariance._set_factor(factor)
        return covariance, is_raised.unsqueeze(-1) if self.is_shared else is_raised

    def smallest_variance(self) -> Tensor:
        return torch.linalg.eigvalsh(self._by_component(self.values))[..., 0]

    @full_precision
    def precisions(self) -> tuple[Tensor, Tensor]:
        """Returns the inverses of the matrices, and factors :math:`U` of these, :math:`UU^T`."""
        upper = self.inverse_factor.mT
        return upper @ upper.mT, upper

    @classmethod
    @full_precision
    def from_precisions(cls, precisions: Tensor) -> Self:
        """Takes the inverses of matrices; whether these are positive definite is not checked."""
        return cls(torch.linalg.inv(precisions), validate_args=False)
