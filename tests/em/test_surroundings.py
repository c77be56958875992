"""What surrounds a call changes nothing: threads, generators, autocast, arrays, and the device."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from pyro_ugmm.em import (
    EMFitter,
    GaussianMixtureEstimator,
    StepwiseEM,
    VariationalEM,
    fit_groups,
    initialize,
    select,
)

from ..small_device import DEVICE, SmallDevice
from .cases import SHARED_NAMES, STRUCTURE_NAMES, assert_same, clusters, initialized, parameters

X = clusters(200)
LABELS = (X[:, 0] > 0).long()
MISSING = torch.where(torch.arange(600).reshape(200, 3) % 7 == 3, torch.nan, X)
FITTED = GaussianMixtureEstimator(3, random_state=0).fit(X.numpy())
SINGLE = GaussianMixtureEstimator(3, random_state=0).fit(X.float().numpy())
KINDS = {"full": "full", "tied": "tied", "diagonal": "diag", "spherical": "spherical"}


def numpys_state():
    return np.random.get_state()[1].tolist()  # noqa: NPY002


def estimator(**options):
    return GaussianMixtureEstimator(3, **{"random_state": 0, "max_iter": 300, **options})


SEEDED = {
    "estimator": lambda: estimator().fit(X.numpy()).means_,
    "restarts": lambda: estimator(n_init=3, init_params="random_from_data").fit(X.numpy()).means_,
    "sample": lambda: FITTED.sample(50)[0],
    "initialize": lambda: initialize(X, 4, seed=0).means.numpy(),
    "at random": lambda: initialize(X, 4, method="random_from_data", seed=0).means.numpy(),
    "select": lambda: select(X, [2, 3], seed=0, progress=False).best.result.mixture.means.numpy(),
}


@pytest.mark.parametrize("name", SEEDED)
def test_a_seed_decides_in_threads_and_leaves_the_global_generators(name):
    expected = SEEDED[name]()
    before = torch.get_rng_state(), numpys_state()
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: SEEDED[name](), range(16)))
    assert all(np.array_equal(one, expected) for one in found)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert numpys_state() == before[1]


def test_without_a_seed_numpys_generator_decides_as_in_scikit_learn():
    fitted = estimator(random_state=None).fit(X.numpy())
    found = []
    for _ in range(2):
        np.random.seed(3)  # noqa: NPY002
        found.append([fitted.sample(5)[0], fitted.sample(5)[0]])
    np.testing.assert_array_equal(*found)
    assert not np.array_equal(*found[0])


AUTOCAST = {
    **SEEDED,
    "by labels": lambda: initialize(X.float(), 2, labels=LABELS).covariance.values.numpy(),
    "single": lambda: initialize(X.float(), 3, seed=0).covariance.values.numpy(),
    "densities": lambda: SINGLE.score_samples(X.numpy()),
    "icl": lambda: np.array(select(X.float(), 3, seed=0, progress=False).best.icl),
}


@pytest.mark.parametrize("name", AUTOCAST)
def test_autocast_changes_nothing(name):
    expected = AUTOCAST[name]()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = AUTOCAST[name]()
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)


ON_DEVICE = {
    "k-means": lambda x: initialize(x, 3),
    "restarts at random": lambda x: initialize(x, 3, method="random_from_data", n_init=2),
    "means": lambda x: initialize(x, 2, means=x[:2]),
    "labels": lambda x: initialize(x, 2, labels=LABELS),
    "weights": lambda x: initialize(x, 2, sample_weight=LABELS + 1),
    "a stream": lambda x: initialize(list(x.split(70)), 3),
    "gaps": lambda x: initialize(x, 2, missing="marginalize"),
}


@pytest.mark.parametrize("name", ON_DEVICE)
@pytest.mark.parametrize("structure", STRUCTURE_NAMES)
def test_a_device_without_double_precision(name, structure):
    x = (MISSING if name == "gaps" else X).float()
    torch.manual_seed(0)
    expected = ON_DEVICE[name](x)
    with SmallDevice():
        torch.manual_seed(0)
        found = ON_DEVICE[name](x.to(DEVICE))
        assert found.means.device.type == DEVICE.type
        found = found.to("cpu")
    assert_same(found, expected, rtol=1e-3, atol=1e-4)


QUIET = {"progress": False}
START = initialize(X, 3, seed=0)
DOORS = {
    **{name: make for name, make in SEEDED.items() if name != "sample"},
    **{
        f"by torch, {name}": lambda name=name: (
            EMFitter(engine="torch", **QUIET).fit(X, initialized(X, 3, name, seed=0)).mixture.means
        )
        for name in STRUCTURE_NAMES
    },
    "gaps": lambda: (
        EMFitter(**QUIET)
        .fit(MISSING, initialize(MISSING, 2, seed=0, missing="marginalize"))
        .mixture.means
    ),
    "labels": lambda: EMFitter(**QUIET).fit(X, START, labels=LABELS).mixture.means,
    "noise": lambda: EMFitter(**QUIET).fit(X, START, noise=X.square()).mixture.means,
    "frozen": lambda: EMFitter(frozen={"means": [0]}, **QUIET).fit(X, START).history,
    "a stream": lambda: EMFitter(**QUIET).fit(list(X.split(70)), START).restarts,
    "components that are empty": lambda: (
        EMFitter(**QUIET)
        .fit(X, initialize(X, 3, means=torch.cat([X[:2], 1e3 + X[:1]])))
        .mixture.means
    ),
    "a step": lambda: StepwiseEM().step(StepwiseEM().init(START), X).mixture.means,
    "variational Bayes": lambda: VariationalEM(**QUIET).fit(X, START).lower_bound,
    "groups": lambda: fit_groups(X, LABELS, 2, seed=0, **QUIET).mixture.means,
    "groups one by one": lambda: (
        fit_groups(
            torch.where(LABELS[:, None] > 0, X, 0), LABELS, 2, seed=0, **QUIET
        ).log_likelihood
    ),
    "tables": lambda: fit_groups([X, X[:50]], n_components=2, seed=0, **QUIET).n_iter,
}


@pytest.mark.parametrize("name", DOORS)
def test_the_default_device_is_none_of_its_business(name):
    expected = torch.as_tensor(DOORS[name]())
    with torch.device("meta"):
        found = DOORS[name]()
    found = torch.as_tensor(found)
    assert not found.is_meta
    assert torch.equal(found, expected)


def test_a_sample_on_a_device_without_double_precision(monkeypatch):
    from pyro_ugmm.em import row_sample

    monkeypatch.setattr(row_sample, "MOST_ROWS", 100)
    with SmallDevice():
        start = initialize(X.float().to(DEVICE), 3, sample_weight=LABELS + 1)
        assert start.to("cpu").means.isfinite().all()


@pytest.mark.parametrize("structure", SHARED_NAMES)
@pytest.mark.parametrize("n_init", [1, 3])
@pytest.mark.parametrize(
    "given", [("weights",), ("precisions",), ("means",), ("weights", "means", "precisions")]
)
def test_starts_are_given_to_all_restarts(structure, n_init, given):
    kind = KINDS[structure]
    first = estimator(covariance_type=kind).fit(X.numpy())
    starts = {f"{name}_init": getattr(first, f"{name}_") for name in given}
    again = estimator(covariance_type=kind, n_init=n_init, **starts).fit(X.numpy())
    assert len(again.result_.restarts) == (1 if "means" in given else n_init)
    assert again.score(X.numpy()) > first.score(X.numpy()) - 0.2
    if len(given) == 3:  # the other ways may lead to another maximum
        np.testing.assert_allclose(again.means_, first.means_, atol=0.2)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("max_iter", [1, 3])
def test_more_restarts_never_lower_the_bound(max_iter):
    for seed in range(15):
        x = clusters(60, n_clusters=3, seed=seed).numpy()
        bounds = []
        for n_init in (1, 2, 5):
            fitted = GaussianMixtureEstimator(
                3, n_init=n_init, max_iter=max_iter, tol=1e-9, random_state=seed
            )
            fitted.fit(x)
            bounds.append(fitted.lower_bound_)
            assert fitted.lower_bound_ == pytest.approx(fitted.score(x), abs=1e-9)
        assert bounds == sorted(bounds) or np.allclose(bounds, sorted(bounds), atol=1e-9)


DISPATCHED = """
import numpy as np, sklearn, torch
from pyro_ugmm.em import GaussianMixtureEstimator

