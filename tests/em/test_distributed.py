"""EM over the processes of torch.distributed."""

import signal

import numpy as np
import pytest
import torch
import torch.multiprocessing as mp

from pyro_ugmm.distributions import GaussianMixture
from pyro_ugmm.em import (
    ConjugatePrior,
    EMFitter,
    GaussianMixtureEstimator,
    VariationalEM,
    VariationalPriors,
    algorithm,
    initialize,
    select,
)
from tests.gloo import join, leave, outcome

from .cases import STRUCTURE_NAMES, clusters, initialized

X = clusters(301)
WEIGHT = torch.arange(301.0).double() % 3
LABELS = (X[:, 0] > 0).long()
HOLES = torch.where(torch.arange(903).reshape(301, 3) % 7 == 3, torch.nan, X)
FITTER = EMFitter(tol=0, max_iter=8, progress=False)
ALONE = EMFitter(tol=0, max_iter=8, progress=False, group=False)
START = initialize(X, 2, seed=0, group=False)
NAN = float("nan")
QUIET = {"progress": False, "seed": 0}


def estimated(x, **options):
    options = {"n_components": 3, "random_state": 0, "max_iter": 300, **options}
    return GaussianMixtureEstimator(**options).fit(x.numpy()).mixture_


def in_steps(x):
    fitted = GaussianMixtureEstimator(3, random_state=0, batch_size=400)
    for _ in range(3):
        fitted.partial_fit(x.numpy())
    return fitted.mixture_


def far():
    start = initialize(X, 3, seed=0, group=False)
    start.means[2] = 1e6  # empty: to be revived, in all processes alike
    return start


# Each takes some rows, as a slice, and gives the same for all rows as for its part in a group.
SHARED = {
    **{
        f"fit {name}": lambda at, name=name: FITTER.fit(
            X[at], initialized(X, 12, name, seed=0, group=False)
        )
        for name in STRUCTURE_NAMES
    },
    "variational EM": lambda at: VariationalEM(tol=0, max_iter=8).fit(X[at], START),
    "fit after a revival": lambda at: FITTER.fit(X[at], far()),
    "fit with weights": lambda at: FITTER.fit(X[at], START, WEIGHT[at]),
    "fit a stream": lambda at: FITTER.fit(list(X[at].split(40)), START),
    "e_step": lambda at: FITTER.e_step(X[at], START).second,
    "initialize": lambda at: initialize(X[at], 4, seed=3, n_init=2),
    "initialize at random": lambda at: initialize(X[at], 4, method="random_from_data", seed=3),
    "initialize with weights": lambda at: initialize(X[at], 3, sample_weight=WEIGHT[at], seed=0),
    "initialize with holes": lambda at: initialize(HOLES[at], 3, missing="marginalize", seed=0),
    "initialize by means": lambda at: initialize(X[at], 2, means=X[:2] + 0),
    "initialize by labels": lambda at: initialize(X[at], 2, labels=LABELS[at]),
    "by labels, with holes and weights": lambda at: initialize(
        HOLES[at], 2, labels=LABELS[at], missing="marginalize", sample_weight=WEIGHT[at]
    ),
    "initialize by responsibilities": lambda at: initialize(
        X[at], 2, "tied", responsibilities=torch.nn.functional.one_hot(LABELS[at], 2)
    ),
    "select": lambda at: select(X[at], [1, 3], ["full", "tied"], n_init=2, **QUIET),
    "select with holes and weights": lambda at: select(
        HOLES[at], 2, missing="marginalize", sample_weight=WEIGHT[at], **QUIET
    ),
    "estimator": lambda at: estimated(X[at]),
    "estimator in steps": lambda at: in_steps(X[at]),
    "estimator without a seed": lambda at: estimated(X[at], n_components=1, random_state=None),
}
PARTS = {
    "in halves": (slice(0, 200), slice(200, 301)),
    "all in the second": (slice(0, 0), slice(0, 301)),
}


def moved(distance):
    return GaussianMixture(START.weights, START.means + distance, START.covariance)


def with_entry(value):
    x = X.clone()
    x[3, 1] = value
    return x


def interrupted_stream():
    yield X[:50]
    signal.raise_signal(signal.SIGINT)
    yield X[50:]


def raising(error):
    yield X[:50]
    raise error


def interrupted_in_a_step(bad):
    def maximize(*_):
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        if bad:
            patch.setattr(algorithm, "maximize", maximize)
        return FITTER.fit(X, START)


class Again:
    """An iterable that can be read again."""

    def __init__(self, make, *arguments):
        self._make, self._arguments = make, arguments

    def __iter__(self):
        return self._make(*self._arguments)


