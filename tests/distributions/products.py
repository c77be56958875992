"""Mixtures over products of univariate mixtures, and what scipy knows of them."""

import numpy as np
import torch
from scipy import stats
from scipy.special import logsumexp

from pyro_ugmm.distributions import UGMMMixture, UnivariateGaussianMixture


def random_product(
    n_components=3, n_features=2, n_gaussians=2, batch=(), seed=0, dtype=torch.float64, **options
):
    """A mixture whose parameters are far from each other's."""
    rng = np.random.default_rng(seed)
    shape = (*batch, n_components, n_features, n_gaussians)
    parts = (
        rng.dirichlet(np.full(n_components, 3.0), size=batch),
        2 * rng.normal(size=shape),
        rng.uniform(0.3, 1.2, size=shape),
        rng.dirichlet(np.full(n_gaussians, 3.0), size=shape[:-1]),
    )
    weights, loc, scale, probs = (torch.tensor(part, dtype=dtype) for part in parts)
    weights = weights / weights.sum(-1, keepdim=True)
    return UGMMMixture(weights, UnivariateGaussianMixture(loc, scale, probs=probs), **options)


def some_rows(n_rows, n_features, seed=5, dtype=torch.float64):
    values = 2 * np.random.default_rng(seed).normal(size=(n_rows, n_features))
    return torch.tensor(values, dtype=dtype)


def log_joint_of(mixture, row):
    """The joint log densities of one row and the components, by scipy, without what is NaN."""
    nodes = mixture.nodes
    of_components = []
    for c in range(mixture.n_components):
        total = np.log(mixture.weights[c].item())
        for d, value in enumerate(row.tolist()):
            if np.isnan(value):
                continue
            loc, scale, probs = (
                part[c, d].double().numpy() for part in (nodes.loc, nodes.scale, nodes.probs)
            )
            total += logsumexp(stats.norm.logpdf(value, loc, scale), b=probs)
        of_components.append(total)
    return np.array(of_components)


def grid(low=-12.0, high=12.0, count=1201):
    """Places of one dimension, and the distance between them."""
    places = torch.linspace(low, high, count, dtype=torch.float64)
    return places, float(places[1] - places[0])
