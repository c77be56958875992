"""Layers and networks of univariate Gaussian mixture neurons."""

from .layer import UGMMLayer
from .network import UGMMNetwork
from .queries import BestInputs, StatePosterior, most_probable_inputs, state_posterior

__all__ = [
    "BestInputs",
    "StatePosterior",
    "UGMMLayer",
    "UGMMNetwork",
    "most_probable_inputs",
    "state_posterior",
]
