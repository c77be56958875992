"""The latent sites of a program as one vector of real numbers."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.distributions import biject_to

from ..checks import check
from .bijections import ValueAndVolume, value_and_volume
from .sites import LatentSite

__all__ = ["Coordinates"]


class Coordinates:
    r"""Maps positions :math:`u \in \mathbb{R}^n` to values of sites, and back.

    Args:
        sites: the latent sites, by name, in the order of their coordinates.

    Attributes:
        n_values: the number :math:`n` of coordinates.
    """

    def __init__(self, sites: Mapping[str, LatentSite]) -> None:
        self.sites = dict(sites)
        self.bijections = {name: biject_to(site.support) for name, site in sites.items()}
        self.shapes = {
            name: torch.Size(self.bijections[name].inverse_shape(site.shape))
            for name, site in sites.items()
        }
        self._sizes = [shape.numel() for shape in self.shapes.values()]
        self.n_values = sum(self._sizes)
        self._evaluations: dict[tuple, ValueAndVolume] = {}

    def split(self, position: Tensor) -> dict[str, Tensor]:
        """Splits positions ``B + (n,)`` into unconstrained values, ``B`` and a shape each."""
        batch, parts = position.shape[:-1], position.split(self._sizes, -1)
        named = zip(self.shapes.items(), parts, strict=True)
        return {name: part.reshape(batch + shape) for (name, shape), part in named}

    def values(self, position: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        r"""Returns values of all sites at positions ``B + (n,)``, and the log volume.

        Values have ``B`` and their shapes. The log volume is
        :math:`\log |\det \partial \theta / \partial u|`, shape ``B``.
        """
        batch = position.shape[:-1]
        values, volume = {}, position.new_zeros(batch)
        for name, part in self.split(position).items():
            values[name], log_scale = self._evaluation(name, part)(part)
            if log_scale.dim() > len(batch):
                log_scale = log_scale.flatten(len(batch)).sum(-1)
            volume = volume + log_scale
        return values, volume

    def _evaluation(self, name: str, part: Tensor) -> ValueAndVolume:
        """What evaluates a site's bijection, made once for each kind of numbers."""
        key = name, part.dtype, part.device
        if key not in self._evaluations:
            with torch.inference_mode(False):
                like = torch.zeros(self.shapes[name], dtype=part.dtype, device=part.device)
                self._evaluations[key] = value_and_volume(self.bijections[name], like)
        return self._evaluations[key]

    @torch.no_grad()
    def are_inside(self, position: Tensor) -> Tensor:
        """Whether all values of positions are finite and within their supports, shape ``(S,)``."""
        values, volume = self.values(position)
        inside = volume.isfinite()
        for name, site in self.sites.items():
            value = values[name]
            for flags in (value.isfinite(), site.support.check(value)):
                inside = inside & flags.reshape(len(position), -1).all(-1)
        return inside

    def flatten(self, values: Mapping[str, Tensor]) -> Tensor:
        """Returns positions ``(S, n)`` of values of all sites, ``(S,)`` and their shapes.

        On the edge of a support a position is not finite.

        Raises:
            ValueError: if there is no value of a site.
        """
        expected = f"the same latent sites {[*self.sites]} at every run"
        check(values.keys() >= self.sites.keys(), "model", expected, f"{[*values]}")
        parts = []
        for name, to_support in self.bijections.items():
            part = to_support.inv(values[name])
            parts.append(part.reshape(len(part), math.prod(self.shapes[name])))
        return torch.cat(parts, -1)
