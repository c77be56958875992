"""The multivariate Gaussian mixture."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Self

import torch
from torch import Tensor

from ..checks import check_broadcast, check_same_kind
from ..precision import full_precision
from ..tables import Table, as_table
from .arguments import check_rows, checked_condition, checked_dims
from .conditioning import conditional, marginal
from .covariance.sums import with_errors
from .draws import SampledMixture
from .evaluation import RowEvaluator
from .information_criteria import InformationCriteria
from .interchange import StoredMixture
from .noise import noise_of_any_batch
from .one_dimension import OrderedMixture
from .reductions import LogDensity, MostProbable, Reduction, Responsibilities
from .unavailable import NoClosedForm

__all__ = ["GaussianMixture"]


class GaussianMixture(
    InformationCriteria, NoClosedForm, SampledMixture, OrderedMixture, StoredMixture
):
    r"""A mixture of :math:`K` Gaussians over :math:`\mathbb{R}^D`.

    .. math:: p(x) = \sum_{k=1}^K w_k \, \mathcal{N}(x \mid \mu_k, \Sigma_k)

    Args:
        weights: :math:`w`, non-negative, sums of one, shape ``(..., K)``.
        means: :math:`\mu`, shape ``(..., K, D)``.
        covariance: :math:`\Sigma` in one of its structures: :class:`FullCovariance`,
            :class:`TiedCovariance`, :class:`DiagonalCovariance`, :class:`SphericalCovariance`,
            :class:`LowRankCovariance`.
        missing: what a NaN in a value means: an ``"error"``, or an entry that was not observed,
            which is integrated out (``"marginalize"``): the density is then that of the rest.

    Batch dimensions broadcast; ``event_shape`` is ``(D,)``. Densities differentiate with respect
    to all parameters and the value, draws of ``rsample`` to all parameters. Where no gradient is
    asked for, one mixture evaluates many rows in blocks, so memory does not grow with rows times
    components; a batch of mixtures evaluates them at once. What blocks need of the parameters is
    kept until these hold other numbers, however they were changed.

    Rows may also come as arrays, masked arrays, data frames or lists. A tensor has to be of the
    mixture's dtype; anything else is taken as it is, and computed with in the wider of the two.

    Raises:
        ValueError: if the shapes do not fit, dtypes or devices differ, or weights do not sum to
            one; the covariance checks itself.

    Example:
        >>> import torch
        >>> from pyro_ugmm.distributions import FullCovariance, GaussianMixture
        >>> means = torch.tensor([[-2.0, 0.0], [2.0, 1.0]])
        >>> covariance = FullCovariance(torch.eye(2).expand(2, 2, 2))
        >>> m = GaussianMixture(torch.tensor([0.4, 0.6]), means, covariance)
        >>> m
        GaussianMixture(batch_shape=(), n_components=2, n_features=2, covariance='full')
        >>> m.mean
        tensor([0.4000, 0.6000])
        >>> m.predict(torch.tensor([[-1.0, 0.0], [3.0, 0.0]]))
        tensor([0, 1])
        >>> m.condition({0: 2.0}).mean  # regression of the second dimension on the first
        tensor([0.9998])
    """

    arg_constraints: dict[str, Any] = {}

    @property
    def mean(self) -> Tensor:
        r"""The whole mixture's mean :math:`\sum_k w_k \mu_k`, shape ``batch_shape + (D,)``."""
        return (self.weights.unsqueeze(-1) * self._components.means).sum(-2)

    @property
    @full_precision
    def covariance_matrix(self) -> Tensor:
        r"""The whole mixture's covariance, shape ``batch_shape + (D, D)``.

        .. math:: \sum_k w_k \left[\Sigma_k + (\mu_k - \mu)(\mu_k - \mu)^T\right]
        """
        deviations = self._components.means - self.mean.unsqueeze(-2)
        between = (self.weights.unsqueeze(-1) * deviations).mT @ deviations
        within = self.covariance.dense(self.n_components, self.n_features)
        return between + (self.weights[..., None, None] * within).sum(-3)

    @property
    def variance(self) -> Tensor:
        """The diagonal of :attr:`covariance_matrix`, shape ``batch_shape + (D,)``."""
        return self.covariance_matrix.diagonal(dim1=-2, dim2=-1)

    @property
    def n_parameters(self) -> int:
        """The number of free parameters of one mixture of the batch."""
        n_covariance = self.covariance.n_parameters(self.n_components, self.n_features)
        return self.n_components * (self.n_features + 1) - 1 + n_covariance

    # -- densities --------------------------------------------------------------------------

    def _validate_sample(self, value: Tensor) -> None:
        self._check_rows(as_table("value", value))

    def _check_rows(self, table: Table) -> None:
        means = self._components.means
        check_rows(table, self.n_features, self.batch_shape, means, self.missing)

    def _evaluate(self, value: Any, reduction: Reduction) -> Tensor:
        table = as_table("value", value)
        if not table.is_tensor:
            wide = self.as_wide_as(table.values.dtype)
            return wide._evaluate_table(table.like("means", wide.means), reduction)
        return self._evaluate_table(table, reduction)

    def _evaluate_table(self, table: Table, reduction: Reduction) -> Tensor:
        if self._validate_args:
            self._check_rows(table)
        else:
            check_same_kind({"means": self._components.means, "value": table.values})
        rows = RowEvaluator(self._components, self.missing, self._kept)
        result = rows.evaluate(table.values, reduction)
        if not self.batch_shape:
            return result
        batch = torch.broadcast_shapes(table.values.shape[:-1], self.batch_shape)
        return result.expand(batch + reduction.trailing_shape(self.n_components))

    def log_prob(self, value: Any) -> Tensor:
        """Evaluates the log density of rows ``(..., D)``, broadcast with the batch.

        With ``missing="marginalize"`` a row's NaN entries are integrated out.
        """
        return self._evaluate(value, LogDensity())

    def responsibilities(self, value: Any) -> Tensor:
        r"""Returns each component's posterior probability given a row, shape ``(..., K)``.

        .. math:: r_k(x) = w_k \, \mathcal{N}(x \mid \mu_k, \Sigma_k) / p(x)
        """
        return self._evaluate(value, Responsibilities())

    def predict(self, value: Any) -> Tensor:
        """Returns the most probable component of each row, an index into the last of K."""
        return self._evaluate(value, MostProbable())

    @full_precision
    def convolve(self, noise: Any) -> Self:
        r"""Returns the mixture of rows measured with independent Gaussian errors.

        .. math:: p(x + e) = \sum_k w_k \, \mathcal{N}(\mu_k, \Sigma_k + S), \quad
            e \sim \mathcal{N}(0, S)

        Args:
            noise: :math:`S`: covariances ``(..., D, D)``, or variances ``(..., D)``, whose leading
                dimensions broadcast with the batch: those of ``n`` rows make ``n`` mixtures. What
                ends in ``(D, D)`` is a covariance.

        Raises:
            ValueError: if the noise is not finite and positive semi-definite, or of another shape.
        """
        errors, are_variances = noise_of_any_batch(noise, self.means)
        leading = errors.shape[: -1 if are_variances else -2]
        check_broadcast({"noise": leading, "the batch": self.batch_shape})
        covariance = with_errors(self.covariance, errors, self.means, are_variances=are_variances)
        return self._broadcast(replace(self._components, covariance=covariance))

    # -- marginals and conditionals ---------------------------------------------------------

    def marginal(self, dims: Sequence[int]) -> Self:
        """Returns the mixture of some dimensions alone, in the order given."""
        at = torch.tensor(checked_dims("dims", dims, self.n_features), device=self.means.device)
        return self._broadcast(marginal(self._components, at))

    @full_precision
    def condition(self, values: Mapping[int, Any]) -> Self:
        r"""Returns the mixture of the other dimensions, given values of some.

        .. math:: p(x_a \mid x_b) = \sum_k w_k(x_b) \, \mathcal{N}(x_a \mid
            \mu_{k,a} + \Sigma_{k,ab} \Sigma_{k,bb}^{-1} (x_b - \mu_{k,b}),\;
            \Sigma_{k,aa} - \Sigma_{k,ab} \Sigma_{k,bb}^{-1} \Sigma_{k,ba}),
            \quad w_k(x_b) \propto w_k \, \mathcal{N}(x_b \mid \mu_{k,b}, \Sigma_{k,bb})

        Args:
            values: a number, tensor or array for each dimension given; they broadcast with each
                other and the batch, so ``{0: x}`` with ``x`` of shape ``(n,)`` gives n mixtures.
                The result is in the wider of the mixture's dtype and those of arrays.
        """
        kept, given, x = checked_condition(values, self.means, self.batch_shape)
        wide = self.as_wide_as(x.dtype)
        a, b = (torch.tensor(dims, device=x.device) for dims in (kept, given))
        return wide._broadcast(conditional(wide._components, x, a, b))
