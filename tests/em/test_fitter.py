"""EM against scikit-learn, and against itself on the same rows in other forms."""

from operator import itemgetter

import numpy as np
import pyro
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.mixture import GaussianMixture as SklearnMixture
from torch.utils.data import DataLoader, TensorDataset

from pyro_ugmm.distributions import FullCovariance, GaussianMixture
from pyro_ugmm.em import EMFitter, initialize, select

from .cases import (
    SHARED_NAMES,
    SKLEARN_NAMES,
    STRUCTURE_NAMES,
    assert_same,
    clusters,
    initialized,
    sklearn_start,
)

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
structures = pytest.mark.parametrize("structure", STRUCTURE_NAMES)
engines = pytest.mark.parametrize("engine", ["auto", "torch"])
shared_structures = pytest.mark.parametrize("structure", SHARED_NAMES)


def fitter(**settings):
    return EMFitter(**{"tol": 0, "max_iter": 20, "progress": False, **settings})


@shared_structures
@pytest.mark.parametrize("n_components", [3, 12])  # below and above where the natural form begins
@engines
def test_equals_scikit_learn_step_by_step(structure, n_components, engine):
    x = clusters(1500)
    model, start = sklearn_start(x, n_components, structure)
    result = fitter(engine=engine).fit(x, start)
    for n_iter in (1, 2, 5, 20):
        theirs = SklearnMixture(
            n_components,
            covariance_type=SKLEARN_NAMES[structure],
            max_iter=n_iter,
            tol=0,
            weights_init=model.weights_,
            means_init=model.means_,
            precisions_init=model.precisions_,
        ).fit(x.numpy())
        # Theirs is the log-likelihood before the last M-step.
        assert abs(result.history[n_iter - 1].item() - theirs.lower_bound_) < 1e-8
    assert_same(result.mixture, GaussianMixture.from_sklearn(theirs), rtol=1e-6, atol=1e-6)
    assert abs(result.log_likelihood - theirs.score(x.numpy())) < 1e-8


@shared_structures
@engines
def test_stops_where_scikit_learn_stops(structure, engine):
    x = clusters(800)
    model, start = sklearn_start(x, 4, structure)
    result = EMFitter(tol=1e-3, max_iter=200, progress=False, engine=engine).fit(x, start)
    theirs = SklearnMixture(
        4,
        covariance_type=SKLEARN_NAMES[structure],
        max_iter=200,
        weights_init=model.weights_,
        means_init=model.means_,
        precisions_init=model.precisions_,
    ).fit(x.numpy())
    assert result.converged and theirs.converged_
    assert result.n_iter == len(result.history) == theirs.n_iter_
    assert_same(result.mixture, GaussianMixture.from_sklearn(theirs), rtol=1e-8, atol=1e-8)


@structures
@settings(max_examples=8, deadline=None)
@given(
    n_components=st.integers(1, 14),
    n_features=st.integers(1, 6),
    scale=st.sampled_from([1e-3, 1.0, 1e4]),
    seed=st.integers(0, 99),
)
@engines
def test_the_log_likelihood_never_falls(structure, n_components, n_features, scale, seed, engine):
    x = scale * clusters(300, n_features, seed=seed)
    start = initialized(x, n_components, structure, seed=seed, reg_covar=0)
    result = fitter(reg_covar=0, engine=engine).fit(x, start)
    if not result.findings:  # neither revived nor down to rounding
        assert result.history.diff().min() > -1e-10


@structures
@pytest.mark.parametrize("n_components", [3, 12])
def test_forms_of_the_same_rows_agree(structure, n_components, tmp_path):
    x = clusters(1000)
    start = initialized(x, n_components, structure, method="random_from_data", seed=0)
    whole = fitter(max_iter=10).fit(x, start)
    mapped = np.lib.format.open_memmap(tmp_path / "x.npy", "w+", np.float64, tuple(x.shape))
    mapped[:] = x.numpy()
    mapped.flush()
    uneven = [x[:1], x[1:400], x[400:401], x[401:]]
    forms = {
        "array": x.numpy(),
        "read-only memory map": np.load(tmp_path / "x.npy", mmap_mode="r"),
        "blocks": uneven,
        "arrays": [block.numpy() for block in uneven],
        "loader": DataLoader(TensorDataset(x), batch_size=170),
        "Fortran order": np.asfortranarray(x.numpy()),
    }
    for name, form in forms.items():
        result = fitter(max_iter=10).fit(form, start)
        assert_same(result.mixture, whole.mixture, rtol=1e-10, atol=1e-12)
        torch.testing.assert_close(result.history, whole.history, rtol=1e-10, atol=0, msg=name)


