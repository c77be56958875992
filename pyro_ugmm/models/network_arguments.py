"""What a network was made with, for files, and networks made again."""

from typing import Any

import torch
from torch import Tensor

from ..nn import UGMMNetwork

__all__ = ["arguments_of", "make_network"]

_PREFIX = "network."


def arguments_of(network: UGMMNetwork) -> dict[str, Any]:
    """The arguments of a network, as JSON can hold them."""
    return {
        "sizes": [*network.sizes],
        "dropout": [layer.dropout for layer in network.layers],
        "min_scale": network.layers[0].min_scale,
        "missing": network.missing,
        "normalization": network.normalization,
    }


def make_network(
    arguments: dict[str, Any], dtype: torch.dtype, state: dict[str, Tensor]
) -> tuple[UGMMNetwork, dict[str, Any]]:
    """Makes a network again, with what a model's state holds of it; and returns what is left."""
    names = ("sizes", "dropout", "min_scale", "missing", "normalization")
    network = UGMMNetwork(**{name: arguments[name] for name in names}).to(dtype)
    own = {n.removeprefix(_PREFIX): t for n, t in state.items() if n.startswith(_PREFIX)}
    network.load_state_dict(own)
    return network, {name: value for name, value in arguments.items() if name not in names}
