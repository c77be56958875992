"""Fits with bounds that are carried from step to step: the same numbers, of fewer evaluations."""

import itertools

import pytest
import torch

from pyro_ugmm.distributions import FullCovariance, GaussianMixture
from pyro_ugmm.em import ConjugatePrior, EMAlgorithm, EMFitter, bounds, initialize
from pyro_ugmm.em.carried_bounds import CarriedBounds
from pyro_ugmm.em.expectation import Expectation
from pyro_ugmm.em.given_rows import known_rows
from pyro_ugmm.em.torch_steps import TorchSteps
from pyro_ugmm.native import variants

from .cases import STRUCTURE_NAMES, initialized

pytestmark = pytest.mark.skipif(not variants(), reason="there is no library here")


K = 25


def parted(spread=8.0, n_components=K, n_features=4, n_rows=1500, dtype=torch.float64):
    """Rows of one component after the other."""
    means = spread * torch.randn(n_components, n_features, dtype=dtype)
    noise = torch.randn(n_rows, n_features, dtype=dtype)
    return means[torch.arange(n_rows) % n_components] + noise


def near(x, n_components=K, n_restarts=None, variance=4.0):
    """Starts at a row of each component, by default too wide."""
    means = x[: (n_restarts or 1) * n_components].unflatten(0, (-1, n_components))
    means = means if n_restarts else means[0]
    weights = torch.full(means.shape[:-1], 1 / n_components, dtype=x.dtype)
    covariance = variance * torch.eye(x.shape[1]).to(x).expand(*means.shape, -1)
    return GaussianMixture(weights, means, FullCovariance(covariance.contiguous()))


@pytest.fixture
def shares(monkeypatch):
    """What share of the pairs each reading evaluated."""
    noted, conclude = [], CarriedBounds.conclude

    def note(self, evaluator, is_sparse):
        conclude(self, evaluator, is_sparse)
        noted.append(self.share)

    monkeypatch.setattr(CarriedBounds, "conclude", note)
    return noted


@pytest.fixture
def used(monkeypatch):
    """A mark for each block that was evaluated with bounds."""
    marks, evaluate = [], bounds.evaluate_pairs
    monkeypatch.setattr(bounds, "evaluate_pairs", lambda *a: marks.append(1) or evaluate(*a))
    return marks


def fitted(x, start, sample_weight=None, *, monkeypatch=None, **options):
    """A fit; without bounds, if there is something to patch them away by."""
    options = {"progress": False, "engine": "torch", "tol": 0, "max_iter": 15, **options}
    fit = EMFitter(**options).fit
    if monkeypatch is None:
        return fit(x, start, sample_weight)
    with monkeypatch.context() as patched:
        patched.setattr(CarriedBounds, "of", classmethod(lambda cls, rows: None))
        return fit(x, start, sample_weight)


def empty_component(x):
    """A start of which one component is far from all rows."""
    start = near(x)
    means = start.means.clone()
    means[3] += 1e4
    return GaussianMixture(start.weights, means, start.covariance)


def with_copies(x):
    """Rows of which one component's are all the same, so that it is narrow."""
    x = x.clone()
    x[::K] = x[0]
    return x


FITS = {
    "plain": lambda x: {"start": near(x)},
    "weights": lambda x: {"start": near(x), "sample_weight": 3 * torch.rand(len(x)).double()},
    "some weights of zero": lambda x: {
        "start": near(x),
        "sample_weight": torch.randint(0, 3, (len(x),)).double(),
    },
    "prior": lambda x: {
        "start": near(x),
        "prior": ConjugatePrior(x.mean(0), x.T.cov() / 99, covariance_strength=3),
    },
    "frozen": lambda x: {"start": near(x), "frozen": {"means": [0, 3], "covariance": [1]}},
    "floor": lambda x: {"start": near(x), "reg_covar": 0.3},
    "restarts": lambda x: {"start": near(x, n_restarts=3)},
    "restarts that end": lambda x: {"start": near(x, n_restarts=3), "tol": 1e-2, "max_iter": 60},
    "revived": lambda x: {"start": empty_component(x)},
    "an array": lambda x: {"start": near(x), "x": x.numpy()},
    "one is narrow": lambda x: {"start": near(with_copies(x)), "x": with_copies(x)},
    "initialized": lambda x: {"start": initialize(x, K, seed=0)},
}


