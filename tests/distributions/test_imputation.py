import pytest
import torch

from pyro_ugmm.distributions import FullCovariance, GaussianMixture, TiedCovariance, impute


def a_mixture(**kind):
    torch.manual_seed(0)
    factor = torch.randn(2, 3, 3, **kind)
    matrices = factor @ factor.mT + torch.eye(3, **kind)
    weights = torch.tensor([0.3, 0.7], **kind)
    return GaussianMixture(weights, 2 * torch.randn(2, 3, **kind), FullCovariance(matrices))


def rows_with_holes(mixture, n=40):
    x = mixture.sample((n,))
    holes = torch.rand(x.shape) < 0.4
    holes[0] = True  # nothing was observed of it
    holes[1] = False
    return x.masked_fill(holes, torch.nan)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_means_are_those_of_normal_conditionals_row_by_row(dtype):
    """The formula for a joint normal, component by component, in a plain loop."""
    mixture = a_mixture(dtype=dtype)
    x = rows_with_holes(mixture)
    found = impute(mixture, x)
    assert found.dtype == dtype and found.isfinite().all()
    assert torch.equal(found[~x.isnan()], x[~x.isnan()])
    for row, filled in zip(x, found, strict=True):
        a, b = row.isnan().nonzero()[:, 0], (~row.isnan()).nonzero()[:, 0]
        total, expected = 0.0, torch.zeros(len(a), dtype=torch.float64)
        for k in range(2):
            mean = mixture.means[k].double()
            matrix = mixture.covariance.values[k].double()
            deviation = row[b].double() - mean[b]
            inverse = torch.linalg.inv(matrix[b][:, b])
            evidence = mixture.weights[k].double() * torch.exp(
                -0.5 * deviation @ inverse @ deviation
            )
            evidence = evidence * torch.linalg.det(inverse).sqrt()
            evidence = evidence / (2 * torch.pi) ** (len(b) / 2)
            expected += evidence * (mean[a] + matrix[a][:, b] @ inverse @ deviation)
            total += evidence
        torch.testing.assert_close(filled[a].double(), expected / total, rtol=1e-4, atol=1e-4)


def test_draws_have_the_conditional_moments_and_repeat_by_seed():
    mixture = a_mixture(dtype=torch.float64)
    x = rows_with_holes(mixture, 6)
    draws = impute(mixture, x, num_samples=20_000, seed=0)
    assert torch.equal(draws[:, ~x.isnan()], x[~x.isnan()].expand(20_000, -1))
    spread = draws.std(0)
    error = (draws.mean(0) - impute(mixture, x)).abs()
    assert (error <= 5 * spread / 20_000**0.5 + 1e-12).all()
    torch.testing.assert_close(draws[:, 0].T.cov(), mixture.covariance_matrix, rtol=0.1, atol=0.2)
    assert torch.equal(draws[:5], impute(mixture, x, num_samples=20_000, seed=0)[:5])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((3, torch.zeros(2, 3)), "mixture: expected a GaussianMixture or UGMMMixture, got int"),
        ((a_mixture(), torch.zeros(2, 4)), r"x: expected shape \(n, 3\), got \(2, 4\)"),
        ((a_mixture(), torch.full((2, 3), torch.inf)), "x: expected finite values, or NaN"),
        ((a_mixture(), torch.zeros(2, 3).double()), "x: expected torch.float32, as the mixture"),
        ((a_mixture(), torch.zeros(2, 3), 0), "num_samples: expected a positive integer"),
        (
            (a_mixture().expand((2,)), torch.zeros(2, 3), 4),
            "num_samples: expected None, as each of 2",
        ),
        ((a_mixture().expand((0,)), torch.zeros(2, 3)), "mixture: expected at least one mixture"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        impute(*arguments)


def test_other_structures():
    mixture = GaussianMixture(
        torch.tensor([0.5, 0.5]),
        torch.tensor([[0.0, 0.0], [4.0, 4.0]]),
        TiedCovariance(torch.eye(2)),
    )
    x = torch.tensor([[4.0, torch.nan], [torch.nan, 0.0]])
    torch.testing.assert_close(
        impute(mixture, x), torch.tensor([[4.0, 4.0], [0.0, 0.0]]), rtol=0, atol=2e-3
    )


def test_each_mixture_of_a_batch_fills_in_once():
    """As mixtures of posterior draws do, for proper multiple imputations."""
    one = a_mixture()
    many = GaussianMixture.stack([one] * 600).reindex(lambda t: t.unsqueeze(1))
    x = rows_with_holes(one, 12)
    found = impute(many, x, seed=0)
    assert found.shape == (600, 12, 3) and found.isfinite().all()
    seen = ~x.isnan()
    assert torch.equal(found[:, seen], x[seen].expand(600, -1))
    error = found.std(0)[~seen] / 600**0.5
    deviation = found.mean(0)[~seen] - impute(one, x)[~seen]
    assert (deviation.abs() < 6 * error).all()
    torch.testing.assert_close(found, impute(many, x, seed=0))


def test_a_frame_is_filled_in_by_each_mixture_of_a_batch():
    pandas = pytest.importorskip("pandas")
    means = torch.tensor([[[0.0, 0.0]], [[50.0, 50.0]]]).double()
    two = GaussianMixture(torch.ones(2, 1).double(), means, TiedCovariance(torch.eye(2).double()))
    frame = pandas.DataFrame({"a": [1.0, None], "b": [None, 2.0]}, index=["r", "s"])
    low, high = impute(two, frame, seed=0)
    assert [*low.columns] == ["a", "b"] and [*high.index] == ["r", "s"]
    assert low.loc["r", "a"] == high.loc["r", "a"] == 1
    assert abs(low.loc["s", "a"]) < 10 < 40 < high.loc["s", "a"]
