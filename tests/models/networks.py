"""Networks, rows of three classes that they learn, and how well they do."""

import torch
from pyro.infer import Predictive

from pyro_ugmm.nn import UGMMNetwork

QUIET = {"progress": False, "seed": 0}


def data(n=40, seed=0):
    """Three classes, each around its own corner."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.arange(n) % 3
    x = torch.tensor([[-1.2, 0.0], [0.6, 1.0], [0.6, -1.0]])[y]
    return x + 0.3 * torch.randn(n, 2, generator=generator), y


def network(seed=0, **kwargs):
    torch.manual_seed(seed)
    return UGMMNetwork([2, 6, 3], **kwargs)


def accuracy(model, guide, x, y):
    draws = Predictive(model, guide=guide, num_samples=100, parallel=True)(x)["y"].reshape(100, -1)
    return (draws.mode(0).values == y).float().mean().item()
