"""Parameters of a wrong type or out of their range are refused by their names."""

import numpy as np
import pytest
import torch

from pyro_ugmm.em import EMFitter, GaussianMixtureEstimator, StepwiseEM, initialize, select

from .cases import clusters

X = clusters(40)
START = initialize(X, 2, seed=0)
FITTED = GaussianMixtureEstimator(2, random_state=0).fit(X.numpy())

ANYTHING = [
    "abc",
    "2",
    b"x",
    "",
    True,
    np.True_,
    torch.tensor(True),
    None,
    1.5,
    -1,
    0,
    np.nan,
    np.inf,
    1j,
    [],
    [1],
    (1, 2),
    {"a": 1},
    {1},
    range(3),
    np.array([1, 2]),
    np.array([1.0, None], dtype=object),
    torch.tensor([1.0, 2.0]),
    object(),
    int,
    len,
]
NONE, ZERO, FLAGS, REAL = [None], [0], [True, np.True_], [0, 1.5]
# Of each entry, its parameters, and what of the above is right for them.
ENTRIES = {
    "estimator": (
        lambda **given: GaussianMixtureEstimator(
            **{"n_components": 2, "random_state": 0, **given}
        ).fit(X.numpy()),
        {
            "n_components": [],
            "covariance_type": [],
            "tol": REAL,
            "reg_covar": REAL,
            "max_iter": ZERO,
            "n_init": [],
            "init_params": [],
            "weights_init": NONE,
            "means_init": NONE,
            "precisions_init": NONE,
            "random_state": NONE + ZERO,
            "warm_start": FLAGS,
            "verbose": FLAGS + ZERO,
            "verbose_interval": [],
            "prior": NONE,
            "decay": [],
            "batch_size": [],
            "device": NONE + (ZERO if torch.cuda.is_available() else []),  # the first GPU
            "missing": [],
            "group": NONE,
        },
    ),
    "sample": (lambda n_samples: FITTED.sample(n_samples), {"n_samples": []}),
    "initialize": (
        lambda **given: initialize(**{"x": X, "n_components": 2, **given}),
        {
            "x": [],
            "n_components": [],
            "covariance": [],
            "method": NONE,
            "labels": NONE,
            "responsibilities": NONE,
            "means": NONE,
            "sample_weight": NONE,
            "n_init": [],
            "seed": NONE + ZERO,
            "reg_covar": REAL,
            "missing": [],
            "prior": NONE,
            "group": NONE,
        },
    ),
    "select": (
        lambda **given: select(**{"x": X, "n_components": 2, "progress": False, **given}),
        {
            "x": [],
            "n_components": [[1], (1, 2), {1}, np.array([1, 2])],
            "covariance": [],
            "criterion": [],
            "fitter": NONE,
            "n_init": [],
            "seed": NONE + ZERO,
            "sample_weight": NONE,
            "missing": NONE,
            "progress": FLAGS,
        },
    ),
    "EMFitter": (
        EMFitter,
        {
            "tol": REAL,
            "max_iter": ZERO,
            "reg_covar": REAL,
            "prior": NONE,
            "missing": NONE,
            "progress": FLAGS,
            "stopping": NONE,
            "group": NONE,
        },
    ),
    "StepwiseEM": (
        StepwiseEM,
        {"decay": [], "batch_size": [], "reg_covar": REAL, "prior": NONE},
    ),
    "fit": (
        lambda **given: EMFitter(progress=False).fit(**{"x": X, "start": START, **given}),
        {"x": [], "start": [], "sample_weight": NONE},
    ),
    "e_step": (
        lambda **given: EMFitter().e_step(**{"x": X, "mixture": START, **given}),
        {"x": [], "mixture": [], "sample_weight": NONE},
    ),
}


def is_one_of(value, valid):
    return any(type(value) is type(right) and repr(value) == repr(right) for right in valid)


@pytest.mark.parametrize(
    ("entry", "name"), [(entry, name) for entry, (_, names) in ENTRIES.items() for name in names]
)
def test_what_is_wrong_is_named(entry, name):
    call, names = ENTRIES[entry]
    for value in ANYTHING:
        if not is_one_of(value, names[name]):
            with pytest.raises(ValueError, match=f"^{name}: expected"):
                call(**{name: value})


@pytest.mark.parametrize("number", [np.int64, np.int8, torch.tensor, np.array])
def test_whole_numbers_of_any_kind(number):
    two, five = number(2), number(5)
    start = initialize(X, two, n_init=two, seed=five)
    assert start.batch_shape == (2,)
    assert torch.equal(start.means, initialize(X, 2, n_init=2, seed=5).means)
    found = select(X, two, n_init=two, seed=five, progress=False)
    assert found.best.log_likelihood == select(X, 2, n_init=2, seed=5).best.log_likelihood
    assert type(found.best.n_components) is int
    fitted = GaussianMixtureEstimator(two, n_init=two, max_iter=number(50)).fit(X.numpy())
    assert fitted.sample(five)[0].shape == (5, 3)


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"weights_init": [0.5, 0.4]}, "weights_init: expected weights that sum to one"),
        ({"weights_init": [1.5, -0.5]}, "weights_init: expected non-negative"),
        ({"weights_init": [0.5, np.nan]}, "weights_init: expected non-negative"),
        ({"weights_init": [0.5, 0.25, 0.25]}, r"weights_init: expected shape \(2,\)"),
        ({"means_init": X[:3].numpy()}, r"means_init: expected shape \(2, 3\)"),
        ({"means_init": X[:2].numpy() * np.inf}, "means_init: expected finite"),
        ({"means_init": [["a"] * 3] * 2}, "means_init: expected numbers"),
        ({"precisions_init": np.eye(3)}, r"precisions_init: expected shape \(2, 3, 3\)"),
        ({"precisions_init": np.zeros((2, 3, 3))}, "precisions_init: expected positive definite"),
        ({"precisions_init": np.full((2, 3, 3), np.nan)}, "precisions_init: expected finite"),
        ({"random_state": -1}, "random_state: expected a seed"),
        ({"device": "banana"}, "device: expected a torch device"),
    ],
)
def test_starts_of_the_estimator(given, match):
    with pytest.raises(ValueError, match=f"^{match}"):
        GaussianMixtureEstimator(2, **given).fit(X.numpy())
