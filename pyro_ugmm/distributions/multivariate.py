"""The multivariate Gaussian mixture."""

import math
import operator
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import constraints

from ..checks import check, check_broadcast, check_floating, check_same_kind, check_values
from . import interchange
from .covariance import Covariance
from .covariance.matrices import apply_matrices
from .evaluation import Reduction, RowEvaluator, log_weights
from .far_rows import settle_far_rows

__all__ = ["GaussianMixture", "check_missing"]


def check_missing(missing: str) -> None:
    """Checks the option that says what a NaN means."""
    valid = isinstance(missing, str) and missing in ("error", "marginalize")
    check(valid, "missing", "'error' or 'marginalize'", repr(missing))


def _check_shapes(weights: Tensor, means: Tensor, covariance: Covariance) -> None:
    check(isinstance(covariance, Covariance), "covariance", "a Covariance", type(covariance))
    named = {"weights": weights, "means": means}
    for name, tensor in named.items():
        check_floating(name, tensor)
    check(
        means.dim() > 1 and 0 not in means.shape, "means", "shape (..., K, D)", tuple(means.shape)
    )
    n_components, n_features = means.shape[-2:]
    expected = f"{n_components} components, as means has"
    check(weights.dim() > 0, "weights", "shape (..., K)", tuple(weights.shape))
    check(weights.shape[-1] == n_components, "weights", expected, f"shape {tuple(weights.shape)}")
    for count, got, what in (
        (n_components, covariance.n_components, "components"),
        (n_features, covariance.n_features, "features"),
    ):
        check(got in (None, count), "covariance", f"{count} {what}, as means has", got)
    check_same_kind({"means": means, "weights": weights, "covariance": covariance.values})
    check_broadcast(
        {
            "weights": weights.shape[:-1],
            "means": means.shape[:-2],
            "covariance": covariance.batch_shape,
        }
    )


def _check_numbers(weights: Tensor, means: Tensor) -> None:
    check_values("means", means, means.isfinite(), "finite values")
    check_values("weights", weights, weights >= 0, "non-negative values")
    total = weights.detach().sum(-1)
    tolerance = 1e-5 if weights.dtype == torch.float64 else 1e-4
    expected = "weights that sum to one (divide them by their sum)"
    check_values("weights", total, (total - 1).abs() <= tolerance, f"{expected}; as sums")


def _checked_dims(name: str, dims: Iterable[int], n_features: int) -> list[int]:
    expected = f"distinct dimensions between 0 and {n_features - 1}"
    try:
        found = [-1 if isinstance(dim, bool) else operator.index(dim) for dim in dims]
    except TypeError:
        found = []
    valid = all(0 <= dim < n_features for dim in found)
    check(valid and len(set(found)) == len(found) > 0, name, expected, dims)
    return found


def _expands(batch_shape: torch.Size, shape: torch.Size) -> bool:
    try:
        return torch.broadcast_shapes(batch_shape, shape) == shape
    except RuntimeError:
        return False


class _PartlyObserved(constraints.Constraint):
    event_dim = 1

    def check(self, value: Tensor) -> Tensor:
        return (value.isfinite() | value.isnan()).all(-1)


