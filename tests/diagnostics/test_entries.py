"""Every entry of models and diagnostics takes rows of any kind, in any mode, and any numbers."""

import contextlib

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch

from pyro_ugmm import diagnostics as di
from pyro_ugmm import plots
from pyro_ugmm.guides import mean_field
from pyro_ugmm.models import BayesianGaussianMixture, Priors, UGMMClassifier, UGMMDensity
from pyro_ugmm.nn import UGMMNetwork
from pyro_ugmm.saving import load_fitted, save_fitted

matplotlib.use("Agg")
GENERATOR = torch.Generator().manual_seed(0)
X = torch.randn(24, 2, generator=GENERATOR).round(decimals=2)
Y = torch.arange(24) % 3
P = torch.rand(5, 24, 3, generator=GENERATOR).softmax(-1)


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def guided(model):
    """A model and a guide that is sure, so that draws hardly differ."""
    return model, mean_field(model, init_scale=1e-3)


MIXTURE = guided(BayesianGaussianMixture(2, 2, priors=Priors.from_data(X)))
NETWORK = guided(UGMMClassifier(UGMMNetwork([2, 4, 3]), Priors()))
DENSITY = guided(UGMMDensity(UGMMNetwork([3, 4, 1]), 3, Priors()))
DRAWS = di.to_inference_data(*MIXTURE, X, num_samples=100, seed=0)
VALUES = MIXTURE[0].start_values()
POINT = MIXTURE[0].mixture(VALUES)


def heights(ax):
    return torch.cat([torch.as_tensor(np.asarray(line.get_ydata(), float)) for line in ax.lines])


def points(axes):
    return np.concatenate([c.get_offsets() for ax in axes for c in ax.collections[1:]])


def inferred(fitted, x, y=None):
    idata = di.to_inference_data(*fitted, x, y, num_samples=100, seed=0)
    (predicted,) = idata.posterior_predictive.data_vars.values()
    return idata.sample_stats["log_p"].values, predicted.values


def run_model(fitted, *data):
    torch.manual_seed(0)
    return fitted[0](*data)


ENTRIES = {
    "mixture": lambda x, y: run_model(MIXTURE, x),
    "classifier": lambda x, y: run_model(NETWORK, x, y),
    "classifier, drawn": lambda x, y: run_model(NETWORK, x),
    "density": lambda x, y: run_model(DENSITY, x, y),
    "log_likelihood of a network": lambda x, y: NETWORK[0].log_likelihood(x, y),
    "log_likelihood": lambda x, y: MIXTURE[0].log_likelihood(x, draws=VALUES),
    "scores": lambda x, y: NETWORK[0].scores(x),
    "scores of density": lambda x, y: DENSITY[0].scores(x),
    "inputs": lambda x, y: DENSITY[0].inputs(x, y),
    "from_data": lambda x, y: Priors.from_data(x).spread,
    "inference data of a mixture": lambda x, y: inferred(MIXTURE, x),
    "inference data of a network": lambda x, y: inferred(NETWORK, x, y),
    "class_probabilities": lambda x, y: di.class_probabilities(*NETWORK, x, 5, seed=0),
    "plot_mixture": lambda x, y: points([plots.plot_mixture(POINT, x)]),
    "plot_density": lambda x, y: heights(plots.plot_density(MIXTURE[0], DRAWS, x)),
    "plot_uncertainty": lambda x, y: points(
        plots.plot_uncertainty(*NETWORK, x, y, num_samples=5, seed=0)
    ),
    "plot_components": lambda x, y: [
        t.get_text() for t in plots.plot_components(y, y).get_xticklabels()
    ],
    "uncertainty": lambda x, y: di.uncertainty(as_probabilities(x)).epistemic,
    "calibration": lambda x, y: di.calibration(as_probabilities(x)[0], y).error,
    "plot_reliability": lambda x, y: heights(plots.plot_reliability(as_probabilities(x)[0], y)),
}


def as_probabilities(x):
    """Probabilities of the kind that the rows are."""
    return P.requires_grad_(x.requires_grad) if isinstance(x, torch.Tensor) else P.numpy()


