"""Covariances of low rank, against torch's own and against the same matrices in full."""

import pytest
import torch
from torch.distributions import LowRankMultivariateNormal

from pyro_ugmm.distributions import FullCovariance, GaussianMixture, LowRankCovariance

F64 = torch.float64


def parts(*batch, n_features=5, rank=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    factor = torch.randn(*batch, n_features, rank, generator=generator, dtype=F64)
    return factor, torch.rand(*batch, n_features, generator=generator, dtype=F64) + 0.2


def mixtures(*batch, **options):
    """The same mixture of two, of low rank and in full."""
    covariance = LowRankCovariance(*parts(*batch, 2, **options))
    matrices = covariance.dense(2, covariance.n_features)
    means = torch.linspace(-1, 2, 2 * covariance.n_features, dtype=F64).reshape(2, -1)
    weights = torch.tensor([0.4, 0.6], dtype=F64)
    return [GaussianMixture(weights, means, c) for c in (covariance, FullCovariance(matrices))]


@pytest.mark.parametrize("rank", [1, 2, 5])
@pytest.mark.parametrize("batch", [(), (3, 1)])
def test_densities_are_those_of_the_matrices(rank, batch):
    low, full = mixtures(*batch, rank=rank)
    x = 3 * torch.randn(7, 5, dtype=F64)
    torch.testing.assert_close(low.log_prob(x), full.log_prob(x))
    torch.testing.assert_close(low.responsibilities(x), full.responsibilities(x))
    torch.testing.assert_close(low.covariance_matrix, full.covariance_matrix)


@pytest.mark.parametrize("needs_gradient", [False, True])
def test_many_features_need_no_matrix_of_them(needs_gradient):
    """A matrix would have twenty gigabytes."""
    n_features = 50_000
    (factor, variances), x = parts(1, n_features=n_features, rank=3), torch.randn(4, n_features)
    x = x.to(F64).requires_grad_(needs_gradient)
    mean = torch.zeros(1, n_features, dtype=F64)
    mixture = GaussianMixture(torch.ones(1, dtype=F64), mean, LowRankCovariance(factor, variances))
    theirs = LowRankMultivariateNormal(mean[0], factor[0], variances[0])
    torch.testing.assert_close(mixture.log_prob(x), theirs.log_prob(x), rtol=1e-10, atol=0)
    part = torch.arange(0, n_features, 7)
    torch.testing.assert_close(
        mixture.marginal(part.tolist()).log_prob(x[:, part]),
        LowRankMultivariateNormal(mean[0, part], factor[0, part], variances[0, part]).log_prob(
            x[:, part]
        ),
    )
    assert mixture.sample((2,)).shape == (2, n_features)


def test_factors_far_above_the_variances_lose_no_digits():
    """Squares would: what is not along the factor is a millionth of what is."""
    factor, variances = parts(2, rank=2)
    factor, variances = 1e3 * factor.float(), 1e-3 * variances.float()
    mean = torch.zeros(2, 5)
    mixture = GaussianMixture(torch.ones(2) / 2, mean, LowRankCovariance(factor, variances))
    x = mixture.sample((50,))
    torch.testing.assert_close(
        mixture.log_prob(x).double(), mixture.to(F64).log_prob(x.double()), rtol=1e-2, atol=0.1
    )


def test_a_root_of_the_covariance_makes_the_draws():
    covariance = LowRankCovariance(*parts(2))
    for k in range(2):
        index = torch.full((5,), k)
        root = covariance.color(torch.eye(5, dtype=F64), index).T
        torch.testing.assert_close(root @ root.T, covariance.dense(2, 5)[k])
        white = covariance.whiten(root.T.unsqueeze(1).expand(5, 2, 5))[:, k]
        torch.testing.assert_close(white @ white.T, torch.eye(5, dtype=F64))


@pytest.mark.parametrize("given", [{0: 1.0}, {0: 1.0, 3: -2.0}, {0: 0.5, 1: 0.0, 2: 2.0, 4: 1.0}])
def test_conditionals_and_marginals_are_of_low_rank(given):
    low, full = mixtures(rank=3)
    kept = [dim for dim in range(5) if dim not in given]
    x = torch.randn(6, len(kept), dtype=F64)
    for ours, theirs in (
        (low.condition(given), full.condition(given)),
        (low.marginal(kept), full.marginal(kept)),
    ):
        assert ours.covariance.name == "low_rank"
        factor = ours.covariance.tensors()["factor"]
        assert factor.shape[-1] == min(3, len(kept))
        torch.testing.assert_close(ours.log_prob(x), theirs.log_prob(x))


def test_parameters_are_counted_up_to_rotations():
    counts = [mixtures(rank=rank)[0].covariance.n_parameters(2, 5) for rank in range(1, 6)]
    assert counts == [20, 28, 30, 30, 30]  # no more than those of the matrices


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"factor": torch.ones(5, 2)}, r"factor: expected a matrix for each component.*\(5, 2\)"),
        ({"factor": torch.ones(2, 5, 6)}, "factor: expected a rank of at most 5.*got 6"),
        ({"factor": torch.ones(2, 5, 0)}, r"factor: expected a matrix .*\(2, 5, 0\)"),
        ({"factor": torch.full((2, 5, 1), torch.nan)}, "factor: expected finite values"),
        ({"variances": torch.ones(2, 4)}, r"variances: expected \(2, 5\) in the last .*\(2, 4\)"),
        ({"variances": torch.zeros(2, 5)}, "variances: expected finite positive values, got 0"),
        ({"variances": -torch.ones(2, 5)}, "variances: expected finite positive values, got -1"),
        ({"variances": torch.ones(2, 5).double()}, "variances: expected torch.float32"),
        ({"variances": torch.ones(3, 2, 5), "factor": torch.ones(2, 2, 5, 1)}, "broadcast"),
        ({"variances": [1.0]}, "variances: expected a torch tensor"),
    ],
)
def test_bad_arguments(change, message):
    with pytest.raises(ValueError, match=message):
        LowRankCovariance(
            **({"factor": torch.ones(2, 5, 2), "variances": torch.ones(2, 5)} | change)
        )
