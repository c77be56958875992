"""Networks compiled by torch and by Pyro."""

import pyro
import pytest
import torch
from pyro.infer import (
    MCMC,
    NUTS,
    SVI,
    JitTrace_ELBO,
    JitTraceEnum_ELBO,
    JitTraceMeanField_ELBO,
    Trace_ELBO,
)
from pyro.infer.autoguide import AutoDelta, AutoNormal
from pyro.infer.mcmc.util import initialize_model

from pyro_ugmm.models import Priors, UGMMClassifier
from pyro_ugmm.nn import UGMMLayer, UGMMNetwork

pytestmark = [
    pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning"),
    pytest.mark.filterwarnings("ignore:TraceEnum_ELBO found no sample sites"),
]
PRIORS = [
    pytest.param(Priors(), id="means and variances"),
    pytest.param(Priors(weights=1.0), id="all"),
    pytest.param(Priors(means=None), id="variances"),
]


def problem(sizes=(4, 8, 3), priors=None, **kwargs):
    torch.manual_seed(0)
    network = UGMMNetwork(sizes, **kwargs)
    x, y = torch.randn(20, sizes[0]), torch.randint(3, (20,))
    return network, UGMMClassifier(network, priors=priors), x, y


def no_guide(*data):
    """A guide of nothing: the model is learned by maximum likelihood."""


@pytest.mark.parametrize("sizes", [(4, 8, 3), (60, 80, 3)])
@pytest.mark.parametrize("missing", ["error", "omit"])
def test_by_torch(sizes, missing):
    network, _, x, _ = problem(sizes, missing=missing, normalization="layer")
    more = torch.randn(30, sizes[0])
    with torch.no_grad():
        traced = torch.jit.trace(network, x)
        compiled = torch.compile(network, backend="aot_eager")
        for rows in (x, more):
            torch.testing.assert_close(traced(rows), network(rows))
            torch.testing.assert_close(compiled(rows), network(rows))


@pytest.mark.parametrize("elbo", [JitTrace_ELBO, JitTraceMeanField_ELBO, JitTraceEnum_ELBO])
@pytest.mark.parametrize("priors", [None, *PRIORS])
def test_pyros_compiled_losses_train_as_the_others_do(elbo, priors):
    def train(loss):
        network, model, x, y = problem(priors=priors)
        with pyro.get_param_store().scope():
            guide = AutoDelta(model) if priors else no_guide
            svi = SVI(model, guide, pyro.optim.Adam({"lr": 0.05}), loss)
            losses = [svi.step(x, y) for _ in range(4)]
        return losses, [parameter.detach().clone() for parameter in network.parameters()]

    losses, parameters = train(elbo(max_plate_nesting=1, ignore_jit_warnings=True))
    expected, expected_parameters = train(Trace_ELBO(max_plate_nesting=1))
    assert losses == pytest.approx(expected, rel=1e-4)
    torch.testing.assert_close(parameters, expected_parameters, rtol=1e-3, atol=1e-4)


def test_compiled_losses_keep_twins_apart():
    """Copies of a network have one name; each is trained by itself."""
    losses = []
    for _ in range(2):
        network, model, x, y = problem()
        twin = UGMMClassifier(network, priors=None)
        with pyro.get_param_store().scope():
            svi = SVI(
                twin,
                no_guide,
                pyro.optim.Adam({"lr": 0.05}),
                JitTrace_ELBO(ignore_jit_warnings=True),
            )
            losses.append([svi.step(x, y) for _ in range(3)])
        torch.testing.assert_close(network(x), model.scores(x))
    assert losses[0] == losses[1] and losses[0][2] < losses[0][0]


def test_a_layer_in_a_users_own_model_is_compiled():
    layer, x = UGMMLayer(4, 3), torch.randn(20, 4)
    y = torch.randint(3, (20,))

    def model(x, y):
        with pyro.plate("rows", len(x)):
            pyro.sample("y", pyro.distributions.Categorical(logits=layer(x)), obs=y)

    before = [parameter.detach().clone() for parameter in layer.parameters()]
    with pyro.get_param_store().scope():
        loss = JitTrace_ELBO(ignore_jit_warnings=True)
        svi = SVI(model, no_guide, pyro.optim.Adam({"lr": 0.1}), loss)
        for _ in range(2):
            svi.step(x, y)
    assert all((a != b).any() for a, b in zip(before, layer.parameters(), strict=True))
    assert pyro.settings.get("module_local_params") is False


@pytest.mark.parametrize("priors", PRIORS)
@pytest.mark.parametrize("normalization", ["none", "layer"])
def test_the_compiled_potential_is_the_potential(priors, normalization):
    _, model, x, y = problem(priors=priors, normalization=normalization)
    start, compiled, *_ = initialize_model(model, (x, y), jit_compile=True, skip_jit_warnings=True)
    potential = initialize_model(model, (x, y))[1]
    for _ in range(2):
        point = {site: (v + 0.1 * torch.randn_like(v)).detach() for site, v in start.items()}
        for value in point.values():
            value.requires_grad_()
        found, expected = compiled(point), potential(point)
        torch.testing.assert_close(found, expected)
        slopes = [torch.autograd.grad(value, [*point.values()]) for value in (found, expected)]
        torch.testing.assert_close(*slopes, rtol=1e-4, atol=1e-4)
    assert all(parameter.requires_grad for parameter in model.network.parameters())


def test_chains_run_compiled():
    _, model, x, y = problem((4, 3), priors=Priors())
    kernel = NUTS(model, jit_compile=True, ignore_jit_warnings=True, max_tree_depth=2)
    chains = MCMC(kernel, num_samples=2, warmup_steps=2, disable_progbar=True)
    chains.run(x, y)
    assert all(draws.isfinite().all() for draws in chains.get_samples().values())


def test_guides_that_start_at_random_train_compiled():
    _, model, x, y = problem(priors=Priors())
    with pyro.get_param_store().scope():
        loss = JitTrace_ELBO(ignore_jit_warnings=True)
        svi = SVI(model, AutoNormal(model), pyro.optim.Adam({"lr": 0.01}), loss)
        assert all(torch.tensor(svi.step(x, y)).isfinite() for _ in range(3))
