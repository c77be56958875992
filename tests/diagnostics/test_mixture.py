"""Diagnostics of the Bayesian Gaussian mixture, by guides and by MCMC."""

import math
import warnings

import arviz as az
import matplotlib.pyplot as plt
import numpy as np
import pyro
import pytest
import torch
from pyro.infer import MCMC, NUTS
from pyro.infer.autoguide import AutoDelta

from pyro_ugmm.diagnostics import (
    class_probabilities,
    loo,
    mixture_draws,
    pareto_k,
    relabel,
    to_inference_data,
)
from pyro_ugmm.diagnostics.arviz_interface import group_names
from pyro_ugmm.guides import full_rank, mean_field
from pyro_ugmm.models import BayesianGaussianMixture, Priors
from pyro_ugmm.training import fit_svi
from tests.diagnostics.arviz_words import (
    BY_ROW,
    PARAMETERS,
    TOTAL,
    plot_pair,
    plot_predictions,
    posterior_of,
)
from tests.models.mixtures import mixture, rows

X = rows(60)


@pytest.fixture(scope="module")
def fitted():
    model = mixture("full")
    guide = full_rank(model, x=X)
    assert fit_svi(model, guide, X, steps=1000, seed=0, progress=False).converged
    return model, guide


@pytest.fixture(scope="module")
def idata(fitted):
    return to_inference_data(*fitted, X, num_samples=300, seed=0, coords={"feature": ["a", "b"]})


def test_groups_and_dimensions(idata):
    assert set(group_names(idata)) == {
        "posterior",
        "posterior_predictive",
        "log_likelihood",
        "observed_data",
        "sample_stats",
        "prior",
        "prior_predictive",
    }
    assert idata.posterior["means"].dims == ("chain", "draw", "component", "feature")
    assert idata.posterior["weights"].shape == (1, 300, 2)
    assert idata.posterior["correlations"].shape == (1, 300, 2, 2, 2)
    assert idata.posterior_predictive["x"].dims == ("chain", "draw", "observation", "feature")
    assert idata.log_likelihood["x"].shape == (1, 300, 60)
    assert idata.posterior.attrs["pareto_k"] == pareto_k(idata)[0]
    assert idata.posterior.attrs["verdict"] == pareto_k(idata)[1]
    replicated = idata.posterior_predictive["x"].values.reshape(-1, 2)
    np.testing.assert_allclose(replicated.mean(0), X.mean(0), atol=0.3)


def test_blocks_of_draws_change_nothing(fitted, idata, monkeypatch):
    monkeypatch.setattr("pyro_ugmm.diagnostics.draws.MOST_VALUES", 1000)
    again = to_inference_data(*fitted, X, num_samples=300, seed=0)
    np.testing.assert_allclose(again.log_likelihood["x"], idata.log_likelihood["x"])
    np.testing.assert_allclose(again.sample_stats["log_p"], idata.sample_stats["log_p"])


@pytest.fixture(scope="module")
def chains():
    pyro.set_rng_seed(0)
    model = mixture("diagonal")
    mcmc = MCMC(
        NUTS(model),
        num_samples=30,
        warmup_steps=30,
        num_chains=2,
        mp_context="spawn",
        disable_progbar=True,
    )
    mcmc.run(X)
    return model, mcmc


def test_draws_of_mcmc(chains):
    model, mcmc = chains
    idata = to_inference_data(model, mcmc, X, num_samples=20, seed=0)
    samples = mcmc.get_samples(group_by_chain=True)
    np.testing.assert_array_equal(idata.posterior["means"], samples["means"])
    assert idata.posterior["means"].shape == (2, 30, 2, 2)
    assert idata.sample_stats["diverging"].shape == (2, 30)
    assert "log_q" not in idata.sample_stats and "pareto_k" not in idata.posterior.attrs
    assert idata.posterior.attrs["inference_method"] == "Markov chain Monte Carlo by NUTS"
    draws = {site: value[1, 7] for site, value in samples.items()}
    np.testing.assert_allclose(
        idata.log_likelihood["x"][1, 7], model.log_likelihood(X, draws=draws)
    )
    with pytest.raises(ValueError, match="idata: expected draws from a guide"):
        pareto_k(idata)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert loo(idata)[TOTAL] == pytest.approx(az.loo(idata)[TOTAL], rel=1e-9)
    draw_with_arviz(idata)


