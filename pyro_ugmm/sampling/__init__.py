"""Posteriors by sequential Monte Carlo, and chains whose energies are kept."""

from .moved import Change, Moved
from .nuts import NUTSWithEnergy
from .posterior import sample_posterior
from .result import PosteriorSample
from .smc import Rung

__all__ = ["Change", "Moved", "NUTSWithEnergy", "PosteriorSample", "Rung", "sample_posterior"]
