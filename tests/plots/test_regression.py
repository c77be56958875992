import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch

from pyro_ugmm.diagnostics import predictive_quantiles
from pyro_ugmm.guides import mean_field
from pyro_ugmm.models import Priors, UGMMClassifier
from pyro_ugmm.nn import UGMMNetwork
from pyro_ugmm.plots import plot_regression
from tests.models.regressions import regressor, several

matplotlib.use("Agg")
X, Y = several(40)


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def drawn():
    model = regressor(Y, Priors(), missing="omit")
    guide = mean_field(model)
    guide(*model.example_rows())
    return model, guide


@pytest.mark.parametrize("output", [0, 1])
def test_the_line_is_the_median_and_the_bands_hold_their_share(output):
    model, guide = drawn()
    frame = pd.DataFrame(X.numpy(), columns=["u", "v"])
    ax = plot_regression(model, guide, frame, Y, "v", output=output, num_samples=20, seed=0)
    assert ax.get_xlabel() == "v (other features at their medians)"
    (line,) = ax.lines
    along, median = line.get_data()
    rows = torch.stack([X[:, 0].median().expand(len(along)), torch.tensor(along)], -1)
    q = (0.05, 0.25, 0.5, 0.75, 0.95)
    curves = predictive_quantiles(model, guide, rows, q, 20, seed=0)[..., output].numpy()
    np.testing.assert_allclose(median, curves[2], rtol=1e-5)
    wide, narrow, points = ax.collections
    for band, (low, high) in ((wide, (0, 4)), (narrow, (1, 3))):
        vertices = band.get_paths()[0].vertices[:, 1]
        assert vertices.min() == pytest.approx(curves[low].min(), rel=1e-5)
        assert vertices.max() == pytest.approx(curves[high].max(), rel=1e-5)
    np.testing.assert_allclose(points.get_offsets()[:, 1], Y[:, output])


def test_rows_that_miss_the_feature_and_values_given():
    x = X.clone()
    x[:3, 0] = torch.nan
    ax = plot_regression(*drawn(), x, Y, fixed=[0.0, 1.0], num_samples=5)
    assert ax.get_xlabel() == "feature 0 (other features at their given values; 3 rows miss it)"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": UGMMClassifier(UGMMNetwork([2, 3]))}, "model: expected a UGMMRegressor"),
        ({"y": None}, "y: expected targets"),
        ({"y": torch.arange(40)}, "y: expected continuous targets"),
        ({"feature": 2}, "feature: expected one of 0 to 1"),
        ({"output": 2}, "output: expected one of 0 to 1"),
        ({"fixed": [0.0]}, r"fixed: expected shape \(2,\)"),
        ({"names": ["u"]}, "names: expected 2 names"),
        ({"ax": 3}, "ax: expected axes of matplotlib"),
        ({"x": torch.stack([X[:, 0] * torch.nan, X[:, 1]], -1)}, "feature: expected one of which"),
    ],
)
def test_bad_arguments(change, message):
    model, guide = drawn()
    arguments = {"model": model, "inference": guide, "x": X, "y": Y} | change
    with pytest.raises(ValueError, match=message):
        plot_regression(**arguments)