@structures
@engines
def test_weights_are_repetitions(structure, engine):
    x = clusters(300)
    start = initialized(x, 3, structure, method="random_from_data", seed=0)
    count = torch.randint(0, 4, (len(x),))
    weighted = fitter(engine=engine).fit(x, start, sample_weight=count.double())
    repeated = fitter(engine=engine).fit(x.repeat_interleave(count, 0), start)
    assert_same(weighted.mixture, repeated.mixture, rtol=1e-9, atol=1e-10)
    assert abs(weighted.log_likelihood - repeated.log_likelihood) < 1e-11
    pairs = [(x[:100], count[:100].double()), (x[100:], count[100:].double())]
    assert_same(fitter().fit(pairs, start).mixture, weighted.mixture, rtol=1e-10, atol=1e-12)


@structures
def test_statistics_add(structure):
    x = clusters(400)
    start = initialized(x, 3, structure, method="random_from_data", seed=0)
    step = fitter()
    merged = step.e_step(x[:150], start) + step.e_step(x[150:], start)
    once = fitter(max_iter=1).fit(x, start)
    assert_same(step.m_step(merged), once.mixture, rtol=1e-11, atol=1e-12)
    assert merged.mean_log_likelihood.item() == pytest.approx(once.history[0].item(), abs=1e-12)
    with pytest.raises(ValueError, match="same pivots"):
        merged + step.e_step(x, once.mixture)


@structures
@engines
def test_restarts_are_a_batch_and_the_best_is_returned(structure, engine):
    x = clusters(500)
    starts = initialized(x, 3, structure, method="random_from_data", n_init=5, seed=1)
    settings = {"tol": 1e-6, "max_iter": 60, "engine": engine}
    result = fitter(**settings).fit(x, starts)
    alone = [fitter(**settings).fit(x, starts.reindex(itemgetter(i))) for i in range(5)]
    likelihoods = torch.tensor([one.log_likelihood for one in alone], dtype=torch.float64)
    torch.testing.assert_close(result.restarts.double(), likelihoods, rtol=1e-9, atol=0)
    best = alone[int(likelihoods.argmax())]
    assert result.n_iter == best.n_iter
    assert_same(result.mixture, best.mixture, rtol=1e-8, atol=1e-9)


@structures
def test_the_mixture_is_a_pyro_distribution(structure):
    x = clusters(200)
    result = fitter().fit(x, initialized(x, 3, structure, seed=0))

    def model():
        with pyro.plate("data", len(x)):
            pyro.sample("x", result.mixture, obs=x)

    trace = pyro.poutine.trace(model).get_trace()
    assert trace.log_prob_sum().item() == pytest.approx(len(x) * result.log_likelihood, rel=1e-12)


@structures
@pytest.mark.parametrize("n_components", [2, 12])
def test_float32_agrees_with_float64(structure, n_components):
    """Far from the origin, with narrow clusters: where expanded squares would cancel."""
    x = clusters(800) * torch.tensor([1.0, 1e-2, 1.0]) + torch.tensor([1e4, 0.0, -1e2])
    x = x.float().double()
    start = initialized(x, n_components, structure, seed=0)
    exact = fitter(max_iter=10).fit(x, start)
    single = fitter(max_iter=10).fit(x.float(), start.to(torch.float32))
    torch.testing.assert_close(single.history, exact.history, rtol=1e-3, atol=1e-3)


@structures
def test_devices_agree(structure, device):
    x = clusters(500)
    start = initialized(x, 12, structure, seed=0)
    here = fitter().fit(x, start)
    there = fitter().fit(x.to(device), start.to(device))
    assert there.mixture.means.device.type == device.type
    assert_same(there.mixture.to("cpu"), here.mixture, rtol=1e-8, atol=1e-9)
    streamed = fitter().fit([x[:200], x[200:]], start.to(device))  # blocks move to the start's
    assert_same(streamed.mixture.to("cpu"), here.mixture, rtol=1e-8, atol=1e-9)


def test_nothing_of_the_start_is_changed_or_tracked():
    x = clusters(200)
    _, start = sklearn_start(x, 3, "full")
    means = start.means.clone().requires_grad_()
    tracked = GaussianMixture(start.weights, means, start.covariance)
    before = means.detach().clone()
    result = fitter().fit(x, tracked)
    assert not result.mixture.means.requires_grad
    assert torch.equal(means, before)


def test_a_component_whose_weight_underflows_takes_part():
    joint = GaussianMixture(
        torch.tensor([0.5, 0.5]).double(),
        torch.tensor([[0.0, 0.0], [60.0, 100.0]]).double(),
        FullCovariance(torch.eye(2).double().expand(2, 2, 2)),
    )
    start = joint.condition({0: 0.0})  # the second weight is exp(-1800)
    assert start.weights[1] == 0
    x = torch.cat([clusters(30, 1)[:, :1], clusters(10, 1)[:, :1] + 100])
    result = fitter(max_iter=1).fit(x, start)
    assert not result.events
    torch.testing.assert_close(result.mixture.weights, torch.tensor([0.75, 0.25]).double())
    torch.testing.assert_close(result.mixture.means[1], x[30:].mean(0))