def test_mixtures_of_draws_describe_new_rows(chains):
    model, mcmc = chains
    idata = to_inference_data(model, mcmc, X, num_samples=20, seed=0)
    new = rows(7, seed=1)
    found = mixture_draws(model, idata)
    assert found.batch_shape == (60, 1)
    one = model.mixture({s: v[1, 7] for s, v in mcmc.get_samples(group_by_chain=True).items()})
    torch.testing.assert_close(found.log_prob(new)[37], one.log_prob(new))
    torch.testing.assert_close(found.responsibilities(new)[37], one.responsibilities(new))
    np.testing.assert_allclose(
        found.log_prob(X).reshape(2, 30, 60), idata.log_likelihood["x"], rtol=1e-4
    )
    some = mixture_draws(model, idata, num_samples=2)
    torch.testing.assert_close(some.means, found.means[[0, 59]])
    assert mixture_draws(model, idata, group="prior").batch_shape == (20, 1)
    assert not some.means.requires_grad


def test_mixtures_of_draws_of_another_model_are_refused(idata):
    with pytest.raises(ValueError, match=r"idata: expected draws of means of shape \(3, 2\), got"):
        mixture_draws(BayesianGaussianMixture(3, 2, priors=Priors(weights=None)), idata)
    with pytest.raises(ValueError, match=r"idata: expected draws of .*, got none of \['corr"):
        mixture_draws(mixture("full"), posterior_of(idata, "means"))
    with pytest.raises(ValueError, match="num_samples: expected"):
        mixture_draws(mixture("full"), idata, num_samples=0)
    with pytest.raises(ValueError, match="group: expected one of 'posterior', 'prior'"):
        mixture_draws(mixture("full"), idata, group="observed_data")
    with pytest.raises(ValueError, match="model: expected a BayesianGaussianMixture"):
        mixture_draws(torch.nn.Linear(2, 2), idata)


def draw_with_arviz(idata):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # few draws
        assert np.isfinite(az.loo(idata)[TOTAL])
        plot_predictions(idata)
        plot_predictions(idata, "prior")
        az.plot_trace(idata, var_names=["means"])
        plot_pair(idata, "weights")
        plt.close("all")


def test_arviz_draws_what_comes_from_a_guide(idata):
    draw_with_arviz(idata)


def test_loo_from_a_guide_that_is_too_wide_is_the_exact_one():
    """Against the closed form of one component with known variance."""
    n, variance = 40, 1.7
    x = torch.randn(n, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) + 3
    priors = Priors.from_data(x, variances=None)
    model = BayesianGaussianMixture(1, 1, priors=priors)
    model.learned.variances = torch.tensor([[variance]], dtype=torch.float64)
    prior_precision = 1 / (2 * priors.spread) ** 2
    rest = x.sum(0) - x
    precision = prior_precision + (n - 1) / variance
    mean = (prior_precision * priors.center + rest / variance) / precision
    exact = torch.distributions.Normal(mean, (variance + 1 / precision).sqrt()).log_prob(x)
    full_precision = prior_precision + n / variance
    guide = mean_field(model)
    with torch.no_grad():
        guide(x)
        target = (prior_precision * priors.center + x.sum(0) / variance) / full_precision
        prior = model.site_distributions()["means"]
        unit = torch.distributions.biject_to(prior.support)
        guide.locs.means = unit.inv(target.reshape(1, 1))
        guide.scales.means = 1.6 * full_precision.rsqrt().reshape(1, 1) / priors.spread
    idata = to_inference_data(model, guide, x, num_samples=8000, seed=0)
    corrected, plain = loo(idata), az.loo(idata, pointwise=True)
    assert corrected[TOTAL] == pytest.approx(exact.sum().item(), abs=0.05)
    np.testing.assert_allclose(corrected[BY_ROW], exact[:, 0], atol=0.02)
    assert abs(plain[TOTAL] - exact.sum().item()) > 0.3
    fitted = torch.distributions.Normal(target, (variance + 1 / full_precision).sqrt())
    p_loo = (fitted.log_prob(x) - exact).sum().item()
    assert corrected[PARAMETERS] == pytest.approx(p_loo, abs=0.05)
    assert not corrected["warning"] and "elpd_loo" in str(corrected)
    table = az.compare({"corrected": corrected, "plain": plain})
    assert set(table.index) == {"corrected", "plain"}


