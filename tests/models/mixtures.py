"""Bayesian mixtures, and rows that they fit."""

import torch

from pyro_ugmm.models import BayesianGaussianMixture, Priors

NOTHING = {"means": None, "variances": None, "weights": None, "correlations": None}


def rank_in(covariance):
    """The rank of one in a structure that has one."""
    return 1 if covariance == "low_rank" else None


def rows(n=120, seed=0, dtype=torch.float64):
    """Two components, of a third and two thirds of the rows, away from the origin."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 2, generator=generator, dtype=dtype)
    x[n // 3 :] += torch.tensor([6.0, 2.0], dtype=dtype)
    return x + 10


def mixture(covariance="full", n_components=2, *, seed=1, **kwargs):
    torch.manual_seed(seed)
    priors, rank = Priors.from_data(rows(), **kwargs), rank_in(covariance)
    return BayesianGaussianMixture(n_components, 2, covariance, priors, rank=rank)
