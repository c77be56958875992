"""Priors over the means, variances, correlations and weights of Gaussian mixtures."""

from dataclasses import dataclass, field, replace
from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor

from ..descriptions import check_fields
from ..standardization import center_and_spread
from ..tables import as_table
from .families import show
from .prior_numbers import Concentration, Location, Spread
from .univariate_prior import UnivariatePrior

__all__ = ["Priors"]


_PARTS: dict[str, Any] = {
    "means": UnivariatePrior("the real line", inside=(-1e6, 1e6)),
    "variances": UnivariatePrior("positive numbers", outside=(-1e-6, -1.0)),
    "weights": Concentration(),
    "correlations": Concentration(),
    "center": Location(),
    "spread": Spread(),
}
_LEFT_TO_MODELS = ("variances", "weights")


def _is_default(value: Any) -> bool:
    return isinstance(value, str) and value == "default"


@dataclass(frozen=True, eq=False)
class Priors:
    r"""Independent priors over means, variances, correlations and mixing weights.

    For a component of input :math:`k`, whose location is :math:`c_k` and scale :math:`s_k`,

    .. math:: \mu = c_k + s_k z, \quad z \sim \texttt{means}, \qquad
        \sigma^2 = s_k^2 v, \quad v \sim \texttt{variances},

    .. math:: w \sim \mathrm{Dirichlet}(\texttt{weights}, \dots, \texttt{weights})

    and, for correlation matrices, :math:`p(R) \propto \det(R)^{\texttt{correlations} - 1}`
    (Lewandowski, Kurowicka and Joe 2009); of covariances of rank :math:`R`, whose loadings in units
    of the noise have rows :math:`u`,
    :math:`p(u) \propto (1 + \lVert u \rVert^2)^{-(R + \texttt{correlations}) / 2}`, so that the
    share of a variance that is not noise is Beta(:math:`R / 2`, :math:`\texttt{correlations} / 2`)
    distributed. With a variance for each component alone,
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
        correlations: the concentration of the LKJ distribution, and of the loadings': one is
            uniform, more favors weak correlations.
        center, spread: the location and scale of the inputs, shape ``(K,)`` or ``()``.

    Raises:
        ValueError: if a prior has the wrong support or event shape, no density, or tensors that
            require gradients; or a concentration or spread is not positive.

    Example:
        >>> import pyro.distributions as dist
        >>> from pyro_ugmm.models import Priors
        >>> Priors(variances=dist.LogNormal(0.0, 1.0), weights=2.0)
        Priors(means=Normal(loc: 0.0, scale: 2.0), variances=LogNormal(loc: 0.0, scale: 1.0),
        weights=2.0)
    """

    means: Any = field(default_factory=lambda: dist.Normal(0.0, 2.0))
    variances: Any = "default"
    weights: Any = "default"
    correlations: float | None = 1.0
    center: Tensor = field(default_factory=lambda: torch.zeros(()))
    spread: Tensor = field(default_factory=lambda: torch.ones(()))

    def __post_init__(self) -> None:
        for name, part in _PARTS.items():
            value = getattr(self, name)
            if not (name in _LEFT_TO_MODELS and _is_default(value)):
                object.__setattr__(self, name, part.checked(name, value))

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

    def description(self) -> dict[str, Any]:
        """Describes the priors as JSON can hold it, once nothing is left to a model.

        Raises:
            ValueError: if one is not of ``pyro.distributions``, given by numbers.

        Example:
            >>> import pyro.distributions as dist, torch
            >>> from pyro_ugmm.models import Priors
            >>> said = Priors(variances=dist.Exponential(2.0), weights=None).description()
            >>> said["variances"]
            {'kind': 'Exponential', 'parameters': {'rate': 2.0}}
            >>> Priors.from_description(said, torch.float32).variances.rate
            tensor(2.)
        """
        return {
            name: part.described(f"priors.{name}", getattr(self, name))
            for name, part in _PARTS.items()
        }

    @classmethod
    def from_description(cls, description: Any, dtype: torch.dtype) -> "Priors":
        """Makes priors of what :meth:`description` said.

        Raises:
            ValueError: if it said nothing like that; the message names the field.
        """
        check_fields("priors", description, _PARTS)
        return cls(
            **{
                name: part.restored(f"priors.{name}", description[name], dtype)
                for name, part in _PARTS.items()
            }
        )

    def __repr__(self) -> str:
        usual = {"variances": "default", "weights": "default", "correlations": 1.0}
        shown = ["means", *(name for name in usual if getattr(self, name) != usual[name])]
        return f"Priors({', '.join(f'{name}={show(getattr(self, name))}' for name in shown)})"
