"""Every picture, of data of many scales and shapes: what is drawn is seen, and said in words."""

from types import SimpleNamespace

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch

from pyro_ugmm import diagnostics as di
from pyro_ugmm import plots
from pyro_ugmm.distributions import FullCovariance, GaussianMixture, UnivariateGaussianMixture
from pyro_ugmm.em import EMFitter, initialize
from pyro_ugmm.guides import mean_field
from pyro_ugmm.models import BayesianGaussianMixture, Priors, UGMMClassifier, UGMMRegressor
from pyro_ugmm.nn import UGMMNetwork
from pyro_ugmm.status import Status
from pyro_ugmm.training import FitResult

matplotlib.use("Agg")
GENERATOR = torch.Generator().manual_seed(0)
LONG = "the {} of the wine as it was measured in the laboratory in 1991 (g/l)"


@pytest.fixture(autouse=True)
def closed():
    torch.manual_seed(0)
    yield
    plt.close("all")


def clusters(count, n=200, at=0.0, unit=1.0):
    """Rows of two features in as many clusters, and of which they are."""
    y = torch.arange(n) % count
    noise = torch.randn(n, 2, generator=GENERATOR, dtype=torch.float64)
    angles = 2 * torch.pi * y / count
    centers = 2 * count * torch.stack([angles.cos(), angles.sin()], -1)
    return at + unit * (noise + centers), y


def framed(x, names=("length (cm)", "width (cm)")):
    return pd.DataFrame(x.numpy(), columns=[*names])


two, TWO = clusters(2)
ten, TEN = clusters(10, 300)
skewed = (1.6 * torch.randn(200, 2, generator=GENERATOR, dtype=torch.float64)).exp()
holes = torch.where(torch.rand(two.shape, generator=GENERATOR) < 0.2, torch.nan, two)
DATA = {
    "two": (framed(two), TWO),
    "at a million": (clusters(2, at=1e6)[0], TWO),
    "in micrometers": (clusters(2, unit=1e-6)[0], TWO),
    "ten": (ten, TEN),
    "skewed": (skewed, (skewed[:, 0] > 1).long()),
    "holes": (framed(holes[~holes.isnan().all(1)]), TWO[~holes.isnan().all(1)]),
    "long names": (framed(two, [LONG.format("alcohol"), LONG.format("malic acid")]), TWO),
}


def bayesian(x, y):
    marginalizes = {"missing": "marginalize"} if isinstance(x, pd.DataFrame) else {}
    start = initialize(x, int(y.max()) + 1, seed=0, **marginalizes)
    em = EMFitter(progress=False, max_iter=20).fit(x, start).mixture
    model = BayesianGaussianMixture(len(em.weights), 2, priors=Priors.from_data(x), **marginalizes)
    guide = mean_field(model, start=em, x=x)
    return em, model, di.to_inference_data(model, guide, x, num_samples=150, seed=0)


def network(x, y):
    marks = {"missing": "omit"} if isinstance(x, pd.DataFrame) else {}
    net = UGMMNetwork([2, 8, int(y.max()) + 1], **marks)
    values = torch.from_numpy(x.to_numpy(copy=True)) if isinstance(x, pd.DataFrame) else x
    net.to(values.dtype).reset_parameters(values)
    model = UGMMClassifier(net, Priors.from_data(x))
    return net, model, mean_field(model)


def regression(x, y):
    net = network(x, y)[0]
    target = pd.Series((1e3 * y.double() + torch.randn(len(y))).numpy(), name="price (euro)")
    model = UGMMRegressor.from_data(UGMMNetwork([2, 4, 5], missing=net.missing).double(), target)
    return plots.plot_regression(model, None, x, target)


