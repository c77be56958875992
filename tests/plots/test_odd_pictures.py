"""Pictures of data with gaps, of runs that broke down, of constants."""

import warnings

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pyro
import pytest
import torch
from pyro.infer import MCMC, NUTS

from pyro_ugmm import diagnostics as di
from pyro_ugmm import plots
from pyro_ugmm.distributions import FullCovariance, GaussianMixture, UnivariateGaussianMixture
from pyro_ugmm.guides import mean_field
from pyro_ugmm.models import BayesianGaussianMixture, Priors, UGMMClassifier
from pyro_ugmm.nn import UGMMNetwork
from pyro_ugmm.plots import uncertainty
from pyro_ugmm.status import Status
from pyro_ugmm.training import FitResult

matplotlib.use("Agg")
NAN, INF = torch.nan, torch.inf
X = torch.randn(40, 3, generator=torch.Generator().manual_seed(0))
Y = torch.arange(40) % 2


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def drawn(*axes):
    """Draws for real, which finds limits that are none."""
    for ax in axes:
        ax.figure.canvas.draw()
        assert np.isfinite([*ax.get_xlim(), *ax.get_ylim()]).all()
    return axes[0]


def holes(*columns):
    x = X.clone()
    for column in columns:
        x[::4, column] = NAN
    return x


def omitting():
    model = UGMMClassifier(UGMMNetwork([3, 4, 2], missing="omit"), Priors())
    return model, mean_field(model)


@pytest.mark.parametrize("columns", [(), (0,), (2,), (0, 1), (0, 2)])
def test_a_map_of_data_with_gaps(columns, monkeypatch):
    grids = []
    original = uncertainty.class_probabilities

    def noted(model, inference, x, *rest):
        grids.append(x)
        return original(model, inference, x, *rest)

    monkeypatch.setattr(uncertainty, "class_probabilities", noted)
    x = holes(*columns)
    ax = drawn(*plots.plot_uncertainty(*omitting(), x, Y, (0, 1), num_samples=3, seed=0))
    (grid,) = grids
    assert grid.isfinite().all()
    for feature in range(3):
        seen = x[:, feature][~x[:, feature].isnan()]
        middle = grid[:, feature].median() if feature == 2 else seen.median()
        assert middle == seen.median()
        if feature < 2:
            assert grid[:, feature].min() < seen.min() and grid[:, feature].max() > seen.max()
    hidden = "10 rows miss one" if {*columns} & {0, 1} else "feature 0"
    assert hidden in ax.get_xlabel()


def test_a_map_over_named_columns():
    model, guide = omitting()
    frame = pd.DataFrame(X.numpy(), columns=["a", "b", "c"])
    ax = drawn(*plots.plot_uncertainty(model, guide, frame, Y, ("c", "a"), num_samples=3))
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("c", "a")
    axes = plots.plot_uncertainty(
        model, guide, X, Y, ("w", 0), names=["u", "v", "w"], num_samples=3
    )
    assert drawn(*axes).get_xlabel() == "w"
    with pytest.raises(ValueError, match=r"features: expected two .*, got \('c', 'd'\)"):
        plots.plot_uncertainty(model, guide, frame, Y, ("c", "d"))
    with pytest.raises(ValueError, match="ax: expected axes of matplotlib, got str"):
        plots.plot_uncertainty(model, guide, frame, Y, ax=("left", "right"))


def test_values_of_other_features_may_be_given():
    model, guide = omitting()
    for fixed in ([0.0, 0.0, 1.0], np.array([0.0, 0.0, np.nan]), torch.zeros(3)):
        drawn(*plots.plot_uncertainty(model, guide, X, Y, fixed=fixed, num_samples=3))
    with pytest.raises(ValueError, match=r"fixed: expected shape \(3,\), got \(2,\)"):
        plots.plot_uncertainty(model, guide, X, Y, fixed=[0.0, 1.0])
    strict = UGMMClassifier(UGMMNetwork([3, 4, 2]), Priors())
    with pytest.raises(ValueError, match=r"fixed: expected finite values \(.*\), got nan"):
        plots.plot_uncertainty(strict, mean_field(strict), X, Y, fixed=[0.0, 0.0, np.nan])


def test_a_feature_that_was_never_observed_is_not_drawn():
    x = X.clone()
    x[:, 1] = NAN
    with pytest.raises(ValueError, match="features: expected two of which x has values, got 1"):
        plots.plot_uncertainty(*omitting(), x, Y)
    model = BayesianGaussianMixture(2, 3, missing="marginalize")
    idata = di.to_inference_data(model, mean_field(model), X, num_samples=20)
    drawn(plots.plot_density(model, idata, holes(1), 1))
    with pytest.raises(ValueError, match="feature: expected one of which x has a value, got 1"):
        plots.plot_density(model, idata, x, 1)


@pytest.mark.parametrize("columns", [(), (0,), (0, 1, 2)])
def test_a_mixture_over_data_with_gaps(columns):
    flat = torch.diag(torch.tensor([1.0, 1e-6, 1.0]))  # and a component that is nearly flat
    mixture = GaussianMixture(
        torch.tensor([0.5, 0.5]),
        torch.randn(2, 3),
        FullCovariance(torch.stack([torch.eye(3), flat])),
        missing="marginalize",
    )
    x = holes(*columns)
    x = x[~x.isnan().all(1)]
    drawn(plots.plot_mixture(mixture, x))
    if x.isnan().any():
        strict = GaussianMixture(mixture.weights, mixture.means, mixture.covariance)
        with pytest.raises(ValueError, match=r"x: expected finite values .missing='marginalize'"):
            plots.plot_mixture(strict, x)


