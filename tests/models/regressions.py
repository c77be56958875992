"""Rows with continuous targets, and models of them."""

import torch

from pyro_ugmm.models import UGMMRegressor
from pyro_ugmm.nn import UGMMNetwork


def data(n=200, seed=0):
    """Two features; a curve over the first, whose noise grows along the second."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 2, generator=generator)
    noise = torch.randn(n, generator=generator) * (0.2 + 0.3 * torch.sigmoid(2 * x[:, 1]))
    return x, 150 + 30 * ((1.5 * x[:, 0]).sin() + noise)


def several(n=200, seed=0):
    """The same with a second target of the second feature, in other units."""
    x, y = data(n, seed)
    generator = torch.Generator().manual_seed(seed + 1)
    return x, torch.stack([y, 1e-3 * (x[:, 1] + 0.2 * torch.randn(n, generator=generator))], -1)


def regressor(y, priors=None, n_components=10, seed=0, dtype=None, **network):
    """A model with few neurons, in the units of targets."""
    torch.manual_seed(seed)
    n_outputs = 1 if y.dim() == 1 else y.shape[1]
    sizes = [2, 8, n_components * n_outputs]
    return UGMMRegressor.from_data(UGMMNetwork(sizes, dtype=dtype, **network), y, priors)
