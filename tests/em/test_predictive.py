"""The density of rows to come: against scipy, draws of the posterior, and integrals."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import integrate, stats
from scipy.special import logsumexp

from pyro_ugmm.em import VariationalEM, initialize
from pyro_ugmm.models import BayesianGaussianMixture

STRUCTURES = ("full", "tied", "diagonal", "spherical")


def fitted(covariance, n_features=2, n_rows=30, dtype=torch.float64, **options):
    torch.manual_seed(0)
    x = torch.randn(n_rows, n_features, dtype=dtype)
    x[n_rows // 3 :] += 3
    fitter = VariationalEM(progress=False, **options)
    return fitter.fit(x, initialize(x, 2, covariance, seed=0)), x


def scipys(vb, covariance, x):
    """Component by component, from the posterior's parameters."""
    of, n_features = vb.posterior.components, x.shape[1]
    m, beta, nu = (t.double().numpy() for t in (of.means, of.mean_precision, of.degrees_of_freedom))
    matrices = of.covariance.dense(2, n_features).double().numpy()
    nu = np.broadcast_to(nu, (2,))
    joint = []
    for k, w in enumerate(vb.posterior.weights.mean().tolist()):
        wide = (1 + 1 / beta[k]) * matrices[k]
        if covariance == "full":
            degrees = nu[k] - n_features + 1
            law = stats.multivariate_t(m[k], nu[k] / degrees * wide, degrees)
        elif covariance == "tied":
            degrees = 2 * nu[k] - n_features + 1
            law = stats.multivariate_t(m[k], 2 * nu[k] / degrees * wide, degrees)
        elif covariance == "spherical":
            law = stats.multivariate_t(m[k], wide, n_features * nu[k])
        else:
            scale = np.sqrt(wide.diagonal())
            joint.append(np.log(w) + stats.t(nu[k], m[k], scale).logpdf(x.numpy()).sum(-1))
            continue
        joint.append(np.log(w) + law.logpdf(x.numpy()))
    return logsumexp(joint, 0)


@pytest.mark.parametrize("covariance", STRUCTURES)
@pytest.mark.parametrize("n_features", [1, 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_it_is_scipys(covariance, n_features, dtype):
    vb, _ = fitted(covariance, n_features, dtype=dtype)
    rows = 3 * torch.randn(20, n_features, dtype=dtype)
    found = vb.predictive.log_prob(rows)
    assert found.dtype == dtype
    np.testing.assert_allclose(
        found,
        scipys(vb, covariance, rows),
        rtol=1e-9 if dtype == torch.float64 else 1e-4,
        atol=1e-5,
    )


@pytest.mark.parametrize("covariance", STRUCTURES)
def test_it_is_the_average_over_the_posterior(covariance):
    vb, x = fitted(covariance, weight_prior="dirichlet_distribution")
    draws = vb.guide().draw((20000,))
    model = BayesianGaussianMixture(2, 2, covariance).double()
    mixtures = model.mixture({name: value.unsqueeze(1) for name, value in draws.items()})
    densities = mixtures.log_prob(x[:8]).exp()
    error = densities.std(0) / 20000**0.5
    found = vb.predictive.log_prob(x[:8]).exp()
    assert ((found - densities.mean(0)).abs() < 5 * error).all()


@pytest.mark.parametrize("covariance", ["full", "spherical"])
def test_it_integrates_to_one(covariance):
    vb, _ = fitted(covariance, 1, n_rows=6)
    law = vb.predictive
    total, _ = integrate.quad(
        lambda v: float(law.log_prob(torch.tensor([v]).double()).exp()), -np.inf, np.inf, limit=200
    )
    assert total == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("covariance", STRUCTURES)
def test_its_draws_are_of_the_density(covariance):
    vb, _ = fitted(covariance, n_rows=40)
    law = vb.predictive
    x = law.sample((20000,))
    grid = torch.linspace(-9, 13, 221).double()
    points = torch.cartesian_prod(grid, grid)
    density = law.log_prob(points).exp()
    for is_within in (lambda v: v.sum(1) > 3, lambda v: v[:, 0] > v[:, 1] + 0.55):
        by_grid = density[is_within(points)].sum() / density.sum()
        assert float(is_within(x).double().mean()) == pytest.approx(float(by_grid), abs=0.02)


def test_rows_that_were_left_out_are_likelier_than_under_the_point_estimate():
    torch.manual_seed(0)
    x = torch.randn(200, 10).double() @ torch.randn(10, 10).double()
    train, test = x[:25], x[25:]
    vb = VariationalEM(progress=False).fit(train, initialize(train, 2, seed=0))
    assert vb.predictive.log_prob(test).mean() > vb.mixture.log_prob(test).mean()


def test_shapes_and_kinds_of_rows():
    vb, x = fitted("full")
    law = vb.predictive
    expected = law.log_prob(x)
    torch.testing.assert_close(law.log_prob(x.view(5, 6, 2)), expected.view(5, 6))
    for kind in (x.numpy(), pd.DataFrame(x.numpy()), x.tolist()):
        torch.testing.assert_close(law.log_prob(kind), expected)
    assert law.log_prob(x[:0]).shape == (0,) and law.sample((0,)).shape == (0, 2)
    assert law.expand((4, 1)).log_prob(x).shape == (4, 30)
    assert law.expand((4, 1)).sample((3,)).shape == (3, 4, 1, 2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: x[:, :1], "value: expected 2 features in the last dimension"),
        (lambda x: x.float(), "value: expected torch.float64"),
        (lambda x: x.log(), "value: expected finite values, got nan"),
    ],
)
def test_bad_rows(change, message):
    vb, x = fitted("full")
    with pytest.raises(ValueError, match=message):
        vb.predictive.log_prob(change(x))
