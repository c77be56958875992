"""Posteriors by sequential Monte Carlo."""

from .posterior import sample_posterior
from .result import PosteriorSample
from .smc import Rung

__all__ = ["PosteriorSample", "Rung", "sample_posterior"]
