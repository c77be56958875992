"""A fit ends with a finite mixture, whatever the rows, and says what was wrong with them."""

import pytest
import torch

from pyro_ugmm.accumulation import BlockSum
from pyro_ugmm.distributions import FullCovariance, GaussianMixture
from pyro_ugmm.distributions.covariance import STRUCTURES
from pyro_ugmm.distributions.factorization import factorize
from pyro_ugmm.em import EMFitter, initialize
from pyro_ugmm.em.rows import Rows
from pyro_ugmm.em.worst_rows import worst_rows

from .cases import STRUCTURE_NAMES, clusters, initialized, parameters

structures = pytest.mark.parametrize("structure", STRUCTURE_NAMES)


def noise(n_rows, n_features):
    return torch.randn(n_rows, n_features, dtype=torch.float64)


ROWS = {
    "one row": lambda: noise(1, 3),
    "all rows equal": lambda: torch.ones(40, 3).double(),
    "five rows, repeated": lambda: noise(5, 3).repeat(20, 1),
    "fewer rows than columns": lambda: noise(6, 9),
    "fewer rows than components": lambda: noise(3, 2),
    "a constant column": lambda: torch.cat([noise(90, 2), torch.full((90, 1), 7.3)], 1),
    "collinear columns": lambda: noise(90, 2) @ noise(2, 4),
    "columns at scales 1e-8 and 1e8": lambda: noise(90, 3) * torch.tensor([1e-8, 1, 1e8]),
    "an offset of 1e6": lambda: noise(300, 3) + 1e6,
    "one outlier": lambda: torch.cat([noise(90, 3), torch.full((1, 3), 1e4)]),
    "two points far apart": lambda: torch.tensor([[1e6], [-1e6]]).double().repeat(30, 1),
    "integers": lambda: torch.randint(0, 3, (200, 4)).double(),
}


def is_finite(mixture):
    return all(tensor.isfinite().all() for tensor in parameters(mixture))


@structures
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("n_components", [4, 12])
@pytest.mark.parametrize("rows", ROWS)
def test_ends_with_a_finite_mixture(rows, n_components, dtype, structure):
    x = ROWS[rows]().to(dtype)
    result = EMFitter(max_iter=30, progress=False).fit(
        x, initialized(x, n_components, structure, seed=0)
    )
    assert is_finite(result.mixture) and result.history.isfinite().all()
    assert torch.isfinite(torch.tensor(result.log_likelihood))
    log_prob = result.mixture.log_prob(x)
    torch.testing.assert_close(log_prob.mean().item(), result.log_likelihood, rtol=1e-4, atol=1e-4)
    STRUCTURES[structure](*parameters(result.mixture)[2:], validate_args=True)


@structures
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_two_hundred_components_in_six_dimensions(dtype, structure):
    x = noise(1500, 6).to(dtype)
    start = initialized(x, 200, structure, seed=0)
    result = EMFitter(max_iter=15, progress=False).fit(x, start)
    assert is_finite(result.mixture)
    assert result.history[-1] > result.history[0]


@structures
def test_regularization_zero_survives_collapse(structure):
    x = torch.cat([noise(50, 2), torch.zeros(30, 2)])
    start = initialized(x, 3, structure, seed=0, reg_covar=0)
    result = EMFitter(max_iter=50, reg_covar=0, progress=False).fit(x, start)
    assert is_finite(result.mixture)


def test_a_collapsed_component_is_kept_and_reported():
    x = torch.cat([clusters(200, n_clusters=1), torch.full((20, 3), 30.0)])
    labels = torch.cat([torch.zeros(200), torch.ones(20)]).long()
    result = EMFitter(progress=False).fit(x, initialize(x, 2, labels=labels))
    (finding,) = result.findings
    assert (finding.component, finding.kind) == (1, "collapsed")
    assert "reg_covar" in result.report and "component 1" in result.report
    assert "fewer components" in result.report  # the remedy
    torch.testing.assert_close(result.mixture.means[1], torch.full((3,), 30.0).double())
    assert result.mixture.weights[1].item() == pytest.approx(20 / 220)


