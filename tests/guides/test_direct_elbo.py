"""The bound without a trace is Pyro's, in value and gradient."""

import pyro
import pytest
import torch
from pyro import poutine
from pyro.infer import Trace_ELBO
from pyro.infer.autoguide import AutoDelta, AutoNormal

from pyro_ugmm.guides import full_rank, low_rank, mean_field
from pyro_ugmm.guides.direct_elbo import direct_elbo
from pyro_ugmm.models import BayesianGaussianMixture, Priors, UGMMClassifier, UGMMDensity
from pyro_ugmm.nn import UGMMNetwork
from pyro_ugmm.programs.parameters import holding_parameters

N_ROWS, SIZE = 12, 60
GUIDES = {"mean_field": mean_field, "low_rank": low_rank, "full_rank": full_rank}
X = torch.randn(N_ROWS, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
Y = torch.arange(N_ROWS) % 3

MODELS = {
    "network": lambda: UGMMClassifier(UGMMNetwork([4, 5, 3]).double(), Priors(weights=1.0)),
    "partly learned": lambda: UGMMClassifier(UGMMNetwork([4, 5, 3]).double(), Priors(means=None)),
    "score": lambda: UGMMDensity(
        UGMMNetwork([5, 4, 1]).double(), 3, Priors.from_data(X), objective="score"
    ),
    "full": lambda: BayesianGaussianMixture(3, 4, "full", Priors.from_data(X)),
    "tied": lambda: BayesianGaussianMixture(2, 4, "tied", Priors.from_data(X)),
    "spherical": lambda: BayesianGaussianMixture(2, 4, "spherical", Priors.from_data(X)),
}


def gradients(loss, parameters) -> tuple[torch.Tensor, list[torch.Tensor]]:
    found = torch.autograd.grad(loss, parameters, allow_unused=True, materialize_grads=True)
    return loss.detach(), [*found]


@pytest.mark.parametrize("num_particles", [1, 3])
@pytest.mark.parametrize("guide_name", GUIDES)
@pytest.mark.parametrize("name", MODELS)
def test_it_equals_pyros(name, guide_name, num_particles):
    """From one seed, whose draws are the same; the guide's parameters are off their start."""
    torch.manual_seed(0)
    model = MODELS[name]().double()
    guide = GUIDES[guide_name](model)
    rows = (X, Y) if "mixture" not in type(model).__name__.lower() else (X,)
    vectorized = {"vectorize_particles": True, "max_plate_nesting": 1} if num_particles > 1 else {}
    elbo = Trace_ELBO(num_particles=num_particles, **vectorized)
    elbo.loss(model, guide, *rows, size=SIZE)
    parameters = [*guide.parameters(), *model.parameters()]
    with torch.no_grad():
        for parameter in guide.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    direct = direct_elbo(model, guide, num_particles, SIZE)
    torch.manual_seed(5)
    ours = gradients(direct.loss(*rows), parameters)
    torch.manual_seed(5)
    pyros = gradients(elbo.differentiable_loss(model, guide, *rows, size=SIZE), parameters)
    torch.testing.assert_close(ours[0], pyros[0], rtol=1e-5, atol=1e-8)
    for own, other in zip(ours[1], pyros[1], strict=True):
        torch.testing.assert_close(own, other, rtol=1e-5, atol=1e-8)


def hidden_weights(model):
    return AutoNormal(poutine.block(model, hide=["weights"]))


def with_plates(model):
    return AutoNormal(model, create_plates=lambda *rows, **size: pyro.plate("other", 2, dim=-3))


@pytest.mark.parametrize("make_guide", [hidden_weights, with_plates, AutoDelta])
def test_pyro_is_asked_of_other_guides(make_guide):
    """One that misses a site, has plates of its own, or is a point."""
    model = MODELS["full"]().double()
    guide = holding_parameters(make_guide(model))
    guide(X)
    assert direct_elbo(model, guide, 1, SIZE) is None


def test_pyro_is_asked_of_functions_and_of_other_models():
    model = MODELS["full"]().double()
    guide = mean_field(model)
    guide(X)
    assert direct_elbo(model, lambda x: guide(x), 1, SIZE) is None
    assert direct_elbo(poutine.scale(model, 2.0), guide, 1, SIZE) is None
