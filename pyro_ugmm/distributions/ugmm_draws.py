"""Draws of a mixture over products of nodes."""

import torch
from torch import Tensor

from .arguments import sample_size
from .sampling import draw_components
from .ugmm_parameters import UGMMParameters, mapped_nodes

__all__ = ["SampledUGMM"]


class SampledUGMM(UGMMParameters):
    """A mixture over products of nodes that is drawn from."""

    @torch.no_grad()
    def sample_with_component(
        self, sample_shape=(), generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Draws rows, ``sample_shape + batch_shape + (D,)``, and the component of each.

        Args:
            sample_shape: of how many draws; sizes may be zero.
            generator: of random numbers, on the mixture's device; torch's own by default.
        """
        component = draw_components(self.weights, sample_size(sample_shape), generator)
        shape, sizes = component.shape, self._nodes.loc.shape[-3:]
        at = component[..., None, None, None].expand(*shape, 1, *sizes[1:])
        drawn = mapped_nodes(
            self.nodes, lambda t: t.expand(*shape, *sizes).gather(-3, at).squeeze(-3)
        )
        return drawn.sample(generator=generator), component

    def sample(self, sample_shape=(), generator: torch.Generator | None = None) -> Tensor:
        """Draws rows of shape ``sample_shape + batch_shape + (D,)``, without gradients."""
        return self.sample_with_component(sample_shape, generator)[0]
