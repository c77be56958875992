import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.contour import ContourSet
from scipy import stats

from pyro_ugmm.diagnostics import to_inference_data
from pyro_ugmm.distributions import (
    BackgroundMixture,
    FullCovariance,
    GaussianMixture,
    UniformBox,
)
from pyro_ugmm.em import initialize
from pyro_ugmm.guides import mean_field
from pyro_ugmm.plots import plot_components, plot_density, plot_mixture, plot_prior_posterior
from tests.models.mixtures import mixture, rows

X = rows(80)


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def two_in_three():
    means = torch.tensor([[0.0, 0.0, 0.0], [5.0, 1.0, 2.0]])
    matrices = torch.diag(torch.tensor([1.0, 4.0, 0.25])).expand(2, 3, 3)
    return GaussianMixture(torch.tensor([0.5, 0.5]), means, FullCovariance(matrices))


@pytest.mark.parametrize(("columns", "dims"), [([1], (0, 1)), ([1], 0), ([0, 1, 2], 1)])
def test_one_dimension_is_drawn_over_a_histogram(columns, dims):
    whole = two_in_three()
    x = whole.sample((500,))
    ax = plot_mixture(whole.marginal(columns), x[:, columns], dims)
    (line,) = ax.lines
    at, height = (torch.as_tensor(part) for part in line.get_data())
    expected = whole.marginal([1]).log_prob(at.unsqueeze(-1)).exp()
    torch.testing.assert_close(height, expected)
    assert torch.trapezoid(height, at) > 0.95
    assert [text.get_text() for text in ax.get_legend().texts][-1] == "density"
    assert len(ax.collections) == 2  # components
    plt.close("all")


def test_ellipses_hold_what_they_say():
    m = two_in_three()
    x = m.sample((4000,))
    ax = plot_mixture(m, x, dims=(2, 1))
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("dimension 2", "dimension 1")
    component = m.predict(x)
    for k, ellipse in enumerate(ax.patches):
        points = x[component == k][:, [2, 1]].numpy()
        path = ellipse.get_path().transformed(ellipse.get_patch_transform())
        assert path.contains_points(points).mean() == pytest.approx(0.9, abs=0.02)
        np.testing.assert_allclose(ellipse.center, m.means[k, [2, 1]])
    assert sum(len(c.get_offsets()) for c in ax.collections[:2]) == 4000
    # The contours go on where ellipses reach beyond the rows.
    one = GaussianMixture(torch.ones(1), torch.zeros(1, 2), FullCovariance(torch.eye(2)[None]))
    ax = plot_mixture(one, torch.zeros(5, 2))
    (contours,) = (c for c in ax.collections if isinstance(c, ContourSet))
    ends = np.concatenate([path.vertices for path in contours.get_paths()])
    (ellipse,) = ax.patches
    assert np.abs(ends).max() > ellipse.width / 2


def test_rows_of_a_background_are_crosses():
    box = UniformBox(torch.full((3,), -50.0), torch.full((3,), 50.0))
    whole = BackgroundMixture(two_in_three(), box, 0.3)
    x = whole.sample((500,))
    ax = plot_mixture(whole, x, dims=(2, 1))
    n_outside = int((whole.predict(x) == -1).sum())
    assert n_outside > 100
    assert [len(c.get_offsets()) for c in ax.collections[:3]][2] == n_outside
    assert len(ax.patches) == 2


def test_rows_that_miss_what_is_drawn_are_counted():
    m = two_in_three()
    m = GaussianMixture(m.weights, m.means, m.covariance, missing="marginalize")
    x = m.sample((10,))
    x[:3, 1] = x[3, 0] = torch.nan
    assert "(3 rows miss one of the two" in plot_mixture(m, x, dims=(1, 2)).get_xlabel()


def test_many_components_have_a_color_each():
    m = GaussianMixture(
        torch.full((14,), 1 / 14), torch.randn(14, 2), FullCovariance(torch.eye(2).repeat(14, 1, 1))
    )
    colors = {tuple(patch.get_edgecolor()) for patch in plot_mixture(m, m.sample((20,))).patches}
    assert len(colors) == 14


@pytest.mark.parametrize("group", ["posterior", "prior"])
def test_the_band_is_that_of_the_density(group):
    model = mixture("full")
    guide = mean_field(model, x=X)
    idata = to_inference_data(model, guide, X, num_samples=200, seed=0)
    ax = plot_density(model, idata, X, feature=1, group=group)
    (line,) = ax.get_lines()
    grid, density = line.get_data()
    if group == "posterior":
        assert np.trapezoid(density, grid) == pytest.approx(1, abs=0.1)
    draws = {
        site: torch.tensor(idata[group][site].values[0]).unsqueeze(1)
        for site in model.site_distributions()
    }
    middle = torch.tensor([[0.0, grid[150]]], dtype=torch.float64)
    expected = model.mixture(draws).marginal([1]).log_prob(middle[:, 1:]).exp().mean()
    assert density[150] == pytest.approx(expected.item(), rel=1e-6)
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == [
        "data",
        "90% band",
        "50% band",
        f"{group} predictive",
    ]


