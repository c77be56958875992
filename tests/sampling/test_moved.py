"""A guide judged by where the posterior is, against closed forms."""

import math

import pytest
import torch

from pyro_ugmm.diagnostics import to_inference_data
from pyro_ugmm.guides import full_rank, mean_field
from pyro_ugmm.models import BayesianGaussianMixture, Priors
from pyro_ugmm.sampling import Change, sample_posterior
from pyro_ugmm.sampling.moved import changes

from .lines import X, Y, exact_regression, guide_about_the_posterior, regression

QUIET = {"progress": False, "seed": 0}


@pytest.mark.parametrize(("shift", "width"), [(0.0, 1.0), (3.0, 0.25), (-1.0, 3.0)])
def test_how_far_a_line_moved(shift, width):
    guide = guide_about_the_posterior(shift, width)
    sample = sample_posterior(regression, X, Y, start=guide, num_particles=2048, **QUIET)
    moved = sample.moved
    assert moved.n_temperatures == len(sample.rungs)
    assert [*moved.quantities] == ["log_prior", "log_likelihood", "rows"]
    assert moved.quantities["rows"].shift.shape == (30,)
    for change in moved.sites.values():
        assert change.shift.shape == change.width.shape == ()
        assert float(change.shift) == pytest.approx(-shift, abs=0.4)  # five deviations over seeds
        assert float(change.width) == pytest.approx(width, rel=0.15)
    assert moved.sentence in sample.reason


def test_what_is_free_of_labels():
    """The log likelihood is quadratic in a line: exact draws know its mean and deviation."""
    mean, covariance, _ = exact_regression()
    exact = torch.distributions.MultivariateNormal(mean, covariance).sample((20_000,))
    guide = guide_about_the_posterior(2.0, 0.5)
    sample = sample_posterior(regression, X, Y, start=guide, num_particles=2048, **QUIET)
    noise = torch.randn(20_000, 2).double()
    narrow = mean + covariance.diagonal().sqrt() * (2.0 + 0.5 * noise)

    def log_likelihood(lines):
        at = lines[:, :1] * X + lines[:, 1:]
        return torch.distributions.Normal(at, 0.5).log_prob(Y.double()).sum(-1)

    before, after = log_likelihood(narrow), log_likelihood(exact)
    change = sample.moved.quantities["log_likelihood"]
    expected = float((after.mean() - before.mean()) / after.std())
    assert float(change.shift) == pytest.approx(expected, rel=0.15)
    edges = torch.tensor([0.05, 0.95]).double()
    ratio = float(before.quantile(edges).diff() / after.quantile(edges).diff())
    assert float(change.width) == pytest.approx(ratio, rel=0.2)


def test_the_worst_of_many():
    change = Change(torch.tensor([[0.1, -2.0], [1.0, math.nan]]), torch.tensor([0.2, 1.0, 3.0]))
    assert change.worst_shift == pytest.approx(-2.0)
    assert change.worst_width == pytest.approx(0.2)
    still = changes({"a": torch.zeros(9, 2)}, {"a": torch.zeros(9, 2)})["a"]
    assert still.shift.isnan().all() and math.isnan(still.worst_width)


def test_many_columns_are_each_compared():
    before, after = torch.randn(2, 200, 3, 1000, generator=torch.Generator().manual_seed(0))
    change = changes({"a": before}, {"a": 2 * after + 5})["a"]
    assert change.shift.shape == change.width.shape == (3, 1000)
    expected = (2 * after.mean(0) + 5 - before.mean(0)) / (2 * after.std(0))
    torch.testing.assert_close(change.shift.float(), expected, rtol=1e-3, atol=1e-3)
    assert float(change.width.log().mean()) == pytest.approx(math.log(0.5), abs=0.05)


def test_in_words_and_for_arviz():
    x = torch.randn(30, 1, generator=torch.Generator().manual_seed(0))
    model = BayesianGaussianMixture(1, 1, priors=Priors.from_data(x))
    sample = sample_posterior(model, x, start=full_rank(model), num_particles=64, **QUIET)
    lines = repr(sample.moved).splitlines()
    named = ["", "log_prior*", "log_likelihood*", "rows*", "means", "variances"]
    assert [line.split("  ")[0].rstrip() for line in lines[1:]] == named
    assert "free of labels" in lines[0]
    idata = to_inference_data(model, sample, x, num_samples=10, seed=0)
    assert idata.posterior.attrs["moved"] == sample.moved.sentence


def test_from_the_prior_nothing_is_judged():
    sample = sample_posterior(regression, X, Y, num_particles=16, **QUIET)
    assert sample.moved is None and "guide" not in sample.reason


def test_a_guide_of_another_model_is_refused():
    x = torch.randn(30, 1)
    model = BayesianGaussianMixture(1, 1, priors=Priors.from_data(x))
    with pytest.raises(ValueError, match="start: expected one of this model"):
        sample_posterior(regression, X, Y, start=mean_field(model), **QUIET)
    two = BayesianGaussianMixture(2, 1, priors=Priors.from_data(x))
    with pytest.raises(ValueError, match=r"start: .* does not draw the site 'weights'"):
        sample_posterior(two, x, start=mean_field(model), **QUIET)
