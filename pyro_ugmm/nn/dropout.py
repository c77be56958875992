"""Components left out at random, as long as something is left."""

import math

import torch
from torch import Tensor

from .missing_inputs import leaves_nothing

__all__ = ["drop_components", "drop_where_inputs_remain"]


def drop_components(logits: Tensor, probability: float) -> Tensor:
    """Masks each component's logit with the given probability, at least one kept per neuron.

    The masked logits are ``-inf``, so normalizing them renormalizes what is left. A component
    whose weight is zero already does not count as kept.
    """
    draw = torch.rand_like(logits)
    possible = torch.where(logits > -math.inf, draw, -1)
    kept = (draw >= probability) | (possible == possible.amax(-1, keepdim=True))
    return logits.masked_fill(~kept, -math.inf)


def drop_where_inputs_remain(x: Tensor, logits: Tensor, probability: float) -> Tensor:
    """Masks components, but none of a neuron that would have nothing left for some row of ``x``."""
    dropped = drop_components(logits, probability)
    return torch.where(leaves_nothing(x, dropped), logits, dropped)
