"""Rows, weights, labels and means as users hold them, and what is refused of them."""

from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
import torch

from pyro_ugmm.em import (
    ConjugatePrior,
    EMFitter,
    GaussianMixtureEstimator,
    initialize,
    select,
)

from .cases import SKLEARN_NAMES, STRUCTURE_NAMES, assert_same, clusters, initialized, rank_in

X = clusters(80, n_clusters=2).mul(10).round()  # whole numbers, for all kinds
LABELS = (X[:, 0] > X[:, 0].median()).long()
WEIGHT = torch.arange(80) % 4
MISSING = X.masked_fill(torch.arange(240).reshape(80, 3) % 11 == 5, torch.nan)
COLUMNS = ["height", "width", "depth"]
FITTER = EMFitter(max_iter=4, tol=0, progress=False)
START = initialize(X, 2, seed=0)


def estimated(x, missing="error"):
    options = {"init_params": "random_from_data", "random_state": 0, "missing": missing}
    return GaussianMixtureEstimator(2, tol=0.5, **options).fit(x).mixture_


# What takes rows, and gives a mixture.
ENTRIES = {
    "fit": lambda x, missing="error": (
        FITTER.fit(x, START.to(torch.float64)).mixture
        if missing == "error"
        else EMFitter(max_iter=4, tol=0, progress=False, missing=missing).fit(x, START).mixture
    ),
    "e_step": lambda x, missing="error": FITTER.m_step(EMFitter(missing=missing).e_step(x, START)),
    "initialize": lambda x, missing="error": initialize(x, 2, seed=0, missing=missing),
    "select": lambda x, missing="error": (
        select(x, 2, seed=0, missing=missing, progress=False, fitter=FITTER).best.result.mixture
    ),
    "estimator": estimated,
    "evaluation of the estimator": lambda x, missing="error": ESTIMATORS[missing].predict_proba(x),
    "a stream": lambda x, missing="error": (
        EMFitter(max_iter=4, tol=0, progress=False, missing=missing).fit([x], START).mixture
    ),
}
ESTIMATORS = {
    missing: GaussianMixtureEstimator(2, random_state=0, missing=missing).fit(X.numpy())
    for missing in ("error", "marginalize")
}
entries = pytest.mark.parametrize("entry", ENTRIES)


def frame(x=X, **options):
    return pd.DataFrame(x.numpy(), columns=COLUMNS, **options)


def objects(x=X):
    return frame(x).astype(object)


WHOLE = {
    "array": lambda: X.numpy(),
    "read-only array": lambda: frame().to_numpy(),
    "array of integers": lambda: X.numpy().astype(np.int32),
    "longdouble": lambda: X.numpy().astype(np.longdouble),
    "float32": lambda: X.float().numpy(),
    "array backwards": lambda: X.flip(0).numpy()[::-1],
    "swapped bytes": lambda: X.numpy().astype(">f8"),
    "objects": lambda: X.numpy().astype(object),
    "masked array without a mask": lambda: np.ma.array(X.numpy()),
    "frame": frame,
    "frame of integers": lambda: frame().astype(int),
    "nullable frame": lambda: frame().convert_dtypes(),
    "frame of objects": objects,
    "categories that are numbers": lambda: frame().astype({"width": "category"}),
    "mixed frame": lambda: frame().astype({"width": "int16", "depth": "Float32"}),
    "nested lists": lambda: X.tolist(),
    "decimals": lambda: [[Decimal(value) for value in row] for row in X.tolist()],
    "a list of rows": lambda: [*X.numpy()],
    "a list of tensors": lambda: [*X],
    "a list of series": lambda: [row for _, row in frame().iterrows()],
}
GAPS = {
    "array": lambda: MISSING.numpy(),
    "masked array": lambda: np.ma.masked_equal(MISSING.nan_to_num(-9999.0).numpy(), -9999.0),
    "masked integers": lambda: np.ma.masked_equal(
        MISSING.nan_to_num(-9999.0).numpy().astype(int), -9999
    ),
    "a list of masked rows": lambda: [*np.ma.masked_invalid(MISSING.numpy())],
    "nested lists with null": lambda: (
        objects(MISSING).mask(MISSING.isnan().numpy(), pd.NA).to_numpy().tolist()
    ),
    "frame": lambda: frame(MISSING),
    "nullable frame": lambda: frame(MISSING).convert_dtypes(),
    "objects with None": lambda: frame(MISSING).astype(object).where(frame(MISSING).notna(), None),
}


