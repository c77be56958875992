"""Posterior diagnostics: draws for ArviZ, predictive probabilities, plots."""

from .importance import importance_resample, pareto_k
from .inference_data import to_inference_data
from .label_switching import relabel
from .leave_one_out import loo
from .mixture_plots import plot_components, plot_density, plot_mixture
from .mixtures import mixture_draws
from .neuron_plots import plot_neuron
from .plots import plot_losses, plot_prior_posterior
from .predictive import Calibration, Uncertainty, calibration, plot_reliability, uncertainty
from .probabilities import class_probabilities
from .uncertainty_plot import plot_uncertainty

__all__ = [
    "Calibration",
    "Uncertainty",
    "calibration",
    "class_probabilities",
    "importance_resample",
    "loo",
    "mixture_draws",
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