@structures
def test_an_empty_component_is_revived(structure):
    x = clusters(300, n_clusters=3)
    start = initialized(x, 2, structure, seed=0)
    values = start.covariance.tensors().values()
    if not start.covariance.is_shared:
        values = [torch.cat([value, value[:1]]) for value in values]
    far = torch.full((1, 3), 1e5, dtype=x.dtype)  # from all rows
    empty = GaussianMixture(
        torch.tensor([0.5, 0.5, 0.0]).double(),
        torch.cat([start.means, far]),
        STRUCTURES[structure](*values),
    )
    result = EMFitter(max_iter=300, progress=False).fit(x, empty)
    (event,) = result.events
    assert (event.component, event.kind, event.iteration) == (2, "revived", 1)
    assert "component 2 revived" in result.report
    assert result.mixture.weights[2] > 0.01
    two = EMFitter(max_iter=300, progress=False).fit(x, start)
    assert result.log_likelihood > two.log_likelihood


def test_the_worst_rows_are_distinct_and_weigh_something():
    x = torch.cat([noise(50, 2), torch.tensor([[9.0, 9], [9, 9], [-30, 0], [8, 8]]).double()])
    weight = torch.ones(54).double()
    weight[52] = 0
    mixture = initialize(x[:50], 1)
    blocks = list(zip(x.split(20), weight.split(20), strict=True))
    (found,) = worst_rows(Rows(blocks, x), [mixture], [2])
    assert sorted(found[:, 0].tolist()) == [8.0, 9.0]
    with_hole = torch.cat([x, torch.tensor([[torch.nan, 99.0]]).double()])
    mixture = initialize(x[:50], 1, missing="marginalize")
    ((found,),) = worst_rows(Rows(with_hole, x, missing="marginalize"), [mixture], [1])
    torch.testing.assert_close(found, torch.stack([mixture.mean[0], found.new_tensor(99.0)]))


def test_a_failed_factorization_touches_no_other_component():
    """In float32, a component of two rows far from the origin cannot be factored as it is."""
    good = torch.eye(3) + 0.1
    bad = torch.ones(3, 3)
    bad[0, 1] = bad[1, 0] = 1.001
    matrices, factors, raised = factorize(torch.stack([good, bad, good]))
    assert raised.tolist() == [False, True, False]
    expected = torch.linalg.cholesky(good)
    for k in (0, 2):
        assert torch.equal(matrices[k], good) and torch.equal(factors[k], expected)
    torch.testing.assert_close(factors[1] @ factors[1].T, matrices[1])
    assert (matrices[1] - bad).abs().max() < 0.05


def test_a_start_that_is_far_too_narrow_and_far_away():
    x = clusters(50).float()
    tiny = FullCovariance(1e-30 * torch.eye(3).expand(2, 3, 3))
    start = GaussianMixture(torch.tensor([0.5, 0.5]), torch.full((2, 3), 1e10), tiny)
    result = EMFitter(progress=False).fit(x, start)
    assert result.converged and result.log_likelihood > -10


def test_beyond_the_numbers_range_the_last_finite_mixture_is_kept(monkeypatch):
    from pyro_ugmm.em import algorithm

    x = clusters(50).float()
    start = initialize(x, 2, seed=0)
    steps = []

    def overflowing(*args):
        mixture, raised = maximize(*args)
        steps.append(1)
        far = 1e38 * torch.tensor([1.0, -1.0, 1.0])
        means = mixture.means + far if len(steps) == 3 else mixture.means
        matrices = 1e-30 * (torch.eye(3) + 1).expand(1, 2, 3, 3)
        narrow = FullCovariance(matrices) if len(steps) == 3 else mixture.covariance
        return GaussianMixture(mixture.weights, means, narrow, validate_args=False), raised

    maximize = algorithm.maximize
    monkeypatch.setattr(algorithm, "maximize", overflowing)
    for max_iter in (3, 9):  # as it ends, and before
        steps.clear()
        result = EMFitter(progress=False, tol=0, max_iter=max_iter, engine="torch").fit(x, start)
        assert not result.converged and "standardize" in result.reason
        assert result.log_likelihood == pytest.approx(result.history[2].item())
        assert is_finite(result.mixture)