def pairs(kinds):
    """Entries and kinds; a list within a list of blocks is a pair of a block and weights."""
    made = [(entry, kind) for entry in ENTRIES for kind in kinds]
    return [(e, k) for e, k in made if e != "a stream" or not isinstance(kinds[k](), list)]


def same(found, expected, **tolerance):
    if isinstance(found, np.ndarray):
        np.testing.assert_allclose(found, expected, **tolerance)
    else:
        assert_same(found.to(torch.float64), expected, **tolerance)


@pytest.mark.parametrize(("entry", "kind"), pairs(WHOLE))
def test_rows_of_any_kind(entry, kind):
    expected = ENTRIES[entry](X if entry != "estimator" else X.numpy())
    tolerance = {"rtol": 1e-3, "atol": 1e-2} if kind == "float32" else {"rtol": 1e-9, "atol": 1e-9}
    same(ENTRIES[entry](WHOLE[kind]()), expected, **tolerance)


@pytest.mark.parametrize(("entry", "kind"), pairs(GAPS))
def test_what_is_masked_or_null_is_missing(entry, kind):
    x = GAPS[kind]()
    with pytest.raises(ValueError, match=r"nan|NaN|missing"):
        ENTRIES[entry](x)
    expected = ENTRIES[entry](MISSING.numpy(), "marginalize")
    same(ENTRIES[entry](x, "marginalize"), expected, rtol=1e-9, atol=1e-9)


def entry_at(value):
    found = frame()
    found.loc[7, "width"] = value
    return found


@entries
@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: entry_at(np.nan), r"row 7, column 1 \('width'\)"),
        (lambda: entry_at(np.inf), r"row 7, column 1 \('width'\)"),
        (lambda: entry_at(np.nan).convert_dtypes(), r"row 7, column 1 \('width'\)"),
        (lambda: frame().assign(width="wide"), "'width'"),
        (lambda: frame().assign(width=pd.Categorical(["a", "b"] * 40)), "'width'"),
        (lambda: frame().assign(width=pd.Timestamp(0)), "'width'"),
        (lambda: frame().assign(width=1j), "'width'"),
        (lambda: frame().assign(width=2**63 - 1), "'width'"),
    ],
)
@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_messages_name_the_column(entry, make, match):
    with pytest.raises(ValueError, match=match):
        ENTRIES[entry](make())


NUMBERS = {
    "tensor": lambda v: v,
    "list": lambda v: v.tolist(),
    "array": lambda v: v.numpy(),
    "unsigned array": lambda v: v.numpy().astype(np.uint16),
    "unsigned tensor": lambda v: v.to(torch.uint32),
    "series": lambda v: pd.Series(v.numpy()),
    "filtered series": lambda v: pd.Series(np.append(0, v.numpy()))[1:],
    "nullable series": lambda v: pd.Series(v.numpy()).convert_dtypes(),
    "series of objects": lambda v: pd.Series(v.tolist(), dtype=object),
    "masked array without a mask": lambda v: np.ma.array(v.numpy()),
}
WEIGHTED = {
    "fit": lambda weight: FITTER.fit(X, START, weight).mixture,
    "a stream": lambda weight: FITTER.fit([(X, weight)], START).mixture,
    "e_step": lambda weight: FITTER.m_step(FITTER.e_step(X, START, weight)),
    "initialize": lambda weight: initialize(X, 2, sample_weight=weight, seed=0),
    "select": lambda weight: (
        select(X, 2, sample_weight=weight, seed=0, progress=False).best.result.mixture
    ),
}


