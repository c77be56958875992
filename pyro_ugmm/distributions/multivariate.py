"""The multivariate Gaussian mixture."""

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Self

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import constraints

from ..checks import check, check_broadcast, check_same_kind, check_values
from ..precision import full_precision
from ..tables import Table, as_table
from . import interchange
from .arguments import (
    check_missing,
    check_numbers,
    check_shapes,
    checked_dims,
    given_values,
    sample_size,
)
from .components import Components
from .covariance import STRUCTURES, Covariance
from .covariance.matrices import apply_matrices
from .evaluation import Reduction, RowEvaluator
from .far_rows import settle_far_rows
from .sampling import draw_components
from .unavailable import NoClosedForm, no_closed_form

__all__ = ["GaussianMixture", "check_missing"]


def _expands(batch_shape: torch.Size, shape: torch.Size) -> bool:
    try:
        return torch.broadcast_shapes(batch_shape, shape) == shape
    except RuntimeError:
        return False


class _PartlyObserved(constraints.Constraint):
    event_dim = 1

    def check(self, value: Tensor) -> Tensor:
        return (value.isfinite() | value.isnan()).all(-1)


class GaussianMixture(NoClosedForm, dist.TorchDistribution):
    r"""A mixture of :math:`K` Gaussians over :math:`\mathbb{R}^D`.

    .. math:: p(x) = \sum_{k=1}^K w_k \, \mathcal{N}(x \mid \mu_k, \Sigma_k)

    Args:
        weights: :math:`w`, non-negative, sums of one, shape ``(..., K)``.
        means: :math:`\mu`, shape ``(..., K, D)``.
        covariance: :math:`\Sigma` in one of its structures: :class:`FullCovariance`,
            :class:`TiedCovariance`, :class:`DiagonalCovariance`, :class:`SphericalCovariance`.
        missing: what a NaN in a value means: an ``"error"``, or an entry that was not observed,
            which is integrated out (``"marginalize"``): the density is then that of the rest.

    Batch dimensions broadcast; ``event_shape`` is ``(D,)``. Densities differentiate with respect
    to all parameters and the value; samples carry no gradients. Where no gradient is asked for,
    one mixture evaluates many rows in blocks, so memory does not grow with rows times components;
    a batch of mixtures evaluates them at once. What blocks need of the parameters is kept until
    these hold other numbers, however they were changed.

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
    has_rsample = False

    def __init__(
        self,
        weights: Tensor,
        means: Tensor,
        covariance: Covariance,
        *,
        missing: str = "error",
        validate_args: bool | None = None,
    ) -> None:
        check_missing(missing)
        check_shapes(weights, means, covariance)
        self._components, self.missing = Components(weights, means, covariance), missing
        self._rows = RowEvaluator(self._components, missing)
        batch_shape = self._components.batch_shape
        super().__init__(batch_shape, means.shape[-1:], validate_args=validate_args)
        if self._validate_args:
            check_numbers(weights, means)

    @constraints.dependent_property(is_discrete=False, event_dim=1)
    def support(self):
        """Real vectors, with NaN for missing entries where these are marginalized."""
        return constraints.real_vector if self.missing == "error" else _PartlyObserved()

    def expand(self, batch_shape, _instance=None):
        """Broadcasts the batch to ``batch_shape``, without copying the parameters."""
        new = self._get_checked_instance(GaussianMixture, _instance)
        for name in ("_components", "missing", "_rows"):
            setattr(new, name, getattr(self, name))
        shape = torch.Size(batch_shape)
        expected = f"a shape that {tuple(self.batch_shape)} expands to"
        check(_expands(self.batch_shape, shape), "batch_shape", expected, tuple(shape))
        super(GaussianMixture, new).__init__(shape, self.event_shape, validate_args=False)
        new._validate_args = self._validate_args
        return new

    def __repr__(self) -> str:
        missing = "" if self.missing == "error" else f", missing={self.missing!r}"
        return (
            f"{type(self).__name__}(batch_shape={tuple(self.batch_shape)}, "
            f"n_components={self.n_components}, n_features={self.n_features}, "
            f"covariance={self.covariance.name!r}{missing})"
        )

    def to(self, *args: Any, **kwargs: Any) -> Self:
        """Returns the mixture on another device or in another dtype, as tensors' ``to`` does."""
        return self._broadcast(self._components.to(*args, **kwargs))

    def as_wide_as(self, dtype: torch.dtype) -> Self:
        """Returns the mixture in the wider of its own dtype and another."""
        wide = torch.promote_types(dtype, self.means.dtype)
        return self if wide == self.means.dtype else self.to(wide)

    # -- batches ----------------------------------------------------------------------------

    def reindex(self, function: Callable[[Tensor], Tensor]) -> Self:
        """Returns the mixture whose tensors are ``function`` of this one's.

        Args:
            function: which may only touch the batch's dimensions. All tensors have them all.
        """
        return self._like(self._components.expand(self.batch_shape).reindex(function))

    @classmethod
    def stack(cls, mixtures: Sequence[Self]) -> Self:
        """Returns a batch of mixtures of one batch shape, along a new first dimension."""
        parts = [mixture._components.expand(mixture.batch_shape) for mixture in mixtures]
        return mixtures[0]._like(Components.stack(parts))

    def tensors(self, *, computed: bool = False) -> dict[str, Tensor]:
        """Returns all parameters by name, for :meth:`from_tensors`.

        Args:
            computed: whether to add what was computed from them, so that nothing is computed anew.
        """
        return self._whole.tensors(computed=computed)

    @classmethod
    def from_tensors(
        cls,
        tensors: dict[str, Tensor],
        structure: str,
        *,
        missing: str = "error",
    ) -> Self:
        """Returns the mixture of which :meth:`tensors` gave the parameters.

        Args:
            tensors: the parameters by name.
            structure: the name of its covariance's structure.
            missing: as of the mixture.
        """
        components = Components.from_tensors(tensors, STRUCTURES[structure])
        return cls._of(components, missing=missing, validate_args=False)

    @classmethod
    def _of(cls, components: Components, **options: Any) -> Self:
        mixture = cls(components.weights, components.means, components.covariance, **options)
        if components.given_log_weights is not None:
            mixture._components = components
            mixture._rows = RowEvaluator(components, mixture.missing)
        return mixture

    @property
    def _whole(self) -> Components:
        """The parameters, with the whole batch in those that are small."""
        parts, logarithms = self._components, self._components.given_log_weights
        if logarithms is not None:
            logarithms = logarithms.expand(self.weights.shape)
        return replace(parts, weights=self.weights, given_log_weights=logarithms)

    def _like(self, components: Components) -> Self:
        other = self._of(components, missing=self.missing, validate_args=False)
        other._validate_args = self._validate_args
        return other

    def _broadcast(self, components: Components) -> Self:
        """A mixture whose batch is also that of this one."""
        other = self._like(components)
        batch = torch.broadcast_shapes(other.batch_shape, self.batch_shape)
        return other if batch == other.batch_shape else other.expand(batch)

    @classmethod
    def infer_shapes(cls, weights, means, covariance=()) -> tuple[torch.Size, torch.Size]:
        """Infers batch and event shape from those of the arguments.

        Args:
            weights: a shape ``(..., K)``.
            means: a shape ``(..., K, D)``.
            covariance: a :class:`Covariance`, or the shape of matrices ``(..., K, D, D)``.
        """
        is_covariance = isinstance(covariance, Covariance)
        batch = covariance.batch_shape if is_covariance else torch.Size(covariance)[:-3]
        shapes = torch.Size(weights)[:-1], torch.Size(means)[:-2], batch
        return torch.broadcast_shapes(*shapes), torch.Size(means)[-1:]

    # -- parameters and moments -------------------------------------------------------------

    @property
    def n_components(self) -> int:
        """The number of components :math:`K`."""
        return self._components.means.shape[-2]

    @property
    def n_features(self) -> int:
        """The number of dimensions :math:`D`."""
        return self._components.means.shape[-1]

    @property
    def weights(self) -> Tensor:
        """The weights :math:`w`, shape ``batch_shape + (K,)``."""
        return self._components.weights.expand(*self.batch_shape, -1)

    @property
    def log_weights(self) -> Tensor:
        r"""The logarithms of the weights, shape ``batch_shape + (K,)``; also of those that, as
        numbers, underflow in a conditional mixture.
        """
        return self._components.log_weights.expand(*self.batch_shape, -1)

    @property
    def means(self) -> Tensor:
        r"""The components' means :math:`\mu`, shape ``batch_shape + (K, D)``."""
        return self._components.means.expand(*self.batch_shape, -1, -1)

    @property
    def covariance(self) -> Covariance:
        r"""The components' covariances :math:`\Sigma`, whose batch may be smaller."""
        return self._components.covariance

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
        shape = tuple(table.values.shape)
        expected = f"{self.n_features} features in the last dimension"
        check(shape[-1:] == self.event_shape, "value", expected, f"shape {shape}")
        check_broadcast({"value": shape[:-1], "the batch": self.batch_shape})
        check_same_kind({"means": self._components.means, "value": table.values})
        table.check_finite("missing='marginalize'", missing=self.missing == "marginalize")

    def _evaluate(self, value: Any, reduce: Reduction) -> Tensor:
        table = as_table("value", value)
        if not table.is_tensor:
            wide = self.as_wide_as(table.values.dtype)
            return wide._evaluate_table(table.like("means", wide.means), reduce)
        return self._evaluate_table(table, reduce)

    def _evaluate_table(self, table: Table, reduce: Reduction) -> Tensor:
        if self._validate_args:
            self._check_rows(table)
        else:
            check_same_kind({"means": self._components.means, "value": table.values})
        result = self._rows.evaluate(table.values, reduce)
        batch = torch.broadcast_shapes(table.values.shape[:-1], self.batch_shape)
        trailing = result.shape[-1:] if reduce is torch.softmax else ()
        return result.expand(batch + trailing)

    def log_prob(self, value: Any) -> Tensor:
        """Evaluates the log density of rows ``(..., D)``, broadcast with the batch.

        With ``missing="marginalize"`` a row's NaN entries are integrated out.
        """
        return self._evaluate(value, torch.logsumexp)

    def responsibilities(self, value: Any) -> Tensor:
        r"""Returns each component's posterior probability given a row, shape ``(..., K)``.

        .. math:: r_k(x) = w_k \, \mathcal{N}(x \mid \mu_k, \Sigma_k) / p(x)
        """
        return self._evaluate(value, torch.softmax)

    def predict(self, value: Any) -> Tensor:
        """Returns the most probable component of each row, an index into the last of K."""
        return self._evaluate(value, torch.argmax)

    def aic(self, value: Any) -> float:
        r"""Akaike's criterion for rows ``(n, D)``: :math:`2p - 2 \log L`; the lower the better."""
        return 2.0 * (self.n_parameters - self._log_likelihood(value)[0])

    def bic(self, value: Any) -> float:
        r"""The Bayesian criterion, :math:`p \log n - 2 \log L`; the lower the better."""
        log_likelihood, n_rows = self._log_likelihood(value)
        return self.n_parameters * math.log(max(n_rows, 1)) - 2.0 * log_likelihood

    @torch.no_grad()
    def _log_likelihood(self, value: Any) -> tuple[float, int]:
        check(self.batch_shape.numel() == 1, "mixture", "a batch of one", tuple(self.batch_shape))
        shape = tuple(as_table("value", value).values.shape)
        check(len(shape) == 2, "value", "rows, shape (n, D)", shape)
        return float(self.log_prob(value).sum()), shape[0]

    # -- samples ----------------------------------------------------------------------------

    @torch.no_grad()
    def sample_with_component(
        self, sample_shape=(), generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Draws rows, ``sample_shape + batch_shape + (D,)``, and the component of each.

        Args:
            sample_shape: of how many draws; sizes may be zero.
            generator: of random numbers, on the mixture's device; torch's own by default.
        """
        component = draw_components(self.weights, sample_size(sample_shape), generator)
        shape, at = component.shape, component.unsqueeze(-1)
        n_components, n_features = self.n_components, self.n_features
        means = self.means.expand(*shape, n_components, n_features)
        mean = means.gather(-2, at.unsqueeze(-1).expand(*shape, 1, n_features)).squeeze(-2)
        noise = torch.empty(math.prod(shape), n_features, dtype=mean.dtype, device=mean.device)
        index = self.covariance.place(component, n_components)
        noise = self.covariance.color(noise.normal_(generator=generator), index)
        return mean + noise.reshape(mean.shape), component

    def sample(self, sample_shape=(), generator: torch.Generator | None = None) -> Tensor:
        """Draws rows of shape ``sample_shape + batch_shape + (D,)``, without gradients."""
        return self.sample_with_component(sample_shape, generator)[0]

    def rsample(self, sample_shape=()) -> Tensor:
        """Draws of several dimensions have no pathwise gradients."""
        remedy = "draw the component, and from it by torch's MultivariateNormal"
        raise NotImplementedError(f"rsample: no pathwise gradients of a mixture's rows; {remedy}")

    def cdf(self, value: Tensor) -> Tensor:
        """The probability below a row has no closed form."""
        raise no_closed_form("cdf", "mixture.marginal([dim]), or the share of draws below")

    def icdf(self, value: Tensor) -> Tensor:
        """Rows have no order, so no quantiles."""
        raise no_closed_form("icdf", "torch.quantile(mixture.sample((10_000,)), q, 0)")

    # -- marginals and conditionals ---------------------------------------------------------

    def marginal(self, dims: Sequence[int]) -> Self:
        """Returns the mixture of some dimensions alone, in the order given."""
        at = torch.tensor(
            checked_dims("dims", dims, self.n_features), device=self._components.means.device
        )
        parts = self._components
        means, covariance = parts.means[..., at], parts.covariance.marginal(at)
        return self._broadcast(replace(parts, means=means, covariance=covariance))

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
        expected = "a mapping from dimensions to their values"
        check(isinstance(values, Mapping), "values", expected, type(values).__name__)
        given = checked_dims("values", list(values), self.n_features)
        kept = [dim for dim in range(self.n_features) if dim not in given]
        check(kept, "values", f"fewer than all {self.n_features} dimensions", given)
        x = given_values(values, self._components.means)
        check_values("values", x, x.isfinite(), "finite values")
        check_broadcast({"values": x.shape[:-1], "the batch": self.batch_shape})
        return self.as_wide_as(x.dtype)._given(x, kept, given)

    def _given(self, x: Tensor, kept: list[int], given: list[int]) -> Self:
        a, b = (torch.tensor(dims, device=x.device) for dims in (kept, given))
        covariance, regression = self.covariance.conditional(a, b)
        means_b, evidence = self._components.means[..., b], self.covariance.marginal(b)
        prior = self._components.log_weights
        log_joint = prior + evidence.log_density(x, means_b)
        log_weights = settle_far_rows(log_joint, x, prior, means_b, evidence).log_softmax(-1)
        means = self._components.means[..., a] + apply_matrices(
            regression, x.unsqueeze(-2) - means_b
        )
        parts = Components(log_weights.exp(), means, covariance, log_weights)
        return self._broadcast(parts)

    # -- files and scikit-learn -------------------------------------------------------------

    def save(self, path: str | os.PathLike) -> None:
        """Writes the mixture to a safetensors file, atomically."""
        interchange.save(self._whole, self.missing, path)

    @classmethod
    def load(cls, path: str | os.PathLike, device: str | torch.device = "cpu") -> Self:
        """Reads a mixture that :meth:`save` wrote."""
        components, missing = interchange.load(path, device)
        return cls._of(components, missing=missing)

    def to_sklearn(self) -> Any:
        """Returns a fitted ``sklearn.mixture.GaussianMixture`` with these parameters."""
        return interchange.to_sklearn(self._whole)

    @classmethod
    def from_sklearn(cls, model: Any, device: str | torch.device = "cpu") -> Self:
        """Takes the parameters of a fitted ``sklearn.mixture.GaussianMixture``."""
        return cls._of(interchange.from_sklearn(model, device))