class GaussianMixture(dist.TorchDistribution):
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
    torch changes these; it does not see changes made through NumPy.

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
        _check_shapes(weights, means, covariance)
        self._weights, self._means, self.covariance = weights, means, covariance
        self.missing = missing
        self._rows = RowEvaluator(weights, means, covariance, missing)
        super().__init__(self._rows.batch_shape, means.shape[-1:], validate_args=validate_args)
        if self._validate_args:
            _check_numbers(weights, means)

    @constraints.dependent_property(is_discrete=False, event_dim=1)
    def support(self):
        """Real vectors, with NaN for missing entries where these are marginalized."""
        return constraints.real_vector if self.missing == "error" else _PartlyObserved()

    def expand(self, batch_shape, _instance=None):
        """Broadcasts the batch to ``batch_shape``, without copying the parameters."""
        new = self._get_checked_instance(GaussianMixture, _instance)
        for name in ("_weights", "_means", "covariance", "missing", "_rows"):
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
        covariance = self.covariance.to(*args, **kwargs)
        weights, means = (t.to(*args, **kwargs) for t in (self._weights, self._means))
        return self._like(weights, means, covariance)

    # -- parameters and moments -------------------------------------------------------------

    @property
    def n_components(self) -> int:
        """The number of components :math:`K`."""
        return self._means.shape[-2]

    @property
    def n_features(self) -> int:
        """The number of dimensions :math:`D`."""
        return self._means.shape[-1]

    @property
    def weights(self) -> Tensor:
        """The weights :math:`w`, shape ``batch_shape + (K,)``."""
        return self._weights.expand(*self.batch_shape, -1)

    @property
    def means(self) -> Tensor:
        r"""The components' means :math:`\mu`, shape ``batch_shape + (K, D)``."""
        return self._means.expand(*self.batch_shape, -1, -1)

    @property
    def mean(self) -> Tensor:
        r"""The whole mixture's mean :math:`\sum_k w_k \mu_k`, shape ``batch_shape + (D,)``."""
        return (self.weights.unsqueeze(-1) * self._means).sum(-2)

    @property
    def covariance_matrix(self) -> Tensor:
        r"""The whole mixture's covariance, shape ``batch_shape + (D, D)``.

        .. math:: \sum_k w_k \left[\Sigma_k + (\mu_k - \mu)(\mu_k - \mu)^T\right]
        """
        deviations = self._means - self.mean.unsqueeze(-2)
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
        check_floating("value", value)
        expected = f"{self.n_features} features in the last dimension"
        shape = tuple(value.shape)
        check(shape[-1:] == self.event_shape, "value", expected, f"shape {shape}")
        check_broadcast({"value": value.shape[:-1], "the batch": self.batch_shape})
        check_same_kind({"means": self._means, "value": value})
        if torch._is_all_true(value.sum().isfinite()):  # one quick look at many rows
            return
        finite = value.isfinite()
        if self.missing == "error":
            expected = "finite values (NaN stands for missing with missing='marginalize')"
        else:
            finite |= value.isnan() & ~value.isnan().all(-1, keepdim=True)
            expected = "finite values, or NaN in rows of which something was observed"
        check_values("value", value, finite, expected)

    def _evaluate(self, value: Tensor, reduce: Reduction) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        result = self._rows.evaluate(value, reduce)
        batch = torch.broadcast_shapes(value.shape[:-1], self.batch_shape)
        trailing = result.shape[-1:] if reduce is torch.softmax else ()
        return result.expand(batch + trailing)

    def log_prob(self, value: Tensor) -> Tensor:
        """Evaluates the log density of rows ``(..., D)``, broadcast with the batch.

        With ``missing="marginalize"`` a row's NaN entries are integrated out.
        """
        return self._evaluate(value, torch.logsumexp)

    def responsibilities(self, value: Tensor) -> Tensor:
        r"""Returns each component's posterior probability given a row, shape ``(..., K)``.

        .. math:: r_k(x) = w_k \, \mathcal{N}(x \mid \mu_k, \Sigma_k) / p(x)
        """
        return self._evaluate(value, torch.softmax)

    def predict(self, value: Tensor) -> Tensor:
        """Returns the most probable component of each row, an index into the last of K."""
        return self._evaluate(value, torch.argmax)

    def aic(self, value: Tensor) -> float:
        r"""Akaike's criterion for rows ``(n, D)``: :math:`2p - 2 \log L`; the lower the better."""
        return 2.0 * (self.n_parameters - float(self._log_likelihood(value)))

    def bic(self, value: Tensor) -> float:
        r"""The Bayesian criterion, :math:`p \log n - 2 \log L`; the lower the better."""
        log_likelihood = float(self._log_likelihood(value))
        return self.n_parameters * math.log(max(len(value), 1)) - 2.0 * log_likelihood

    @torch.no_grad()
    def _log_likelihood(self, value: Tensor) -> Tensor:
        check(self.batch_shape.numel() == 1, "mixture", "a batch of one", tuple(self.batch_shape))
        check_floating("value", value)
        check(value.dim() == 2, "value", "rows, shape (n, D)", tuple(value.shape))
        return self.log_prob(value).sum()

    # -- samples ----------------------------------------------------------------------------

    @torch.no_grad()
    def sample_with_component(
        self, sample_shape=(), generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Draws rows, ``sample_shape + batch_shape + (D,)``, and the component of each."""
        shape = torch.Size(sample_shape)
        count, weights = shape.numel(), self.weights.reshape(-1, self.n_components)
        component = weights.new_empty(len(weights), 0, dtype=torch.long)
        if count:  # torch does not draw nothing
            component = torch.multinomial(weights, count, True, generator=generator)
        component = component.T.reshape(shape + self.batch_shape)
        shape, at = component.shape, component.unsqueeze(-1)
        n_components, n_features = self.n_components, self.n_features
        values, covariance = self.covariance.values, self.covariance
        leading = values.shape[: values.dim() - covariance.values_dim]
        index = torch.arange(leading.numel(), device=values.device).reshape(leading)
        if not covariance.per_component:
            index = index.unsqueeze(-1)
        index = index.expand(*shape, n_components).gather(-1, at)
        means = self.means.expand(*shape, n_components, n_features)
        mean = means.gather(-2, at.unsqueeze(-1).expand(*shape, 1, n_features)).squeeze(-2)
        noise = mean.new_empty(shape.numel(), n_features).normal_(generator=generator)
        return mean + covariance.color(noise, index.reshape(-1)).reshape(mean.shape), component

    def sample(self, sample_shape=()) -> Tensor:
        """Draws rows of shape ``sample_shape + batch_shape + (D,)``, without gradients."""
        return self.sample_with_component(sample_shape)[0]

    # -- marginals and conditionals ---------------------------------------------------------

    def _like(self, weights: Tensor, means: Tensor, covariance: Covariance) -> Self:
        other = type(self)(weights, means, covariance, missing=self.missing, validate_args=False)
        other._validate_args = self._validate_args
        batch = torch.broadcast_shapes(other.batch_shape, self.batch_shape)
        return other if batch == other.batch_shape else other.expand(batch)

    def marginal(self, dims: Sequence[int]) -> Self:
        """Returns the mixture of some dimensions alone, in the order given."""
        at = torch.tensor(_checked_dims("dims", dims, self.n_features), device=self._means.device)
        return self._like(self._weights, self._means[..., at], self.covariance.marginal(at))

    def condition(self, values: Mapping[int, float | Tensor]) -> Self:
        r"""Returns the mixture of the other dimensions, given values of some.

        .. math:: p(x_a \mid x_b) = \sum_k w_k(x_b) \, \mathcal{N}(x_a \mid
            \mu_{k,a} + \Sigma_{k,ab} \Sigma_{k,bb}^{-1} (x_b - \mu_{k,b}),\;
            \Sigma_{k,aa} - \Sigma_{k,ab} \Sigma_{k,bb}^{-1} \Sigma_{k,ba}),
            \quad w_k(x_b) \propto w_k \, \mathcal{N}(x_b \mid \mu_{k,b}, \Sigma_{k,bb})

        Args:
            values: a number or tensor for each dimension given; tensors broadcast with each
                other and the batch, so ``{0: x}`` with ``x`` of shape ``(n,)`` gives n mixtures.
        """
        expected = "a mapping from dimensions to their values"
        check(isinstance(values, Mapping), "values", expected, type(values).__name__)
        given = _checked_dims("values", list(values), self.n_features)
        kept = [dim for dim in range(self.n_features) if dim not in given]
        check(kept, "values", f"fewer than all {self.n_features} dimensions", given)
        dtype, device = self._means.dtype, self._means.device
        tensors = [torch.as_tensor(v, dtype=dtype, device=device) for v in values.values()]
        check_broadcast({f"values[{d}]": t.shape for d, t in zip(values, tensors, strict=True)})
        x = torch.stack(torch.broadcast_tensors(*tensors), -1)
        check_values("values", x, x.isfinite(), "finite values")
        check_broadcast({"values": x.shape[:-1], "the batch": self.batch_shape})
        a, b = (torch.tensor(dims, device=x.device) for dims in (kept, given))
        covariance, regression = self.covariance.conditional(a, b)
        means_b = self._means[..., b]
        evidence, logits = self.covariance.marginal(b), log_weights(self._weights)
        log_joint = logits + evidence.log_density(x, means_b)
        weights = settle_far_rows(log_joint, x, logits, means_b, evidence).softmax(-1)
        means = self._means[..., a] + apply_matrices(regression, x.unsqueeze(-2) - means_b)
        return self._like(weights, means, covariance)

    # -- files and scikit-learn -------------------------------------------------------------

    def save(self, path: str | os.PathLike) -> None:
        """Writes the mixture to a safetensors file, atomically."""
        interchange.save(self, path)

    @classmethod
    def load(cls, path: str | os.PathLike, device: str | torch.device = "cpu") -> Self:
        """Reads a mixture that :meth:`save` wrote."""
        return cls(**interchange.load(path, device))

    def to_sklearn(self) -> Any:
        """Returns a fitted ``sklearn.mixture.GaussianMixture`` with these parameters."""
        return interchange.to_sklearn(self)

    @classmethod
    def from_sklearn(cls, model: Any, device: str | torch.device = "cpu") -> Self:
        """Takes the parameters of a fitted ``sklearn.mixture.GaussianMixture``."""
        return cls(**interchange.from_sklearn(model, device))
