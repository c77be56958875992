"""Posterior diagnostics: draws for ArviZ, predictive probabilities, plots."""

from .class_probabilities import class_probabilities
from .inference_data import pareto_k, to_inference_data
from .loo import loo
from .plots import plot_losses, plot_neuron, plot_prior_posterior, plot_uncertainty
from .relabel import relabel

__all__ = [
    "class_probabilities",
    "loo",
    "pareto_k",
    "plot_losses",
    "plot_neuron",
    "plot_prior_posterior",
    "plot_uncertainty",
    "relabel",
    "to_inference_data",
]
