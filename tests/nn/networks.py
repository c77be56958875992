"""A small network, rows for it, and questions to it."""

import torch

from pyro_ugmm.nn import UGMMNetwork, most_probable_inputs, state_posterior

ROWS = torch.randn(12, 3, generator=torch.Generator().manual_seed(0))


def network(sizes=(3, 6, 2), **kwargs):
    torch.manual_seed(0)
    return UGMMNetwork(sizes, **kwargs)


def posterior(net, x=ROWS, states=None, **kwargs):
    return state_posterior(net, x, states or {0: [0.0, 1.0]}, **kwargs)


def best(net, x=ROWS, bounds=None, **kwargs):
    return most_probable_inputs(
        net, x, bounds or {0: (-1.0, 1.0)}, **{"seed": 0, "steps": 3, **kwargs}
    )