@pytest.mark.parametrize(
    "losses",
    [
        [INF],
        [NAN],
        [NAN, NAN],
        [5.0],
        [5.0, INF],
        [NAN, 5.0, 4.0],
        [3.0, -INF, 2.0],
        [3e38, 1.0],
        [0.0, 0.0],
        [-1.0, NAN],
        [5.0] * 60 + [INF] * 60,
    ],
)
def test_losses_of_a_run_that_broke_down(losses):
    result = FitResult(torch.tensor(losses), Status.BROKEN_DOWN, "broke down")
    drawn(plots.plot_losses(result))
    fine = FitResult(torch.tensor([3.0, 2.0]), Status.CONVERGED, "done")
    ax = drawn(plots.plot_losses({"it": result, "fine": fine}))
    never = not np.isfinite(losses).any()
    assert ("it (never finite)" in [t.get_text() for t in ax.get_legend().get_texts()]) == never


@pytest.mark.parametrize("index", [(0, 0, 0), (0, 0, 1), (0, 1, 0), (1, 1, 1)])
def test_numbers_of_a_cholesky_factor(index):
    model = BayesianGaussianMixture(2, 2)
    guide = mean_field(model)
    for num_samples in (1, 2, 50):
        idata = di.to_inference_data(model, guide, X[:, :2], num_samples=num_samples, seed=0)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            drawn(plots.plot_prior_posterior(model, idata, "correlations", index))


@pytest.mark.parametrize("site", ["weights", "means", "variances"])
@pytest.mark.parametrize("value", [0.0, 0.25, 1e-30, -1e6, INF, NAN])
def test_a_number_that_is_the_same_in_all_draws(site, value):
    model = BayesianGaussianMixture(2, 1)
    idata = di.to_inference_data(model, mean_field(model), X[:, :1], num_samples=50, seed=0)
    idata.posterior[site].values[:] = value
    place = (0,) if site == "weights" else (0, 0)
    if np.isfinite(value):
        ax = drawn(plots.plot_prior_posterior(model, idata, site, place))
        assert np.float32(value) in ax.lines[0].get_xdata()
        return
    with pytest.raises(ValueError, match=f"idata: expected finite draws of {site} in posterior"):
        plots.plot_prior_posterior(model, idata, site, place)


def test_one_draw():
    model = BayesianGaussianMixture(2, 1)
    idata = di.to_inference_data(model, mean_field(model), X[:, :1], num_samples=1)
    for function in (di.loo, di.importance_resample):
        with pytest.raises(ValueError, match="idata: expected two draws or more, got one"):
            function(idata)
    drawn(plots.plot_density(model, idata, X[:, :1]))
    assert "fewer than 100 draws" in idata.posterior.attrs["verdict"]


@pytest.mark.parametrize(("loc", "scale"), [(1e38, 1e30), (-1e38, 1.0), (0.0, 1e25)])
def test_a_neuron_beyond_its_numbers_is_refused(loc, scale):
    at = torch.tensor([[loc, -loc]])
    nodes = UnivariateGaussianMixture(at, torch.full((1, 2), scale), logits=torch.zeros(1, 2))
    with pytest.raises(ValueError, match=r"nodes: expected neurons whose moments torch\.float32"):
        plots.plot_neuron(nodes, 0)


@pytest.mark.parametrize("num_samples", [1, 2])
def test_one_draw_of_mcmc(num_samples):
    model = BayesianGaussianMixture(2, 1)
    mcmc = MCMC(NUTS(model), num_samples=num_samples, warmup_steps=2, disable_progbar=True)
    pyro.set_rng_seed(0)
    mcmc.run(X[:, :1])
    idata = di.to_inference_data(model, mcmc, X[:, :1])
    assert idata.sample_stats["diverging"].shape == (1, num_samples)
    drawn(plots.plot_density(model, idata, X[:, :1]))


def test_one_neuron_is_drawn_alone(monkeypatch):
    shapes = []
    original = UnivariateGaussianMixture.log_prob

    def noted(self, value):
        shapes.append(tuple(self.batch_shape))
        return original(self, value)

    monkeypatch.setattr(UnivariateGaussianMixture, "log_prob", noted)
    loc = torch.randn(50, 8, 5, requires_grad=True)
    nodes = UnivariateGaussianMixture(loc, loc.exp(), logits=loc)
    point = UnivariateGaussianMixture(loc[0], loc[0].exp(), logits=loc[0])
    ax = drawn(plots.plot_neuron(nodes, 3, point=point))
    drawn(plots.plot_neuron(point, 3))
    assert {*shapes} <= {(50,), ()}
    y, density = ax.lines[0].get_data()
    monkeypatch.undo()
    values = torch.as_tensor(np.asarray(y)).reshape(-1, 1, 1)
    expected = nodes.log_prob(values)[..., 3].exp().quantile(0.5, -1).detach()
    np.testing.assert_allclose(density, expected, rtol=1e-4)
