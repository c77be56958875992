"""Who follows a computation finds all of it: Pyro's dependencies, traced and compiled graphs."""

import functools

import pyro
import pytest
import torch
from pyro.infer.inspect import get_dependencies, get_model_relations
from pyro.ops.provenance import ProvenanceTensor, get_provenance

from pyro_ugmm.distributions import GaussianMixture, UnivariateGaussianMixture
from pyro_ugmm.models import BayesianGaussianMixture
from tests.distributions.mixtures import (
    by_count,
    by_shared_structure,
    by_structure,
    close,
    parameters,
    random_mixture,
    rebuilt,
    rows,
)

X = rows(6, 2)
METHODS = ("log_prob", "responsibilities")
by_method = pytest.mark.parametrize("method", METHODS)
pytestmark = pytest.mark.filterwarnings("ignore")  # of torch's tracer
by_missing = pytest.mark.parametrize("missing", ["error", "marginalize"])


def with_holes(x):
    return x.masked_fill(torch.eye(*x.shape, dtype=torch.bool), torch.nan)


# -- dependencies ---------------------------------------------------------------------------


@by_structure
@by_count
@by_method
@by_missing
def test_what_a_density_depends_on(structure, n_components, method, missing):
    mixture, _ = random_mixture(structure, n_components, missing=missing)
    x = with_holes(X) if missing == "marginalize" else X
    expected = getattr(mixture, method)(x)
    named = zip("abcc", parameters(mixture), strict=False)
    tracked = [ProvenanceTensor(t.clone(), frozenset([name])) for name, t in named]
    covariance = type(mixture.covariance)(*tracked[2:])
    other = GaussianMixture(*tracked[:2], covariance, missing=missing)
    value = ProvenanceTensor(x, frozenset(["x"]))
    found = getattr(other, method)(value)
    assert get_provenance(found) == {"a", "b", "c", "x"}
    torch.testing.assert_close(torch.as_tensor(found._t), expected)


@by_structure
@pytest.mark.parametrize(
    "of", ["sample", "rsample", "condition", "marginal", "mean", "covariance_matrix"]
)
def test_what_other_results_depend_on(structure, of):
    mixture, _ = random_mixture(structure)
    tracked = [
        ProvenanceTensor(t.clone(), frozenset(name))
        for name, t in zip("abcc", parameters(mixture), strict=False)
    ]
    other = GaussianMixture(*tracked[:2], type(mixture.covariance)(*tracked[2:]))
    found = {
        "sample": lambda: other.sample((3,)),
        "rsample": lambda: other.rsample((3,)),
        "condition": lambda: other.condition({0: 1.0}).log_prob(X[:, 1:]),
        "marginal": lambda: other.marginal([0]).log_prob(X[:, :1]),
        "mean": lambda: other.mean,
        "covariance_matrix": lambda: other.covariance_matrix,
    }[of]()
    assert get_provenance(found) == set("ab" if of == "mean" else "abc")


@by_shared_structure
@pytest.mark.parametrize("n_components", [2, 12])
def test_relations_of_a_model(structure, n_components):
    model = BayesianGaussianMixture(n_components, 2, covariance=structure)
    x = X.float()
    sites = set(model.site_distributions())
    relations = get_model_relations(model, (x,))
    assert set(relations["sample_sample"]["x"]) == sites
    assert set(get_dependencies(model, (x,))["prior_dependencies"]["x"]) >= sites


def test_relations_of_a_univariate_mixture():
    def model(y):
        loc = pyro.sample("loc", pyro.distributions.Normal(torch.zeros(2), 1.0).to_event(1))
        scale = pyro.sample("scale", pyro.distributions.LogNormal(torch.zeros(2), 1.0).to_event(1))
        d = UnivariateGaussianMixture(loc, scale, logits=torch.zeros(2))
        pyro.sample("y", d, obs=y)

    relations = get_model_relations(model, (torch.tensor(1.0),))
    assert set(relations["sample_sample"]["y"]) == {"loc", "scale"}


@pytest.fixture
def compiler():
    """torch.compile as of new, which turns the checks of all torch's distributions off."""
    checks = torch.distributions.Distribution._validate_args
    torch._dynamo.reset()
    yield functools.partial(torch.compile, fullgraph=True)
    torch.distributions.Distribution.set_default_validate_args(checks)


# -- graphs ---------------------------------------------------------------------------------


@by_structure
@by_count
@by_method
@by_missing
def test_traced_graphs_are_for_other_rows(structure, n_components, method, missing):
    mixture, _ = random_mixture(structure, n_components, missing=missing)
    traced = torch.jit.trace(getattr(mixture, method), (X,), check_trace=False)
    for x in (X + 1, rows(9, 2) - 3):
        torch.testing.assert_close(traced(x), getattr(mixture, method)(x))
    if missing == "marginalize":
        torch.testing.assert_close(traced(with_holes(X)), getattr(mixture, method)(with_holes(X)))


@by_structure
@by_method
def test_traced_graphs_are_for_other_parameters(structure, method):
    one, two = (random_mixture(structure, seed=seed)[0] for seed in (0, 1))

    def evaluate(*tensors):
        *others, x = tensors
        return getattr(rebuilt(structure, *others), method)(x)

    traced = torch.jit.trace(evaluate, (*parameters(one), X), check_trace=False)
    torch.testing.assert_close(traced(*parameters(two), X + 1), getattr(two, method)(X + 1))


@by_shared_structure
def test_jit_elbo(structure):
    model = BayesianGaussianMixture(2, 2, covariance=structure)
    x, losses = X.float(), []
    for kind in (pyro.infer.Trace_ELBO, pyro.infer.JitTrace_ELBO):
        pyro.clear_param_store()
        pyro.set_rng_seed(0)
        guide = pyro.infer.autoguide.AutoDelta(model)  # no noise, which tracing would draw twice
        guide(x)
        losses.append(float(kind(ignore_jit_warnings=True).loss_and_grads(model, guide, x)))
    pyro.clear_param_store()
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


@by_structure
@pytest.mark.parametrize(
    ("method", "missing", "backend"),
    [("log_prob", "error", "aot_eager"), ("responsibilities", "marginalize", "eager")],
)
def test_compiled_whole(structure, method, missing, backend, compiler):
    mixture, truth = random_mixture(structure, missing=missing)
    function = getattr(mixture, method)
    compiled = compiler(function, backend=backend)
    for x in (X, X + 1):
        close(compiled(x), getattr(truth, method)(x))
        leaf = x.clone().requires_grad_()
        if method == "log_prob":
            pulls = [torch.autograd.grad(f(leaf).sum(), leaf)[0] for f in (compiled, function)]
            torch.testing.assert_close(*pulls)
    if missing == "marginalize":
        torch.testing.assert_close(compiled(with_holes(X)), function(with_holes(X)))


@by_structure
def test_compiled_from_parameters(structure, compiler):
    mixture, truth = random_mixture(structure)

    def evaluate(*tensors):
        *others, x = tensors
        return rebuilt(structure, *others).log_prob(x)

    compiled = compiler(evaluate, backend="eager")
    close(compiled(*parameters(mixture), X), truth.log_prob(X))


@by_method
def test_the_univariate_mixture_compiles(method, compiler):
    d = UnivariateGaussianMixture(X[:3, 0], X[:3, 1].abs(), logits=torch.zeros(3).double())
    compiled = compiler(getattr(d, method), backend="aot_eager")
    torch.testing.assert_close(compiled(X[:, 0]), getattr(d, method)(X[:, 0]))
