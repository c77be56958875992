"""Questions to a network about its inputs: which discrete states, which continuous values."""

from .best_inputs import BestInputs, most_probable_inputs
from .states import StatePosterior, state_posterior

__all__ = ["BestInputs", "StatePosterior", "most_probable_inputs", "state_posterior"]
