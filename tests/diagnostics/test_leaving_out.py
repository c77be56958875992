"""Rows and folds left out: against closed forms of a line, with rows that no line explains."""

import math

import arviz as az
import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from torch.distributions import Normal

from pyro_ugmm.diagnostics import kfold, loo, to_inference_data
from pyro_ugmm.diagnostics.left_out import MixtureOfLeftOut, WithoutRows
from pyro_ugmm.diagnostics.new_draws import NewDraws
from pyro_ugmm.guides import full_rank, mean_field
from pyro_ugmm.models import BayesianGaussianMixture, Priors, UGMMClassifier, UGMMDensity
from pyro_ugmm.nn import UGMMNetwork
from pyro_ugmm.sampling import sample_posterior
from tests.diagnostics.arviz_words import BY_ROW, PARAMETERS, TOTAL, draws_of
from tests.models.mixtures import mixture, rows

TAU, SIGMA, N = 5.0, 0.5, 15
QUIET = {"seed": 0, "progress": False}
X = torch.linspace(-1.0, 1.0, N)
MILD = X + SIGMA * torch.randn(N, generator=torch.Generator().manual_seed(0))
MILD[3] += 2.0
Y = X + SIGMA * torch.randn(N, generator=torch.Generator().manual_seed(0))
Y[3] += 3.5
Y[12] -= 3.0
FOLDS = torch.arange(N) % 3


def line(x, y=None):
    w = pyro.sample("w", dist.Normal(0.0, TAU).expand([2]).to_event(1))
    with pyro.plate("data", len(x)):
        pyro.sample("y", dist.Normal(w[0] + w[1] * x, SIGMA), obs=y)


def predictive(observed, kept, at):
    """Log densities of rows given others, and the mean and covariance of the coefficients."""
    design, observed = torch.stack([torch.ones(N), X], -1).double(), observed.double()
    x, y = design[kept], observed[kept]
    precision = x.mT @ x / SIGMA**2 + torch.eye(2).double() / TAU**2
    covariance = torch.linalg.inv(precision)
    mean = covariance @ x.mT @ y / SIGMA**2
    scale = (SIGMA**2 + ((design[at] @ covariance) * design[at]).sum(-1)).sqrt()
    return Normal(design[at] @ mean, scale).log_prob(observed[at]), (mean, covariance)


def exact(observed, groups):
    values = torch.empty(N).double()
    for group in groups.unique():
        values[groups == group] = predictive(observed, groups != group, groups == group)[0]
    return values.numpy()


ALL = torch.ones(N, dtype=torch.bool)
EVERY, OF_FOLDS = exact(Y, torch.arange(N)), exact(MILD, FOLDS)
SEEN, POSTERIOR = predictive(Y, ALL, ALL)
SEEN_OF_FOLDS, POSTERIOR_OF_FOLDS = predictive(MILD, ALL, ALL)


@pytest.fixture(scope="module")
def idata():
    """Draws from the exact posterior."""
    (mean, covariance), rng = POSTERIOR, np.random.default_rng(0)
    w = rng.multivariate_normal(mean.numpy(), covariance.numpy(), 4000).astype(np.float32)
    terms = Normal(torch.as_tensor(w[:, :1] + w[:, 1:] * X.numpy()), SIGMA).log_prob(Y)
    dims = {"y": ["data"]}
    return draws_of(dims, posterior={"w": w[None]}, log_likelihood={"y": terms.numpy()[None]})


@pytest.fixture
def always_doubtful(monkeypatch):
    """No Pareto k is low enough."""
    monkeypatch.setitem(loo.__globals__, "good_k", lambda n_draws: -math.inf)


def test_rows_that_draws_do_not_tell_are_those_of_the_closed_form(idata):
    with pytest.warns(UserWarning, match="of 15 rows is above .*give loo the model and the data"):
        doubtful = loo(idata)
    assert doubtful["warning"] and doubtful.pareto_k[3] > 0.7
    found = loo(idata, line, X, Y, **QUIET)
    np.testing.assert_allclose(found[BY_ROW], EVERY, atol=0.5)
    assert found[PARAMETERS] == pytest.approx(float(SEEN.sum()) - EVERY.sum(), abs=1.0)
    assert (found.pareto_k < found.good_k).all() and not found["warning"]
    method = found.pareto_k.method
    assert method[3] in ("mixture", "refit") and "draws" in method
    assert {*az.compare({"found": found, "doubtful": doubtful}).index} == {"found", "doubtful"}
    assert az.plot_khat(found) is not None


