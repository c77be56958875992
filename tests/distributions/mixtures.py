"""Mixtures whose densities scipy knows."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.special import logsumexp, softmax

from pyro_ugmm.distributions import (
    DiagonalCovariance,
    FullCovariance,
    GaussianMixture,
    LowRankCovariance,
    SphericalCovariance,
    TiedCovariance,
)


def _columns(m):
    """Some columns of Cholesky factors, so that what they leave of the matrices is positive."""
    return np.linalg.cholesky(m)[..., : max(1, m.shape[-1] - 1)]


# Each structure: its class, what it keeps of matrices (..., K, D, D), and its arguments of those.
STRUCTURES = {
    "full": (FullCovariance, lambda m: m, lambda m: (m,)),
    "tied": (
        TiedCovariance,
        lambda m: np.broadcast_to(m[..., :1, :, :], m.shape),
        lambda m: (m[..., 0, :, :],),
    ),
    "diagonal": (
        DiagonalCovariance,
        lambda m: m * np.eye(m.shape[-1]),
        lambda m: (m.diagonal(axis1=-2, axis2=-1),),
    ),
    "spherical": (
        SphericalCovariance,
        lambda m: m[..., :1, :1] * np.eye(m.shape[-1]),
        lambda m: (m[..., 0, 0],),
    ),
    "low_rank": (
        LowRankCovariance,
        lambda m: _columns(m) @ _columns(m).swapaxes(-1, -2) + 0.5 * m * np.eye(m.shape[-1]),
        lambda m: (_columns(m), 0.5 * m.diagonal(axis1=-2, axis2=-1)),
    ),
}

# Of all others, scikit-learn has the same.
by_shared_structure = pytest.mark.parametrize("structure", [*STRUCTURES][:-1])
by_structure = pytest.mark.parametrize("structure", STRUCTURES)
# Without gradients, few full covariances are evaluated from deviations, many from products.
by_count = pytest.mark.parametrize("n_components", [3, 12])

_normal = np.vectorize(
    lambda x, mean, matrix: np.atleast_1d(stats.multivariate_normal(mean, matrix).logpdf(x)),
    signature="(n,d),(d),(d,d)->(n)",
)


@dataclass
class Known:
    """A mixture's parameters in numpy: weights, means and dense matrices."""

    weights: np.ndarray
    means: np.ndarray
    matrices: np.ndarray

    def __getitem__(self, at):
        """One mixture of a batch."""
        return Known(self.weights[at], self.means[at], self.matrices[at])

    def log_joint(self, x):
        x = np.asarray(x, dtype=np.float64)
        if (self.weights.ndim, self.means.ndim, self.matrices.ndim) == (1, 2, 3):  # no batch
            rows = x.reshape(-1, x.shape[-1])
            log_density = _normal(rows, self.means, self.matrices).T.reshape(*x.shape[:-1], -1)
        else:
            log_density = _normal(x[..., None, None, :], self.means, self.matrices)[..., 0]
        with np.errstate(divide="ignore"):
            return log_density + np.log(self.weights)

    def log_prob(self, x):
        return logsumexp(self.log_joint(x), axis=-1)

    def responsibilities(self, x):
        return softmax(self.log_joint(x), axis=-1)

    def marginal(self, dims):
        return Known(self.weights, self.means[..., dims], self.matrices[..., dims, :][..., :, dims])

    def of_observed(self, function, x):
        """Applies a method to each row ``(n, D)`` without what is missing there."""
        return np.stack(
            [getattr(self.marginal(~np.isnan(row)), function)(row[~np.isnan(row)]) for row in x]
        )


def close(got, expected, tolerance=1e-10):
    got = got.detach().cpu().numpy()
    np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance)


def rows(*shape, dtype=torch.float64, device="cpu"):
    return torch.tensor(4 * np.random.default_rng(9).normal(size=shape), dtype=dtype, device=device)


def known(weights, means, matrices, structure="full", dtype=torch.float64, device="cpu", **options):
    """Makes a mixture, and what is known of it: the parameters after rounding to ``dtype``."""
    make, keep, values = STRUCTURES[structure]
    weights, means, matrices = (
        torch.tensor(np.asarray(a), dtype=dtype) for a in (weights, means, matrices)
    )
    covariance = make(*(torch.tensor(value).to(device) for value in values(matrices.numpy())))
    mixture = GaussianMixture(weights.to(device), means.to(device), covariance, **options)
    weights, means, matrices = (a.double().numpy() for a in (weights, means, matrices))
    return mixture, Known(weights, means, keep(matrices))


def random_matrices(rng, *shape):
    """Well conditioned covariances, shape ``(..., K, D, D)``."""
    a = rng.normal(size=(*shape, shape[-1]))
    return a @ a.swapaxes(-1, -2) / shape[-1] + 0.3 * np.eye(shape[-1])


def random_mixture(
    structure="full", n_components=3, n_features=2, batches=((), (), ()), seed=0, **options
):
    """Batches are those of the weights, the means and the covariances."""
    rng = np.random.default_rng(seed)
    weights = rng.dirichlet(np.full(n_components, 5.0), size=batches[0])
    means = 2 * rng.normal(size=(*batches[1], n_components, n_features))
    matrices = random_matrices(rng, *batches[2], n_components, n_features)
    return known(weights, means, matrices, structure, **options)


def parameters(mixture):
    """The tensors that a mixture is made of."""
    return mixture.weights, mixture.means, *mixture.covariance.tensors().values()


def rebuilt(structure, weights, means, *values, validate_args=True, **options):
    """Makes a mixture of such tensors, of matrices their symmetric part."""
    if structure in ("full", "tied"):
        values = [0.5 * (matrices + matrices.mT) for matrices in values]
    covariance = STRUCTURES[structure][0](*values, validate_args=validate_args)
    return GaussianMixture(weights, means, covariance, validate_args=validate_args, **options)
