"""Posterior diagnostics: draws for ArviZ, predictive probabilities, plots."""

from .class_probabilities import class_probabilities
from .inference_data import pareto_k, to_inference_data
from .loo import loo
from .mixture_plots import plot_components, plot_density, plot_mixture
from .neuron_plots import plot_neuron
from .plots import plot_losses, plot_prior_posterior, plot_uncertainty
from .predictive import Calibration, Uncertainty, calibration, plot_reliability, uncertainty
from .relabel import relabel

__all__ = [
    "Calibration",
    "Uncertainty",
    "calibration",
    "class_probabilities",
    "loo",
    "pareto_k",
    "plot_components",
    "plot_density",
    "plot_losses",
    "plot_mixture",
    "plot_neuron",
    "plot_prior_posterior",
    "plot_reliability",
    "plot_uncertainty",
    "relabel",
    "to_inference_data",
    "uncertainty",
]