@pytest.mark.parametrize("kind", NUMBERS)
@pytest.mark.parametrize("entry", WEIGHTED)
def test_weights_of_any_kind(entry, kind):
    found = WEIGHTED[entry](NUMBERS[kind](WEIGHT))
    assert_same(found, WEIGHTED[entry](WEIGHT.double()), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("entry", WEIGHTED)
@pytest.mark.parametrize(
    "weight",
    [
        np.ma.masked_equal(WEIGHT.numpy(), 2),
        pd.Series(WEIGHT.numpy()).astype("Int64").mask(WEIGHT.numpy() == 2),
        WEIGHT.double().log(),
        -WEIGHT,
        WEIGHT[1:],
        WEIGHT.unsqueeze(1),
        ["a"] * 80,
        [None] * 80,
        1.0,
        "abc",
        WEIGHT * 1j,
        WEIGHT * 0,
        [np.ma.masked_equal(WEIGHT.numpy()[:40], 2), np.ma.masked_equal(WEIGHT.numpy()[40:], 2)],
        np.full(80, 2**63, np.uint64),
    ],
    ids=str,
)
def test_bad_weights(entry, weight):
    with pytest.raises(ValueError, match=r"^sample_weight: expected"):
        WEIGHTED[entry](weight)


SINGLE = X.float(), initialize(X.float(), 2, seed=0)


@pytest.mark.parametrize("scale", [1e-50, 1e30, 1e50])
def test_weights_beyond_the_range_of_the_rows(scale):
    (x, start), weight = SINGLE, WEIGHT.double() * scale
    assert_same(
        initialize(x, 2, sample_weight=weight, seed=0),
        initialize(x, 2, sample_weight=WEIGHT, seed=0),
        rtol=1e-3,
    )
    best = select(x, 2, sample_weight=weight, seed=0, progress=False).best
    expected = select(x, 2, sample_weight=WEIGHT, seed=0, progress=False).best
    assert best.log_likelihood == pytest.approx(scale * expected.log_likelihood, rel=1e-3)
    for call in (lambda: FITTER.fit([(x, weight)], start), lambda: FITTER.e_step(x, start, weight)):
        with pytest.raises(ValueError, match=r"^sample_weight: expected .*weights"):
            call()


@pytest.mark.parametrize(
    ("x", "match"),
    [
        (np.array(1.0), r"x: expected shape \(n, D\), of one feature \(n, 1\), got \(\)"),
        ([X.to_sparse()], "x: expected dense blocks"),
    ],
)
def test_what_are_no_rows(x, match):
    with pytest.raises(ValueError, match=match):
        FITTER.fit(x, START)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_the_estimator_refuses_half_precision(dtype):
    with pytest.raises(ValueError, match=r"^X: expected torch.float32 or torch.float64 \(half"):
        GaussianMixtureEstimator().fit(X.to(dtype))
    with pytest.raises(ValueError, match=r"^X: expected torch.float32 or torch.float64 \(half"):
        ESTIMATORS["error"].predict(X.to(dtype))


def test_precisions_whose_inverse_nobody_can_hold():
    precisions = np.diag([1e60, 1, 1])[None].repeat(2, 0)  # whose inverse is zero in float32
    with pytest.raises(ValueError, match=r"^precisions_init: expected .* torch.float32 can hold"):
        GaussianMixtureEstimator(2, precisions_init=precisions).fit(X.float().numpy())


@pytest.mark.parametrize("kind", NUMBERS)
def test_labels_of_any_kind(kind):
    expected = initialize(X, 2, labels=LABELS)
    assert_same(initialize(X, 2, labels=NUMBERS[kind](LABELS)), expected, rtol=1e-12)
    counts = torch.nn.functional.one_hot(LABELS, 2)
    for shares in (counts, counts.numpy(), counts.tolist(), pd.DataFrame(counts.numpy())):
        found = initialize(X, 2, responsibilities=shares)
        assert_same(found, expected, rtol=1e-12)


BAD_STARTS = [
    ({"labels": np.ma.masked_equal(LABELS.numpy(), 1)}, "labels: expected no masked"),
    ({"labels": LABELS.double()}, "labels: expected integers"),
    ({"labels": LABELS.numpy() * 1j}, "labels: expected"),
    ({"labels": LABELS * 1j}, "labels: expected"),
    ({"labels": ["a"] * 80}, "labels: expected integer labels .* got 'a'"),
    ({"labels": "abc"}, "labels: expected"),
    ({"labels": 3}, r"labels: expected shape \(80,\)"),
    ({"responsibilities": np.ma.masked_equal(np.eye(2)[LABELS.numpy()], 1)}, "responsibilities: "),
    ({"responsibilities": np.full((80, 2), np.nan)}, "responsibilities: .* row 0, column 0"),
    ({"responsibilities": "abc"}, "responsibilities: expected"),
    ({"means": np.ma.masked_equal(X[:2].numpy(), X[0, 0])}, "means: .* row 0, column 0"),
    ({"means": pd.DataFrame([[1.0, None, 2]] * 2, columns=COLUMNS)}, r"means: .* \('width'\)"),
    ({"means": "abc"}, "means: expected"),
    ({"means": X[0]}, r"means: expected shape \(2, 3\)"),
    ({"means": X[:2].float()}, "means: expected torch.float64"),
]


@pytest.mark.parametrize(("arguments", "match"), BAD_STARTS)
def test_bad_starts(arguments, match):
    with pytest.raises(ValueError, match=match):
        initialize(X, 2, **arguments)


FAR = np.array([[1e40, 0, 0]])
CLOSE = np.array([[1600000001.0, 0, 1], [1600000002.0, 1, 0]]).repeat(20, 0)


@pytest.mark.parametrize(
    "call",
    [
        lambda: FITTER.fit(CLOSE, initialize(X.float(), 2)),
        lambda: FITTER.fit(FAR, initialize(X.float(), 2)),
        lambda: FITTER.fit([CLOSE], initialize(X.float(), 2)),
        lambda: FITTER.e_step(CLOSE, initialize(X.float(), 2)),
        lambda: initialize(X.float(), 2, means=CLOSE[::20]),
        lambda: GaussianMixtureEstimator(2, means_init=CLOSE[::20]).fit(X.float().numpy()),
    ],
)
def test_arrays_are_not_cast_to_what_cannot_tell_them_apart(call):
    with pytest.raises(ValueError, match=r"expected values that torch.float32 can hold"):
        call()


def test_the_estimator_evaluates_in_the_more_precise_dtype():
    single = GaussianMixtureEstimator(2, random_state=0).fit(X.float().numpy())
    x = np.append(X.numpy() + 1e-9, FAR, axis=0)
    exact = single.mixture_.to(torch.float64).log_prob(torch.from_numpy(x)).numpy()
    found = single.score_samples(x)
    assert found.dtype == np.float64 and np.isfinite(found).all()
    np.testing.assert_array_equal(found, exact)
    for method in ("predict_proba", "predict", "score", "bic", "aic"):
        assert np.isfinite(getattr(single, method)(x)).all()
    assert single.score_samples(x[:3].astype(np.float32)).dtype == np.float32
    double = GaussianMixtureEstimator(2, random_state=0).fit(X.numpy())
    assert double.score_samples(x[:3].astype(np.float32)).dtype == np.float64


EMPTY = torch.where(torch.arange(3) == 1, torch.nan, X)
UNSEEN = {
    "nothing": ({}, EMPTY),
    "only where the weight is zero": (
        {"sample_weight": (torch.arange(80) > 9).double()},
        torch.where(torch.arange(80).unsqueeze(1) > 9, EMPTY, X),
    ),
}
PRIOR = ConjugatePrior(X.mean(0) + 3, torch.cov(X.T), mean_strength=2, covariance_strength=4)


def unseen(structure):
    """Entries by what they take, with what is asked of each."""
    missing = {"missing": "marginalize"}
    start = initialized(X, 2, structure, seed=0, **missing)
    sizes, missing = (2, structure), missing | {"rank": rank_in(structure)}
    quiet = {"progress": False, "seed": 0}
    return {
        "fit": lambda x, **o: EMFitter(progress=False).fit(x, start, **o),
        "initialize": lambda x, **o: initialize(x, *sizes, **missing, **o),
        "initialize by labels": lambda x, **o: initialize(x, *sizes, labels=LABELS, **missing, **o),
        "select": lambda x, **o: select(x, *sizes, **missing, **quiet, **o),
        "a stream": lambda x, sample_weight=None: EMFitter(progress=False).fit(
            [x.split(40)[0], x.split(40)[1]]
            if sample_weight is None
            else list(zip(x.split(40), sample_weight.split(40), strict=True)),
            start,
        ),
        "a frame": lambda x, **o: initialize(frame(x), *sizes, **missing, **o),
        "estimator": lambda x, sample_weight=None: GaussianMixtureEstimator(
            2, covariance_type=SKLEARN_NAMES.get(structure, structure), **missing
        ).fit(EMPTY.numpy()),
    }


@pytest.mark.parametrize("structure", STRUCTURE_NAMES)
@pytest.mark.parametrize("rows", UNSEEN)
def test_a_column_of_which_nothing_was_observed(structure, rows):
    options, x = UNSEEN[rows]
    for name, call in unseen(structure).items():
        column = r"1 \('width'\)" if name == "a frame" else "1"
        with pytest.raises(ValueError, match=f"[xX]: .* something was observed.* column {column}"):
            call(x, **options)


@pytest.mark.parametrize("structure", STRUCTURE_NAMES)
@pytest.mark.parametrize("rows", UNSEEN)
def test_a_prior_says_what_rows_do_not(structure, rows):
    options, x = UNSEEN[rows]
    fitter = EMFitter(prior=PRIOR, missing="marginalize", progress=False, max_iter=500, tol=1e-8)
    start = initialized(x, 2, structure, prior=PRIOR, missing="marginalize", seed=0, **options)
    quiet = {"rank": rank_in(structure), "fitter": fitter, "seed": 0, "progress": False}
    selected = select(x, 2, structure, **quiet, **options)
    for mixture in (start, fitter.fit(x, start, **options).mixture, selected.best.result.mixture):
        variance = mixture.covariance.dense(2, 3)[:, 1, 1] / PRIOR.covariance[1, 1]
        assert ((variance > 0.03) & (variance < 30)).all()  # spherical: of seen features, too
        deviation = (mixture.mean[1] - PRIOR.mean[1]) / PRIOR.covariance[1, 1].sqrt()
        assert abs(deviation) < (1e-6 if mixture is start or structure == "diagonal" else 0.5)


def test_statistics_of_parts_need_not_see_every_column():
    start = initialize(MISSING, 2, missing="marginalize", seed=0)
    part = FITTER.e_step(torch.where(torch.arange(3) == 1, torch.nan, MISSING[:3]), start)
    assert part.mass.isfinite().all()


@pytest.mark.parametrize("structure", STRUCTURE_NAMES)
def test_a_column_observed_once_is_not_sound(structure):
    x = torch.where(torch.arange(80).unsqueeze(1) > 0, EMPTY, X)
    for rows, column in ((frame(x), r"1 ('width')"), (x, "1"), (list(x.split(30)), "1")):
        start = initialized(rows, 1, structure, missing="marginalize")
        result = EMFitter(progress=False).fit(rows, start)
        assert "underdetermined" in {finding.kind for finding in result.findings}
        assert (
            f"all components underdetermined: column {column} was observed in one row"
            in result.report
        )
    with_prior = EMFitter(progress=False, prior=PRIOR).fit(x, start)
    assert "observed in one row" not in with_prior.report
    options = {"rank": rank_in(structure), "missing": "marginalize", "progress": False}
    assert select(x, 1, structure, **options).table[0].unsound