STARTS = "weights", "means", "precisions"
ATTRIBUTES = [*(name + "_" for name in STARTS), "covariances_", "precisions_cholesky_"]

def is_tensor(value):
    return isinstance(value, torch.Tensor)

for kind in ("full", "tied", "diag", "spherical"):
    for dtype in (torch.float32, torch.float64):
        x = torch.cat([torch.randn(60, 2) - 3, torch.randn(90, 2) + 3]).to(dtype)
        make = lambda **o: GaussianMixtureEstimator(2, covariance_type=kind, random_state=0, **o)
        arrays = make(n_init=2).fit(x.numpy())
        assert not is_tensor(make().fit(x).predict(x)) and not is_tensor(make().fit(x).means_)
        with sklearn.config_context(array_api_dispatch=True):
            tensors = make(n_init=2).fit(x)
            options = {"covariance_type": kind, "init_params": "random"}
            theirs = sklearn.mixture.GaussianMixture(2, **options).fit(x)
            for name in ("score_samples", "predict", "predict_proba", "fit_predict"):
                found = getattr(tensors, name)(x)
                assert type(found) is type(getattr(theirs, name)(x)) is torch.Tensor, name
                assert np.array_equal(found.numpy(), getattr(arrays, name)(x.numpy())), name
            for name in ATTRIBUTES:
                assert type(getattr(tensors, name)) is type(getattr(theirs, name)) is torch.Tensor
                assert np.array_equal(getattr(tensors, name).numpy(), getattr(arrays, name)), name
            assert np.isclose(tensors.score(x), arrays.score(x.numpy()))
            draws, expected = tensors.sample(3), arrays.sample(3)
            assert all(type(a) is type(b) for a, b in zip(draws, theirs.sample(3)))
            assert all(np.array_equal(a.numpy(), b) for a, b in zip(draws, expected))
            assert tensors.bic(x) == arrays.bic(x.numpy())
            assert not is_tensor(tensors.predict(x.numpy()))
            starts = {f"{n}_init": getattr(tensors, f"{n}_") for n in STARTS}
            assert make(**starts).fit(x).lower_bound_ >= tensors.lower_bound_ - 1e-4
            try:
                make().fit(x.clone().fill_(torch.nan))
            except ValueError as error:
                assert str(error).startswith("X: expected finite values"), error
            else:
                raise AssertionError("NaN passed")
print("done")
"""


def test_tensors_where_scikit_learn_dispatches_on_arrays():
    """In a process of its own, as scikit-learn reads this from the environment."""
    environment = os.environ | {"SCIPY_ARRAY_API": "1"}
    command = [sys.executable, "-W", "ignore", "-c", DISPATCHED]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.stdout == "done\n", done.stderr


def test_the_start_is_sound_whatever_the_rows(attacks):
    """Five distinct rows among twenty have clusters whose covariance is rounding alone."""
    for seed in attacks(60):
        torch.manual_seed(seed)
        x = 1e3 * torch.randn(5, 4)[torch.randint(0, 5, (20,))]
        start = initialize(x, 3, seed=seed)
        assert all(tensor.isfinite().all() for tensor in parameters(start))
        assert EMFitter(progress=False, max_iter=1).e_step(x, start).mass.isfinite().all()