def test_prior_and_posterior_of_every_site():
    model = mixture("full", weights=2.0)
    idata = to_inference_data(model, mean_field(model), X, num_samples=2000, seed=0)
    spread, center = rows().std(0), rows().mean(0)  # of the data of the priors
    expected = {
        ("weights", (1,)): stats.beta(2, 2),
        ("means", (0, 1)): stats.norm(center[1], 2 * spread[1]),
        # In units of K^(2/D) = 2.
        ("variances", (1, 0)): stats.lognorm(1.5, scale=np.exp(-1.5) * spread[0] ** 2 / 2),
        # LKJ(1) in two dimensions: the correlation is uniform
        ("correlations", (0, 1, 0)): stats.uniform(-1, 2),
    }
    for (site, index), prior in expected.items():
        ax = plot_prior_posterior(model, idata, site, index)
        (line,) = (line for line in ax.lines if line.get_label() == "prior")
        values, density = line.get_data()
        exact = site != "correlations"  # which has no closed form in general
        inner = slice(None) if exact else slice(len(values) // 4, -len(values) // 4)
        tolerance = {"rtol": 1e-5} if exact else {"atol": 0.15}
        np.testing.assert_allclose(density[inner], prior.pdf(values)[inner], **tolerance)
    with pytest.raises(ValueError, match="index: expected 1 numbers within"):
        plot_prior_posterior(model, idata, "weights", (2,))


def test_components_are_put_where_they_agree_with_the_classes():
    y = torch.tensor([0, 0, 0, 1, 1, 2, 2, 2])
    labels = torch.tensor([3, 3, 1, 0, 0, 1, 1, 1])
    ax = plot_components(labels, y, ["a", "b", "c", "of none"])
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["3", "0", "1", "2"]
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["a", "b", "c"]
    counts = np.array([int(text.get_text()) for text in ax.texts]).reshape(3, 4)
    np.testing.assert_array_equal(counts, [[2, 0, 1, 0], [0, 2, 0, 0], [0, 0, 3, 0]])


def drawn(**options):
    torch.manual_seed(0)
    model = mixture()
    return model, to_inference_data(model, mean_field(model), X, num_samples=10, seed=0, **options)


def test_columns_are_drawn_by_name():
    frame = pd.DataFrame(X.numpy(), columns=["length", "width"])
    em = initialize(frame, 2, seed=0)
    ax = plot_mixture(em, frame, ("width", "length"))
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("width", "length")
    for unnamed in (frame.to_numpy(), pd.DataFrame(frame.to_numpy())):
        assert plot_mixture(em, unnamed).get_xlabel() == "dimension 0"
    with pytest.raises(ValueError, match=r"dims: .* such as 'length', got \('width', 'w'\)"):
        plot_mixture(em, frame, ("width", "w"))
    twice = frame.set_axis(["a", "a"], axis=1)
    with pytest.raises(ValueError, match="dims: expected two different ones"):
        plot_mixture(em, twice, ("a", 1))
    model, idata = drawn()
    assert plot_density(model, idata, frame, "width").get_xlabel() == "width"
    _, named = drawn(coords={"feature": ["first", "second"]})
    assert plot_density(model, named, frame, "second").get_xlabel() == "second"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: plot_mixture(two_in_three(), X), r"x: expected rows \(n, 3\)"),
        (lambda: plot_mixture(two_in_three(), torch.ones(2, 3), (0, 0)), "dims: expected two"),
        (lambda: plot_mixture(two_in_three(), torch.ones(2, 3), (0, 3)), "dims: expected two"),
        (
            lambda: plot_mixture(two_in_three().expand((2,)), torch.ones(2, 3)),
            "mixture: expected no batch",
        ),
        (lambda: plot_density(*drawn(), X, feature=2), "feature: expected one of 0 to 1"),
        (lambda: plot_density(*drawn(), X, "c"), "feature: expected one of 0 to 1, got 'c'"),
        (
            lambda: plot_density(*drawn(), pd.DataFrame(X.numpy(), columns=["a", "b"]), "c"),
            "feature: expected one of 0 to 1, or by name, such as 'a', got 'c'",
        ),
        (lambda: plot_density(*drawn(), X, ax="left"), "ax: expected axes of matplotlib, got str"),
        (
            lambda: plot_mixture(two_in_three(), torch.ones(2, 3), 3),
            "dims: expected one of 0 to 2, got 3",
        ),
        (
            lambda: plot_components(torch.arange(3), torch.arange(3), ["a", "b"]),
            "names: expected 3 names, one for each class, got 2",
        ),
        (lambda: plot_density(mixture(), None, X[:, :1]), "x: expected shape"),
        (
            lambda: plot_density(mixture(), None, X),
            "idata: expected what .* posterior, got NoneType",
        ),
        (
            lambda: plot_density(mixture(), None, X, group="post"),
            "group: expected one of 'posterior'",
        ),
        (lambda: plot_density(two_in_three(), None, X), "model: expected a BayesianGaussian"),
        (lambda: plot_mixture(mixture(), X), "mixture: expected a GaussianMixture, got Bayesian"),
        (
            lambda: plot_components(torch.zeros(3), torch.zeros(3).long()),
            "labels: expected integers, shape",
        ),
        (
            lambda: plot_components(torch.zeros(3).long(), torch.zeros(2).long()),
            "y: expected as many as labels, 3, got 2",
        ),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()
