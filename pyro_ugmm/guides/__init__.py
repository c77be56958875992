"""Guides that start where the model, or a point estimate, stands."""

from .conjugate import ConjugateGuide
from .full_rank import full_rank
from .low_rank import low_rank
from .mean_field import mean_field
from .mixture import MixtureGuide
from .normalizing_flow import AutoFlow, flow

__all__ = [
    "AutoFlow",
    "ConjugateGuide",
    "MixtureGuide",
    "flow",
    "full_rank",
    "low_rank",
    "mean_field",
]
