"""Posteriors by sequential Monte Carlo."""

from .moved import Change, Moved
from .posterior import sample_posterior
from .result import PosteriorSample
from .smc import Rung

__all__ = ["Change", "Moved", "PosteriorSample", "Rung", "sample_posterior"]