def test_status_and_repr_say_how_it_ended():
    x = clusters(300)
    start = initialize(x, 3, seed=0)
    ended = fitter(tol=1e-3, max_iter=100).fit(x, start)
    assert ended.converged and "converged" in ended.reason and "sound" in ended.report
    short = fitter(max_iter=2).fit(x, start)
    assert not short.converged and "max_iter=2" in short.reason
    assert "n_iter=2" in repr(short)
    continued = fitter(max_iter=3).fit(x, short.mixture)
    whole = fitter(max_iter=5).fit(x, start)
    assert_same(continued.mixture, whole.mixture, rtol=1e-12)


def test_an_interruption_returns_what_there_is(monkeypatch):
    x = clusters(300)
    start = initialize(x, 3, seed=0)
    calls = []

    def interrupted(*args, **kwargs):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return maximize(*args, **kwargs)

    from pyro_ugmm.em import algorithm
    from pyro_ugmm.em.maximization import maximize

    monkeypatch.setattr(algorithm, "maximize", interrupted)
    result = fitter(engine="torch").fit(x, start)
    assert result.n_iter == 2 and "interrupted" in result.reason
    assert_same(result.mixture, fitter(max_iter=2).fit(x, start).mixture, rtol=1e-9)


def interrupt_at(monkeypatch, count):
    from pyro_ugmm.em import algorithm

    calls, maximize = [], algorithm.maximize

    def interrupted(*args, **kwargs):
        calls.append(1)
        if len(calls) == count:
            raise KeyboardInterrupt
        return maximize(*args, **kwargs)

    monkeypatch.setattr(algorithm, "maximize", interrupted)
    return calls


def test_an_interruption_leaves_out_other_restarts(monkeypatch):
    x = clusters(300)
    starts = initialize(x, 2, "tied", n_init=4, seed=0)  # of tied covariances, one at a time
    calls = interrupt_at(monkeypatch, 30)
    result = fitter(engine="torch").fit(x, starts)
    assert len(calls) == 30 and result.interrupted and "interrupted" in result.reason
    assert result.restarts.isnan().tolist() == [False, False, True, True]


def test_an_interrupted_selection_returns_what_was_fitted(monkeypatch):
    x = clusters(300)
    calls = interrupt_at(monkeypatch, 30)
    found = select(x, [1, 2, 3], fitter=fitter(engine="torch"), seed=0)
    assert len(calls) == 30 and found.interrupted and len(found.table) == 1
    assert "interrupted" in repr(found)
    interrupt_at(monkeypatch, 3)
    with pytest.raises(KeyboardInterrupt):
        select(x, [1, 2, 3], fitter=fitter(engine="torch"), seed=0)


X = torch.zeros(4, 2) + torch.arange(8.0).reshape(4, 2)
START = initialize(X, 1)


def _with(row, column, value):
    x = X.clone()
    x[row, column] = value
    return x


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: EMFitter(tol=-1), "tol: expected"),
        (lambda: EMFitter(reg_covar=float("nan")), "reg_covar: expected"),
        (lambda: EMFitter(max_iter=-1), "max_iter: expected an integer of at least 0"),
        (lambda: EMFitter(missing="omit"), "missing: expected one of 'error', 'marginalize'"),
        (
            lambda: fitter().fit(X, "kmeans"),
            "start: expected a GaussianMixture, such as initialize",
        ),
        (lambda: fitter().fit(X[:, :1], START), "x: expected 2 features"),
        (lambda: fitter().fit(X[0], START), r"x: expected shape \(n, D\)"),
        (lambda: fitter().fit(X[:0], START), "x: expected at least one row"),
        (lambda: fitter().fit([], START), "x: expected at least one row"),
        (lambda: fitter().fit(X.double(), START), "x: expected torch.float32"),
        (lambda: fitter().fit(X.int(), START), "x: expected float32 or float64"),
        (lambda: fitter().fit(iter([X]), START), "x: expected .*read again"),
        (lambda: fitter().fit(3, START), "x: expected a tensor"),
        (lambda: fitter().fit([X, X[0]], START), "x: expected blocks"),
        (lambda: fitter().fit(_with(2, 1, float("nan")), START), "x: .*nan in row 2, column 1"),
        (lambda: fitter().fit([X, _with(2, 1, float("inf"))], START), "x: .*inf in row 6"),
        (
            lambda: fitter(missing="marginalize").fit(_with(1, slice(None), float("nan")), START),
            "x: .*observed, got nan in row 1",
        ),
        (
            lambda: fitter(missing="marginalize").fit(_with(1, 0, float("inf")), START),
            "x: .*got inf in row 1",
        ),
        (lambda: fitter().fit(_with(0, 0, 1e30), START), "x: .*squares"),
        (lambda: fitter().fit(X, START, torch.ones(3)), r"sample_weight: expected shape \(4,\)"),
        (lambda: fitter().fit(X, START, -torch.ones(4)), "sample_weight: .*-1.0 in row 0"),
        (lambda: fitter().fit(X, START, torch.zeros(4)), "sample_weight: expected at least one"),
        (lambda: fitter().fit([X], START, torch.ones(4)), "sample_weight: expected pairs"),
    ],
)
def test_bad_input(call, match):
    with pytest.raises(ValueError, match=match):
        call()
