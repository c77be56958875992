"""The conjugate priors of variational Bayes, by scikit-learn's names."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ...accumulation import double
from ...checks import check, check_number
from ...distributions.covariance import Covariance
from ...tables import as_table
from ..statistics import SufficientStatistics
from .normal_wishart import NormalWishart
from .parameters import ParameterDistribution
from .precision_law import PrecisionLaw
from .weights import WeightDistribution

__all__ = ["VariationalPriors"]


@dataclass(frozen=True, kw_only=True, eq=False)
class VariationalPriors:
    r"""The priors of :class:`VariationalEM`; they are scikit-learn's and mean the same.

    .. math:: \Lambda_k \sim \mathrm{Wishart}(\nu_0, \Psi_0^{-1}), \qquad
        \mu_k \mid \Lambda_k \sim \mathcal{N}(m_0, (\beta_0 \Lambda_k)^{-1})

    Args:
        weight_concentration_prior: of each weight; the smaller, the fewer components are used. By
            default :math:`1 / K`.
        mean_precision_prior: :math:`\beta_0`, in rows.
        mean_prior: :math:`m_0`, shape ``(D,)``; by default the mean of the rows.
        degrees_of_freedom_prior: :math:`\nu_0 > D - 1`, in rows; by default :math:`D`.
        covariance_prior: :math:`\Psi_0`, of shape ``(D, D)`` for full and tied covariances,
            ``(D,)`` for diagonal ones, and a number for spherical ones; by default the covariance
            of the rows.

    Raises:
        ValueError: if a number is out of its range.

    Example:
        >>> from pyro_ugmm.em import VariationalPriors
        >>> VariationalPriors(weight_concentration_prior=0.01).mean_precision_prior
        1.0
    """

    weight_concentration_prior: float | None = None
    mean_precision_prior: float = 1.0
    mean_prior: Any = None
    degrees_of_freedom_prior: float | None = None
    covariance_prior: Any = None

    def __post_init__(self) -> None:
        for name in (
            "weight_concentration_prior",
            "mean_precision_prior",
            "degrees_of_freedom_prior",
        ):
            value = getattr(self, name)
            if value is not None or name == "mean_precision_prior":
                expected = "a finite positive number"
                value = check_number(name, value, lambda v: 0 < v < math.inf, expected)
                object.__setattr__(self, name, value)

    @property
    def is_of_data(self) -> bool:
        """Whether something of it is taken from the rows."""
        return self.mean_prior is None or self.covariance_prior is None

    def of(
        self,
        statistics: SufficientStatistics,
        weights: type[WeightDistribution],
        law: PrecisionLaw,
    ) -> ParameterDistribution:
        """Makes the prior, with what is not given from the statistics of the rows under a start."""
        means, structure = statistics.pivots, type(statistics.covariance)
        n_components, n_features = means.shape
        degrees, least = self.degrees_of_freedom_prior, n_features - 1
        degrees = float(n_features) if degrees is None else degrees
        name = "degrees_of_freedom_prior"
        check(degrees > least, name, f"more than {least}, as x has {n_features} features", degrees)
        mean = _given_mean(self.mean_prior, means)
        scatter = _given_scatter(self.covariance_prior, means, structure)
        if mean is None or scatter is None:
            of_rows = _moments(statistics)
            mean = of_rows[0] if mean is None else mean
            scatter = of_rows[1] if scatter is None else scatter
        like = double(statistics.mass)
        concentration = self.weight_concentration_prior
        concentration = 1 / n_components if concentration is None else concentration
        if structure.is_shared:
            scatter = n_components * scatter
        else:
            scatter = scatter.expand(n_components, *scatter.shape[1:])
        components = NormalWishart(
            mean.expand_as(means),
            torch.full_like(like, self.mean_precision_prior),
            torch.full_like(like, degrees),
            scatter,
            structure,
            law,
        )
        return ParameterDistribution(weights.prior(concentration, like), components)


def _given_mean(value: Any, means: Tensor) -> Tensor | None:
    if value is None:
        return None
    return _given("mean_prior", value, means.shape[1:], means)


def _given_scatter(value: Any, means: Tensor, structure: type[Covariance]) -> Tensor | None:
    """A scatter as a structure keeps second moments, of one component."""
    if value is None:
        return None
    n_features = means.shape[-1]
    (argument,) = structure.arguments.values()
    tensor = _given("covariance_prior", value, (n_features,) * argument.n_dims, means)
    try:
        covariance = structure(tensor if structure.is_shared else tensor[None], validate_args=True)
    except ValueError as error:
        raise ValueError(f"covariance_prior: {str(error).partition(': ')[2]}") from None
    return structure.moments.project(covariance.dense(1, n_features))


def _given(name: str, value: Any, shape: tuple[int, ...], means: Tensor) -> Tensor:
    table = as_table(name, value)
    got = tuple(table.values.shape)
    check(got == tuple(shape), name, f"shape {tuple(shape)}", got)
    table.check_finite()
    return table.like("start", means).values.detach()


def _moments(statistics: SufficientStatistics) -> tuple[Tensor, Tensor]:
    """The mean of the rows, and their covariance as second moments of one component.

    What is missing is completed as for the start.
    """
    moments, mass, weight = statistics.covariance.moments, statistics.mass, statistics.weight.item()
    check(weight > 1, "x", "more than one row, or a mean_prior and a covariance_prior", weight)
    average = statistics.first / mass.clamp(min=1e-30).unsqueeze(-1)
    centers = statistics.pivots + average
    mean = mass @ centers / mass.sum()
    scatter = statistics.second - moments.outer(average, mass) + moments.outer(centers - mean, mass)
    if not statistics.covariance.is_shared:
        scatter = scatter.sum(0, keepdim=True)
    return mean, scatter / (weight - 1)