def frame(x, **kinds):
    return pd.DataFrame(x, columns=["a", "b"]).astype(kinds or float)


ROWS = {
    "array": lambda: (X.numpy(), Y.numpy()),
    "array of float64": lambda: (X.double().numpy(), Y.numpy().astype(np.uint16)),
    "not writable": lambda: (read_only(X.numpy()), read_only(Y.numpy())),
    "lists": lambda: (X.tolist(), Y.tolist()),
    "masked": lambda: (np.ma.masked_invalid(X.numpy()), np.ma.masked_less(Y.numpy(), -1)),
    "frame": lambda: (frame(X.numpy()), pd.Series(Y.numpy())),
    "nullable": lambda: (
        frame(X.numpy()).convert_dtypes(),
        pd.Series(Y.numpy()).convert_dtypes(),
    ),
    "object": lambda: (X.numpy().astype(object), Y.numpy().astype(object)),
    "tensor that requires gradients": lambda: (X.clone().requires_grad_(), Y),
    "output of a layer": lambda: (torch.nn.Identity()(X.clone().requires_grad_()) * 1, Y),
}


def read_only(array):
    array = array.copy()
    array.flags.writeable = False
    return array


def same(found, expected):
    if isinstance(expected, torch.Tensor):
        torch.testing.assert_close(found.to(expected), expected, rtol=1e-4, atol=1e-4)
    elif isinstance(expected, tuple):
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)
    elif isinstance(expected, np.ndarray):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    else:
        assert found == expected


@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize("entry", ENTRIES)
def test_rows_of_any_kind(entry, rows):
    expected = ENTRIES[entry](X, Y)
    same(ENTRIES[entry](*ROWS[rows]()), expected)


MODES = {
    "inference mode": torch.inference_mode,
    "no gradients": torch.no_grad,
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "float64 by default": lambda: default_dtype(torch.float64),
}


@contextlib.contextmanager
def default_dtype(dtype):
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("entry", ENTRIES)
def test_in_any_mode(entry, mode):
    expected = ENTRIES[entry](X, Y)
    with MODES[mode]():
        found = ENTRIES[entry](X.clone(), Y.clone())
    same(found.clone() if isinstance(found, torch.Tensor) else found, expected)
    same(ENTRIES[entry](X, Y), expected)  # and nothing is left behind


BAD = {
    "gap": (frame(X.numpy()).assign(b=[1.0] * 3 + [None] * 21), r"x: .* row 3, column 1 \('b'\)"),
    "text": (pd.DataFrame({"a": ["u", "v"], "b": [1.0, 2.0]}), "x: expected numbers.*'a'"),
    "infinite": (X.numpy() * np.inf, "x: expected finite values.* row 0, column 0"),
    "too wide": (np.zeros((4, 5)), "x: expected "),
    "no rows": (np.zeros((0, 2)), "x: expected "),
    "rounded away": (np.array([[1e12, 0.0], [1e12 + 1, 1.0]]), "x: expected values that torch"),
}
TAKES_X = [
    name
    for name in ENTRIES
    if name
    not in ("plot_components", "uncertainty", "calibration", "plot_reliability", "from_data")
]


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("entry", TAKES_X)
def test_bad_rows_are_refused_in_words(entry, bad):
    x, message = BAD[bad]
    with pytest.raises(ValueError, match=message):
        ENTRIES[entry](x, Y[: len(x)].numpy())


LABELS = {
    "masked": (np.ma.masked_equal(Y.numpy(), 0), "y: expected no masked entries"),
    "null": (pd.Series([*Y.numpy()[:3], None], dtype="Int64"), "y: .* no missing .* NaN .*3"),
    "object": (np.array([*Y.numpy()[:3], None]), "y: expected no missing entries, got null .*3"),
    "text": (np.array(["u"] * 24), r"y: expected integer labels \(pandas.factorize.* got 'u'"),
    "names": (pd.Series(["u"] * 24), "y: expected integer labels .* got 'u'"),
    "kinds": (pd.Series(["u"] * 24, dtype="category"), "y: expected integer labels .* got 'u'"),
    "fractions": (Y.numpy() + 0.5, "y: expected integer"),
    "too few": (Y.numpy()[:5], "y: expected "),
    "unknown": (Y.numpy() - 1, "y: expected "),
}


