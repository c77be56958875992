"""Rows of any kind, with a graph or without, enter training and guides alike."""

import contextlib

import numpy as np
import pandas as pd
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from pyro_ugmm.guides import full_rank, low_rank, mean_field
from pyro_ugmm.models import BayesianGaussianMixture, Priors, UGMMClassifier
from pyro_ugmm.nn import UGMMNetwork
from pyro_ugmm.training import fit_mle, fit_svi

N = 30
X = torch.randn(N, 2, generator=torch.Generator().manual_seed(0))
Y = torch.arange(N) % 3
QUIET = {"steps": 4, "seed": 0, "progress": False}
FRAME = pd.DataFrame(X.numpy(), columns=["length", "width"])
FIXED = TensorDataset(X, Y)


def network():
    torch.manual_seed(0)
    return UGMMNetwork([2, 4, 3])


def mle(x=X, y=Y, **kwargs):
    return fit_mle(UGMMClassifier(network()), x, y, **QUIET, **kwargs).losses


def svi(x=X, y=Y, **kwargs):
    model = UGMMClassifier(network(), Priors())
    return fit_svi(model, mean_field(model), x, y, **QUIET, **kwargs).losses


def started(make):
    def values(x=X, y=Y):
        torch.manual_seed(0)
        guide = make(UGMMClassifier(network(), Priors()), x=x, y=y)
        return torch.cat([p.detach().flatten() for p in guide.parameters()])

    return values


ENTRIES = {
    "mle": mle,
    "svi": svi,
    "mean_field": started(mean_field),
    "low_rank": started(low_rank),
    "full_rank": started(full_rank),
}
entries = pytest.mark.parametrize("entry", ENTRIES.values(), ids=ENTRIES)


@entries
@pytest.mark.parametrize(
    "x",
    [
        X.numpy(),
        X.double().numpy(),
        np.asfortranarray(X.numpy()),
        X.numpy().astype(">f4"),
        np.ma.masked_array(X.numpy(), mask=False),
        X.double().tolist(),
        tuple(map(tuple, X.double().tolist())),
        [*X.numpy()],
        FRAME,
        FRAME.convert_dtypes(),
        FRAME.astype(object),
    ],
)
def test_rows_of_any_kind(entry, x):
    torch.testing.assert_close(entry(x), entry())


@entries
@pytest.mark.parametrize(
    "y",
    [
        Y.numpy(),
        Y.tolist(),
        Y.int(),
        Y.numpy().astype(np.uint8),
        Y.numpy().astype(np.uint16),
        pd.Series(Y.numpy()),
        pd.Series(Y.numpy()).astype("category"),
        pd.Series(np.array(["a", "b", "c"])[Y.numpy()]).astype("category").cat.codes,
        pd.Series(Y.numpy()).astype("Int64"),
        FRAME.assign(y=Y.numpy())["y"],
    ],
)
def test_labels_of_any_kind(entry, y):
    torch.testing.assert_close(entry(y=y), entry())


def test_whole_numbers_and_truth_values_are_rows():
    whole = np.arange(2 * N).reshape(N, 2) % 5
    expected = mle(torch.from_numpy(whole).float())
    for x in (whole, whole.tolist(), pd.DataFrame(whole), pd.DataFrame(whole).astype("Int8")):
        torch.testing.assert_close(mle(x), expected)
    assert mle(whole > 2).isfinite().all()


def at(value, kind=lambda x: x):
    x = X.double().numpy().copy()
    x[7, 1] = value
    return kind(x)


def named(x):
    return pd.DataFrame(x, columns=["length", "width"])


@entries
@pytest.mark.parametrize(
    ("x", "message"),
    [
        (at(np.nan), r"finite values.*row 7, column 1|finite values.* at index \(7, 1\)"),
        (np.ma.masked_equal(at(-9999.0), -9999.0), "finite values"),
        (at(np.inf, named), "finite values.* in row 7, column 1 .'width'"),
        (at(np.nan, named), "finite values.*missing='omit'.* in row 7, column 1 .'width'"),
        (FRAME.assign(width=None), "finite values.*column 1 .'width'"),
        (FRAME.assign(width="much"), "numbers.*'width'"),
        (FRAME.assign(width=pd.Categorical(["a"] * N)), "numbers.*'width'"),
        (FRAME.assign(third=1.0), r"shape \(n, 2\)"),
        (at(1e40, named), "torch.float32 can hold.*'width'"),
        ([[1.0, 2.0], [3.0]], "rows of numbers"),
        ("abc", "numbers"),
        ([], "shape"),
        (X.to_sparse(), "dense"),
        (X.double(), "float32"),
        (X.long(), "floating-point"),
        (X[:, 0], "shape"),
    ],
)  # fmt: skip
def test_bad_rows_are_refused_in_words(entry, x, message):
    with pytest.raises(ValueError, match=f"x: expected .*({message})"):
        entry(x)


@entries
@pytest.mark.parametrize("kind", [pd.Series, pd.Categorical, np.array, list])
def test_names_of_classes_are_refused_with_a_remedy(entry, kind):
    with pytest.raises(ValueError, match=r"y: .*labels \(pandas.factorize .*\), got 'a'"):
        entry(y=kind(["a", "b", "c"] * 10))
    numbers, _ = pd.factorize(np.array(["a", "b", "c"] * 10))
    torch.testing.assert_close(entry(y=numbers), entry())


