"""Priors over the means, variances, correlations and weights of Gaussian mixtures."""

import math
from dataclasses import dataclass, field, replace
from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import biject_to

from ..checks import check, check_number, check_values
from ..standardization import center_and_spread
from ..tables import as_table

__all__ = ["Priors"]


def _is_default(value: Any) -> bool:
    return isinstance(value, str) and value == "default"


def _points_of(name: str, distribution: Any) -> Tensor:
    """Some points of a support, its middle first."""
    try:
        return biject_to(distribution.support)(torch.tensor([0.0, 1.0]))
    except NotImplementedError:
        expected = "a distribution whose support has a bijection to the reals"
        raise ValueError(f"{name}: expected {expected}, got {distribution}") from None


@dataclass(frozen=True, eq=False)
class Priors:
    r"""Independent priors over means, variances, correlations and mixing weights.

    For a component of input :math:`k`, whose location is :math:`c_k` and scale :math:`s_k`,

    .. math:: \mu = c_k + s_k z, \quad z \sim \texttt{means}, \qquad
        \sigma^2 = s_k^2 v, \quad v \sim \texttt{variances},

    .. math:: w \sim \mathrm{Dirichlet}(\texttt{weights}, \dots, \texttt{weights})

    and, for correlation matrices, :math:`p(R) \propto \det(R)^{\texttt{correlations} - 1}`
    (Lewandowski, Kurowicka and Joe 2009). With a variance for each component alone,
    :math:`s^2` is the mean over the features. In a mixture of :math:`K` components in :math:`D`
    dimensions variances are in units of :math:`s^2 / K^{2/D}`: a component's share of the volume
    that the data take (Fraley and Raftery 2007, *Bayesian regularization for normal mixture
    estimation and model-based clustering*, J. Classification 24).

    The defaults are weak for standardized data. A mean is within four standard deviations of the
    data's. A component of a mixture has, nineteen times in twenty, a standard deviation from a
    tenth of its unit to twice that; a narrower one is found as well, since the prior's logarithm
    falls slowly. ``None`` in place of a prior means: learn this by maximum likelihood.

    In a network, ``center`` and ``spread`` are those of the features; the hidden layers, whose
    inputs are scores, take theirs from the network: from its initialization, or from where
    ``fit_mle`` left it.

    Args:
        means: a univariate distribution over the real line, in units of the input's spread; by
            default ``Normal(0, 2)``.
        variances: a univariate distribution over positive numbers, in units of its square (in
            a mixture, of a component's share of that). By default ``LogNormal(-1.5, 1.5)`` in a
            mixture, and in a network ``InverseGamma(2, 1)``.
        weights: the concentration of a symmetric Dirichlet distribution. By default, one in a
            mixture; in a network, whose weights are as many as its means, None.
        correlations: the concentration of the LKJ distribution: one is uniform, more favors
            weak correlations.
        center, spread: the location and scale of the inputs, shape ``(K,)`` or ``()``.

    Raises:
        ValueError: if a prior has the wrong support or event shape, no density, or tensors that
            require gradients; or a concentration or spread is not positive.

    Example:
        >>> import pyro.distributions as dist
        >>> from pyro_ugmm.models import Priors
        >>> Priors(variances=dist.LogNormal(0.0, 1.0), weights=2.0)
        Priors(means=Normal(loc: 0.0, scale: 2.0), variances=LogNormal(), weights=2.0)
    """

    means: Any = field(default_factory=lambda: dist.Normal(0.0, 2.0))
    variances: Any = "default"
    weights: Any = "default"
    correlations: float | None = 1.0
    center: Tensor = field(default_factory=lambda: torch.zeros(()))
    spread: Tensor = field(default_factory=lambda: torch.ones(()))

    def __post_init__(self) -> None:
        for name, distribution, inside, outside, support in (
            ("means", self.means, (-1e6, 1e6), (), "the real line"),
            ("variances", self.variances, (), (-1e-6, -1.0), "positive numbers"),
        ):
            if distribution is None or (name == "variances" and _is_default(distribution)):
                continue
            is_pyros, kind = isinstance(distribution, dist.Distribution), type(distribution)
            got = f"{kind.__module__}.{kind.__name__}".removeprefix("builtins.")
            check(is_pyros, name, "one of pyro.distributions, or None", got)
            shape = (tuple(distribution.batch_shape), tuple(distribution.event_shape))
            expected = "one univariate distribution (batch_shape and event_shape ())"
            check(shape == ((), ()), name, expected, f"batch_shape, event_shape {shape}")
            discrete = distribution.support.is_discrete
            check(not discrete, name, "a continuous distribution", str(distribution))
            points = _points_of(name, distribution)
            middle, holds = float(points[0]), distribution.support.check
            valid = (
                all(holds(torch.tensor(point)) for point in inside)
                and not any(holds(torch.tensor(point)) for point in outside)
                and (middle > 0 or not outside)
            )
            got = f"{distribution} with support {distribution.support}"
            check(valid, name, f"a distribution over {support}", got)
            density = distribution.log_prob(points)
            got = f"{distribution}, with log densities {density.tolist()} at {points.tolist()}"
            check(density.isfinite().all(), name, "a distribution with a density", got)
            fixed = "a distribution of fixed parameters"
            check(not density.requires_grad, name, fixed, "one whose tensors require gradients")
        for name in ("weights", "correlations"):
            value = getattr(self, name)
            if value is not None and not (name == "weights" and _is_default(value)):
                expected = "a positive concentration or None"
                number = check_number(name, value, lambda c: 0 < c < math.inf, expected)
                object.__setattr__(self, name, number)
        for name in ("center", "spread"):
            value = as_table(name, getattr(self, name)).values
            object.__setattr__(self, name, value)
            check_values(name, value, value.isfinite(), "finite values")
            check(not value.requires_grad, name, "a tensor without gradients", "one that has them")
        check_values("spread", self.spread, self.spread > 0, "positive values")

    @classmethod
    def from_data(cls, x: Any, **priors: Any) -> "Priors":
        """Takes the location and scale of each feature from the rows of ``x``, once.

        A network for such data is to be initialized from it as well: ``reset_parameters(x)``.

        Args:
            x: data of shape ``(n, K)``, in a tensor, an array or a data frame. A constant feature
                gets a spread of one; NaN is left out.
            **priors: ``means``, ``variances``, ``weights`` or ``correlations``, in the units of
                that scale.
        """
        table = as_table("x", x)
        table.check_entries(table.values.isfinite() | table.values.isnan(), "finite values, or NaN")
        if table.values.dim() == 2 and len(table.values):
            table.check_observed()
        center, spread = center_and_spread(table.values.detach(), omit_missing=True)
        return cls(center=center, spread=spread, **priors)

    def resolved(self, **defaults: Any) -> "Priors":
        """Returns the priors with a model's own in place of what is left to it."""
        names = [name for name in defaults if _is_default(getattr(self, name))]
        return replace(self, **{name: defaults[name] for name in names})

    def scaled(self, center: Tensor, spread: Tensor) -> "Priors":
        """Returns the same priors for inputs of another location and scale."""
        return replace(self, center=center, spread=spread)

    def __repr__(self) -> str:
        shown: dict[str, Any] = {"means": self.means}
        for name in ("variances", "weights"):
            if not _is_default(getattr(self, name)):
                shown[name] = getattr(self, name)
        if self.correlations != 1.0:
            shown["correlations"] = self.correlations
        return f"Priors({', '.join(f'{name}={value}' for name, value in shown.items())})"