def losses(x, y):
    level = float(np.nan_to_num(np.asarray(x)[0, 0]))
    falls = 1e4 * torch.linspace(0, 10, len(x)).neg().exp() + level
    run = FitResult(falls + torch.rand(len(x)), Status.CONVERGED, "done", averaged_from=len(x) // 2)
    return plots.plot_losses({f"run {k} of the network with dropout": run for k in range(y.max())})


def neuron(x, y):
    names = x.columns if isinstance(x, pd.DataFrame) else None
    return plots.plot_neuron(network(x, y)[0].layers[0].nodes, 0, names=names)


def uncertain(x, y):
    _, model, guide = network(x, y)
    return plots.plot_uncertainty(model, guide, x, y, num_samples=3, seed=0)


def chosen(x, y):
    unit = float(np.nanstd(np.asarray(x)[:, 0])) * 100
    rows = [
        SimpleNamespace(n_components=k, structure=s, bic=unit * (i + abs(k - 2)), unsound=())
        for i, s in enumerate(("full", "tied", "diagonal", "spherical"))
        for k in range(1, int(y.max()) + 2)
    ]
    return plots.plot_selection(SimpleNamespace(table=rows, best=rows[1], criterion="bic"))


def evidences(x, y):
    names = x.columns if isinstance(x, pd.DataFrame) else range(int(y.max()) + 1)
    rows = [
        SimpleNamespace(name=n, log_evidence=-1e6 - 3 * i, error=0.5, probability=0.6 * 0.4**i)
        for i, n in enumerate(names)
    ]
    return plots.plot_evidence(SimpleNamespace(rows=rows, probabilities={}))


def calibrated(x, y):
    ranks = torch.randint(100, (50, int(y.max()) + 1), generator=GENERATOR)
    names = x.columns if isinstance(x, pd.DataFrame) else range(ranks.shape[1])
    names = [f"means[{name}]" for name in names][: ranks.shape[1]]
    draws = torch.full((50,), 99)
    return plots.plot_calibration(di.SimulatedCalibration(tuple(names), ranks, draws, 50))


def reliable(x, y):
    logits = 3 * torch.randn(len(y), int(y.max()) + 1, generator=GENERATOR)
    return plots.plot_reliability(logits.softmax(-1), y)


def counted(x, y):
    names = x.columns if isinstance(x, pd.DataFrame) else None
    return plots.plot_components((y + 1) % (y.max() + 1), y, names)


ENTRIES = {
    "mixture": lambda x, y: plots.plot_mixture(bayesian(x, y)[0], x),
    "density": lambda x, y: plots.plot_density(*bayesian(x, y)[1:], x),
    "prior density": lambda x, y: plots.plot_density(*bayesian(x, y)[1:], x, 1, group="prior"),
    "prior and posterior": lambda x, y: plots.plot_prior_posterior(
        *bayesian(x, y)[1:], "means", (0, 0)
    ),
    "components": counted,
    "selection": chosen,
    "evidence": evidences,
    "neuron": neuron,
    "inputs of a neuron": lambda x, y: plots.plot_neuron_inputs(
        network(x, y)[0].layers[0].nodes, 0, names=getattr(x, "columns", None)
    ),
    "losses": losses,
    "uncertainty": uncertain,
    "regression": regression,
    "calibration": calibrated,
    "reliability": reliable,
}


def drawn_pixels(ax):
    """Where lines, marks and bars of the axes are, in pixels, but for contours."""
    found = [ax.transData.transform(line.get_xydata()) for line in ax.lines]
    for part in ax.collections:
        if type(part).__name__ == "PathCollection":
            found.append(ax.transData.transform(np.ma.filled(part.get_offsets(), np.nan)))
        elif type(part).__name__ in ("PolyCollection", "FillBetweenPolyCollection"):
            found += [ax.transData.transform(path.vertices) for path in part.get_paths()]
    found += [bar.get_window_extent().get_points() for bar in ax.patches]
    pixels = np.concatenate([np.empty((0, 2)), *found])
    inside = ax.get_window_extent()
    pixels = pixels[np.isfinite(pixels).all(1)]
    within = (pixels >= [inside.x0, inside.y0]) & (pixels <= [inside.x1, inside.y1])
    return pixels[within.all(1)]


def texts(ax):
    written = [ax.xaxis.label, ax.yaxis.label, ax.title, *ax.texts]
    written += [] if ax.get_legend() is None else ax.get_legend().get_texts()
    return [text for text in written if text.get_text() and text.get_visible()]


@pytest.mark.parametrize("data", DATA)
@pytest.mark.parametrize("entry", ENTRIES)
def test_a_picture_is_whole_and_its_legend_covers_nothing(entry, data):
    result = ENTRIES[entry](*DATA[data])
    axes = [*result] if isinstance(result, np.ndarray) else [result]
    figure = axes[0].figure
    figure.canvas.draw()
    page = figure.bbox
    for ax in axes:
        assert np.isfinite([*ax.get_xlim(), *ax.get_ylim()]).all()
        box = ax.get_window_extent()
        assert box.width * box.height * len(axes) > 0.3 * page.width * page.height
        for text in texts(ax):
            place = text.get_window_extent()
            assert place.x0 > -2 and place.x1 < page.width + 2, text.get_text()
            assert place.y0 > -2 and place.y1 < page.height + 2, text.get_text()
        if ax.get_legend() is not None:
            assert ax.get_legend().get_window_extent().count_contains(drawn_pixels(ax)) == 0
        if entry not in ("components", "evidence", "reliability"):  # which have limits of their own
            heights = drawn_pixels(ax)[:, 1]
            assert np.ptp(heights) > 0.55 * box.height  # the axes are for it, not for a legend
    assert axes[0].get_xlabel()
    assert axes[0].get_ylabel() or entry in ("evidence", "inputs of a neuron")  # which name each


@pytest.mark.parametrize("entry", ["mixture", "density", "prior and posterior", "regression"])
def test_axes_have_the_names_of_columns(entry):
    assert "length (cm)" in ENTRIES[entry](*DATA["two"]).get_xlabel()
    long = ENTRIES[entry](*DATA["long names"]).get_xlabel()
    assert LONG.format("alcohol") in long.replace("\n", " ") and "\n" in long


@pytest.mark.parametrize("layout", ["constrained", None])
@pytest.mark.parametrize("count", [3, 12, 30])
def test_a_legend_of_many_leaves_the_axes_to_what_is_drawn(count, layout):
    names = [f"mean area of cell {k}" for k in range(count)]
    nodes = UnivariateGaussianMixture(
        3 * torch.randn(1, count), torch.ones(1, count), logits=torch.zeros(1, count)
    )
    figure, ax = plt.subplots(figsize=(6, 4), layout=layout)
    plots.plot_neuron(nodes, 0, names=names, ax=ax)
    figure.canvas.draw()
    pixels, box = drawn_pixels(ax), ax.get_window_extent()
    assert ax.get_legend().get_window_extent().count_contains(pixels) == 0
    assert np.ptp(pixels[:, 1]) > 0.5 * figure.bbox.height
    assert box.width > 0.6 * figure.bbox.width


def test_targets_have_their_name():
    assert regression(*DATA["two"]).get_ylabel() == "price (euro)"


def test_the_palette_has_one_meaning_each():
    from matplotlib.colors import to_rgb

    from pyro_ugmm.plots import style

    fixed = [style.POSTERIOR, style.POINT, style.PRIOR, style.DATA, style.OUTSIDE, style.HIGHLIGHT]
    for count in (3, 10, 14):
        several = [to_rgb(color) for color in style.colors(count)]
        assert len({*several}) == count
        if count <= 10:
            assert not {*several} & {to_rgb(color) for color in fixed}


def test_a_collapsed_component_is_marked_and_named():
    x = torch.randn(200, 2)
    matrices = torch.stack(
        [torch.eye(2), 1e-8 * torch.eye(2), torch.diag(torch.tensor([1.0, 1e-8]))]
    )
    means = torch.tensor([[0.0, 0.0], [1.5, 1.5], [0.0, -1.0]])
    mixture = GaussianMixture(torch.tensor([0.8, 0.1, 0.1]), means, FullCovariance(matrices))
    ax = plots.plot_mixture(mixture, x)
    (label,) = [text.get_text() for text in ax.get_legend().get_texts()]
    assert label == "collapsed: components 1, 2"
    (rings,) = [part for part in ax.collections if part.get_label() == label]
    np.testing.assert_allclose(rings.get_offsets(), means[1:])
    (contours,) = [part for part in ax.collections if type(part).__name__ == "QuadContourSet"]
    assert sum(len(path.vertices) for path in contours.get_paths()) > 100  # of the sound one
    for scale in (1e-3, 1.0, 1e6):  # whatever the units
        sound = GaussianMixture(
            torch.ones(1), torch.zeros(1, 2), FullCovariance(scale**2 * torch.eye(2)[None])
        )
        assert plots.plot_mixture(sound, scale * x).get_legend() is None


def test_a_narrow_component_of_a_neuron_is_seen():
    loc, scale = torch.tensor([[0.0, 1.2345]]), torch.tensor([[3.0, 1e-3]])
    nodes = UnivariateGaussianMixture(loc, scale, probs=torch.tensor([[0.9, 0.1]]))
    (line,) = plots.plot_neuron(nodes, 0).lines
    peak = nodes.log_prob(torch.tensor([1.2345]))[0].exp().item()
    assert line.get_ydata().max() == pytest.approx(peak, rel=1e-3)
    assert len(line.get_xdata()) > 400


def spiked(weight):
    """A density of which some is a spike that no histogram shows."""
    x = torch.linspace(-2, 2, 300, dtype=torch.float64).unsqueeze(-1)
    model = BayesianGaussianMixture(2, 1, priors=Priors.from_data(x))
    idata = di.to_inference_data(model, mean_field(model, x=x), x, num_samples=50, seed=0)
    posterior = idata.posterior
    posterior["weights"].values[:] = [1 - weight, weight]
    posterior["means"].values[:] = [[0.0], [0.5]]
    posterior["variances"].values[:] = [[1.0], [1e-8]]
    return plots.plot_density(model, idata, x)


def test_a_spike_of_a_density_is_found_and_cut_off():
    ax = spiked(0.1)
    (line,) = ax.lines
    top = 0.1 / (1e-4 * (2 * np.pi) ** 0.5)
    assert line.get_ydata().max() == pytest.approx(top, rel=0.01)
    assert ax.get_ylim()[1] < 2 and "spike of 39" in ax.get_ylabel()
    assert spiked(1e-7).get_ylabel() == "density"


def test_bands_of_few_draws_are_smooth():
    ax = ENTRIES["prior density"](*DATA["two"])
    bands = [part for part in ax.collections if "band" in part.get_label()]
    for band in bands:
        upper = band.get_paths()[0].vertices
        upper = upper[len(upper) // 2 :]
        turns = np.diff(np.sign(np.diff(upper[:, 1]))) != 0
        assert turns.sum() < 25


def run(losses):
    return FitResult(torch.as_tensor(losses), Status.CONVERGED, "done")


def test_first_losses_do_not_hide_the_others():
    steps = torch.arange(1000.0)
    ax = plots.plot_losses(run(3e4 * (-steps / 10).exp() - 800 + torch.rand(1000)))
    assert ax.get_ylim()[1] < -700 and "up to 29,2" in ax.get_ylabel()
    assert ax.get_yscale() == "linear"
    ax = plots.plot_losses(run(3e4 * (-steps / 10).exp() + 80))
    assert ax.get_yscale() == "log" and ax.get_ylim()[1] > 3e4
    assert plots.plot_losses(run(100 + torch.rand(50))).get_yscale() == "linear"


def test_log_axes_have_plain_numbers():
    ax = plots.plot_losses(run(torch.logspace(7, -1, 100)))
    ax.figure.canvas.draw()
    shown = [tick.get_text() for tick in ax.get_yticklabels()]
    assert {"1", "1,000", "$10^{6}$"} & {*shown} and not any("e+" in text for text in shown)
    ax = plots.plot_losses(run(torch.linspace(900, 40, 100)))
    ax.figure.canvas.draw()
    assert {"50", "100", "200", "500"} <= {tick.get_text() for tick in ax.get_yticklabels()}


def test_the_posterior_of_what_is_far_from_zero_is_no_line():
    x, y = DATA["at a million"]
    ax = ENTRIES["prior and posterior"](x, y)
    low, high = ax.get_xlim()
    assert high - low < 100
    posterior = next(line for line in ax.lines if line.get_label() == "posterior")
    values, density = posterior.get_data()
    assert np.trapezoid(density, values) == pytest.approx(1, abs=0.02)
    assert max(density[0], density[-1]) < 0.01 * density.max()  # not cut at the last draw
