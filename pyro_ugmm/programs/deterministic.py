"""The deterministic sites of a program."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from .draws import evaluated
from .sites import LatentSites
from .traced import Draws, Rows, Traced

__all__ = ["Deterministic"]


class Deterministic:
    """The sites of a program that are functions of latent ones; our models have none.

    A site that depends on a discrete one, which is summed out, has no value, and is left out.
    """

    def __init__(self, model: Callable, rows: Rows) -> None:
        self._traced = None if isinstance(model, LatentSites) else Traced(model, rows)
        self._rows = rows

    def shapes(self) -> dict[str, torch.Size]:
        """The shapes of the sites, by name."""
        nodes = {} if self._traced is None else self._traced.deterministic
        return {name: node["value"].shape for name, node in nodes.items()}

    def values(self, draws: Draws) -> Mapping[str, Tensor]:
        """The values of the sites under draws ``(S,)`` of the latent ones."""
        traced, shapes = self._traced, self.shapes()
        if traced is None or not shapes:
            return {}

        def of_one(draw: Draws) -> dict[str, Tensor]:
            nodes = traced.scored(self._rows, draw).nodes
            return {name: nodes[name]["value"] for name in shapes}

        return evaluated(of_one, draws, sum(shape.numel() for shape in shapes.values()))