def assert_close(mine, theirs, tolerance):
    size = theirs.abs().max().item()
    torch.testing.assert_close(mine, theirs, rtol=tolerance, atol=tolerance * size)


def assert_alike(found, expected, tolerance):
    assert (found.status, found.n_iter) == (expected.status, expected.n_iter)
    assert found.events == expected.events
    assert_close(found.history, expected.history, tolerance)
    assert_close(found.restarts, expected.restarts, tolerance)
    for mine, theirs in zip(*(parameters(f.mixture) for f in (found, expected)), strict=True):
        assert_close(mine, theirs, tolerance)


def parameters(mixture):
    return [mixture.weights, mixture.means, *mixture.covariance.tensors().values()]


@pytest.mark.parametrize("case", FITS)
def test_a_fit_is_the_one_without_them(case, shares, monkeypatch):
    """As far as steps do not magnify the rounding of those before them."""
    x = parted()
    given = {"x": x, **FITS[case](x)}
    found = fitted(**given)
    assert min(shares) < 0.5
    assert_alike(found, fitted(**given, monkeypatch=monkeypatch), 1e-8)
    assert case != "revived" or found.events


@pytest.mark.parametrize("n_restarts", [None, 3])
@pytest.mark.parametrize("is_weighted", [False, True])
def test_each_step_is_the_one_without_them(is_weighted, n_restarts, shares):
    x = parted()
    weight = 3 * torch.rand(len(x)).double() if is_weighted else None
    start, em = near(x, n_restarts=n_restarts), EMAlgorithm()
    rows = known_rows(x, start, weight)
    carried, state = CarriedBounds.of(rows), em.init(start, x, weight)
    for _ in range(15):
        mixture, _ = em.m_step(state)
        plain = em.e_step(mixture, rows, state)
        state = em.e_step(mixture, rows, state, bounds=carried)
        assert_close(state.log_likelihood, plain.log_likelihood, 1e-12)
        nexts = [parameters(em.m_step(one)[0]) for one in (state, plain)]
        for mine, theirs in zip(*nexts, strict=True):
            assert_close(mine, theirs, 1e-12)
    assert min(shares) < 0.5
    last = em.e_step(mixture, rows, state, is_last=True, bounds=carried)
    assert_close(last.log_likelihood, plain.log_likelihood, 1e-12)


def test_in_single_precision(shares, monkeypatch):
    x = parted(dtype=torch.float32)
    start = near(x)
    found = fitted(x, start, max_iter=8)
    assert min(shares) < 0.5
    assert_alike(found, fitted(x, start, max_iter=8, monkeypatch=monkeypatch), 2e-4)


@pytest.mark.parametrize("structure", STRUCTURE_NAMES)
def test_structures(structure, shares, monkeypatch):
    """Where a pair costs a matrix; elsewhere they would cost more than they save."""
    x = parted()
    start = initialized(x, K, structure, seed=0)
    found = fitted(x, start)
    assert (min(shares) < 0.5) == (structure == "full")
    assert_alike(found, fitted(x, start, monkeypatch=monkeypatch), 1e-8)


@pytest.mark.parametrize(
    ("spread", "n_components", "n_rows", "why"),
    [
        (0.3, K, 1500, "all share all rows"),
        (8.0, 3, 1500, "a third is much"),
        (8.0, K, 400, "rows are few"),
    ],
)
def test_they_are_off(spread, n_components, n_rows, why, shares, monkeypatch):
    x = parted(spread, n_components, n_rows=n_rows)
    start = near(x, n_components)
    found = fitted(x, start)
    assert set(shares) == {1.0}, why
    assert torch.equal(found.history, fitted(x, start, monkeypatch=monkeypatch).history)


