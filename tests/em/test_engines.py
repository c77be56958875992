"""EM in C: the numbers, ends and findings of torch's steps, on all processors and threads."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pyro_ugmm.distributions import GaussianMixture
from pyro_ugmm.em import ConjugatePrior, EMFitter, StoppingRule, initialize
from pyro_ugmm.em.native_call import CONVERGED, EXTRAORDINARY, Problems, take_steps
from pyro_ugmm.em.native_steps import Workload
from pyro_ugmm.native import library, open_variant, variants

from .cases import SHARED_NAMES, assert_same, clusters

pytestmark = pytest.mark.skipif(not variants(), reason="there is no library here")
structures = pytest.mark.parametrize("structure", SHARED_NAMES)
TOLERANCE = {torch.float64: 1e-9, torch.float32: 2e-3}
PLAIN, COUNTED = "as they are", "some twice, some not at all"


def weights(kind, n_rows):
    torch.manual_seed(0)
    return None if kind == PLAIN else torch.randint(0, 3, (n_rows,)).double()


def both(x, start, sample_weight=None, **options):
    options = {"progress": False, "max_iter": 12, **options}
    fits = [
        EMFitter(engine=engine, **options).fit(x, start, sample_weight)
        for engine in ("native", "torch")
    ]
    assert [fit.engine for fit in fits] == ["native", "torch"]
    return fits


def assert_alike(native, other):
    tolerance = TOLERANCE[other.mixture.means.dtype]
    assert (native.status, native.n_iter) == (other.status, other.n_iter)
    assert native.events == other.events and native.findings == other.findings
    torch.testing.assert_close(native.history, other.history, rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(native.restarts, other.restarts, rtol=tolerance, atol=tolerance)
    assert math.isclose(native.log_likelihood, other.log_likelihood, rel_tol=tolerance)
    assert math.isclose(native.objective, other.objective, rel_tol=tolerance)
    assert_same(native.mixture, other.mixture, rtol=tolerance, atol=10 * tolerance)


@structures
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("weight", [PLAIN, COUNTED])
@pytest.mark.parametrize(
    ("n_rows", "n_features", "n_components", "reg_covar"),
    [(150, 4, 3, 1e-2), (129, 1, 2, 0.1), (40, 3, 1, 0.0), (300, 10, 6, 1e-3), (1, 2, 1, 1.0)],
)
def test_the_numbers_are_torchs(
    structure, dtype, weight, n_rows, n_features, n_components, reg_covar
):
    x = clusters(n_rows, n_features, dtype=dtype)
    weight = weights(weight, n_rows) if n_rows > 1 else None
    start = initialize(x, n_components, structure, seed=0, reg_covar=reg_covar)
    assert_alike(*both(x, start, weight, tol=0, reg_covar=reg_covar))


@structures
def test_restarts_end_each_on_its_own_and_the_best_is_returned(structure):
    x = clusters(200)
    starts = initialize(x, 3, structure, method="random_from_data", n_init=6, seed=0)
    native, other = both(x, starts, max_iter=60)
    assert_alike(native, other)
    assert native.reason == other.reason


@structures
def test_a_call_after_another_is_one_call(structure, monkeypatch):
    x = clusters(200)
    starts = initialize(x, 3, structure, method="random_from_data", n_init=3, seed=0)
    whole = EMFitter(engine="native", progress=False).fit(x, starts)
    monkeypatch.setattr(Workload, "seconds", 0)
    steps = EMFitter(engine="native", progress=False).fit(x, starts)
    assert steps.reason == whole.reason
    assert torch.equal(steps.history, whole.history)
    assert torch.equal(steps.mixture.means, whole.mixture.means)


@structures
@settings(max_examples=12, deadline=None)
@given(
    n_rows=st.integers(30, 400),
    n_components=st.integers(1, 8),
    n_features=st.integers(1, 7),
    scale=st.sampled_from([1e-3, 1.0, 1e4]),
    seed=st.integers(0, 99),
)
def test_what_is_drawn_is_fitted_alike(structure, n_rows, n_components, n_features, scale, seed):
    x = scale * clusters(n_rows, n_features, seed=seed)
    start = initialize(x, n_components, structure, seed=seed)
    native, other = both(x, start, max_iter=5, tol=0)
    if not other.findings:  # or rounding decides
        torch.testing.assert_close(native.history, other.history, rtol=1e-7, atol=1e-9)


def far_start(x, structure):
    """With a component that has no rows."""
    start = initialize(x, 2, structure, seed=0)
    dense = start.covariance.dense(2, 3)
    spread = {
        "full": torch.cat([dense, dense[:1]]),
        "tied": dense[0],
        "diagonal": torch.cat([dense, dense[:1]]).diagonal(dim1=-2, dim2=-1),
        "spherical": torch.cat([dense, dense[:1]])[:, 0, 0],
    }[structure]
    return GaussianMixture(
        torch.tensor([0.4, 0.4, 0.2]).to(x),
        torch.cat([start.means, torch.full((1, 3), 1e5).to(x)]),
        type(start.covariance)(spread),
    )


ODD = {
    "no rows are left to a component": lambda x, s: (x, far_start(x, s)),
    "duplicates": lambda x, s: (
        torch.cat([x[:60], x[:1].expand(60, 3)]),
        initialize(torch.cat([x[:60], x[:1].expand(60, 3)]), 2, s, seed=0, reg_covar=0),
    ),
    "rows of log density -1e6": lambda x, s: (
        torch.cat([x, torch.full((1, 3), 3e3).to(x)]),
        initialize(x, 2, s, seed=0),
    ),
    "a weight of zero": lambda x, s: (
        x,
        GaussianMixture(
            torch.tensor([1.0, 0.0]).to(x),
            initialize(x, 2, s, seed=0).means,
            initialize(x, 2, s, seed=0).covariance,
        ),
    ),
}


@structures
@pytest.mark.parametrize("case", ODD)
def test_what_is_out_of_the_ordinary_ends_as_with_torch(case, structure):
    x, start = ODD[case](clusters(200, n_clusters=3), structure)
    assert_alike(*both(x, start, max_iter=6, tol=0, reg_covar=0 if case == "duplicates" else 1e-6))


def test_one_restart_out_of_the_ordinary_leaves_others_alone():
    x = clusters(200, n_clusters=3)
    start = initialize(x, 3, seed=0)
    starts = GaussianMixture.stack([start, far_start(x, "full"), start])
    native, other = both(x, starts, max_iter=30, tol=1e-3)
    assert_alike(native, other)
    assert native.restarts[0] == native.restarts[2]


def problems(x, sizes):
    n_rows = torch.tensor(sizes)
    return Problems(x, None, n_rows.cumsum(0) - n_rows, n_rows, n_rows.double())


@pytest.mark.parametrize("variant", ["baseline", "avx2", "avx512"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@structures
def test_mixtures_have_rows_of_their_own(structure, dtype, variant):
    if variant not in variants():
        pytest.skip("no such library, or it is for another processor")
    sizes = [130, 17, 64, 300]
    parts = [clusters(size, 3, dtype=dtype, seed=seed) for seed, size in enumerate(sizes)]
    starts = [initialize(part, 2, structure, seed=0) for part in parts]
    run = take_steps(
        problems(torch.cat(parts), sizes),
        GaussianMixture.stack(starts),
        30,
        reg_covar=1e-6,
        tol=1e-2,
        variant=variant,
    )
    for i, (part, start) in enumerate(zip(parts, starts, strict=True)):
        fitter = EMFitter(tol=1e-2, max_iter=30, progress=False, engine="torch")
        alone = fitter.fit(part, start)
        assert run.outcomes[i] == CONVERGED and alone.converged
        assert run.n_steps[i] == alone.n_iter
        tolerance = TOLERANCE[dtype]
        assert_same(run.mixture(i), alone.mixture, rtol=tolerance, atol=tolerance)


@structures
@pytest.mark.parametrize("sizes", [[9000], [500, 20, 800, 90, 700]])
def test_threads_change_nothing(structure, sizes):
    """Neither over the rows of one mixture nor over mixtures."""
    x = clusters(sum(sizes), 4)
    start = initialize(x[:500], 3, structure, seed=0)
    starts = GaussianMixture.stack([start] * len(sizes))
    runs = [
        take_steps(problems(x, sizes), starts, 5, reg_covar=1e-6, tol=0, n_threads=n_threads)
        for n_threads in (1, 2, 3)
    ]
    for run in runs[1:]:
        assert run.values == runs[0].values
        assert torch.equal(run.means, runs[0].means)


def test_a_mixture_out_of_the_ordinary_stays_where_it_was():
    x = clusters(200)
    start = initialize(x, 3, seed=0)
    starts = GaussianMixture.stack([start, far_start(x, "full")])
    run = take_steps(problems(torch.cat([x, x]), [200, 200]), starts, 5, reg_covar=1e-6, tol=0)
    assert run.n_steps == [5, 0] and run.outcomes[1] == EXTRAORDINARY
    assert torch.equal(run.means[1], starts.means[1])


class Never(StoppingRule):
    def is_met(self, state):
        return [False] * len(state.change)

    def reason(self, state, at, objective):
        raise AssertionError


X = clusters(40)
PRIOR = ConjugatePrior(X.mean(0), torch.cov(X.T), covariance_strength=3)


@pytest.mark.parametrize(
    ("options", "rows", "why"),
    [
        ({"prior": PRIOR}, X, "of a prior"),
        ({"stopping": Never()}, X, "of a stopping rule"),
        ({"missing": "marginalize"}, X, "missing entries"),
        ({}, [X[:20], X[20:]], "stream"),
    ],
)
def test_what_it_cannot_do_is_refused_if_it_is_asked_for(options, rows, why):
    start = initialize(X, 2, seed=0)
    with pytest.raises(ValueError, match=rf"engine: expected 'native' to be available.*{why}"):
        EMFitter(engine="native", progress=False, **options).fit(rows, start)
    assert EMFitter(max_iter=2, progress=False, **options).fit(rows, start).engine == "torch"


def test_without_the_library_torch_serves(monkeypatch, tmp_path):
    start = initialize(X, 2, seed=0)
    monkeypatch.setattr("pyro_ugmm.native.loading.FOLDER", tmp_path)
    for cached in (library, open_variant):
        cached.cache_clear()
    try:
        with pytest.warns(UserWarning, match="EM and large layers will be slower"):
            assert EMFitter(progress=False).fit(X, start).engine == "torch"
        with pytest.raises(ValueError, match=r"'native' to be available.*no library in C"):
            EMFitter(engine="native").fit(X, start)
    finally:
        for cached in (library, open_variant):
            cached.cache_clear()


def test_memory_is_the_processors_whatever_the_default_device():
    start = initialize(X, 2, seed=0, n_init=2)
    expected = EMFitter(progress=False).fit(X, start)
    with torch.device("meta"):
        again = initialize(X, 2, seed=0, n_init=2)
        result = EMFitter(progress=False).fit(X, again)
    assert torch.equal(result.mixture.means, expected.mixture.means)


def test_large_problems_are_torchs():
    x = clusters(300, 40)
    start = initialize(x, 30, "tied", seed=0)
    assert EMFitter(max_iter=1, progress=False).fit(x, start).engine == "torch"
    with pytest.raises(ValueError, match=r"engine: expected one of 'auto', 'torch'"):
        EMFitter(engine="C")
