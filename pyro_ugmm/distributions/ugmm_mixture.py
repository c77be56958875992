"""The mixture whose components are products of mixture neurons."""

from collections.abc import Mapping, Sequence
from typing import Any, Self

import torch
from torch import Tensor

from ..checks import check, check_broadcast, check_same_kind, check_values
from ..missing_values import mixture_rule
from ..precision import full_precision
from ..tables import as_table
from .arguments import check_rows, checked_condition, checked_dims, given_values
from .information_criteria import InformationCriteria
from .steep import is_gentle, steep_logsumexp
from .ugmm_draws import SampledUGMM
from .ugmm_evaluation import box_probability, product_log_density
from .ugmm_files import UGMMFiles
from .ugmm_parameters import mapped_nodes
from .unavailable import NoClosedForm

__all__ = ["UGMMMixture"]


class UGMMMixture(InformationCriteria, NoClosedForm, UGMMFiles, SampledUGMM):
    r"""A mixture of :math:`C` products of univariate Gaussian mixtures over :math:`\mathbb{R}^D`.

    .. math:: p(x) = \sum_{c=1}^C \pi_c \prod_{d=1}^D \sum_{m=1}^M
        w_{cdm} \, \mathcal{N}(x_d \mid \mu_{cdm}, \sigma_{cdm}^2)

    The nodes are uGMM neurons (Ali 2025, arXiv:2509.07569), each a density over one dimension.
    Given the component, dimensions are independent, and so marginals, conditionals and
    probabilities of boxes are exact: it is a sum-product network of two layers (Poon and Domingos
    2011, arXiv:1202.3732). With :math:`M = 1` it is a :class:`GaussianMixture` with diagonal
    covariances.

    Args:
        weights: :math:`\pi`, non-negative, sums of one, shape ``(..., C)``.
        nodes: a :class:`UnivariateGaussianMixture` of batch shape ``(..., C, D)``, whose ``loc``,
            ``scale`` and ``probs`` are :math:`\mu`, :math:`\sigma` and :math:`w`.
        missing: what a NaN in a value means: an ``"error"``, or an entry that was not observed,
            which is integrated out (``"marginalize"``): the density is then that of the rest.

    Batch dimensions broadcast; ``event_shape`` is ``(D,)``. Densities differentiate with respect to
    all parameters and the value; draws do not. Where no gradient is asked for, one mixture
    evaluates many rows in blocks. Rows may also come as arrays, masked arrays, data frames or
    lists, which are computed with in the wider of their dtype and the mixture's.

    Raises:
        ValueError: if the shapes do not fit, dtypes or devices differ, or weights do not sum to
            one; the nodes check themselves.

    Example:
        >>> import torch
        >>> from pyro_ugmm.distributions import UGMMMixture, UnivariateGaussianMixture
        >>> loc = torch.tensor([[[-3.0, -1.0], [0.0, 4.0]], [[1.0, 3.0], [1.0, 2.0]]])
        >>> nodes = UnivariateGaussianMixture(loc, torch.ones(2, 2, 2), logits=torch.zeros(2, 2, 2))
        >>> m = UGMMMixture(torch.tensor([0.4, 0.6]), nodes)
        >>> m
        UGMMMixture(batch_shape=(), n_components=2, n_features=2, n_node_components=2)
        >>> m.mean
        tensor([0.4000, 1.7000])
        >>> m.predict(torch.tensor([[-2.0, 4.0], [2.0, 1.0]]))
        tensor([0, 1])
        >>> m.condition({0: 2.0}).mean  # regression of the second dimension on the first
        tensor([1.5030])
    """

    @property
    def mean(self) -> Tensor:
        r"""The whole mixture's mean, shape ``batch_shape + (D,)``."""
        return (self.weights.unsqueeze(-1) * self._nodes.mean).sum(-2)

    @property
    def variance(self) -> Tensor:
        """The diagonal of :attr:`covariance_matrix`, shape ``batch_shape + (D,)``."""
        deviations = self._nodes.mean - self.mean.unsqueeze(-2)
        second = self._nodes.variance + deviations.square()
        return (self.weights.unsqueeze(-1) * second).sum(-2)

    @property
    @full_precision
    def covariance_matrix(self) -> Tensor:
        r"""The whole mixture's covariance, shape ``batch_shape + (D, D)``.

        .. math:: \sum_c \pi_c \left[\mathrm{diag}(v_c) + (m_c - m)(m_c - m)^T\right]

        with the means :math:`m_c` and variances :math:`v_c` of the nodes.
        """
        deviations = self._nodes.mean - self.mean.unsqueeze(-2)
        between = (self.weights.unsqueeze(-1) * deviations).mT @ deviations
        within = (self.weights.unsqueeze(-1) * self._nodes.variance).sum(-2)
        return between + torch.diag_embed(within)

    @property
    def n_parameters(self) -> int:
        """The number of free parameters of one mixture of the batch."""
        per_node = 3 * self.n_node_components - 1
        return self.n_components - 1 + self.n_components * self.n_features * per_node

    # -- densities --------------------------------------------------------------------------

    def _validate_sample(self, value: Tensor) -> None:
        table, like = as_table("value", value), self._nodes.loc
        check_rows(table, self.n_features, self.batch_shape, like, self.missing)

    @full_precision
    def _log_joint(self, value: Any) -> Tensor:
        """The joint log densities of rows and components, shape ``(..., C)``."""
        table = as_table("value", value)
        if not table.is_tensor:
            wide = self.as_wide_as(table.values.dtype)
            return wide._log_joint(table.like("nodes", wide._nodes.loc).values)
        if self._validate_args:
            self._validate_sample(table.values)
        else:
            check_same_kind({"nodes": self._nodes.loc, "value": table.values})
        takes_nan = mixture_rule(self.missing).takes_nan
        log_density = product_log_density(self._nodes, table.values, takes_nan)
        result = self._log_weights + log_density
        batch = torch.broadcast_shapes(result.shape[:-1], self.batch_shape)
        return result.expand(*batch, -1)

    def log_prob(self, value: Any) -> Tensor:
        """Evaluates the log density of rows ``(..., D)``, broadcast with the batch.

        With ``missing="marginalize"`` a row's NaN entries are integrated out.
        """
        log_joint = self._log_joint(value)
        result = log_joint.logsumexp(-1)
        return result if is_gentle(result) else steep_logsumexp(log_joint)

    def responsibilities(self, value: Any) -> Tensor:
        r"""Returns each component's posterior probability given a row, shape ``(..., C)``.

        .. math:: r_c(x) = \pi_c \prod_d p_{cd}(x_d) / p(x)

        Rows so far that all densities underflow, even in logarithms, belong to all components of
        positive weight alike.
        """
        return _settled(self._log_joint(value), self._log_weights).softmax(-1)

    def predict(self, value: Any) -> Tensor:
        """Returns the most probable component of each row, an index into the last of C."""
        return self._log_joint(value).argmax(-1)

    def interval_probability(self, low: Any, high: Any) -> Tensor:
        r"""Returns the probability of boxes, shape ``(...)``.

        .. math:: P(a < x \le b) = \sum_c \pi_c \prod_d \left[F_{cd}(b_d) - F_{cd}(a_d)\right]

        Args:
            low: :math:`a`, shape ``(..., D)``, of which entries may be minus infinity.
            high: :math:`b`, likewise, or infinity; dimensions that are unbounded are integrated
                out.

        Raises:
            ValueError: if an edge is NaN, a low one above its high one, or shapes do not fit.
        """
        return self._probability({"low": low, "high": high})

    def cdf(self, value: Any) -> Tensor:
        r"""Evaluates :math:`P(x_1 \le y_1, \dots, x_D \le y_D)` at rows ``(..., D)``."""
        return self._probability({"low": -torch.inf, "value": value})

    @full_precision
    def _probability(self, named: dict[str, Any]) -> Tensor:
        like, (_, name) = self._nodes.loc, named
        edges = given_values({i: _edge(one, like) for i, one in enumerate(named.values())}, like)
        for one, edge in zip(named, edges.unbind(-1), strict=True):
            check_values(one, edge, ~edge.isnan(), "numbers that are not NaN")
        wide, (low, high) = self.as_wide_as(edges.dtype), edges.unbind(-1)
        expected = f"{self.n_features} features in the last dimension"
        check(high.shape[-1:] == self.event_shape, name, expected, f"shape {tuple(high.shape)}")
        check_broadcast({name: high.shape[:-1], "the batch": self.batch_shape})
        check_values("low", low, low <= high, "edges that are at most those of high")
        inside = box_probability(wide._nodes, low, high)
        return (wide._weights * inside).sum(-1).clamp(max=1)

    # -- marginals and conditionals ---------------------------------------------------------

    def marginal(self, dims: Sequence[int]) -> Self:
        """Returns the mixture of some dimensions alone, in the order given."""
        at = torch.tensor(checked_dims("dims", dims, self.n_features), device=self._weights.device)
        nodes = mapped_nodes(self.nodes, lambda t: t[..., at, :])
        return self._like(self.weights, self.log_weights, nodes)

    @full_precision
    def condition(self, values: Mapping[int, Any]) -> Self:
        r"""Returns the mixture of the other dimensions, given values of some.

        .. math:: p(x_a \mid x_b) = \sum_c \pi_c(x_b) \prod_{d \in a} p_{cd}(x_d), \quad
            \pi_c(x_b) \propto \pi_c \prod_{d \in b} p_{cd}(x_d)

        Args:
            values: a number, tensor or array for each dimension given; they broadcast with each
                other and the batch, so ``{0: x}`` with ``x`` of shape ``(n,)`` gives n mixtures.
                The result is in the wider of the mixture's dtype and those of arrays.
        """
        like = self._nodes.loc[..., 0]
        kept, given, x = checked_condition(values, like, self.batch_shape)
        wide = self.as_wide_as(x.dtype)
        evidence = mapped_nodes(wide._nodes, lambda t: t[..., given, :])
        log_joint = wide._log_weights + product_log_density(evidence, x, takes_nan=False)
        log_weights = _settled(log_joint, wide._log_weights).log_softmax(-1)
        nodes = mapped_nodes(wide._nodes, lambda t: t[..., kept, :])
        batch = torch.broadcast_shapes(x.shape[:-1], self.batch_shape)
        return wide._like(log_weights.exp(), log_weights, nodes).expand(batch)


def _edge(value: Any, like: Tensor) -> Any:
    """One of Python's numbers, which may be infinite, as a tensor; anything else as it is."""
    return like.new_tensor(value) if isinstance(value, int | float) else value


def _settled(log_joint: Tensor, log_weights: Tensor) -> Tensor:
    """Joint log densities of which not all are lost: those that are differ by the weights alone."""
    lost = (log_joint == -torch.inf).all(-1, keepdim=True)
    return torch.where(lost, torch.where(log_weights > -torch.inf, 0.0, -torch.inf), log_joint)