def test_what_they_are_not_for():
    x = parted(n_rows=50)
    labels = torch.full((50,), -1)
    plain = near(x)
    marginal = GaussianMixture(plain.weights, plain.means, plain.covariance, missing="marginalize")
    assert CarriedBounds.of(known_rows(x, plain)) is not None
    assert CarriedBounds.of(known_rows(x, plain, labels=labels)) is None
    assert CarriedBounds.of(known_rows(x, plain, noise=torch.ones_like(x))) is None
    assert CarriedBounds.of(known_rows(x, marginal)) is None
    assert CarriedBounds.of(known_rows([x[:20], x[20:]], plain)) is None


def test_a_fit_that_goes_on_from_a_checkpoint_has_the_same_numbers(shares, tmp_path, monkeypatch):
    x = parted()
    start, advance, n_taken = near(x), TorchSteps.advance, []
    fitter = EMFitter(progress=False, engine="torch", tol=0, max_iter=20)

    def stopping(*args):
        n_taken.append(1)
        if len(n_taken) == 15:
            raise RuntimeError("stopped")
        return advance(*args)

    def fit(name):
        return fitter.fit(x, start, checkpoint=tmp_path / name, checkpoint_every=8)

    whole = fit("whole")
    monkeypatch.setattr(TorchSteps, "advance", stopping)
    with pytest.raises(RuntimeError, match="stopped"):
        fit("parts")
    shares.clear()
    parts = fit("parts")
    assert min(shares) < 0.5
    assert torch.equal(parts.history, whole.history)
    assert torch.equal(parts.mixture.means, whole.mixture.means)


def test_they_rest_where_they_leave_out_nothing(used):
    """As when components change places; each time for twice as long."""
    x = parted()
    start = near(x, variance=1.0)
    turned = start.reindex(lambda t: t.roll(1, 0))
    rows, em, found = known_rows(x, start), EMAlgorithm(), []
    carried = CarriedBounds.of(rows)
    for i in range(24):
        used.clear()
        em.e_step((start, turned)[i % 2], rows, bounds=carried)
        found.append(bool(used))
    runs = [len(list(run)) for _, run in itertools.groupby(found)]
    assert not found[0] and runs == [1, 3, 2, 3, 3, 3, 5, 3, 1]


def test_they_hold_for_any_mixture_that_follows(shares):
    """Of another number of components or restarts, too, or after a reading that broke off."""
    x = parted()
    rows, em = known_rows(x, near(x)), EMAlgorithm()
    carried = CarriedBounds.of(rows)
    for options in ({}, {"n_restarts": 2}, {"n_components": 20}, {}):
        mixture = near(x, **options, variance=1.0)
        for by in (0, 0.01, 0.02, 0.5):
            other = GaussianMixture(mixture.weights, mixture.means + by, mixture.covariance)
            for _ in range(2):
                found = em.e_step(other, rows, bounds=carried)
                assert_same_sums(found, em.e_step(other, rows))
            turned = GaussianMixture(other.weights, other.means.roll(1, -2), other.covariance)
            with pytest.raises(ZeroDivisionError):
                Expectation(turned, bounds=carried).read(Failing(rows))
            assert_same_sums(em.e_step(other, rows, bounds=carried), em.e_step(other, rows))
    assert min(shares) < 0.5


def assert_same_sums(found, expected):
    sums = (state.statistics.moments for state in (found, expected))
    for mine, theirs in zip(*sums, strict=True):
        assert_close(mine, theirs, 1e-12)


def test_they_rest_once_all_share_all_rows(shares, used):
    x, found = parted(), []
    rows, em = known_rows(x, near(x)), EMAlgorithm()
    carried = CarriedBounds.of(rows)
    for variance, share in ((1.0, 1.0), (1.0, 1.0), (1.0, K**-1), (1e4, 1.0), (1e4, 1.0)):
        mixture = near(x, variance=variance)
        used.clear()
        assert_same_sums(em.e_step(mixture, rows, bounds=carried), em.e_step(mixture, rows))
        assert shares[-1] == pytest.approx(share, abs=0.1)
        found.append(bool(used))
    assert found == [False, True, True, True, False]


class Failing:
    """Rows of which a reading ends after a block."""

    def __init__(self, rows):
        self.known, self._rows = rows.known, rows

    def blocks(self, size):
        yield next(iter(self._rows.blocks(200)))
        raise ZeroDivisionError
