"""Mixtures of many groups: the density by hand, what groups learn from each other, and files."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine

from pyro_ugmm.diagnostics import loo, relabel, to_inference_data
from pyro_ugmm.distributions import DiagonalCovariance, GaussianMixture
from pyro_ugmm.guides import mean_field
from pyro_ugmm.models import HierarchicalGaussianMixture, Priors
from pyro_ugmm.sampling import sample_posterior
from pyro_ugmm.saving import load_fitted, save_fitted
from pyro_ugmm.training import fit_svi
from tests.diagnostics.arviz_words import TOTAL

STRUCTURES = ("full", "tied", "diagonal", "spherical")


def model_of(covariance="diagonal", n_features=2, **options):
    priors = Priors(center=torch.full((n_features,), 0.5).double(), spread=1.5)
    return HierarchicalGaussianMixture(3, 2, n_features, covariance, priors, **options).double()


def rows_of(n_rows=12, n_features=2):
    return torch.randn(n_rows, n_features).double(), torch.arange(n_rows) % 3


def drawn(model, x, groups, count=4):
    traces = [poutine.trace(model).get_trace(x, groups) for _ in range(count)]
    draws = {
        name: torch.stack([trace.nodes[name]["value"] for trace in traces])
        for name in model.site_distributions()
    }
    return traces, draws


@pytest.mark.parametrize("covariance", STRUCTURES)
@pytest.mark.parametrize("n_features", [1, 2])
def test_rows_come_from_the_mixtures_of_their_groups(covariance, n_features):
    model, (x, groups) = model_of(covariance, n_features), rows_of(n_features=n_features)
    traces, draws = drawn(model, x, groups)
    found = model.log_likelihood(x, groups, draws=draws)
    assert found.shape == (4, 12)
    mixtures = model.mixture(draws)
    assert mixtures.batch_shape == (4, 3)
    for s, trace in enumerate(traces):
        trace.compute_log_prob()
        torch.testing.assert_close(found[s], trace.nodes["x"]["log_prob"])
        value = {name: draws[name][s] for name in draws}
        for g in range(3):
            means = value["means"] + value["group_scales"] * value["offsets"][g]
            variances = value["variances"]
            variances = variances.unsqueeze(-1) if covariance == "spherical" else variances
            variances = variances.expand(2, n_features)
            factor = variances.sqrt().diag_embed()
            if "correlations" in value:
                factor = variances.sqrt().unsqueeze(-1) * value["correlations"]
            rows = dist.MultivariateNormal(means, scale_tril=factor).log_prob(x.unsqueeze(-2))
            expected = (value["weights"][g].log() + rows).logsumexp(-1)
            torch.testing.assert_close(found[s, groups == g], expected[groups == g])


def test_the_prior_by_hand():
    model, (x, groups) = model_of(group_scale=0.7), rows_of()
    _, draws = drawn(model, x, groups)
    unit = 1.5 / 2**0.5  # K^(-1/D) of the spread
    expected = dist.Normal(0.0, 1.0).log_prob(draws["offsets"]).sum((1, 2, 3))
    expected += dist.HalfNormal(0.7 * unit).log_prob(draws["group_scales"]).sum((1, 2))
    expected += dist.Dirichlet(torch.ones(2).double()).log_prob(draws["weights"]).sum(1)
    expected += dist.Normal(0.5, 3.0).log_prob(draws["means"]).sum((1, 2))
    in_units = dist.LogNormal(-1.5, 1.5).log_prob(draws["variances"] / unit**2)
    expected += (in_units - torch.tensor(unit).double().log() * 2).sum((1, 2))
    torch.testing.assert_close(model.log_prior(draws), expected)


def test_groups_learn_from_each_other():
    """One without rows has the others' means; one with few is drawn to them."""
    at = torch.tensor([-3.0, 3.0])
    groups = torch.tensor([0] * 40 + [1] * 40 + [2] * 2)
    x = (at[torch.arange(82) % 2] + 0.3 * torch.randn(82)).double().unsqueeze(-1)
    x[-2:] += 1.5
    priors = Priors.from_data(x)
    model = HierarchicalGaussianMixture(4, 2, 1, priors=priors, group_scale=0.3).double()
    options = {"num_particles": 128, "most_moves": 6, "seed": 0, "progress": False}
    sample = sample_posterior(model, x, groups, **options)
    assert sample.draws["offsets"].shape == (512, 4, 2, 1)
    means = model.mixture(sample.draws).means.squeeze(-1).sort(-1).values
    center, spread = means.mean(0), means.std(0)
    assert (center[:2] - at).abs().max() < 0.3 and spread[:2].max() < 0.3
    assert (center[3] - at).abs().max() < 0.8 and (spread[3] > 2 * spread[0]).all()
    assert ((center[2] - at > 0.1) & (center[2] - at < 1.6)).all()
    idata = to_inference_data(model, sample, x, groups)
    assert idata.posterior["offsets"].dims[2:] == ("group", "component", "feature")
    placed = relabel(idata, reference=torch.tensor([[-3.0], [3.0]])).posterior["means"]
    assert placed.mean(("chain", "draw")).values[:, 0] == pytest.approx([-3, 3], abs=1.2)
    assert -300 < loo(idata)[TOTAL] < 0


