"""Posteriors by sequential Monte Carlo, and chains whose energies are kept."""

from .nuts import NUTSWithEnergy
from .posterior import sample_posterior
from .result import PosteriorSample
from .smc import Rung

__all__ = ["NUTSWithEnergy", "PosteriorSample", "Rung", "sample_posterior"]
