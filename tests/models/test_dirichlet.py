"""A Dirichlet prior over as many weights as layers have inputs."""

import pytest
import torch
from torch.distributions import biject_to

from pyro_ugmm.guides import mean_field
from pyro_ugmm.models import Priors, UGMMClassifier
from pyro_ugmm.models.dirichlet import Dirichlet
from pyro_ugmm.nn import UGMMNetwork
from pyro_ugmm.training import fit_svi


@pytest.mark.parametrize("concentration", [0.3, 1.0, 4.0])
def test_its_density_is_torchs(concentration):
    alpha = torch.full((5, 3), concentration, dtype=torch.float64)
    weights = torch.rand(7, 5, 3, dtype=torch.float64)
    weights = (weights / weights.sum(-1, keepdim=True)).requires_grad_()
    ours, theirs = Dirichlet(alpha), torch.distributions.Dirichlet(alpha)
    assert torch.allclose(ours.log_prob(weights), theirs.log_prob(weights))
    gradients = [
        torch.autograd.grad(prior.log_prob(weights).sum(), weights)[0] for prior in (ours, theirs)
    ]
    assert torch.allclose(*gradients)
    assert torch.allclose(ours.expand((2, 5)).log_prob(weights[:2]), theirs.log_prob(weights[:2]))


@pytest.mark.parametrize("n_weights", [2, 784, 10_000])
def test_weights_in_single_precision_are_within_its_support(n_weights):
    prior = Dirichlet(torch.ones(n_weights), validate_args=True)
    weights = biject_to(prior.support)(torch.randn(20, n_weights - 1))
    assert prior.log_prob(weights).isfinite().all()
    with pytest.raises(ValueError, match="support"):
        prior.log_prob(1.01 * weights)
    with pytest.raises(ValueError, match="support"):
        prior.log_prob(torch.cat([-weights[:, :1], weights[:, 1:] + 2 * weights[:, :1]], -1))


def test_a_wide_layer_is_fitted_with_a_prior_over_its_weights():
    torch.manual_seed(0)
    model = UGMMClassifier(UGMMNetwork([784, 4, 3]), Priors(weights=1.0))
    x, y = torch.randn(12, 784), torch.arange(12) % 3
    result = fit_svi(model, mean_field(model), x, y, steps=2, seed=0, progress=False)
    assert result.losses.isfinite().all()
