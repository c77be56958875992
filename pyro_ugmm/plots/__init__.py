"""Pictures of mixtures, neurons, trainings and posteriors.

Each takes ``ax=``, the axes to draw in, and returns the axes it drew in; matplotlib loads when the
first is drawn.
"""

from .calibration import plot_calibration
from .components import plot_components
from .density import plot_density
from .evidence import plot_evidence
from .losses import plot_losses
from .mixture import plot_mixture
from .neuron import plot_neuron
from .neuron_inputs import plot_neuron_inputs
from .prior_posterior import plot_prior_posterior
from .regression import plot_regression
from .reliability import plot_reliability
from .selection import plot_selection
from .uncertainty import plot_uncertainty

__all__ = [
    "plot_calibration",
    "plot_components",
    "plot_density",
    "plot_evidence",
    "plot_losses",
    "plot_mixture",
    "plot_neuron",
    "plot_neuron_inputs",
    "plot_prior_posterior",
    "plot_regression",
    "plot_reliability",
    "plot_selection",
    "plot_uncertainty",
]