FITTERS = {"tol": 0.5, "max_iter": 3, "reg_covar": 0.5, "missing": "marginalize"}
SETTINGS = {
    "n_components": 0,
    "covariance": "banded",
    "criterion": "best",
    "n_init": 0,
    "seed": "x",
    "missing": "drop",
    "progress": "no",
    "fitter": 3,
}
# Calls of the first process and of the second, and what both say.
REFUSED = {
    "NaN, fit": (lambda bad: FITTER.fit(with_entry(NAN) if bad else X, START), r"row 3, .*rank 1"),
    "NaN, e_step": (
        lambda bad: FITTER.e_step(with_entry(NAN) if bad else X, START),
        r"got nan in row 3, column 1 .*\(on rank 1\)",
    ),
    "NaN, initialize": (
        lambda bad: initialize(with_entry(NAN) if bad else X, 2),
        "got nan.*rank 1",
    ),
    "inf, select": (lambda bad: select(with_entry(torch.inf) if bad else X, 2, **QUIET), "rank 1"),
    "NaN, estimator": (lambda bad: estimated(with_entry(NAN) if bad else X), "NaN.*rank 1"),
    "dtype": (lambda bad: FITTER.fit(X.float() if bad else X, START), r"torch.float64.*rank 1"),
    "dtype, initialize": (lambda bad: initialize(X.float() if bad else X, 2), "dtype on all"),
    "features": (lambda bad: FITTER.fit(X[:, :2] if bad else X, START), r"3 features.*rank 1"),
    "features, initialize": (lambda bad: initialize(X[:, :2] if bad else X, 2), "same number of"),
    "kind": (lambda bad: FITTER.fit("a" if bad else X, START), r"x: .*rank 1"),
    "a start": (lambda bad: FITTER.fit(X, "a" if bad else START), r"start: .*rank 1"),
    "a weight": (
        lambda bad: FITTER.fit(X, START, -WEIGHT if bad else WEIGHT),
        r"sample_weight: .*rank 1",
    ),
    "labels": (lambda bad: initialize(X, 2, labels=LABELS + bad), r"labels: .*rank 1"),
    "no rows": (lambda bad: FITTER.fit(X[:0], START), "^x: expected at least one row, got none$"),
    "no weight": (lambda bad: FITTER.fit(X, START, 0 * WEIGHT), "^sample_weight: .* positive"),
    "a column": (
        lambda bad: initialize(torch.where(X[:, 1:2] == X, NAN, X), 2, missing="marginalize"),
        "^x: expected columns .* column 1$",
    ),
    "the keyboard": (
        lambda bad: FITTER.fit(Again(interrupted_stream) if bad else [X], START),
        r"interrupted by the keyboard \(on rank 1\)",
    ),
    "the keyboard in a block": (
        lambda bad: FITTER.fit(Again(raising, KeyboardInterrupt()) if bad else [X], START),
        r"interrupted by the keyboard \(on rank 1\)",
    ),
    "an error in a block": (
        lambda bad: FITTER.fit(Again(raising, RuntimeError("no disk")) if bad else [X], START),
        r"RuntimeError: no disk \(on rank 1\)",
    ),
    "the keyboard in a step": (
        lambda bad: interrupted_in_a_step(bad),
        r"interrupted by the keyboard \(on rank 1\)|different steps",
    ),
    "the keyboard, select": (
        lambda bad: select(Again(interrupted_stream) if bad else [X], [1, 2], **QUIET),
        r"interrupted by the keyboard \(on rank 1\)",
    ),
    "other means": (
        lambda bad: FITTER.fit(
            X, GaussianMixture(START.weights, START.means + bad, START.covariance)
        ),
        "start's means: expected the same on all processes",
    ),
    "other components": (
        lambda bad: FITTER.fit(X, initialize(X, 2 + bad, seed=0, group=False)),
        "start's .*: expected the same on all processes",
    ),
    "other structure": (
        lambda bad: FITTER.fit(X, initialize(X, 2, STRUCTURE_NAMES[bad], group=False, seed=0)),
        "start's structure: .* got 'full' on rank 0 and 'tied' on rank 1",
    ),
    "other prior": (
        lambda bad: EMFitter(prior=ConjugatePrior(X[bad], torch.eye(3).double())).fit(X, START),
        "prior: expected the same on all processes",
    ),
    **{
        f"other {name}": (
            lambda bad, name=name, value=value: EMFitter(
                progress=False, **({name: value} if bad else {})
            ).fit(X, START),
            f"{name}: expected the same on all processes",
        )
        for name, value in FITTERS.items()
    },
    "other priors": (
        lambda bad: VariationalEM(priors=VariationalPriors(mean_prior=X[bad])).fit(X, START),
        "priors.mean_prior: expected the same on all processes",
    ),
    "the keyboard, variational EM": (
        lambda bad: VariationalEM().fit(Again(interrupted_stream) if bad else [X], START),
        r"interrupted by the keyboard \(on rank 1\)",
    ),
    "other n_components, initialize": (lambda bad: initialize(X, 2 + bad), "n_components: .* same"),
    "other method": (
        lambda bad: initialize(X, 2, **({"labels": LABELS} if bad else {})),
        "expected the same on all processes",
    ),
    "other sizes, select": (lambda bad: select(X, [1, 2 + bad], **QUIET), "n_components: .* same"),
    **{
        f"{name}, select": (
            lambda bad, name=name, value=value: select(
                X, **({"n_components": 2} | QUIET | ({name: value} if bad else {}))
            ),
            rf"{name}: expected .* got .*\(on rank 1\)",
        )
        for name, value in SETTINGS.items()
    },
    "another call": (
        lambda bad: FITTER.e_step(X, START) if bad else FITTER.fit(X, START),
        "the processes take different steps",
    ),
}


