"""Layers and networks of univariate Gaussian mixture neurons."""

from .layer import UGMMLayer
from .network import UGMMNetwork

__all__ = ["UGMMLayer", "UGMMNetwork"]