def test_relabel_undoes_every_switch(idata):
    rng = np.random.default_rng(0)
    switched, truth = idata.copy(), relabel(idata)
    order = np.stack([rng.permutation(2) for _ in range(300)])[None]
    for name in ("weights", "means", "variances", "correlations"):
        values = idata.posterior[name].values
        index = order.reshape(1, 300, 2, *(1,) * (values.ndim - 3))
        switched.posterior[name] = idata.posterior[name].copy(
            data=np.take_along_axis(values, index, 2)
        )
    found = relabel(switched)
    for name in ("weights", "means", "variances", "correlations"):
        np.testing.assert_array_equal(found.posterior[name], truth.posterior[name])
    averages = found.posterior["means"].mean(("chain", "draw"))
    np.testing.assert_allclose(averages, [[16, 12], [10, 10]], atol=1.5)
    assert (found.posterior["weights"].mean(("chain", "draw")).diff("component") < 0).all()
    np.testing.assert_array_equal(found.log_likelihood["x"], idata.log_likelihood["x"])
    # A reference decides the order, whatever the weights.
    means = torch.as_tensor(averages.values)
    for reference in (means.flip(0), relabel(switched, means.flip(0))):
        turned = relabel(switched, reference)
        for name in ("weights", "means", "variances", "correlations"):
            np.testing.assert_array_equal(turned.posterior[name], truth.posterior[name][:, :, ::-1])


def test_bad_arguments(fitted, idata):
    model, _ = fitted
    with pytest.raises(ValueError, match="idata: expected a group log_likelihood"):
        loo(posterior_of(idata, "means"))
    for function in (loo, relabel, pareto_k):
        with pytest.raises(ValueError, match=r"idata: expected what to_inference_data made.*int"):
            function(3)
    with pytest.raises(ValueError, match=r"model: expected a network's.*got BayesianGaussian"):
        class_probabilities(model, mean_field(model), X)
    with pytest.raises(ValueError, match="idata: expected a posterior with the site means"):
        relabel(posterior_of(idata, "weights"))
    with pytest.raises(ValueError, match=r"reference: expected means of shape \(2, 2\), got"):
        relabel(idata, torch.zeros(3, 2))
    with pytest.raises(ValueError, match=r"reference: expected another posterior.*got list"):
        relabel(idata, [[0.0, 0.0], [1.0, 1.0]])
    with pytest.raises(ValueError, match=r"inference: .* does not draw the site 'correlations'"):
        to_inference_data(model, mean_field(mixture("diagonal")), X)
    with pytest.raises(ValueError, match=r"inference: expected a fitted guide, .* or MCMC"):
        to_inference_data(model, 3, X)
    with pytest.raises(ValueError, match="inference: expected MCMC that was run"):
        to_inference_data(model, MCMC(NUTS(model), num_samples=1), X)
    other = BayesianGaussianMixture(2, 2, "tied", Priors.from_data(X))
    with pyro.get_param_store().scope():
        attrs = to_inference_data(other, AutoDelta(other), X, num_samples=200).posterior.attrs
    assert "draws all alike" in attrs["verdict"] and math.isnan(attrs["pareto_k"])
