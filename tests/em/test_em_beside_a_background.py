"""EM beside a background: by hand, against scipy's optimizer, and with all else that EM takes."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import optimize, stats
from scipy.special import logsumexp
from torch.distributions import Independent, Normal

from pyro_ugmm.distributions import (
    UniformBox,
    UniformHull,
)
from pyro_ugmm.em import (
    ConjugatePrior,
    EMFitter,
    GaussianMixtureEstimator,
    initialize,
    select,
)
from pyro_ugmm.status import Status

from .cases import SHARED_NAMES, STRUCTURE_NAMES, initialized

QUIET = {"progress": False}
CLOSE = {"tol": 1e-12, "max_iter": 3000, "reg_covar": 0.0, **QUIET}


def rows(n_outliers=20, dtype=torch.float64):
    """Two clusters, and rows all over the place, which come last."""
    torch.manual_seed(1)
    parts = [
        torch.randn(80, 2) - 4,
        0.5 * torch.randn(60, 2) + 3,
        24 * torch.rand(n_outliers, 2) - 12,
    ]
    return torch.cat(parts).to(dtype)


def to_centers(x):
    """The distance to the nearer of the clusters, which are one and half a unit wide."""
    centers = torch.tensor([[-4.0, -4.0], [3.0, 3.0]]).to(x)
    return torch.cdist(x, centers).amin(1)


X = rows()
START = initialize(X, 2, seed=0)


def by_hand(x, start, density, n_steps):
    """Steps row by row and component by component, from a share of a tenth."""
    share, w = 0.1, start.weights.numpy()
    means, matrices = start.means.numpy(), start.covariance.dense(2, 2).numpy()
    x, values = x.numpy(), []
    for _ in range(n_steps + 1):
        log_joint = np.stack(
            [
                np.log(w[k]) + stats.multivariate_normal(means[k], matrices[k]).logpdf(x)
                for k in (0, 1)
            ]
            + [np.full(len(x), density + math.log(share / (1 - share)))],
            1,
        ) + math.log(1 - share)
        values.append(logsumexp(log_joint, 1).mean())
        r = np.exp(log_joint - logsumexp(log_joint, 1, keepdims=True))
        share, mass = r[:, 2].mean(), r[:, :2].sum(0)
        w, means = mass / mass.sum(), r[:, :2].T @ x / mass[:, None]
        deviations = x[:, None] - means
        matrices = (
            np.einsum("nk,nki,nkj->kij", r[:, :2], deviations, deviations) / mass[:, None, None]
        )
        if len(values) == n_steps:
            last = share, w, means, matrices
    return last, values


def test_steps_by_hand():
    result = EMFitter(tol=0.0, max_iter=7, reg_covar=0.0, **QUIET).fit(X, START, background="box")
    density = float(UniformBox.around(X).log_prob(X[0]))
    (share, w, means, matrices), values = by_hand(X, START, density, 7)
    assert float(result.background.weight) == pytest.approx(share)
    assert result.mixture.weights.tolist() == pytest.approx(w)
    np.testing.assert_allclose(result.mixture.means, means)
    np.testing.assert_allclose(result.mixture.covariance.values, matrices)
    assert [*result.history.tolist(), result.log_likelihood] == pytest.approx(values)


def test_the_maximum_is_scipys():
    """Of a normal distribution beside a uniform one, in one dimension."""
    x = torch.cat([torch.randn(60), 20 * torch.rand(15) - 10]).double().unsqueeze(1)
    result = EMFitter(**CLOSE).fit(x, initialize(x, 1), background="box")
    width = float(x.max() - x.min())

    def loss(at):
        share, mean, scale = 1 / (1 + math.exp(-at[0])), at[1], math.exp(at[2])
        normal = stats.norm(mean, scale).pdf(x[:, 0].numpy())
        return -np.log(share / width + (1 - share) * normal).mean()

    found = optimize.minimize(
        loss, [-1.0, 0.0, 0.0], method="Nelder-Mead", options={"xatol": 1e-8, "fatol": 1e-12}
    )
    assert result.log_likelihood == pytest.approx(-found.fun, abs=1e-8)
    assert float(result.background.weight) == pytest.approx(
        1 / (1 + math.exp(-found.x[0])), abs=1e-3
    )


@pytest.mark.parametrize("structure", STRUCTURE_NAMES)
@pytest.mark.parametrize("background", ["box", "hull"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_it_ascends_and_finds_the_outliers(structure, background, dtype):
    x = rows(dtype=dtype)
    result = EMFitter(max_iter=300, **QUIET).fit(
        x, initialized(x, 2, structure, seed=0), background=background
    )
    assert result.converged
    assert (result.history.diff() > (-1e-10 if dtype == torch.float64 else -1e-4)).all()
    torch.testing.assert_close(result.mixture.weights.sum(), torch.ones((), dtype=dtype))
    assert 0.03 < float(result.background.weight) < 0.3
    assert float(result.background.log_prob(x).mean()) == pytest.approx(
        result.log_likelihood, abs=1e-9 if dtype == torch.float64 else 1e-4
    )
    distance = to_centers(x)  # which decides in any structure, and of any draw, at its ends
    assert torch.isin((distance > 6).nonzero()[:, 0], result.outliers).all()
    assert (distance[result.outliers] > 1).all()
    assert torch.equal(
        result.background.predict(x) == -1, torch.isin(torch.arange(160), result.outliers)
    )
    assert (
        f"the background has {100 * result.background.weight:.3g} % of the weight; "
        in result.report
    )
    assert f"{len(result.outliers)} rows are more probably of it: " in result.report


def test_without_outliers_it_takes_nothing():
    x = X[:140]
    fitter = EMFitter(**CLOSE)
    result = fitter.fit(
        x, START, background=UniformBox(X.new_full((2,), -50), X.new_full((2,), 50))
    )
    plain = fitter.fit(x, START)
    assert float(result.background.weight) < 1e-6 and not len(result.outliers)
    torch.testing.assert_close(result.mixture.means, plain.mixture.means, rtol=0, atol=1e-4)
    assert "0 rows are more probably of it" in result.report
    assert plain.background is None and plain.distribution is plain.mixture


def test_weights_are_repetitions():
    weight = torch.randint(1, 4, (160,))
    fitter = EMFitter(tol=0.0, max_iter=5, **QUIET)
    box = UniformBox.around(X)
    found = fitter.fit(X, START, sample_weight=weight, background=box)
    many = fitter.fit(X.repeat_interleave(weight, 0), START, background=box)
    torch.testing.assert_close(found.mixture.means, many.mixture.means)
    torch.testing.assert_close(found.background.weight, many.background.weight)


def test_restarts_have_shares_of_their_own():
    starts = initialize(X, 2, seed=0, n_init=4, method="random_from_data")
    fitter = EMFitter(tol=1e-8, max_iter=200, **QUIET)
    together = fitter.fit(X, starts, background="box")
    alone = [fitter.fit(X, starts.reindex(lambda t, i=i: t[i]), background="box") for i in range(4)]
    assert together.restarts.tolist() == pytest.approx(
        [one.log_likelihood for one in alone], abs=1e-6
    )
    best = max(alone, key=lambda one: one.log_likelihood)
    torch.testing.assert_close(
        together.background.weight, best.background.weight, rtol=0, atol=1e-5
    )


def test_rows_with_a_label_are_not_of_it():
    far = torch.tensor([[11.0, -11.0]]).double()
    x, labels = torch.cat([X, far]), torch.full((161,), -1)
    labels[160] = 0
    fitter = EMFitter(**QUIET)
    assert 160 in fitter.fit(x, START, background="box").outliers
    assert 160 not in fitter.fit(x, START, background="box", labels=labels).outliers


def test_rows_with_gaps_and_errors():
    x = X.clone()
    x[::7, 1] = torch.nan
    start = initialize(x, 2, seed=0, missing="marginalize")
    gaps = EMFitter(tol=1e-9, max_iter=500, **QUIET).fit(x, start, background="box")
    assert gaps.converged and (gaps.history.diff() > -1e-10).all()
    assert float(gaps.background.log_prob(x).mean()) == pytest.approx(gaps.log_likelihood)
    noise = 0.2 * torch.rand(160, 2).double()
    errors = EMFitter(tol=1e-9, max_iter=500, **QUIET).fit(X, START, background="box", noise=noise)
    assert errors.converged and (errors.history.diff() > -1e-10).all()
    inside = errors.mixture.convolve(noise).log_prob(X) + torch.log1p(-errors.background.weight)
    outside = errors.background.weight.log() + errors.background.background.log_prob(X)
    whole = torch.logaddexp(inside, outside)
    assert float(whole.mean()) == pytest.approx(errors.log_likelihood)
    assert errors.outliers.tolist() == (outside > inside).nonzero()[:, 0].tolist()


@pytest.mark.parametrize("structure", SHARED_NAMES)
def test_a_prior_is_of_the_components_alone(structure):
    prior = ConjugatePrior(
        X.mean(0), torch.cov(X.T), mean_strength=1, covariance_strength=3, concentration=2
    )
    fitter = EMFitter(prior=prior, tol=1e-10, max_iter=500, **QUIET)
    result = fitter.fit(X, initialized(X, 2, structure, seed=0), background="box")
    log_prior = float(prior.log_density(result.mixture)) / len(X)
    assert result.objective == pytest.approx(result.log_likelihood + log_prior)
    assert result.converged
    for n_steps in (1, 2, 5):
        early = EMFitter(prior=prior, tol=0.0, max_iter=n_steps, **QUIET).fit(
            X, initialized(X, 2, structure, seed=0), background="box"
        )
        assert early.objective <= result.objective + 1e-12


@pytest.mark.parametrize("part", ["weights", "means", "covariance"])
def test_what_is_frozen_stays(part):
    result = EMFitter(frozen={part: True}, **QUIET).fit(X, START, background="box")
    for name, before in START.tensors().items():
        stays = torch.allclose(result.mixture.tensors()[name], before, rtol=1e-12, atol=0)
        assert stays is (name.split(".")[0] == part)
    assert float(result.background.weight) != pytest.approx(0.1, abs=1e-4)


def test_components_that_lose_their_rows_come_back():
    start = initialize(X, 3, means=torch.cat([START.means, START.means.new_tensor([[1e3, 1e3]])]))
    result = EMFitter(max_iter=200, **QUIET).fit(X, start, background="box")
    assert any(finding.kind == "revived" for finding in result.findings)
    assert 0 < float(result.background.weight) < 0.2
    assert float(result.background.log_prob(X).mean()) == pytest.approx(result.log_likelihood)


def test_a_checkpoint_goes_on(tmp_path):
    options = {"background": "box", "checkpoint": tmp_path / "fit", "checkpoint_every": 2}
    whole = EMFitter(tol=0.0, max_iter=6, **QUIET).fit(X, START, background="box")

    from pyro_ugmm.em import expectation

    read, count = expectation.Expectation.read, []

    def stopped(self, of):
        count.append(1)
        if len(count) == 5:
            raise RuntimeError("killed")
        return read(self, of)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(expectation.Expectation, "read", stopped)
        with pytest.raises(RuntimeError, match="killed"):
            EMFitter(tol=0.0, max_iter=6, **QUIET).fit(X, START, **options)
    again = EMFitter(tol=0.0, max_iter=6, **QUIET).fit(X, START, **options)
    assert torch.equal(again.background.weight, whole.background.weight)
    assert torch.equal(again.mixture.means, whole.mixture.means)
    with pytest.raises(ValueError, match="checkpoint: expected one of this run"):
        EMFitter(tol=0.0, max_iter=6, **QUIET).fit(X, START, **options | {"background": "hull"})


def test_an_interruption_reads_no_more(monkeypatch):
    from pyro_ugmm.em import torch_steps

    advance, count = torch_steps.TorchSteps.advance, []

    def interrupted(self, *args):
        count.append(1)
        if len(count) == 3:
            raise KeyboardInterrupt
        return advance(self, *args)

    monkeypatch.setattr(torch_steps.TorchSteps, "advance", interrupted)
    result = EMFitter(tol=0.0, **QUIET).fit(X, START, background="box")
    assert result.status is Status.INTERRUPTED and result.outliers is None
    assert 0 < float(result.background.weight) < 1
    assert result.report.endswith("% of the weight")


def test_selection_counts_the_background():
    plain = select(X, [1, 2, 3, 4], seed=0, progress=False)
    found = select(X, [1, 2, 3, 4], seed=0, progress=False, background="box")
    assert found.best.n_components == 2 and found.best.bic < plain.best.bic
    best = found.best
    assert best.n_parameters == best.result.mixture.n_parameters + 1
    assert best.bic == pytest.approx(best.result.background.bic(X))
    entropy = torch.special.entr(best.result.background.responsibilities(X)).sum()
    assert best.icl == pytest.approx(best.bic + 2 * float(entropy))


def test_the_estimator_says_minus_one():
    fitted = GaussianMixtureEstimator(2, background="box", random_state=0).fit(X.numpy())
    result = fitted.result_
    labels = fitted.predict(X.numpy())
    assert (labels == -1).nonzero()[0].tolist() == result.outliers.tolist()
    assert fitted.predict_proba(X.numpy()).shape == (160, 3)
    assert fitted.score(X.numpy()) == pytest.approx(result.log_likelihood)
    assert fitted.bic(X.numpy()) == pytest.approx(fitted.background_.bic(X))
    x, component = fitted.sample(400)
    assert x.shape == (400, 2) and set(component) == {-1, 0, 1}
    np.testing.assert_array_equal(fitted.sample(400)[0], x)
    assert fitted.set_params(background=None).fit(X.numpy()).predict(X.numpy()).min() == 0
    with pytest.raises(ValueError, match="background: expected None, as steps on rows"):
        fitted.set_params(background="box").partial_fit(X.numpy())


def test_any_distribution_may_be_the_background():
    broad = Independent(Normal(torch.zeros(2).double(), 6.0), 1)
    result = EMFitter(**QUIET).fit(X, START, background=broad)
    assert 0.05 < float(result.background.weight) < 0.3
    assert float(result.background.log_prob(X).mean()) == pytest.approx(result.log_likelihood)


CONSTANT = torch.cat([X, torch.ones(160, 1).double()], 1)
OUTSIDE = UniformBox(torch.zeros(2).double(), torch.ones(2).double())
IN_GAPS = torch.where(torch.arange(320).view(160, 2) % 9 == 0, torch.nan, X)


def fit(x=X, start=START, **options):
    return EMFitter(**QUIET).fit(x, start, **options)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fit(background="ball"), "background: expected one of 'box', 'hull', got 'ball'"),
        (lambda: fit(background=True), "background: expected a distribution of event shape"),
        (
            lambda: fit(background=Normal(0.0, 1.0)),
            r"background: .*batch shape \(\) and event shape",
        ),
        (
            lambda: fit(CONSTANT, initialize(CONSTANT, 2, seed=0), background="box"),
            "background: 'box' of x, .*rows that spread in each column.*leave the column out",
        ),
        (
            lambda: fit(CONSTANT, initialize(CONSTANT, 2, seed=0), background="hull"),
            "background: 'hull' of x, .*not all in one plane .take a box",
        ),
        (
            lambda: fit(X[:, :1], initialize(X[:, :1], 2, seed=0), background="hull"),
            "background: 'hull' of x, .*D from 2 to 8 .a box has no such limit",
        ),
        (
            lambda: fit(IN_GAPS, initialize(IN_GAPS, 2, missing="marginalize"), background="hull"),
            "background: 'hull' of x, .*finite values",
        ),
        (
            lambda: fit([X, X], background="box"),
            "x: expected rows that are all at hand.*background",
        ),
        (
            lambda: EMFitter(engine="native").fit(X, START, background="box"),
            "engine: expected 'native' to be available, got none: of labels, noise or a background",
        ),
        (
            lambda: select(X, 2, criterion="evidence", background="box", progress=False),
            "background: expected None, by evidence",
        ),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_rows_outside_are_of_the_components_alone():
    result = fit(background=OUTSIDE)
    inside = ((X >= 0) & (X <= 1)).all(1)
    assert inside[result.outliers].all()
    assert float(result.background.log_prob(X).mean()) == pytest.approx(result.log_likelihood)


@pytest.mark.parametrize("kind", [np.asarray, pd.DataFrame])
def test_kinds_of_rows(kind):
    found, expected = fit(kind(X.numpy()), background="hull"), fit(background="hull")
    torch.testing.assert_close(found.mixture.means, expected.mixture.means)
    assert isinstance(found.background.background, UniformHull)
