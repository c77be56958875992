"""Sites without priors: parameters, learned by maximum likelihood."""

import math
from collections.abc import Mapping

from pyro.nn import PyroParam
from torch import Tensor

from ..nn.local_parameters import LocalModule
from .mixture_site import MixtureSite

__all__ = ["LearnedSites"]


class LearnedSites(LocalModule):
    """The parameters of a mixture that have no prior, by the names of their sites."""

    def __init__(self, sites: Mapping[str, MixtureSite]) -> None:
        super().__init__()
        self._floors = {}
        for name, site in sites.items():
            if site.prior is None:
                setattr(self, name, PyroParam(site.start, site.support))
                self._floors[name] = 2 * getattr(site.support, "lower_bound", -math.inf)

    def take(self, values: Mapping[str, Tensor]) -> None:
        """Takes values, unless a parameter does not require gradients."""
        for name, floor in self._floors.items():
            if getattr(self, f"{name}_unconstrained").requires_grad:
                setattr(self, name, values[name].clamp(min=floor))