def plain(value):
    """What can be compared, of whatever came out."""
    if hasattr(value, "table"):
        return [(row.log_likelihood, row.bic, row.icl) for row in value.table]
    mixture = getattr(value, "mixture", value)
    if isinstance(mixture, GaussianMixture):
        return [*mixture.tensors().values()]
    return value


def attempt(call, *arguments):
    return outcome(lambda: plain(call(*arguments)))


def _process(rank, world_size, file, results):
    join(rank, world_size, file)
    before = signal.getsignal(signal.SIGINT)
    try:
        for parts, slices in PARTS.items():
            for name, call in SHARED.items():
                results[name, parts, rank] = attempt(call, slices[rank])
        for name, (call, _) in REFUSED.items():
            results[name, rank] = attempt(call, rank)
            torch.distributed.barrier()
        mine = X[PARTS["in halves"][rank]]
        single = [torch.distributed.new_group([r]) for r in range(world_size)][rank]
        of_one = EMFitter(tol=0, max_iter=8, progress=False, group=single)
        start = initialize(mine, 2, seed=rank, group=False)
        results["alone", rank] = attempt(ALONE.fit, mine, start)
        results["alone by group", rank] = attempt(of_one.fit, mine, start)
        one = GaussianMixtureEstimator(2, random_state=rank, tol=0.01, group=False)
        results["estimator alone", rank] = plain(one.fit(mine.numpy()).mixture_)
        results["handler", rank] = signal.getsignal(signal.SIGINT) == before
    finally:
        leave()


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    context = mp.get_context("spawn")
    with context.Manager() as manager:
        results = manager.dict()
        file = tmp_path_factory.mktemp("gloo") / "meeting"
        mp.spawn(_process, (2, str(file), results), nprocs=2)
        yield dict(results)


@pytest.mark.parametrize("parts", PARTS)
@pytest.mark.parametrize("name", SHARED)
def test_two_processes_are_one(results, name, parts):
    expected = plain(SHARED[name](slice(None)))
    for rank in (0, 1):
        found = results[name, parts, rank]
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("name", REFUSED)
def test_an_error_of_one_is_an_error_of_all(results, name):
    first, second = (results[name, rank] for rank in (0, 1))
    assert isinstance(first, str) and first == second and first.startswith("ValueError: ")
    with pytest.raises(ValueError, match=REFUSED[name][1]):
        raise ValueError(first.removeprefix("ValueError: "))


@pytest.mark.parametrize("name", ["alone", "alone by group"])
@pytest.mark.parametrize("rank", [0, 1])
def test_a_process_can_fit_alone(results, name, rank):
    mine = X[PARTS["in halves"][rank]]
    expected = plain(FITTER.fit(mine, initialize(mine, 2, seed=rank)))
    torch.testing.assert_close(results[name, rank], expected, rtol=1e-10, atol=1e-12)
    one = GaussianMixtureEstimator(2, random_state=rank, tol=0.01).fit(mine.numpy())
    torch.testing.assert_close(results["estimator alone", rank], plain(one.mixture_))


def test_the_keyboard_is_given_back(results):
    assert results["handler", 0] and results["handler", 1]


@pytest.mark.parametrize("group", [True, 0, "world", np.int64(1), [0]])
def test_what_is_no_group(group):
    for call in (
        lambda: EMFitter(group=group),
        lambda: initialize(X, 2, group=group),
        lambda: GaussianMixtureEstimator(group=group).fit(X.numpy()),
    ):
        with pytest.raises(ValueError, match="group: expected a process group, None"):
            call()