@pytest.mark.parametrize("covariance", STRUCTURES)
def test_starts_and_files(covariance, tmp_path):
    """Guides start at the groups' own mixtures, train, and are kept."""
    model, (x, groups) = model_of(covariance), rows_of(30)
    means = torch.randn(3, 2, 2).double()
    values = model.start_values()
    one = model.mixture(values)
    start = GaussianMixture(torch.full((3, 2), 0.5).double(), means, one.covariance.expand((3,)))
    values = model.start_values(start)
    torch.testing.assert_close(model.mixture(values).means, means)
    same = model.start_values(start.reindex(lambda t: t[0]))
    torch.testing.assert_close(model.mixture(same).means, means[:1].expand(3, 2, 2))
    guide = mean_field(model, start=start)
    result = fit_svi(model, guide, x, groups, steps=5, progress=False)
    assert torch.isfinite(torch.as_tensor(result.losses)).all()
    save_fitted(tmp_path / "fitted", model, guide)
    again, its_guide = load_fitted(tmp_path / "fitted")
    assert again.arguments() == model.arguments()
    torch.manual_seed(0)
    drawn = guide(x, groups)
    torch.manual_seed(0)
    for name, value in its_guide(x, groups).items():
        torch.testing.assert_close(value, drawn[name])


X, GROUPS = rows_of()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: HierarchicalGaussianMixture(0, 2, 1), "n_groups: expected a positive integer"),
        (lambda: HierarchicalGaussianMixture(2, 1, 1), "n_components: expected .* at least 2"),
        (lambda: model_of(group_scale=0.0), "group_scale: expected a positive number, got 0"),
        (
            lambda: HierarchicalGaussianMixture(2, 2, 1, priors=Priors(means=None)),
            r"priors: expected priors of all sites, got None for \['means'\]",
        ),
        (
            lambda: model_of("low_rank"),
            "covariance: expected one of 'full', .* 'spherical', got 'low_rank'",
        ),
        (lambda: model_of()(X), "groups: expected the group of each row, got None"),
        (lambda: model_of()(), "groups: expected the group of each row, got None"),
        (lambda: model_of().log_likelihood(X), "groups: expected the group of each row, got None"),
        (lambda: model_of()(X, GROUPS + 1), "groups: expected labels from 0 to 2, got 3"),
        (lambda: model_of()(X[:, :1], GROUPS), r"x: expected shape \(n, 2\)"),
        (lambda: model_of()(X, GROUPS[1:]), "groups: expected 12 labels"),
        (lambda: model_of()(groups=2), "groups: expected .* labels in its last dimension"),
        (lambda: model_of()(X.log(), GROUPS), "x: expected finite values .missing='marginalize'"),
        (lambda: model_of().start_values(torch.zeros(2)), "start: expected a GaussianMixture of"),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_missing_entries_are_marginalized():
    model = model_of(missing="marginalize")
    x = X.clone()
    x[::3, 1] = torch.nan
    draws = model.sample_prior(3)
    found = model.log_likelihood(x, GROUPS, draws=draws)
    seen = model.mixture(draws).marginal([0]).log_prob(x[:, :1].unsqueeze(1).unsqueeze(1))
    by_group = seen.permute(1, 0, 2)[:, range(len(x)), GROUPS]
    torch.testing.assert_close(found[:, ::3], by_group[:, ::3])
    plain = model_of().log_likelihood(X, GROUPS, draws=draws)
    torch.testing.assert_close(found[:, 1::3], plain[:, 1::3])
    assert model.draw_start(x, GROUPS).missing == "marginalize"


def test_the_representation_says_what_differs():
    assert "group_scale=2.5, missing='marginalize')" in repr(
        model_of(group_scale=2.5, missing="marginalize")
    )


def test_a_batch_of_another_number_of_groups_is_refused():
    variances = DiagonalCovariance(torch.ones(2, 2, 2).double())
    start = GaussianMixture(
        torch.full((2, 2), 0.5).double(), torch.zeros(2, 2, 2).double(), variances
    )
    with pytest.raises(ValueError, match=r"batch shape \(\) or \(3,\), got batch shape \(2,\)"):
        model_of().start_values(start)


def test_no_parameters_are_left_in_the_store():
    model, (x, groups) = model_of(), rows_of()
    model(groups=groups)
    model(x, groups, size=100)
    assert not pyro.get_param_store().keys()
