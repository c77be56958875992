"""A component that collapsed is told from one that is narrow, in any unit, and by nothing else."""

import pytest
import torch

from pyro_ugmm.em import EMFitter, select

from .cases import STRUCTURE_NAMES, initialized, rank_in

DTYPES = [torch.float32, torch.float64]
UNITS = [1e-8, 1e-3, 1.0, 1e8]
OF_THEIR_OWN = [name for name in STRUCTURE_NAMES if name != "tied"]
every_kind = pytest.mark.parametrize("dtype", DTYPES, ids=str)


def two_groups(n_features, spread, where, seed=0):
    """Rows about zero, and as many about another place in a spread of their own; with labels."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(230, n_features, generator=generator, dtype=torch.float64)
    label = (torch.arange(230) >= 200).long()
    noise[label == 1] *= spread
    return noise + where * label.unsqueeze(-1), label


def fit(x, label, structure, reg_covar, near=None):
    start = initialized(x if near is None else near, 2, structure, labels=label, reg_covar=0)
    return EMFitter(reg_covar=reg_covar, max_iter=60, progress=False).fit(x, start)


@every_kind
@pytest.mark.parametrize("structure", OF_THEIR_OWN)
@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("n_features", [1, 2])
@pytest.mark.parametrize("reg_covar", [0.0, 1e-300])
@pytest.mark.parametrize("where", [0.0, 7.3])
def test_copies_of_one_row_collapse(dtype, structure, unit, n_features, reg_covar, where):
    x, label = two_groups(n_features, 0.0, where)
    near, _ = two_groups(n_features, 0.05, where)  # where a component begins to narrow
    near = (near * unit).to(dtype)
    result = fit((x * unit).to(dtype), label, structure, reg_covar, near)
    found = {f.kind for f in result.findings if f.component == 1}
    assert found & {"collapsed", "singular"}
    assert not any(f.kind == "collapsed" for f in result.findings if f.component == 0)


@every_kind
@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("reg_covar", [0.0, 1e-300])
def test_a_shared_variance_collapses_where_rows_are_copies(dtype, unit, reg_covar):
    label = torch.arange(60) % 2
    x = (unit * (1 + 4.0 * label.unsqueeze(-1))).to(dtype)
    result = fit(x, label, "tied", reg_covar)
    assert {f.component for f in result.findings} == {None}


@every_kind
@pytest.mark.parametrize("structure", OF_THEIR_OWN)
@pytest.mark.parametrize("unit", UNITS[1:])
@pytest.mark.parametrize("n_features", [1, 2])
@pytest.mark.parametrize("spread", [0.1, 1e-3, 1e-5])
@pytest.mark.parametrize("where", [0.0, 7.3])
def test_narrow_components_are_sound(dtype, structure, unit, n_features, spread, where):
    if dtype == torch.float32:
        spread = max(spread, 1e-4)  # what its digits can tell at seven
    x, label = two_groups(n_features, spread, where)
    result = fit((x * unit).to(dtype), label, structure, 0.0)
    assert not result.findings


@pytest.mark.parametrize("structure", OF_THEIR_OWN)
def test_an_outlier_makes_nothing_else_narrow(structure):
    x, label = two_groups(1, 1.0, 5.0)
    x = torch.cat([x, torch.tensor([[1e7], [1.1e7]]).double()]).float()
    label = torch.cat([label, torch.tensor([2, 2])])
    start = initialized(x, 3, structure, labels=label, reg_covar=0)
    result = EMFitter(reg_covar=0, max_iter=60, progress=False).fit(x, start)
    assert not [finding for finding in result.findings if finding.component in (0, 1)]


@every_kind
@pytest.mark.parametrize("structure", OF_THEIR_OWN)
def test_a_collapsed_fit_is_not_the_best(dtype, structure):
    x, _ = two_groups(1, 0.0, 5.0)
    fitter = EMFitter(reg_covar=0, progress=False)
    options = {"rank": rank_in(structure), "fitter": fitter, "seed": 0, "n_init": 3}
    found = select(x.to(dtype), [1, 2, 3], structure, **options)
    assert any(row.unsound for row in found.table)
    assert not found.best.unsound