@entries
@pytest.mark.parametrize(
    "y",
    [
        Y[:-1],
        Y.numpy()[:-1],
        Y + 1,
        Y.numpy() - 1,
        Y.double().numpy(),
        [0.5] * N,
        ["a"] * N,
        np.ma.masked_equal(Y.numpy(), 1),
        pd.Series(["a"] * N).astype("category"),
        pd.Series([0, None, 2] * 10, dtype="Int64"),
        Y.expand(2, N),
    ],
)
def test_bad_labels_are_refused_in_words(entry, y):
    with pytest.raises(ValueError, match="y: expected"):
        entry(y=y)


def with_graph():
    layer = torch.nn.Linear(2, 2)
    torch.nn.init.eye_(layer.weight)
    torch.nn.init.zeros_(layer.bias)
    return layer(X), layer


def leaf():
    x = X.clone().requires_grad_()
    return x, x


class Lazy(TensorDataset):
    """Rows that a layer puts out as they are asked for."""

    def __init__(self, x, y):
        super().__init__(X, y)
        self.layer = with_graph()[1]

    def __getitem__(self, i):
        return self.layer(X[i]), self.tensors[1][i]


@pytest.mark.parametrize("make", [with_graph, leaf])
@pytest.mark.parametrize(
    "wrap",
    [
        lambda x: (x, Y),
        lambda x: (TensorDataset(x, Y), None),
        lambda x: (DataLoader(TensorDataset(x, Y), 10), None),
        lambda x: (DataLoader(Lazy(x, Y), 10), None),
    ],
)
@pytest.mark.parametrize("fit", [mle, svi])
def test_a_graph_is_left_alone(fit, wrap, make):
    x, source = make()
    losses = fit(*wrap(x))
    torch.testing.assert_close(losses, fit(*wrap(X)))
    parameters = [source] if isinstance(source, torch.Tensor) else [*source.parameters()]
    assert all(parameter.grad is None for parameter in parameters)
    x.sum().backward()  # the graph is there still


@pytest.mark.parametrize("make", [mean_field, low_rank, full_rank])
def test_a_guide_leaves_a_graph_alone(make):
    for kind in (with_graph, leaf):
        x, _ = kind()
        torch.testing.assert_close(started(make)(x), started(make)(X))
        x.sum().backward()


MODES = {
    "no_grad": torch.no_grad,
    "inference": torch.inference_mode,
    "both": lambda: nested(torch.inference_mode(), torch.no_grad()),
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "all": lambda: nested(torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16)),
}


@contextlib.contextmanager
def nested(*managers):
    with contextlib.ExitStack() as stack:
        for manager in managers:
            stack.enter_context(manager)
        yield


@entries
@pytest.mark.parametrize("mode", MODES.values(), ids=MODES)
def test_the_callers_mode_changes_nothing(entry, mode):
    with mode():
        x, y = X.clone(), Y.clone()
        within = entry(x, y)  # the model too is made within
        assert torch.is_inference_mode_enabled() == x.is_inference()
    torch.testing.assert_close(within, entry())
    torch.testing.assert_close(entry(x, y), entry())


@pytest.mark.parametrize("mode", MODES.values(), ids=MODES)
@pytest.mark.parametrize("batch_size", [None, 10])
def test_data_sets_within_a_mode(mode, batch_size):
    expected = [fit(FIXED, None, batch_size=batch_size) for fit in (mle, svi)]
    with mode():
        data = TensorDataset(X.clone(), Y.clone())
        found = [fit(data, None, batch_size=batch_size) for fit in (mle, svi)]
        loaded = [fit(DataLoader(data, 10), None) for fit in (mle, svi)]
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(loaded, [fit(DataLoader(FIXED, 10), None) for fit in (mle, svi)])


@pytest.mark.parametrize("mode", MODES.values(), ids=MODES)
@pytest.mark.parametrize("covariance", ["full", "tied", "diagonal", "spherical"])
def test_mixtures_within_a_mode(covariance, mode):
    def fit(x):
        torch.manual_seed(0)
        model = BayesianGaussianMixture(2, 2, covariance, Priors.from_data(x))
        guide = mean_field(model, x=x)
        return fit_svi(model, guide, x, **QUIET).losses

    with mode():
        within = fit(X.clone())
    torch.testing.assert_close(within, fit(X), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("make", [mean_field, low_rank, full_rank])
def test_what_was_kept_within_a_mode_does_not_disturb_training(make):
    def fit(mode):
        torch.manual_seed(0)
        model = BayesianGaussianMixture(2, 2, priors=Priors.from_data(X))
        with mode():
            model.log_prior(model.start_values())
            model.log_likelihood(X, draws=model.start_values())
        guide = make(model, x=X)
        with mode():
            guide()
        return fit_svi(model, guide, X, **QUIET).losses

    torch.testing.assert_close(fit(torch.inference_mode), fit(contextlib.nullcontext))


@pytest.mark.parametrize("make", [mean_field, low_rank, full_rank])
def test_a_guide_that_first_ran_within_inference_mode_can_be_trained(make):
    torch.manual_seed(0)
    model = UGMMClassifier(network(), Priors())
    guide = make(model)
    with torch.inference_mode():
        guide(X)
    assert fit_svi(model, guide, X, Y, **QUIET).losses.isfinite().all()
    torch.testing.assert_close(
        model.log_likelihood(X, Y, draws=guide()).isfinite().all().item(), True
    )
