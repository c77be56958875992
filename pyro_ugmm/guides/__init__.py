"""Guides that start where the model, or a point estimate, stands."""

from .flow import AutoFlow, flow
from .full_rank import full_rank
from .low_rank import low_rank
from .mean_field import mean_field
from .mixture import MixtureGuide

__all__ = ["AutoFlow", "MixtureGuide", "flow", "full_rank", "low_rank", "mean_field"]
