"""Precision of each structure, what it keeps of its values, and which values it refuses."""

import pickle
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy

import numpy as np
import pytest
import torch

from pyro_ugmm.distributions import (
    DiagonalCovariance,
    FullCovariance,
    SphericalCovariance,
    TiedCovariance,
)
from pyro_ugmm.distributions.factorization import factorize
from tests.distributions.mixtures import (
    STRUCTURES,
    by_count,
    by_structure,
    close,
    known,
    parameters,
    random_matrices,
    random_mixture,
    rebuilt,
    rows,
)

# dtype, offset of all means, standard deviations, that of a component 1000 of them away
NARROW = {
    "narrow": (torch.float64, 0.0, 1.0, 1e-6, 1e-9),
    "far": (torch.float64, 1e8, 1.0, 1.0, 1e-9),
    "far and narrow in float32": (torch.float32, 1e6, 100.0, 10.0, 3e-3),
    "narrow in float32": (torch.float32, 0.0, 1.0, 1e-2, 3e-3),
}


@by_structure
@by_count
@pytest.mark.parametrize("case", NARROW)
def test_narrow_components_far_from_the_center(structure, n_components, case, device):
    """Products of features would lose what deviations keep."""
    dtype, offset, scale, narrow, tolerance = NARROW[case]
    rng = np.random.default_rng(0)
    means = offset + scale * rng.normal(size=(n_components, 3))
    means[0] += 1e3 * scale
    matrices = random_matrices(rng, n_components, 3) * scale**2
    matrices[0] *= (narrow / scale) ** 2
    weights = np.full(n_components, 1 / n_components)
    mixture, truth = known(weights, means, matrices, structure, dtype, device)
    x = mixture.sample((100,))
    expected = truth.log_prob(x.cpu())
    for value in (x, x.clone().requires_grad_()):
        close(mixture.log_prob(value), expected, tolerance)


@by_structure
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-8), (torch.float32, 5e-3)])
def test_no_width_loses_digits(structure, dtype, tolerance):
    """Narrower and narrower components lie on both sides of any choice between two ways."""
    rng = np.random.default_rng(0)
    weights, means = np.full(12, 1 / 12), rng.normal(size=(12, 2))
    matrices = random_matrices(rng, 12, 2)
    for width in 10 ** np.arange(0, -5, -0.25):
        mixture, truth = known(weights, means, matrices * width**2, structure, dtype)
        x = mixture.sample((20,))
        close(mixture.log_prob(x), truth.log_prob(x), tolerance)


@pytest.mark.parametrize("structure", ["full", "tied"])
def test_nearly_singular_matrices(structure):
    rng = np.random.default_rng(0)
    means, weights = rng.normal(size=(12, 3)), np.full(12, 1 / 12)
    ridges = rng.normal(size=(12, 3, 1))
    matrices = ridges * ridges.swapaxes(1, 2) + 1e-8 * np.eye(3)
    mixture, truth = known(weights, means, matrices, structure)
    x = mixture.sample((50,))
    close(mixture.log_prob(x), truth.log_prob(x), 1e-6)


@by_structure
@by_count
@pytest.mark.parametrize("changed", [0, 1, 2], ids=["weights", "means", "covariance"])
def test_changes_in_place_are_noticed(structure, n_components, changed):
    """What evaluation and sampling keep of the parameters is made anew."""
    mixture, _ = random_mixture(structure, n_components)
    other, _ = random_mixture(structure, n_components, seed=1)
    x = rows(20, 2)

    def results(mixture):
        torch.manual_seed(0)
        direct = mixture.log_prob(x.clone().requires_grad_()).detach()
        return mixture.log_prob(x), direct, mixture.sample((50,))

    before = results(mixture)
    tensors = parameters(mixture)
    tensors[changed].copy_(parameters(other)[changed])
    after = results(mixture)
    fresh = results(rebuilt(structure, *(t.clone() for t in tensors)))
    for old, got, expected in zip(before, after, fresh, strict=True):
        assert torch.equal(got, expected)
        assert changed == 0 or not torch.equal(got, old)


def _pickled(mixture):
    return pickle.loads(pickle.dumps(mixture))


@pytest.mark.parametrize("copy", [deepcopy, _pickled])
@pytest.mark.parametrize("structure", ["full", "tied"])
def test_copies_notice_changes(structure, copy):
    """A copy's tensors count their changes from anew."""
    mixture, _ = random_mixture(structure)
    values, x = mixture.covariance.values, rows(5, 2)
    for _ in range(2):
        values.mul_(1.5)
    before = mixture.log_prob(x)
    other = copy(mixture)
    other.covariance.values.mul_(2)
    fresh = rebuilt(structure, *parameters(other))
    assert torch.equal(other.log_prob(x), fresh.log_prob(x))
    assert torch.equal(mixture.log_prob(x), before)


@by_structure
@by_count
def test_inference_mode_leaves_nothing_behind(structure, n_components):
    """Tensors made in inference mode can neither be changed nor differentiated outside it."""
    mixture, truth = random_mixture(structure, n_components)
    x = rows(5, 2)
    with torch.inference_mode():
        close(mixture.log_prob(x), truth.log_prob(x))
        mixture.sample((2,))
    close(mixture.log_prob(x), truth.log_prob(x))
    value = x.clone().requires_grad_()
    mixture.log_prob(value).sum().backward()
    assert value.grad.isfinite().all()