def test_a_guide_of_no_use_is_mended_in_every_row():
    guide = full_rank(line, start={"w": POSTERIOR[0] + 1.0}, x=X, y=Y)
    given = to_inference_data(line, guide, X, Y, num_samples=500, seed=0)
    with pytest.warns(UserWarning, match="15 of 15 rows"):
        loo(given)
    found = loo(given, line, X, Y, **QUIET)
    np.testing.assert_allclose(found[BY_ROW], EVERY, atol=0.6)
    assert {*found.pareto_k.method.values} <= {"mixture", "refit"}


def test_the_budget_is_kept_and_what_it_leaves_is_named(idata, always_doubtful):
    with pytest.warns(UserWarning, match=r"of 15 of 15 rows is above .*raise refits"):
        found = loo(idata, line, X, Y, refits=2, num_particles=256, **QUIET)
    method = found.pareto_k.method.values
    assert (method == "refit").sum() == 2 and (method == "mixture").sum() == N - 2
    at = method == "refit"
    np.testing.assert_allclose(found[BY_ROW][at], EVERY[at], rtol=0.05, atol=0.5)
    assert (found.pareto_k[at] == 0).all() and found["warning"]


def test_the_mixture_is_the_sum_of_posteriors_without_groups():
    groups, alpha = np.array([0, 2, 1, 0, *[2] * (N - 4)]), np.array([-3.0, 1.0])
    program = MixtureOfLeftOut(line, (X, Y), groups, alpha)
    draws = {"w": torch.randn(4, 2)}
    terms = Normal(draws["w"][:, :1] + draws["w"][:, 1:] * X, SIGMA).log_prob(Y)
    of_groups = torch.stack([terms[:, 0] + terms[:, 3], terms[:, 2]], -1)
    gain = (1 + (torch.tensor(alpha) - of_groups.double()).exp().sum(-1)).log()
    found = program.row_terms(X, Y, draws=draws)
    torch.testing.assert_close(
        found.double().sum(-1), terms.double().sum(-1) + gain, rtol=1e-5, atol=1e-4
    )


@pytest.mark.parametrize("by_guide", [False, True])
def test_folds_are_those_of_the_closed_form(by_guide):
    def make_guide(model):
        return full_rank(model, start={"w": POSTERIOR_OF_FOLDS[0]}, x=X, y=MILD)

    options = {"steps": 250, "learning_rate": 0.05} if by_guide else {}
    found = kfold(line, make_guide if by_guide else None, X, MILD, FOLDS, progress=False, **options)
    assert found[BY_ROW].dims == ("data",)
    np.testing.assert_allclose(found[BY_ROW], OF_FOLDS, rtol=0.15, atol=0.4)
    assert ({*found.pareto_k.method.values} == {"guide"}) == by_guide
    p = float(SEEN_OF_FOLDS.sum()) - OF_FOLDS.sum()
    assert by_guide or found[PARAMETERS] == pytest.approx(p, abs=0.5)
    assert not found["warning"]


def test_folds_by_sampling_anew_are_those_of_the_closed_form():
    new = NewDraws(line, (X, MILD), FOLDS.numpy(), {"num_particles": 512, **QUIET})
    found = new.mended(new.of_all(), -math.inf, 1)
    at = torch.as_tensor(found.method == "refit")
    assert len({*FOLDS[at].tolist()}) == 1
    np.testing.assert_allclose(found.left_out[at], OF_FOLDS[at], atol=0.5)


