"""Posterior diagnostics: draws for ArviZ, predictive probabilities, plots."""

from .draws import class_probabilities
from .inference_data import pareto_k, to_inference_data
from .plots import plot_losses, plot_neuron, plot_prior_posterior, plot_uncertainty

__all__ = [
    "class_probabilities",
    "pareto_k",
    "plot_losses",
    "plot_neuron",
    "plot_prior_posterior",
    "plot_uncertainty",
    "to_inference_data",
]
