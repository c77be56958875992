"""Marginals and conditionals of a mixture's components."""

from dataclasses import replace

from torch import Tensor

from .components import Components
from .covariance.matrices import apply_matrices
from .far_rows import settle_far_rows

__all__ = ["conditional", "marginal"]


def marginal(components: Components, dims: Tensor) -> Components:
    """The components of some dimensions alone."""
    means, covariance = components.means[..., dims], components.covariance.marginal(dims)
    return replace(components, means=means, covariance=covariance)


def conditional(components: Components, x: Tensor, kept: Tensor, given: Tensor) -> Components:
    """The components of dimensions ``kept``, given the values ``(..., n_given)`` of others.

    Their weights are computed in logarithms, which underflow where the values are far.
    """
    covariance, regression = components.covariance.conditional(kept, given)
    evidence = marginal(components, given)
    log_joint = components.log_weights + evidence.covariance.log_density(x, evidence.means)
    log_weights = settle_far_rows(log_joint, x, evidence).log_softmax(-1)
    shift = apply_matrices(regression, x.unsqueeze(-2) - evidence.means)
    means = components.means[..., kept] + shift
    return Components(log_weights.exp(), means, covariance, log_weights)
