import math
import warnings

import arviz as az
import numpy as np
import pandas as pd
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine

from pyro_ugmm.diagnostics import class_probabilities, pareto_k, to_inference_data
from pyro_ugmm.diagnostics.arviz_interface import group_names
from pyro_ugmm.guides import mean_field
from pyro_ugmm.models import BayesianGaussianMixture, Priors, UGMMClassifier
from pyro_ugmm.nn import UGMMNetwork
from pyro_ugmm.training import fit_svi
from tests.diagnostics.arviz_words import BY_ROW, TOTAL
from tests.models.networks import data

X, Y = data()


@pytest.fixture(scope="module")
def fitted():
    torch.manual_seed(0)
    model = UGMMClassifier(UGMMNetwork([2, 4, 3], dropout=0.2), Priors(weights=1.0))
    guide = mean_field(model)
    fit_svi(model, guide, X, Y, steps=300, seed=0, progress=False)
    return model, guide


@pytest.fixture(scope="module")
def idata(fitted):
    return to_inference_data(
        *fitted,
        X,
        Y,
        num_samples=200,
        seed=0,
        coords={"class": ["a", "b", "c"], "input": ["length", "width"]},
    )


def test_groups_and_dimensions(idata):
    assert set(group_names(idata)) == {
        "posterior",
        "posterior_predictive",
        "log_likelihood",
        "observed_data",
        "constant_data",
        "sample_stats",
        "prior",
        "prior_predictive",
    }
    posterior = idata.posterior
    assert posterior["layers.0.loc"].dims == ("chain", "draw", "neuron_0", "input")
    assert posterior["layers.1.variance"].dims == ("chain", "draw", "class", "neuron_0")
    assert posterior["layers.1.weights"].shape == (1, 200, 3, 4)
    assert list(posterior["class"].values) == ["a", "b", "c"]
    for group in ("posterior_predictive", "log_likelihood", "prior_predictive"):
        assert idata[group]["y"].dims == ("chain", "draw", "observation")
        assert idata[group]["y"].shape == (1, 200, 40)
    np.testing.assert_array_equal(idata.observed_data["y"], Y)
    np.testing.assert_array_equal(idata.constant_data["x"], X)
    assert "variational" in posterior.attrs["inference_method"]


def test_pointwise_log_likelihood_is_the_models(fitted, idata):
    model, _ = fitted
    draws = {
        site: torch.tensor(idata.posterior[site].values[0]).unsqueeze(1)
        for site in model.site_distributions()
    }
    np.testing.assert_allclose(
        idata.log_likelihood["y"][0],
        model.eval().log_likelihood(X, Y, draws=draws),
        rtol=1e-4,
        atol=1e-4,
    )


def test_log_p_and_log_q_match_traces_draw_by_draw(fitted, idata):
    model, guide = fitted
    for s in range(5):
        draw = {
            site: torch.tensor(idata.posterior[site].values[0, s])
            for site in model.site_distributions()
        }
        trace = poutine.trace(poutine.condition(model, draw)).get_trace(X, Y)
        log_p = trace.log_prob_sum().item()
        assert idata.sample_stats["log_p"].values[0, s] == pytest.approx(log_p, rel=1e-3, abs=0.05)
        # q of the draw: a normal in unconstrained space, and the volume change of the bijection
        log_q = 0.0
        for site, prior in model.site_distributions().items():
            to = torch.distributions.biject_to(prior.support)
            u = to.inv(draw[site])
            loc, scale = guide._get_loc_and_scale(site)
            log_q += dist.Normal(loc, scale).log_prob(u).sum()
            log_q -= to.log_abs_det_jacobian(u, draw[site]).sum()
        assert idata.sample_stats["log_q"].values[0, s] == pytest.approx(
            log_q.item(), rel=1e-2, abs=0.5
        )


def test_elbo_is_the_mean_of_the_log_ratios(fitted):
    model, guide = fitted
    idata = to_inference_data(model, guide, X, Y, num_samples=3000, seed=1)
    ratios = (idata.sample_stats["log_p"] - idata.sample_stats["log_q"]).values
    elbo = pyro.infer.Trace_ELBO(num_particles=3000, vectorize_particles=True, max_plate_nesting=1)
    with torch.no_grad():
        expected = -elbo.loss(model.eval(), guide, X, Y)
    assert ratios.mean() == pytest.approx(
        expected, abs=5 * float(ratios.std()) / math.sqrt(3000) + 0.1
    )