@pytest.mark.parametrize("bad", LABELS)
@pytest.mark.parametrize(
    "entry",
    [
        "classifier",
        "density",
        "log_likelihood of a network",
        "inputs",
        "inference data of a network",
        "plot_uncertainty",
        "calibration",
        "plot_reliability",
    ],
)
def test_bad_labels_are_refused_in_words(entry, bad):
    y, message = LABELS[bad]
    with pytest.raises(ValueError, match=message):
        ENTRIES[entry](X, y)


INTEGERS = [np.int64, np.uint8, torch.tensor, lambda n: np.array(n)]
FLOATS = [np.float64, np.float32, torch.tensor, lambda n: np.array(n)]
NUMBERS = {
    "num_samples": lambda n: di.to_inference_data(*MIXTURE, X, num_samples=n(7)).posterior.sizes,
    "of probabilities": lambda n: di.class_probabilities(*NETWORK, X, num_samples=n(7)).shape,
    "of mixtures": lambda n: di.mixture_draws(MIXTURE[0], DRAWS, n(7)).batch_shape,
    "of resampling": lambda n: di.importance_resample(DRAWS, n(7)).posterior.sizes,
    "size": lambda n: MIXTURE[0](size=n(7)).shape,
    "size of data": lambda n: MIXTURE[0](X, size=n(48)).shape,
    "feature": lambda n: plots.plot_density(MIXTURE[0], DRAWS, X, n(1)).get_xlabel(),
    "features": lambda n: len(plots.plot_uncertainty(*NETWORK, X, Y, (n(0), n(1)), num_samples=3)),
    "dims": lambda n: plots.plot_mixture(POINT, X, (n(1), n(0))).get_xlabel(),
    "index": lambda n: plots.plot_neuron(UGMMNetwork([2, 3]).layers[0].nodes, n(1)).get_ylabel(),
    "place": lambda n: plots.plot_prior_posterior(
        MIXTURE[0], DRAWS, "means", (n(0), n(1))
    ).get_xlabel(),
    "place alone": lambda n: plots.plot_prior_posterior(
        MIXTURE[0], DRAWS, "weights", n(1)
    ).get_xlabel(),
    "n_bins": lambda n: di.calibration(P[0], Y, n(7)).counts.shape,
    "seed": lambda n: di.class_probabilities(*NETWORK, X, 3, seed=n(7)).shape,
    "n_components": lambda n: repr(BayesianGaussianMixture(n(3), n(2))),
    "n_classes": lambda n: repr(UGMMDensity(UGMMNetwork([3, 1]), n(3)).arguments()),
}


@pytest.mark.parametrize("kind", INTEGERS)
@pytest.mark.parametrize("argument", NUMBERS)
def test_integers_of_any_kind(argument, kind):
    torch.manual_seed(0)
    expected = NUMBERS[argument](int)
    torch.manual_seed(0)
    assert NUMBERS[argument](kind) == expected


@pytest.mark.parametrize("kind", FLOATS)
def test_a_model_made_with_numbers_of_any_kind_is_saved(kind, tmp_path):
    priors = Priors(weights=kind(2.0), correlations=kind(1.5))
    model = BayesianGaussianMixture(np.int64(2), np.int64(2), priors=priors)
    density = UGMMDensity(UGMMNetwork([3, 1]), np.int64(3), priors)
    for one in (model, density):
        save_fitted(tmp_path / "model.safetensors", one, None)
        again, _ = load_fitted(tmp_path / "model.safetensors")
        assert repr(again) == repr(one) and type(again.priors.weights) is float


@pytest.mark.parametrize("value", [True, 2.5, "2", None, -1, torch.ones(2)])
@pytest.mark.parametrize("argument", ["num_samples", "of probabilities", "place alone", "n_bins"])
def test_what_is_no_number_is_refused(argument, value):
    with pytest.raises(ValueError, match=r": expected (a positive|1 numbers)"):
        NUMBERS[argument](lambda _: value)
