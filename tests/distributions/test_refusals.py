"""What distributions do not do, said in words; and the shapes that Pyro asks them for."""

import numpy as np
import pyro
import pytest
import torch
from sklearn.mixture import BayesianGaussianMixture as SklearnBayesianMixture
from sklearn.mixture import GaussianMixture as SklearnMixture

from pyro_ugmm.distributions import (
    DiagonalCovariance,
    FullCovariance,
    GaussianMixture,
    SphericalCovariance,
    TiedCovariance,
    UnivariateGaussianMixture,
)
from tests.distributions.mixtures import STRUCTURES, by_structure, parameters, random_mixture

HALVES = [torch.float16, torch.bfloat16]
by_half = pytest.mark.parametrize("half", HALVES)
VALUES = {
    FullCovariance: torch.eye(2).expand(3, 2, 2),
    TiedCovariance: torch.eye(2),
    DiagonalCovariance: torch.ones(3, 2),
    SphericalCovariance: torch.ones(3),
}
WORDS = "expected torch.float32 or torch.float64"


def univariate(**options):
    parameters = {"loc": torch.zeros(2, 3), "scale": torch.ones(3), "logits": torch.zeros(3)}
    return UnivariateGaussianMixture(**(parameters | options))


# -- half precision -------------------------------------------------------------------------


@by_half
@pytest.mark.parametrize("kind", VALUES)
def test_covariances_in_half_precision(kind, half):
    for make in (lambda: kind(VALUES[kind].to(half)), lambda: kind(VALUES[kind]).to(half)):
        with pytest.raises(ValueError, match=f"{next(iter(kind.arguments))}: {WORDS}"):
            make()
    if hasattr(kind, "from_factor"):
        with pytest.raises(ValueError, match=f"{next(iter(kind.arguments))}: {WORDS}"):
            kind.from_factor(VALUES[kind].to(half))


@by_half
@by_structure
@pytest.mark.parametrize("validate_args", [True, False])
def test_mixtures_in_half_precision(structure, half, validate_args):
    mixture, _ = random_mixture(structure, dtype=torch.float32, validate_args=validate_args)
    weights, means, *_ = parameters(mixture)
    for make in (
        lambda: GaussianMixture(weights.to(half), means, mixture.covariance),
        lambda: GaussianMixture(weights, means.to(half), mixture.covariance),
        lambda: mixture.to(half),
        lambda: mixture.to("cpu", half),
        lambda: mixture.expand((2,)).to(half),
    ):
        with pytest.raises(ValueError, match=WORDS):
            make()
    for method in ("log_prob", "responsibilities", "predict"):
        with pytest.raises(ValueError, match=r"value: expected torch.float32"):
            getattr(mixture, method)(torch.zeros(2, 2).to(half))


@by_half
@pytest.mark.parametrize("name", ["loc", "scale", "logits", "probs"])
@pytest.mark.parametrize("validate_args", [True, False])
def test_univariate_mixtures_in_half_precision(name, half, validate_args):
    options = {"logits": None} if name == "probs" else {}
    with pytest.raises(ValueError, match=f"{name}: {WORDS}"):
        univariate(**options, **{name: torch.ones(3).to(half)}, validate_args=validate_args)


@by_half
@pytest.mark.parametrize("value", [torch.tensor(0.5), torch.full((2,), 0.5)])
@pytest.mark.parametrize("method", ["log_prob", "responsibilities", "cdf", "icdf"])
def test_values_in_half_precision(method, value, half):
    with pytest.raises(ValueError, match=r"value: expected torch.float32"):
        getattr(univariate(), method)(value.to(half))


# -- what has no formula --------------------------------------------------------------------


@pytest.mark.parametrize(
    "ask",
    [
        lambda d: d.entropy(),
        lambda d: d.perplexity(),
        lambda d: d.mode,
        lambda d: d.enumerate_support(),
    ],
)
@pytest.mark.parametrize("make", [univariate, lambda: random_mixture()[0]])
def test_what_neither_mixture_has(ask, make):
    with pytest.raises(NotImplementedError, match=r"(entropy|mode|enumerate_support): a mixture"):
        ask(make())


@pytest.mark.parametrize("method", ["cdf", "icdf"])
def test_what_a_mixture_of_several_dimensions_has_not(method):
    with pytest.raises(NotImplementedError, match=f"{method}: .*marginal"):
        getattr(random_mixture()[0], method)(torch.zeros(2).double())


# -- shapes ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shapes", "batch"),
    [
        ({"loc": (2, 3), "scale": (2, 3), "logits": (2, 3)}, (2,)),
        ({"loc": (3,), "scale": (5, 1, 3), "probs": (4, 3)}, (5, 4)),
        ({"loc": (3,), "scale": (3,), "logits": (3,)}, ()),
    ],
)
def test_inferred_shapes_of_a_univariate_mixture(shapes, batch):
    assert UnivariateGaussianMixture.infer_shapes(**shapes) == (batch, ())
    d = UnivariateGaussianMixture(**{name: torch.ones(shape) for name, shape in shapes.items()})
    assert (d.batch_shape, d.event_shape) == (batch, ())


@by_structure
@pytest.mark.parametrize("batches", [((), (), ()), ((2,), (3, 1), (2,)), ((), (), (4,))])
def test_inferred_shapes_of_a_mixture(structure, batches):
    mixture, _ = random_mixture(structure, 3, 5, batches)
    shapes = {"weights": (*batches[0], 3), "means": (*batches[1], 3, 5)}
    expected = mixture.batch_shape, mixture.event_shape
    found = GaussianMixture.infer_shapes(**shapes, covariance=mixture.covariance)
    assert found == expected
    found = GaussianMixture.infer_shapes(**shapes, covariance=(*batches[2], 3, 5, 5))
    assert found == expected


# -- scikit-learn, and classes in words -----------------------------------------------------


def test_a_variational_mixture_is_another():
    x = np.random.default_rng(0).normal(size=(40, 2))
    with pytest.raises(ValueError, match=r"model: expected a GaussianMixture .*density.* another"):
        GaussianMixture.from_sklearn(SklearnBayesianMixture(n_components=2).fit(x))
    model = SklearnMixture(2).fit(x)
    model.covariance_type = "banded"
    with pytest.raises(ValueError, match=r"model: expected a covariance_type of .*got banded"):
        GaussianMixture.from_sklearn(model)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GaussianMixture(torch.ones(1), torch.ones(1, 2), 3), "covariance: .* got int$"),
        (lambda: FullCovariance(3), "matrices: expected a torch tensor, got int$"),
        (lambda: FullCovariance([[1.0]]), "matrices: expected a torch tensor, got list$"),
        (lambda: univariate(loc=3.0), "loc: expected a torch tensor, got float$"),
        (lambda: univariate().log_prob(3.0), "value: expected a torch tensor, got float$"),
        (lambda: univariate().cdf(None), "value: expected a torch tensor, got NoneType$"),
        (lambda: univariate().log_prob(torch.tensor(torch.nan)), "value: expected real.*got nan"),
    ],
)
def test_classes_are_called_by_their_names(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("name", STRUCTURES)
def test_mixtures_in_pyros_handlers(name):
    """Expanding, masking and lifting to an event know nothing of the mixture."""
    mixture = random_mixture(name)[0]
    with pyro.plate("rows", 4):
        assert pyro.sample("x", mixture).shape == (4, 2)
    assert mixture.expand((3,)).to_event(1).log_prob(torch.zeros(3, 2).double()).shape == ()
    assert mixture.mask(False).log_prob(torch.zeros(2).double()) == 0