def test_labels_have_their_shares_in_all_folds():
    x, y = torch.randn(24, 2), torch.arange(24) % 4 // 3  # a quarter of the second class
    model = UGMMClassifier(UGMMNetwork([2, 2]), Priors())
    before = model.network.layers[0].loc.detach().clone()
    found = kfold(model, mean_field, x, y, folds=3, steps=3, num_samples=20, progress=False)
    assert found.n_data_points == 24 and np.isfinite(found[TOTAL])
    assert torch.equal(before, model.network.layers[0].loc)
    with pytest.raises(ValueError, match="folds: expected rows of label 0 in two folds or more"):
        kfold(model, mean_field, x, y, folds=y)
    alone = torch.zeros(24, dtype=torch.long)
    alone[5] = 1
    with pytest.raises(ValueError, match="folds: expected rows of label 1 in two folds or more"):
        kfold(model, mean_field, x, alone)


def test_what_does_not_fit_is_refused(idata):
    with pytest.raises(ValueError, match="x, y: expected the data of idata, row by row"):
        loo(idata, line, X.flip(0), Y)
    with pytest.raises(ValueError, match="x: expected the data of idata, 15 rows, got 14 rows"):
        loo(idata, line, X[1:], Y[1:])
    with pytest.raises(ValueError, match=r"model: expected the one of idata.*with weights"):
        loo(idata, mixture(), rows(15))
    with pytest.raises(ValueError, match="refits: expected an integer of at least 0"):
        loo(idata, line, X, Y, refits=-1)
    score = UGMMDensity(UGMMNetwork([3, 1]), 2, priors=Priors(), objective="score")
    x, y = torch.randn(6, 2), torch.arange(6) % 2
    with pytest.raises(ValueError, match="model: expected one with a likelihood"):
        kfold(score, None, x, y)
    with pytest.raises(ValueError, match="folds: expected at most as many as the 15 rows, got 16"):
        kfold(line, None, X, Y, folds=16)
    for folds in (FOLDS[1:], FOLDS + 1, torch.zeros(15, dtype=torch.long), FOLDS.double()):
        with pytest.raises(ValueError, match="folds: expected the fold of each of 15 rows"):
            kfold(line, None, X, Y, folds)
    for wrong in (3, mean_field(line, x=X, y=Y)):  # the guide itself is none
        with pytest.raises(ValueError, match="make_guide: expected a function that makes a guide"):
            kfold(line, wrong, X, Y)
    free = BayesianGaussianMixture(
        1, 1, priors=Priors(means=None, variances=None, weights=None, correlations=None)
    )
    with pytest.raises(ValueError, match="model: expected a model with priors"):
        kfold(free, mean_field, X[:, None])


def effects(y, sigma):
    """An effect of its own for each row, which is left out with it."""
    center = pyro.sample("center", dist.Normal(0.0, 2.0))
    with pyro.plate("rows", len(y)):
        effect = pyro.sample("effect", dist.Normal(center, 1.5))
        pyro.sample("y", dist.Normal(effect, sigma), obs=y)


def test_rows_are_left_out_with_effects_of_their_own():
    y = torch.tensor([0.3, -0.8, 4.5, 1.1, 0.2])
    n, sigma = len(y), torch.full((5,), 1.0)
    covariance = 4.0 + (1.5**2 + 1.0) * torch.eye(n)
    exact = []
    for i in range(n):
        others = torch.arange(n) != i
        gain = torch.linalg.solve(covariance[others][:, others], covariance[others, i])
        variance = covariance[i, i] - gain @ covariance[others, i]
        exact.append(float(Normal(gain @ y[others], variance.sqrt()).log_prob(y[i])))
    data, left_out = {"y": y, "sigma": sigma}, np.arange(n) == 2
    found = kfold(effects, None, data, folds=n, **QUIET)
    np.testing.assert_allclose(found[BY_ROW].values, exact, atol=0.45)  # six seeds: 0.22
    rest = WithoutRows(effects, (y, sigma), left_out)
    sample = sample_posterior(rest, data, num_particles=512, **QUIET)
    others = torch.as_tensor(~left_out)
    normal = torch.distributions.MultivariateNormal(torch.zeros(4), covariance[others][:, others])
    assert sample.log_evidence == pytest.approx(float(normal.log_prob(y[others])), abs=0.3)
    expected = r"make_guide: expected None \(sampling\), .* no values of \['effect'\] for these"
    with pytest.raises(ValueError, match=expected):
        kfold(effects, mean_field, data, folds=n, **QUIET)
