"""The structures and data that the tests of EM share."""

import numpy as np
import torch
from sklearn.mixture import GaussianMixture as SklearnMixture

from pyro_ugmm.distributions import GaussianMixture, LowRankCovariance
from pyro_ugmm.distributions.covariance import SKLEARN_STRUCTURES, STRUCTURES
from pyro_ugmm.em import initialize

STRUCTURE_NAMES = list(STRUCTURES)
SHARED_NAMES = [structure.name for structure in SKLEARN_STRUCTURES.values()]
SKLEARN_NAMES = {structure.name: name for name, structure in SKLEARN_STRUCTURES.items()}


def rank_in(structure):
    """The rank of one in a structure that has one."""
    return 1 if STRUCTURES[structure].has_rank else None


def initialized(x, n_components, structure, **options):
    """A start in any structure."""
    return initialize(x, n_components, structure, rank=rank_in(structure), **options)


def clusters(n_rows=600, n_features=3, n_clusters=4, dtype=torch.float64, seed=0):
    """Correlated clusters that overlap a little."""
    rng = np.random.default_rng(seed)
    means = rng.normal(size=(n_clusters, n_features)) * 4 + 2
    mixing = rng.normal(size=(n_clusters, n_features, n_features))
    label = rng.integers(n_clusters, size=n_rows)
    noise = rng.normal(size=(n_rows, n_features))
    x = means[label] + np.einsum("nij,nj->ni", mixing[label], noise)
    return torch.from_numpy(x).to(dtype)


def analyzers(n_rows, n_features=8, rank=2, seed=0):
    """Rows of two factor analyzers, which overlap."""
    generator = torch.Generator().manual_seed(seed)
    kind = {"generator": generator, "dtype": torch.float64}
    covariance = LowRankCovariance(
        torch.randn(2, n_features, rank, **kind), torch.rand(2, n_features, **kind) + 0.5
    )
    means = torch.stack([torch.zeros(n_features), torch.full((n_features,), 1.5)]).double()
    mixture = GaussianMixture(torch.tensor([0.4, 0.6]).double(), means, covariance)
    return mixture.sample((n_rows,), generator), mixture


def sklearn_start(x, n_components, structure, seed=0):
    """A mixture after one iteration of scikit-learn's, as its model and as ours."""
    model = SklearnMixture(
        n_components,
        covariance_type=SKLEARN_NAMES[structure],
        max_iter=1,
        tol=0,
        random_state=seed,
        init_params="random_from_data",
    ).fit(x.numpy())
    return model, GaussianMixture.from_sklearn(model)


def parameters(mixture):
    return mixture.weights, mixture.means, *mixture.covariance.tensors().values()


def assert_same(mixture, other, rtol, atol=0.0):
    for a, b in zip(parameters(mixture), parameters(other), strict=True):
        torch.testing.assert_close(a, b, rtol=rtol, atol=atol)