def test_arviz_works_on_it(idata):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # few draws, some high k
        loo = az.loo(idata, pointwise=True)
        summary = az.summary(idata, var_names=["layers.0.loc"], kind="stats")
    assert np.isfinite(loo[TOTAL]) and loo[BY_ROW].shape == (40,)
    assert next(iter(summary.index)) == "layers.0.loc[0, length]"
    assert az.plot_forest(idata, var_names=["layers.0.loc"]) is not None


def test_survives_netcdf(idata, tmp_path):
    pytest.importorskip("h5py")
    path = tmp_path / "posterior.nc"
    idata.to_netcdf(str(path))
    again = az.from_netcdf(str(path))
    np.testing.assert_allclose(again.posterior["layers.0.loc"], idata.posterior["layers.0.loc"])


def test_without_labels(fitted):
    idata = to_inference_data(*fitted, X, num_samples=10)
    assert {"log_likelihood", "posterior_predictive"} & {*group_names(idata)} == {
        "posterior_predictive"
    }
    with pytest.raises(ValueError, match="idata: expected draws from a guide given data"):
        pareto_k(idata)


def test_class_probabilities(fitted):
    model, guide = fitted
    probs = class_probabilities(model, guide, X, num_samples=50, seed=0)
    assert probs.shape == (50, 40, 3) and not probs.requires_grad
    torch.testing.assert_close(probs.sum(-1), torch.ones(50, 40))
    torch.testing.assert_close(probs, class_probabilities(model, guide, X, num_samples=50, seed=0))
    assert (probs.mean(0).argmax(-1) == Y).float().mean() > 0.9
    outlier = torch.cat([X, torch.full((1, 2), 1e30)])
    probs = class_probabilities(model, guide, outlier, num_samples=5)
    assert probs[:, :-1].isfinite().all() and probs[:, -1].isnan().all()


def test_columns_of_a_data_frame_name_the_features(fitted):
    model, guide = fitted
    frame = pd.DataFrame(X.numpy(), columns=["length", "width"])

    def names(x, **options):
        idata = to_inference_data(model, guide, x, num_samples=3, **options)
        assert idata.constant_data["x"].coords["input"].equals(idata.posterior.coords["input"])
        return idata.posterior.coords["input"].values.tolist()

    assert names(frame) == ["length", "width"]
    assert names(frame, coords={"input": ["a", "b"]}) == ["a", "b"]
    for unnamed in (frame.set_axis(["a", "a"], axis=1), frame.to_numpy(), pd.DataFrame(X.numpy())):
        assert names(unnamed) == [0, 1]
    mixture = BayesianGaussianMixture(2, 2)
    idata = to_inference_data(mixture, mean_field(mixture), frame, num_samples=3)
    assert idata.posterior["means"].coords["feature"].values.tolist() == ["length", "width"]
    single = BayesianGaussianMixture(2, 1)
    idata = to_inference_data(single, mean_field(single), frame[["width"]], num_samples=3)
    assert idata.observed_data["x"].dims == ("observation",)
    assert idata.posterior["means"].coords["feature"].values.tolist() == ["width"]


def test_bad_arguments(fitted):
    model, guide = fitted
    with pytest.raises(ValueError, match="num_samples: expected a positive integer"):
        to_inference_data(model, guide, X, num_samples=0)
    with pytest.raises(ValueError, match=r"coords: expected dimensions among.*'klass'"):
        to_inference_data(model, guide, X, coords={"klass": [1]})
    for name, length in {"input": 2, "class": 3, "observation": len(X)}.items():
        match = rf"coords\['{name}'\]: expected {length} labels, got {length + 1}"
        with pytest.raises(ValueError, match=match):
            to_inference_data(model, guide, X, coords={name: range(length + 1)})
    with pytest.raises(ValueError, match="model: expected a model with priors"):
        to_inference_data(UGMMClassifier(UGMMNetwork([2, 3])), lambda *a: None, X)
    with pytest.raises(ValueError, match="x: expected finite"):
        class_probabilities(model, guide, X * math.inf)
