"""Fitted models and their guides in files, without pickles."""

from .fitted import load_fitted, save_fitted

__all__ = ["load_fitted", "save_fitted"]
