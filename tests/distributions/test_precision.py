"""Within torch.autocast all numbers are the same, and what is kept is right outside."""

import pytest
import torch

from pyro_ugmm.distributions import UnivariateGaussianMixture, impute
from tests.distributions.mixtures import by_count, by_structure, random_mixture, rows

X = rows(40, 3, dtype=torch.float32)
PARTIAL = X.masked_fill(torch.eye(40, 3).bool(), torch.nan)


def _drawn(mixture):
    return mixture.sample((20,), generator=torch.Generator().manual_seed(0))


METHODS = {
    "log_prob": lambda m: m.log_prob(X),
    "log_prob of partial rows": lambda m: m.log_prob(PARTIAL),
    "log_prob of a batch": lambda m: m.expand((2,)).log_prob(X.unsqueeze(1)),
    "log_prob with gradients": lambda m: m.log_prob(X.clone().requires_grad_()).detach(),
    "responsibilities": lambda m: m.responsibilities(X),
    "condition": lambda m: m.condition({1: X[:, 0]}).log_prob(X[:, 1:]),
    "condition, mean": lambda m: m.condition({1: 0.5}).mean,
    "marginal": lambda m: m.marginal([2, 0]).log_prob(X[:, :2]),
    "covariance_matrix": lambda m: m.covariance_matrix,
    "variance": lambda m: m.variance,
    "sample": _drawn,
    "aic": lambda m: torch.tensor(m.aic(X)),
    "impute": lambda m: impute(m, PARTIAL),
    "impute, draws": lambda m: impute(m, PARTIAL, num_samples=2, seed=0),
    "reindex": lambda m: m.to(torch.float32).log_prob(X),
    "whiten": lambda m: m.covariance.whiten(X.unsqueeze(-2) - m.means),
    "color": lambda m: m.covariance.color(X, torch.zeros(40, dtype=torch.long)),
    "dense": lambda m: m.covariance.dense(m.n_components, 3),
    "conditional": lambda m: m.covariance.conditional(torch.tensor([0]), torch.tensor([1, 2]))[1],
    "complete": lambda m: m.covariance.complete(PARTIAL, m.means).deviations,
    "form": lambda m: form(m.covariance, m.means),
}


def form(covariance, means):
    """What blocks of rows are multiplied by: of the natural form, where there is one."""
    has_natural = covariance.canceling(means).isfinite().all()
    return torch.cat(covariance.natural(means), -1) if has_natural else covariance.whitener(3)


def a_mixture(structure, n_components):
    return random_mixture(structure, n_components, 3, dtype=torch.float32, missing="marginalize")[0]


@by_structure
@by_count
@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_changes_nothing(structure, n_components, method, dtype):
    expected = method(a_mixture(structure, n_components))
    mixture = a_mixture(structure, n_components)
    with torch.autocast("cpu", dtype=dtype):
        found = method(mixture)
    assert found.dtype == torch.float32 and torch.equal(found, expected)
    assert torch.equal(method(mixture), expected)


@pytest.mark.parametrize("structure", ["full", "tied"])
@pytest.mark.parametrize("part", ["factor", "inverse_factor"])
def test_factors(structure, part):
    covariance, other = (a_mixture(structure, 3).covariance for _ in range(2))
    factor = other.factor
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = getattr(covariance, part)
        values = type(covariance).from_factor(factor).values
    assert torch.equal(found, getattr(other, part))
    assert torch.equal(values, factor @ factor.mT)


@pytest.mark.parametrize("method", ["log_prob", "responsibilities", "cdf"])
def test_the_univariate_mixture(method):
    d = UnivariateGaussianMixture(X[0], X[1].abs() + 1, logits=X[2])
    expected = getattr(d, method)(X[:, 0])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(getattr(d, method)(X[:, 0]), expected)
