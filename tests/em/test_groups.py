"""Many groups at once: each as it would be fitted alone, whatever the others are."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.mixture import GaussianMixture as SklearnMixture

import pyro_ugmm.em.groups as groups_module
from pyro_ugmm.distributions import FullCovariance, GaussianMixture
from pyro_ugmm.em import EMFitter, fit_groups, group_starts, initialize, native_steps
from pyro_ugmm.em.grouped_rows import GroupedRows
from pyro_ugmm.status import Status

STRUCTURES = ("full", "tied", "diagonal", "spherical")
QUIET = {"progress": False, "seed": 0}


def parted(n_groups=6, n_features=2, dtype=torch.float64):
    """Groups of unequal size in three clusters each, in any order of rows."""
    sizes = 30 + 7 * torch.arange(n_groups)
    codes = torch.arange(n_groups).repeat_interleave(sizes)
    at = 6 * torch.randn(n_groups, 3, n_features, dtype=dtype)
    cluster = torch.randint(3, (len(codes),))
    x = at[codes, cluster] + torch.randn(len(codes), n_features, dtype=dtype)
    order = torch.randperm(len(codes))
    return x[order], codes[order]


def same(found, expected, **tolerance):
    for name, tensor in expected.tensors().items():
        torch.testing.assert_close(found.tensors()[name], tensor, **tolerance)


@pytest.mark.parametrize("covariance", STRUCTURES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_each_group_is_as_if_alone(covariance, dtype):
    x, codes = parted(dtype=dtype)
    start = initialize(x, 3, covariance, seed=1)
    fits = fit_groups(x, codes, start=start, tol=1e-6, max_iter=30, **QUIET)
    assert fits.mixture.batch_shape == (6,) and fits.mixture.means.dtype == dtype
    assert fits.n_rows.tolist() == codes.bincount().tolist()
    fitter = EMFitter(tol=1e-6, max_iter=30, progress=False)
    for g in range(6):
        alone = fitter.fit(x[codes == g].double(), start.to(torch.float64))
        same(fits[g], alone.mixture.to(dtype), rtol=1e-5, atol=1e-5)
        assert fits.statuses[g] is alone.status and int(fits.n_iter[g]) == alone.n_iter
        assert float(fits.log_likelihood[g]) == pytest.approx(alone.log_likelihood, abs=1e-6)


@pytest.mark.parametrize("covariance", STRUCTURES)
def test_each_group_ends_where_scikit_learn_ends(covariance):
    x, codes = parted()
    means = torch.stack([x[codes == g][:3] for g in range(6)])
    start = initialize(x, 3, covariance, seed=1)
    one = start.with_parameters(
        torch.full((6, 3), 1 / 3).double(), means, start.covariance.expand((6,))
    )
    fits = fit_groups(x, codes, start=one, tol=0.0, max_iter=15, **QUIET)
    kind = {"diagonal": "diag"}.get(covariance, covariance)
    for g in range(6):
        theirs = SklearnMixture(
            3,
            covariance_type=kind,
            tol=0.0,
            max_iter=15,
            weights_init=np.full(3, 1 / 3),
            means_init=means[g].numpy(),
            precisions_init=one.reindex(lambda t, g=g: t[g]).to_sklearn().precisions_,
        )
        with pytest.warns(UserWarning, match="converge"):
            theirs.fit(x[codes == g].numpy())
        assert fits[g].means.numpy() == pytest.approx(theirs.means_, abs=1e-6)
        assert fits[g].weights.numpy() == pytest.approx(theirs.weights_, abs=1e-7)


AWKWARD = {
    "one row": lambda x: x[:1],
    "two rows": lambda x: x[:2],
    "constant": lambda x: x[:1].expand(20, -1),
    "one constant feature": lambda x: torch.cat([x[:, :1], 0 * x[:, 1:]], 1),
    "far": lambda x: 1e8 + x,
    "huge": lambda x: 1e150 * x,
    "tiny": lambda x: 1e-12 * x,
}


@pytest.mark.parametrize("covariance", STRUCTURES)
@pytest.mark.parametrize("name", AWKWARD)
@pytest.mark.parametrize("by_start", [True, False])
def test_no_group_disturbs_another(name, covariance, by_start):
    x, codes = parted(3)
    odd = AWKWARD[name](x[codes == 0])
    together = torch.cat([x, odd]), torch.cat([codes, codes.new_full((len(odd),), 4)])  # 3 is empty
    if by_start:
        options = {"start": initialize(x, 3, covariance, seed=1)}
    else:
        options = {"n_components": 3, "covariance": covariance}
    fits = fit_groups(*together, **options, **QUIET)
    assert len(fits) == 5 and fits.mixture.means.isfinite().all()
    assert fits.statuses[3] is Status.BROKEN_DOWN and fits.log_likelihood[3].isnan()
    assert "it has no rows" in fits.reasons[3] and "group 3" in fits.report
    assert fits.mixture.log_prob(x[:1]).isfinite()[[0, 1, 2, 3]].all()
    if by_start:
        alone = fit_groups(x, codes, **options, **QUIET)
        for g in range(3):
            same(fits[g], alone[g], rtol=0, atol=0)
    else:
        assert fits.converged[:3].all()


@pytest.mark.parametrize("x", [torch.ones(20, 2), torch.zeros(20, 1).double()])
@pytest.mark.parametrize("n_groups", [1, 4])
def test_groups_none_of_which_is_ordinary(x, n_groups):
    fits = fit_groups(x, torch.arange(20) % n_groups, 2, **QUIET)
    assert len(fits) == n_groups and fits.mixture.means.isfinite().all()
    assert fits.collapsed.any(-1).all()


@pytest.mark.parametrize("is_long", [False, True])
def test_what_takes_long_is_done_in_parts(monkeypatch, is_long):
    x, codes = parted(8)
    expected = fit_groups(x, codes, 2, **QUIET)
    calls, take_steps, fit = [], groups_module.take_steps, EMFitter.fit
    seconds = 1e-4 if is_long else 1.0
    monkeypatch.setattr(groups_module, "_LONGEST", seconds)
    monkeypatch.setattr(
        groups_module, "take_steps", lambda *a, **o: calls.append(1) or take_steps(*a, **o)
    )
    monkeypatch.setattr(EMFitter, "fit", lambda *a, **o: calls.append(2) or fit(*a, **o))
    found = fit_groups(x, codes, 2, **QUIET)
    assert len(calls) == (8 if is_long else 1)
    assert not is_long or 2 in calls  # a group that alone takes too long can be interrupted too
    same(found.mixture, expected.mixture, rtol=1e-6, atol=1e-6)


def test_components_that_collapsed_are_named():
    x, codes = parted(3)
    x[codes == 1] = x[codes == 1].round(decimals=-1)
    fits = fit_groups(x, codes, 3, **QUIET)
    assert fits.collapsed.any(-1).tolist() == [False, True, False]
    assert "components collapsed, group 1: most" in fits.report
    assert str(fits).startswith("GroupFits(3 groups")


def test_tables_are_groups():
    x, codes = parted(4)
    tables = [x[codes == g] for g in range(4)]
    by_code = fit_groups(x, codes, 2, **QUIET)
    same(fit_groups(iter(tables), None, 2, **QUIET).mixture, by_code.mixture, rtol=0, atol=0)
    arrays = [table.numpy() for table in tables]
    same(fit_groups(arrays, n_components=2, **QUIET).mixture, by_code.mixture, rtol=0, atol=0)


def test_the_best_of_several_starts_comes_back():
    x, codes = parted(30)
    one, best = (fit_groups(x, codes, 3, n_init=n, **QUIET) for n in (1, 8))
    assert (best.log_likelihood >= one.log_likelihood - 1e-3).all()
    assert best.log_likelihood.sum() > one.log_likelihood.sum()
    again = fit_groups(x, codes, 3, n_init=8, **QUIET)
    same(again.mixture, best.mixture, rtol=0, atol=0)
    found = torch.stack([best[g].log_prob(x[codes == g]).mean() for g in range(30)])
    torch.testing.assert_close(best.log_likelihood, found)


def test_weights_are_repetitions():
    x, codes = parted(4)
    start = initialize(x, 3, seed=1)
    weight = torch.randint(1, 4, (len(x),))
    weight[codes == 2] = 0
    fits = fit_groups(x, codes, start=start, sample_weight=weight, **QUIET)
    repeated = x.repeat_interleave(weight, 0), codes.repeat_interleave(weight)
    many = fit_groups(*repeated, start=start, **QUIET)
    for g in (0, 1, 3):
        same(fits[g], many[g])
    assert fits.statuses[2] is Status.BROKEN_DOWN and fits.n_rows[2] == 0
    same(fits[2], start, rtol=0, atol=0)  # where it started


def test_without_the_library_groups_are_fitted_in_turn(monkeypatch):
    x, codes = parted(3)
    options = {"n_init": 2, "n_components": 3, **QUIET}
    expected = fit_groups(x, codes, **options)
    for module in (native_steps, group_starts):
        monkeypatch.setattr(module, "library", lambda: (None, "there is none"))
    found = fit_groups(x, codes, **options)
    same(found.mixture, expected.mixture, rtol=1e-6, atol=1e-6)
    assert found.statuses == expected.statuses


def test_an_interruption_leaves_what_is_done(monkeypatch):
    x, codes = parted(5)
    take_steps, calls = groups_module.take_steps, []

    def interrupted(*args, **options):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return take_steps(*args, **options)

    monkeypatch.setattr(GroupedRows, "chunks", lambda self, _: [(g, g + 1) for g in range(5)])
    monkeypatch.setattr(groups_module, "take_steps", interrupted)
    fits = fit_groups(x, codes, 2, **QUIET)
    assert fits.interrupted and fits.converged.tolist() == [True, True, False, False, False]
    assert fits.statuses[2:] == (Status.INTERRUPTED,) * 3
    assert "INTERRUPTED, groups 2, 3, 4: the first, interrupted before its turn" in fits.report


def test_an_interruption_of_a_group_fitted_alone(monkeypatch):
    """Of those whose steps are out of the ordinary, the ones that come later have no fit."""
    x, codes = parted(4)
    x[codes == 1], x[codes == 2] = 0.0, 0.0
    fit, calls = EMFitter.fit, []

    def interrupted(self, *args, **options):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return fit(self, *args, **options)

    monkeypatch.setattr(EMFitter, "fit", interrupted)
    fits = fit_groups(x, codes, 3, **QUIET)
    assert len(calls) == 2 and fits.interrupted
    assert fits.statuses[2] is Status.INTERRUPTED and fits.log_likelihood[2].isnan()
    assert fits.statuses[1] is not Status.INTERRUPTED and fits.converged[[0, 3]].all()
    assert fits.mixture.means.isfinite().all()


X, CODES = torch.randn(12, 2), torch.arange(12) % 3
MIXTURE = GaussianMixture(torch.ones(1), torch.zeros(1, 2), FullCovariance(torch.eye(2)[None]))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fit_groups(X, CODES), "n_components: expected a positive integer, or start"),
        (lambda: fit_groups(X, CODES, 0), "n_components: expected a positive integer, got 0"),
        (lambda: fit_groups(X, CODES, 2, "round"), "covariance: expected one of 'full'"),
        (lambda: fit_groups(X, CODES - 1, 2), "groups: expected integer codes from 0 .*got -1"),
        (lambda: fit_groups(X, CODES.double(), 2), "groups: expected integer codes .*float64"),
        (lambda: fit_groups(X, ["a"] * 12, 2), "groups: expected integer labels .*factorize"),
        (lambda: fit_groups(X, CODES[:5], 2), r"groups: expected shape \(12,\), as x has rows"),
        (lambda: fit_groups(X.log(), CODES, 2), "x: expected finite"),
        (lambda: fit_groups(X[:0], CODES[:0], 2), "x: expected rows of shape"),
        (lambda: fit_groups(X, None, 2), "x: expected an iterable of tables, .*got Tensor"),
        (lambda: fit_groups([], None, 2), "x: expected an iterable of tables, .*got none"),
        (lambda: fit_groups([X, X[:, :1]], None, 2), r"x\[1\]: expected shape \(n, 2\)"),
        (lambda: fit_groups(X, CODES, 2, n_init=0), "n_init: expected a positive integer"),
        (lambda: fit_groups(X, CODES, start=MIXTURE, n_init=2), "n_init: expected 1, as there"),
        (lambda: fit_groups(X, CODES, 2, start=MIXTURE), "n_components: expected 1, as start has"),
        (lambda: fit_groups(X[:, :1], CODES, start=MIXTURE), "start: expected 1 features, as x"),
        (lambda: fit_groups(X, CODES, 2, tol=-1.0), "tol: expected"),
        (lambda: fit_groups(X, CODES, 2, max_iter=0), "max_iter: expected a positive integer"),
        (lambda: fit_groups(X, CODES, 2, sample_weight=-CODES), "sample_weight: expected finite"),
        (lambda: fit_groups(X, CODES, 2, sample_weight=0 * CODES), "sample_weight: .*at least one"),
        (lambda: fit_groups(X, CODES, 2, seed=-1), "seed: expected"),
        (lambda: fit_groups(1e30 * X, CODES, 2), "x: expected values below .*float32 can hold"),
        (lambda: fit_groups(X, 10**10 * CODES, 2), "groups: expected codes most of which have"),
        (lambda: fit_groups(pd.DataFrame(X), None, 2), "x: expected an iterable .*DataFrame"),
        (lambda: fit_groups(X.log(), CODES, 2), "x: expected finite values, got"),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_group_that_is_none():
    fits = fit_groups(X, CODES, 1, **QUIET)
    assert fits[-1].batch_shape == ()
    with pytest.raises(IndexError, match="one of 3, got 3"):
        fits[3]
