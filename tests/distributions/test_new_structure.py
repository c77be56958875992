"""A covariance structure is a class and a line in a table: one from outside does what all do."""

import numpy as np
import pytest
import torch

from pyro_ugmm.distributions import FullCovariance, GaussianMixture, impute
from pyro_ugmm.distributions.covariance import STRUCTURES
from pyro_ugmm.em import ConjugatePrior, EMFitter, GaussianMixtureEstimator, initialize, select
from pyro_ugmm.models import BayesianGaussianMixture
from tests.distributions.mixtures import Known, close, rows
from tests.distributions.tied_diagonal import TiedDiagonalCovariance

NAME = TiedDiagonalCovariance.name
WEIGHTS = torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64)
MEANS = torch.tensor([[-4.0, 0.0], [0.0, 3.0], [5.0, -2.0]], dtype=torch.float64)
VARIANCES = torch.tensor([0.5, 2.0], dtype=torch.float64)
FLOOR = 1e-6


@pytest.fixture(autouse=True)
def _registered(monkeypatch):
    monkeypatch.setitem(STRUCTURES, NAME, TiedDiagonalCovariance)


def a_mixture(**options):
    return GaussianMixture(WEIGHTS, MEANS, TiedDiagonalCovariance(VARIANCES), **options)


def known_of(mixture):
    matrices = mixture.covariance.dense(mixture.n_components, mixture.n_features)
    return Known(mixture.weights.numpy(), mixture.means.numpy(), matrices.numpy())


def drawn(n=300, seed=0):
    return a_mixture().sample((n,), torch.Generator().manual_seed(seed))


def by_hand(x, mixture):
    """A step of EM as a textbook has it, with expectations of what is missing."""
    truth, x = known_of(mixture), x.numpy()
    shares = truth.of_observed("responsibilities", x)
    counts, variances = shares.sum(0), truth.matrices[0].diagonal()
    filled = np.where(np.isnan(x)[:, None], truth.means, x[:, None])
    means = np.einsum("nk,nkd->kd", shares, filled) / counts[:, None]
    squares = (filled - means) ** 2 + np.isnan(x)[:, None] * variances
    return counts / len(x), means, np.einsum("nk,nkd->d", shares, squares) / len(x) + FLOOR


def assert_is(mixture, weights, means, variances):
    for got, expected in zip(mixture.tensors().values(), (weights, means, variances), strict=True):
        close(got, expected, 1e-8)


@pytest.mark.parametrize("n_components", [3, 12])
def test_densities(n_components):
    repeats = n_components // 3
    covariance = TiedDiagonalCovariance(VARIANCES)
    weights, means = WEIGHTS.repeat(repeats) / repeats, MEANS.repeat(repeats, 1)
    mixture = GaussianMixture(weights, means, covariance)
    truth, x = known_of(mixture), rows(20, 2)
    for method in ("log_prob", "responsibilities"):
        expected, wide = getattr(truth, method)(x), mixture.expand((2,))
        close(getattr(mixture, method)(x), expected)
        close(getattr(wide, method)(x.unsqueeze(1))[:, 1], expected)
    x[::2, 0] = torch.nan
    partly = GaussianMixture(weights, means, covariance, missing="marginalize")
    close(partly.log_prob(x), truth.of_observed("log_prob", x.numpy()))


def test_samples():
    x, component = a_mixture().sample_with_component((20_000,))
    close(x.var(0), a_mixture().variance.numpy(), 0.1)
    close((x - MEANS[component]).var(0), VARIANCES.numpy(), 0.1)


def test_marginals_and_conditionals():
    mixture, x = a_mixture(), rows(10, 2)
    parts = mixture.marginal([1]).log_prob(x[:, 1:])
    close(parts + mixture.condition({1: x[:, 1]}).log_prob(x[:, :1]), mixture.log_prob(x).numpy())
    assert impute(mixture, torch.tensor([[torch.nan, 1.0]]).double()).isfinite().all()


@pytest.mark.parametrize("share", [0.0, 0.3])
def test_em_takes_the_steps_of_a_textbook(share):
    x = drawn()
    x[: int(share * len(x)), 0] = torch.nan
    start = a_mixture(missing="marginalize")
    fitter = EMFitter(tol=0, max_iter=1, reg_covar=FLOOR, progress=False)
    for _ in range(3):
        after = fitter.fit(x, start).mixture
        assert_is(after, *by_hand(x, start))
        start = after


def test_em_with_restarts_is_that_of_the_best():
    x = drawn()
    starts = initialize(x, 3, NAME, method="random_from_data", n_init=4, seed=0)
    assert starts.batch_shape == (4,)
    fitter = EMFitter(max_iter=20, progress=False)
    alone = [fitter.fit(x, starts.reindex(lambda t, i=i: t[i])).log_likelihood for i in range(4)]
    result = fitter.fit(x, starts)
    assert result.log_likelihood == pytest.approx(max(alone))
    assert GaussianMixture.stack([result.mixture, a_mixture()]).batch_shape == (2,)


