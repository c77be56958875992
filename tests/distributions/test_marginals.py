"""Marginal and conditional mixtures, and rows of which something is missing."""

import numpy as np
import pytest
import torch
from scipy import stats

from tests.distributions.mixtures import (
    by_count,
    by_structure,
    close,
    parameters,
    random_mixture,
    rebuilt,
    rows,
)

GRID = np.linspace(-20, 20, 401)  # sums over it are exact: Gaussians decay and are smooth
STEP = GRID[1] - GRID[0]


def integrated(truth, x, dims):
    """Integrates the density of rows over some dimensions by brute force."""
    x = x.numpy()
    points = np.repeat(x[:, None], len(GRID) ** len(dims), axis=1)
    points[..., dims] = np.stack(np.meshgrid(*[GRID] * len(dims)), -1).reshape(-1, len(dims))
    return np.exp(truth.log_prob(points)).sum(-1) * STEP ** len(dims)


# -- marginal and conditional ---------------------------------------------------------------


@by_structure
@pytest.mark.parametrize("dims", [[1], [2, 0], [1, 2, 0]])
def test_marginal_integrates_the_rest_out(structure, dims):
    mixture, truth = random_mixture(structure, n_features=3)
    x = rows(4, 3)
    rest = [d for d in range(3) if d not in dims]
    expected = integrated(truth, x, rest) if rest else np.exp(truth.log_prob(x))
    close(mixture.marginal(dims).log_prob(x[:, dims]).exp(), expected, 1e-9)


@by_structure
@pytest.mark.parametrize("given", [[1], [2, 0]])
def test_condition_is_the_ratio_of_densities(structure, given):
    mixture, truth = random_mixture(structure, n_features=3)
    x = rows(3, 3)
    rest = [d for d in range(3) if d not in given]
    expected = np.exp(truth.log_prob(x)) / integrated(truth, x, rest)
    conditional = mixture.condition({d: x[:, d] for d in given})
    assert conditional.batch_shape == (3,)
    close(conditional.log_prob(x[:, rest]).exp(), expected, 1e-9)
    for row, density in zip(x, expected, strict=True):
        one = mixture.condition({d: row[d] for d in given})
        assert one.batch_shape == () and one.covariance.name == structure
        close(one.log_prob(row[rest]).exp(), density, 1e-9)


def test_numbers_keep_their_digits():
    mixture, _ = random_mixture()
    number, tensor = 0.1, torch.tensor(0.1, dtype=torch.float64)
    for values in ({0: number}, {0: np.float64(number)}, {0: [number]}):
        assert mixture.condition(values).mean.item() == mixture.condition({0: tensor}).mean.item()


@by_structure
def test_one_component_gives_scipys_regression(structure):
    mixture, truth = random_mixture(structure, 1, 4)
    x = rows(4)
    (mean,), (matrix,) = truth.means, truth.matrices
    b, a = np.array([3, 1]), np.array([0, 2])
    slope = np.linalg.solve(matrix[np.ix_(b, b)], matrix[np.ix_(b, a)]).T
    conditional = mixture.condition({3: x[3], 1: x[1]})
    expected_mean = mean[a] + slope @ (x.numpy()[b] - mean[b])
    expected_covariance = matrix[np.ix_(a, a)] - slope @ matrix[np.ix_(b, a)]
    close(conditional.mean, expected_mean)
    close(conditional.covariance_matrix, expected_covariance)
    expected = stats.multivariate_normal(expected_mean, expected_covariance).logpdf(x[a])
    close(conditional.log_prob(x[a]), expected)


@by_structure
@pytest.mark.parametrize("batches", [((), (), ()), ((2,), (3, 1), (2,)), ((), (2,), ())])
def test_marginal_and_condition_make_up_the_whole(structure, batches, device):
    mixture, truth = random_mixture(structure, 3, 4, batches, device=device)
    mixture = mixture.expand((3, 2))
    x = rows(5, 1, 2, 4, device=device)
    given, kept = [2, 0], [1, 3]
    conditional = mixture.condition({d: x[..., d] for d in given})
    assert conditional.batch_shape == (5, 3, 2)
    whole = mixture.marginal(given).log_prob(x[..., given]) + conditional.log_prob(x[..., kept])
    close(whole, np.broadcast_to(truth.log_prob(x.cpu()), (5, 3, 2)))


def test_values_of_different_shapes_broadcast():
    mixture, _ = random_mixture(n_features=3)
    conditional = mixture.condition({0: torch.zeros(4, 1), 2: torch.ones(5)})
    assert conditional.batch_shape == (4, 5) and conditional.n_features == 1
    close(conditional.mean[2, 3], mixture.condition({0: 0, 2: 1}).mean.numpy())


def test_condition_far_away_keeps_weights():
    """Where the evidence of all components underflows, one still explains it best."""
    mixture, truth = random_mixture()
    conditional = mixture.condition({0: 1e5})
    close(conditional.weights, truth.marginal([0]).responsibilities(np.array([1e5])))


