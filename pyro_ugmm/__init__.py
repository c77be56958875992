"""Gaussian mixtures as parts of probabilistic programs, on Pyro and PyTorch."""

__version__ = "0.1.0"