def test_an_empty_component_is_revived():
    x, means = drawn(), MEANS.clone()
    means[0] = 1e4
    start = GaussianMixture(WEIGHTS, means, TiedDiagonalCovariance(VARIANCES))
    result = EMFitter(max_iter=200, tol=1e-6, progress=False).fit(x, start)
    assert [event.kind for event in result.events] == ["revived"]
    assert (result.mixture.means.abs() < 10).all()  # wherever a component was missing
    assert (result.mixture.weights > 0.01).all()


def test_a_start_and_a_prior():
    x, labels = a_mixture().sample_with_component((300,))
    start = initialize(x, 3, NAME, labels=labels, reg_covar=0.0)
    within = x - start.means[labels]
    close(start.covariance.dense(1, 2)[0], np.diag(within.square().mean(0)))
    prior = ConjugatePrior(x.mean(0), torch.eye(2).double(), covariance_strength=1e6)
    result = EMFitter(prior=prior, progress=False).fit(x, start)
    close(result.mixture.covariance.dense(1, 2)[0], np.eye(2), 1e-2)


def test_it_is_selected_and_the_others_are_not():
    chosen = select(drawn(1000), 3, [NAME, "full"], n_init=5, seed=0, progress=False)
    assert chosen.best.result.mixture.covariance.name == NAME


def test_files_and_checkpoints(tmp_path):
    mixture = a_mixture(missing="marginalize")
    mixture.save(tmp_path / "mixture")
    loaded = GaussianMixture.load(tmp_path / "mixture")
    assert type(loaded.covariance) is TiedDiagonalCovariance and loaded.missing == "marginalize"
    assert_is(loaded, WEIGHTS.numpy(), MEANS.numpy(), VARIANCES.numpy())

    def fitted(max_iter, **options):
        fitter = EMFitter(tol=0, max_iter=max_iter, progress=False)
        return fitter.fit(drawn(), mixture, **options)

    kept = fitted(4, checkpoint=tmp_path / "fit", checkpoint_every=1)
    again = fitted(4, checkpoint=tmp_path / "fit", checkpoint_every=1)
    for result in (again, fitted(4)):
        assert torch.equal(result.mixture.means, kept.mixture.means)


def test_what_it_does_not_say_is_refused():
    with pytest.raises(ValueError, match=r"variances: expected a variance for each feature"):
        TiedDiagonalCovariance(torch.tensor(1.0))
    covariance = TiedDiagonalCovariance(VARIANCES)
    with pytest.raises(ValueError, match="covariance: expected 3 features"):
        GaussianMixture(WEIGHTS, rows(3, 3), covariance)
    with pytest.raises(ValueError, match="mixture: expected a covariance of"):
        a_mixture().to_sklearn()
    with pytest.raises(ValueError, match=f"covariance_type: expected .*got '{NAME}'"):
        GaussianMixtureEstimator(covariance_type=NAME).fit(drawn().numpy())
    with pytest.raises(ValueError, match=f"covariance: expected .*got '{NAME}'"):
        BayesianGaussianMixture(2, 2, NAME)


def test_it_is_as_the_others_where_they_are_the_same():
    x = drawn()
    full = GaussianMixture(WEIGHTS, MEANS, FullCovariance(VARIANCES.diag().expand(3, 2, 2)))
    close(a_mixture().log_prob(x), full.log_prob(x).numpy())
    fitter, noise = EMFitter(tol=0, max_iter=1, progress=False), rows(*x.shape).abs() + 0.1
    own, full = (fitter.fit(x, one, noise=noise).mixture for one in (a_mixture(), full))
    within = full.weights @ full.covariance.dense(3, 2).diagonal(dim1=-2, dim2=-1)
    assert_is(own, full.weights.numpy(), full.means.numpy(), within.numpy())


class Halfway(TiedDiagonalCovariance):
    """Goes but half of the way in a step, and so has to know where it stands."""

    def refitted(self, moments, mass, n_features, floor):
        there, singular = super().refitted(moments, mass, n_features, floor)
        return type(self)((self.variances + there.variances) / 2), singular


def test_a_step_goes_on_from_the_covariance_before_it():
    x, start = drawn(), GaussianMixture(WEIGHTS, MEANS, Halfway(VARIANCES))
    fitter = EMFitter(tol=0, max_iter=1, reg_covar=FLOOR, progress=False)
    after, (*_, variances) = fitter.fit(x, start).mixture, by_hand(x, start)
    close(after.covariance.variances, (VARIANCES.numpy() + variances) / 2, 1e-8)
    halves = sum(fitter.e_step(part, start) for part in (x[:100], x[100:]))
    close(fitter.m_step(halves).covariance.variances, after.covariance.variances.numpy(), 1e-8)
    starts = initialize(x, 3, NAME, method="random_from_data", n_init=3, seed=0)
    starts = GaussianMixture(
        starts.weights, starts.means, Halfway(starts.covariance.variances), validate_args=False
    )
    assert EMFitter(progress=False).fit(x, starts).converged