@by_structure
def test_threads_do_not_disturb_each_other(structure):
    mixture, _ = random_mixture(structure, 12, 8)
    values = [rows(50_000, 8) + i for i in range(2)]
    expected = [mixture.log_prob(x) for x in values]
    with ThreadPoolExecutor(2) as pool:
        for _ in range(5):
            for got, alone in zip(pool.map(mixture.log_prob, values), expected, strict=True):
                assert torch.equal(got, alone)


@by_structure
def test_repr_and_shapes(structure):
    make, _, values_of = STRUCTURES[structure]
    matrices = random_matrices(np.random.default_rng(0), 4, 3, 2)
    values = [torch.tensor(value) for value in values_of(matrices)]
    covariance, names = make(*values), make.arguments
    shown = [f"{name}: {tuple(v.shape)}" for name, v in zip(names, values, strict=True)]
    assert repr(covariance) == f"{make.__name__}({', '.join(shown)})"
    assert covariance.batch_shape == (4,)
    assert covariance.n_components == (None if structure == "tied" else 3)
    assert covariance.n_features == (None if structure == "spherical" else 2)


EYE = torch.eye(2)
SINGULAR, INDEFINITE = torch.ones(2, 2), torch.tensor([[1.0, 2.0], [2.0, 1.0]])
LOPSIDED, UNKNOWN = torch.tensor([[1.0, 0.1], [0.0, 1.0]]), EYE * torch.nan


@pytest.mark.parametrize(
    ("make", "values", "message"),
    [
        (FullCovariance, [[1.0]], "matrices: expected a torch tensor, got list"),
        (FullCovariance, EYE[None].long(), "matrices: expected floating-point"),
        (FullCovariance, EYE, r"matrices: expected square matrices for each component.*\(2, 2\)"),
        (FullCovariance, torch.ones(3, 2, 1), r"matrices: expected square matrices.*\(3, 2, 1\)"),
        (FullCovariance, torch.ones(0, 2, 2), r"matrices: expected square matrices.*\(0, 2, 2\)"),
        (FullCovariance, torch.stack([EYE, INDEFINITE]), r"matrices: .* is -1 .*index \(1,\)"),
        (FullCovariance, torch.stack([EYE, SINGULAR]), r"matrices: .*definite.* at index \(1,\)"),
        (FullCovariance, torch.stack([EYE, LOPSIDED]), r"matrices: .*symmetric.*0\.1.*\(1, 0, 1\)"),
        (FullCovariance, torch.stack([EYE, UNKNOWN]), r"matrices: .*finite.*nan.*\(1, 0, 0\)"),
        (TiedCovariance, torch.ones(2), r"matrix: expected one square matrix.*\(2,\)"),
        (TiedCovariance, INDEFINITE, "matrix: expected positive definite.*eigenvalue is -1"),
        (TiedCovariance, LOPSIDED, r"matrix: expected symmetric matrices, got 0\.1"),
        (DiagonalCovariance, torch.ones(2), r"variances: .*component and feature.*\(2,\)"),
        (DiagonalCovariance, LOPSIDED, r"variances: expected finite positive.*0\.0 .*\(1, 0\)"),
        (DiagonalCovariance, -EYE.exp(), r"variances: expected finite positive.*-2\.7.*\(0, 0\)"),
        (SphericalCovariance, torch.tensor(1.0), r"variances: .*each component.*got \(\)"),
        (SphericalCovariance, torch.tensor([1.0, torch.inf]), r"variances: .*got inf.*\(1,\)"),
        (SphericalCovariance, torch.tensor([1.0, -2.0]), r"variances: .*got -2\.0.*\(1,\)"),
    ],
)
def test_bad_values(make, values, message):
    with pytest.raises(ValueError, match=message):
        make(values)


def test_matrices_that_change_to_indefinite_ones():
    mixture, _ = random_mixture()
    mixture.covariance.values[2].copy_(INDEFINITE)
    for call in (lambda: mixture.log_prob(rows(5, 2)), mixture.sample):
        with pytest.raises(ValueError, match=r"matrices: expected positive definite.*\(2,\)"):
            call()


def test_a_conditional_of_nearly_collinear_dimensions_is_positive_definite():
    z = torch.randn(40, 2, generator=torch.Generator().manual_seed(0)) @ torch.randn(
        2, 8, generator=torch.Generator().manual_seed(1)
    )
    covariance = FullCovariance(torch.cov(z.T)[None], validate_args=False).regularized(1e-7)[0]
    given, kept = torch.tensor([6, 1, 3]), torch.tensor([0, 2, 4, 5, 7])
    conditional, regression = covariance.conditional(kept, given)
    assert (conditional.factor.diagonal(dim1=-2, dim2=-1) > 0).all()
    torch.testing.assert_close(
        regression @ z[:, given].T, z[:, kept].T.unsqueeze(0), rtol=0.05, atol=0.05
    )


@pytest.mark.parametrize(
    "matrix", [[[1.0, 3.0], [3.0, -9.0]], [[0.0, 1e30], [1e30, 0.0]], [[-1.0, 0.0], [0.0, 1.0]]]
)
def test_what_cannot_be_factored_keeps_its_diagonal(matrix):
    matrices, factors, raised = factorize(torch.tensor([matrix, [[1.0, 0.5], [0.5, 1.0]]]))
    assert raised.tolist() == [True, False]
    assert (factors.diagonal(dim1=-2, dim2=-1) > 0).all()
    torch.testing.assert_close(factors @ factors.mT, matrices)
    assert matrices[0, 0, 1] == 0
