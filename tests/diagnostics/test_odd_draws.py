"""Draws of one feature, without labels, in threads; and ArviZ's own pictures of them."""

import threading

import arviz as az
import matplotlib
import matplotlib.pyplot as plt
import pytest
import torch
from pyro.infer import MCMC
from pyro.infer.autoguide.initialization import init_to_value

from pyro_ugmm import diagnostics as di
from pyro_ugmm.em import initialize
from pyro_ugmm.guides import mean_field
from pyro_ugmm.models import BayesianGaussianMixture, Priors, UGMMClassifier
from pyro_ugmm.nn import UGMMNetwork
from pyro_ugmm.sampling import NUTSWithEnergy, sample_posterior
from tests.diagnostics.arviz_words import plot_pair, plot_predictions, plot_probability_transforms

matplotlib.use("Agg")
X = torch.randn(40, 3, generator=torch.Generator().manual_seed(0))


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def omitting():
    model = UGMMClassifier(UGMMNetwork([3, 4, 2], missing="omit"), Priors())
    return model, mean_field(model)


def chains(model, x):
    torch.manual_seed(0)
    start = init_to_value(values=model.start_values(initialize(x, n_components=2, seed=0)))
    kernel = NUTSWithEnergy(model, max_tree_depth=3, init_strategy=start)
    mcmc = MCMC(kernel, num_samples=60, warmup_steps=60, disable_progbar=True)
    mcmc.run(x)
    return mcmc


def particles(model, x):
    return sample_posterior(model, x, num_particles=64, most_moves=2, seed=0, progress=False)


@pytest.fixture(scope="module", params=[lambda m, x: mean_field(m, x=x), particles, chains])
def of_one_feature(request):
    x = X[:, :1]
    model = BayesianGaussianMixture(2, 1, priors=Priors.from_data(x))
    return di.to_inference_data(model, request.param(model, x), x, num_samples=120, seed=0)


@pytest.mark.parametrize(
    "draw",
    [
        lambda i: az.plot_parallel(i, var_names=["means"]),
        lambda i: plot_probability_transforms(i, "x"),
        plot_predictions,
        lambda i: az.plot_khat(di.loo(i)),
        lambda i: plot_pair(i, "weights"),
        lambda i: az.plot_forest(i, var_names=["means"]),
        lambda i: az.plot_trace(i, var_names=["means"]),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_arvizs_pictures_of_one_feature(of_one_feature, draw):
    draw(of_one_feature)


def test_a_single_feature_has_no_dimension(of_one_feature):
    assert of_one_feature.posterior_predictive["x"].dims == ("chain", "draw", "observation")
    assert of_one_feature.observed_data["x"].shape == (40,)


def test_only_chains_diverge_or_have_energies(of_one_feature):
    stats = of_one_feature.sample_stats
    assert stats["diverging"].dtype == bool
    if "energy" in stats:
        az.plot_energy(of_one_feature)
    else:
        assert not stats["diverging"].any()


def test_without_labels_nothing_diverges_either():
    model, guide = omitting()
    idata = di.to_inference_data(model, guide, X, num_samples=20)
    assert [*idata.sample_stats] == ["diverging"]


def test_draws_in_threads_are_those_in_turn():
    model, guide = omitting()
    guide(X)  # which makes its parameters

    def probabilities(seed):
        return di.class_probabilities(model, guide, X, num_samples=20, seed=seed)

    before = torch.get_rng_state()
    expected = [probabilities(seed) for seed in range(8)]
    found = {}
    threads = [
        threading.Thread(target=lambda s=s: found.__setitem__(s, probabilities(s)))
        for s in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(torch.equal(found[seed], expected[seed]) for seed in range(8))
    assert torch.equal(torch.get_rng_state(), before)