@by_structure
def test_gradients_of_the_conditional(structure):
    mixture, _ = random_mixture(structure, n_features=3)
    inputs = [t.clone().requires_grad_() for t in (*parameters(mixture), rows(2))]

    def log_prob(*tensors):
        conditional = rebuilt(structure, *tensors[:-1], validate_args=False).condition(
            {1: tensors[-1]}
        )
        return conditional.log_prob(rows(2, 2)), conditional.mean, conditional.marginal([1]).mean

    assert torch.autograd.gradcheck(log_prob, inputs)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: m.marginal([]), r"dims: expected distinct dimensions between 0 and 2, got \[\]"),
        (lambda m: m.marginal([0, 3]), r"dims: expected distinct.*\[0, 3\]"),
        (lambda m: m.marginal([-1]), r"dims: expected distinct.*\[-1\]"),
        (lambda m: m.marginal([1, 1]), r"dims: expected distinct.*\[1, 1\]"),
        (lambda m: m.marginal([0.0]), r"dims: expected distinct.*\[0\.0\]"),
        (lambda m: m.condition({}), r"values: expected distinct.*\[\]"),
        (lambda m: m.condition({3: 0.0}), r"values: expected distinct.*\[3\]"),
        (lambda m: m.condition({0: 0.0, 1: 0, 2: 0}), "values: expected fewer than all 3"),
        (lambda m: m.condition({0: torch.nan}), "values: expected finite values, got nan"),
        (lambda m: m.condition({0: torch.tensor([0, torch.inf])}), "values: .*inf at index"),
        (
            lambda m: m.expand((2,)).condition({0: torch.zeros(3)}),
            "values, the batch: expected batch shapes that broadcast",
        ),
        (
            lambda m: m.condition({0: torch.zeros(2), 1: torch.zeros(3)}),
            r"values.*: expected.* shapes that broadcast",
        ),
    ],
)
def test_bad_dimensions_and_values(call, message):
    mixture, _ = random_mixture(n_features=3)
    with pytest.raises(ValueError, match=message):
        call(mixture)


# -- missing entries ------------------------------------------------------------------------


def partial_rows(n, n_features, **options):
    """Rows that miss any of their entries, but not all; a third are complete."""
    x = rows(n, n_features, **options)
    missing = torch.rand(n, n_features, generator=torch.Generator().manual_seed(0)) < 0.5
    missing[torch.arange(n), torch.arange(n) % n_features] = False
    missing[::3] = False
    return x.masked_fill(missing.to(x.device), torch.nan)


@by_structure
@by_count
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 3e-5)])
def test_missing_entries_are_integrated_out(structure, n_components, dtype, tolerance, device):
    mixture, truth = random_mixture(
        structure, n_components, 4, dtype=dtype, device=device, missing="marginalize"
    )
    x = partial_rows(60, 4, dtype=dtype, device=device)
    y = x.cpu().double().numpy()
    joint = truth.of_observed("log_joint", y)
    for value in (x, x.clone().requires_grad_()):
        close(mixture.log_prob(value), truth.of_observed("log_prob", y), tolerance)
        close(mixture.responsibilities(value), truth.of_observed("responsibilities", y), tolerance)
        assert (mixture.predict(value).cpu().numpy() == joint.argmax(-1)).all()


@by_structure
def test_missing_entries_under_a_batch(structure):
    mixture, truth = random_mixture(structure, 3, 3, ((4,), (4,), (4,)), missing="marginalize")
    x = partial_rows(10, 3)
    expected = np.stack([truth[i].of_observed("log_prob", x.numpy()) for i in range(4)], -1)
    close(mixture.log_prob(x[:, None]), expected)


@by_structure
def test_rows_by_brute_force(structure):
    mixture, truth = random_mixture(structure, missing="marginalize")
    x = rows(3, 2)
    expected = integrated(truth, x, [1])
    x[:, 1] = torch.nan
    close(mixture.log_prob(x).exp(), expected, 1e-9)


@by_structure
@by_count
def test_complete_rows_stay_as_they_are(structure, n_components):
    mixture, _ = random_mixture(structure, n_components, 4)
    marginalizes, _ = random_mixture(structure, n_components, 4, missing="marginalize")
    x = partial_rows(60, 4)
    complete = ~x.isnan().any(-1)
    torch.testing.assert_close(
        marginalizes.log_prob(x)[complete], mixture.log_prob(x[complete]), rtol=1e-13, atol=1e-13
    )


def test_many_rows_and_patterns():
    """More than are completed at once."""
    mixture, _ = random_mixture("full", 12, 8, missing="marginalize")
    x = partial_rows(20_000, 8)
    marginal = mixture.marginal([1, 2, 5])
    x[7] = rows(8).index_fill(0, torch.tensor([0, 3, 4, 6, 7]), torch.nan)
    close(mixture.log_prob(x)[7], marginal.log_prob(x[7, [1, 2, 5]]).numpy())
    close(mixture.log_prob(x)[::999], mixture.log_prob(x[::999]).numpy())


@by_structure
@pytest.mark.parametrize("batches", [((), (), ()), ((2,), (2,), (2,))])
def test_gradcheck_with_missing_entries(structure, batches):
    mixture, _ = random_mixture(structure, 3, 3, batches)
    x = partial_rows(3, 3)[:, None] if batches[0] else partial_rows(3, 3)
    inputs = [t.clone().requires_grad_() for t in (*parameters(mixture), x)]

    def log_prob(*tensors):
        options = {"missing": "marginalize", "validate_args": False}
        return rebuilt(structure, *tensors[:-1], **options).log_prob(tensors[-1])

    assert torch.autograd.gradcheck(log_prob, inputs)


def test_vmap_over_rows_with_missing_entries():
    mixture, _ = random_mixture(missing="marginalize", validate_args=False)
    x = partial_rows(9, 2)
    close(torch.func.vmap(mixture.log_prob)(x), mixture.log_prob(x).numpy())


def test_marginals_and_copies_keep_the_option():
    mixture, truth = random_mixture(n_features=3, missing="marginalize")
    x = torch.tensor([torch.nan, 1.0], dtype=torch.float64)
    expected = truth.marginal([2]).log_prob(np.array([1.0]))
    for other in (mixture.marginal([0, 2]), mixture.expand((2,)).marginal([0, 2])):
        close(other.log_prob(x), np.broadcast_to(expected, other.batch_shape))
    assert mixture.condition({0: 0.0}).missing == "marginalize"