@structures
@pytest.mark.parametrize("n_components", [3, 12])
def test_narrow_clusters_far_from_the_center_in_float32(structure, n_components):
    """The first step evaluates wide components in the natural form, whose moments then cancel."""
    centers = torch.tensor([-100.0, 0, 100])[torch.arange(n_components) % 3].unsqueeze(1)
    x = centers[:3].repeat(300, 2) + 0.01 * noise(900, 2).float()
    matrices = 25 * torch.eye(2).expand(n_components, 2, 2)
    make = STRUCTURES[structure]
    wide = {
        "full": [matrices],
        "tied": [matrices[0]],
        "diagonal": [matrices[:, 0] + 25],
        "low_rank": [matrices[:, :, :1] / 5, matrices[:, 0] + 1],
    }
    values = wide.get(structure, [matrices[:, 0, 0]])
    weights = torch.full((n_components,), 1 / n_components)
    start = GaussianMixture(weights, centers.expand(-1, 2).contiguous(), make(*values))
    fitter = EMFitter(progress=False, reg_covar=0)
    result, exact = fitter.fit(x, start), fitter.fit(x.double(), start.to(torch.float64))
    assert result.log_likelihood == pytest.approx(exact.log_likelihood, abs=0.01)
    assert not result.findings


def test_a_collapsed_shared_covariance_concerns_all_components():
    x = clusters(100)
    x[:, 2] = x[:, 0]
    result = EMFitter(progress=False, reg_covar=1e-9).fit(x, initialize(x, 3, "tied", seed=0))
    (finding,) = result.findings
    assert (finding.component, finding.kind) == (None, "collapsed")
    assert "all components collapsed: most of the smallest variance" in result.report
    singular = EMFitter(progress=False, reg_covar=0).fit(x, initialize(x, 3, "tied", seed=0))
    assert {f.component for f in singular.findings} == {None}


BEYOND = {
    "the largest number": lambda limits: -limits.max,
    "one row of a million": lambda limits: -limits.max / 1e6,
    "minus infinity": lambda limits: -torch.inf,
    "infinity": lambda limits: torch.inf,
    "not a number": lambda limits: torch.nan,
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("step", [0, 1, 3])
@pytest.mark.parametrize("max_iter", [3, 9])
@pytest.mark.parametrize("beyond", BEYOND)
def test_whatever_a_processor_makes_of_what_is_beyond_its_range(
    beyond, max_iter, step, dtype, monkeypatch
):
    """Which of these numbers comes depends on the order in which it adds."""
    x = clusters(50, dtype=dtype)
    start = initialize(x, 2, n_init=2, seed=0)
    value, steps = BEYOND[beyond](torch.finfo(dtype)), []
    total = BlockSum.value

    def overflowing(self):
        found = total(self)
        if found.dim():
            steps.append(1)
            if len(steps) == step + 1:
                found[0] = value
        return found

    monkeypatch.setattr(BlockSum, "value", overflowing)
    result = EMFitter(progress=False, tol=0, max_iter=max_iter, engine="torch").fit(x, start)
    alone = EMFitter(progress=False, tol=0, max_iter=max_iter).fit(
        x, initialize(x, 2, n_init=2, seed=0)
    )
    assert result.history.isfinite().all() and is_finite(result.mixture)
    assert not result.restarts.isnan().any()
    assert not result.converged
    if step:  # of the first restart, the last mixture in range is kept
        assert result.restarts[0] <= alone.restarts[0] + 1e-5
        assert result.restarts[1].item() == pytest.approx(alone.restarts[1].item(), rel=1e-5)
