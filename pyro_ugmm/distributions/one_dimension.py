"""What a mixture has in one dimension only: a CDF and quantiles."""

from torch import Tensor

from ..checks import check, check_precision
from .parameters import MixtureParameters
from .unavailable import no_closed_form
from .univariate import UnivariateGaussianMixture

__all__ = ["OrderedMixture"]


class OrderedMixture(MixtureParameters):
    """A mixture whose rows have an order, if they are of one dimension."""

    def cdf(self, value: Tensor) -> Tensor:
        r"""Evaluates :math:`P(X \le x)` at rows ``(..., 1)`` of one dimension.

        Raises:
            NotImplementedError: in more dimensions, where it has no closed form.
        """
        if self.n_features > 1:
            raise no_closed_form("cdf", "mixture.marginal([dim]).cdf, or the share of draws below")
        check_precision("value", value)
        shape = tuple(value.shape)
        check(shape[-1:] == (1,), "value", "rows of one dimension, shape (..., 1)", shape)
        return self._univariate().cdf(value.squeeze(-1))

    def icdf(self, value: Tensor) -> Tensor:
        """Solves for the row ``(..., 1)`` below which the probability is ``value``, ``(...)``.

        Raises:
            NotImplementedError: in more dimensions, where rows have no order.
        """
        if self.n_features > 1:
            raise no_closed_form("icdf", "mixture.marginal([dim]).icdf")
        return self._univariate().icdf(value).unsqueeze(-1)

    def _univariate(self) -> UnivariateGaussianMixture:
        scale = self.covariance.dense(self.n_components, 1)[..., 0, 0].sqrt()
        options = {"logits": self.log_weights, "validate_args": self._validate_args}
        return UnivariateGaussianMixture(self.means[..., 0], scale, **options)
