import pyro.distributions as dist
import pytest
import torch
from torch.distributions import biject_to

from pyro_ugmm.models.scaled_prior import ScaledPrior


def scaled(base, batch=(3, 4)):
    center, spread = torch.randn(4), torch.rand(4) + 0.5
    if base.support.check(torch.tensor(-1.0)):
        return ScaledPrior(base, center, spread, torch.randn(batch))
    return ScaledPrior(base, torch.zeros(4), spread, torch.rand(batch) + 0.1)


BASES = [
    dist.Normal(0.5, 2.0),
    dist.StudentT(4.0),
    dist.InverseGamma(3.0, 1.0),
    dist.LogNormal(0.0, 1.0),
    dist.Gamma(2.0, 1.0),
    dist.HalfNormal(1.0),
]


@pytest.mark.parametrize("base", BASES, ids=str)
def test_scaled_prior_is_the_affine_image_of_its_base(base):
    prior = scaled(base)
    expected = torch.distributions.TransformedDistribution(
        base.expand((3, 4)), [torch.distributions.AffineTransform(prior.loc, prior.scale)]
    )
    value = prior.sample((5,))
    assert value.shape == (5, 3, 4)
    torch.testing.assert_close(prior.log_prob(value), expected.log_prob(value))
    assert prior.support.check(value).all()
    assert prior.expand((2, 3, 4)).log_prob(value[0]).shape == (2, 3, 4)
    torch.manual_seed(0)
    many = prior.sample((20_000,))
    error = (prior.variance / 20_000).sqrt()
    assert ((many.mean(0) - prior.mean).abs() < 6 * error).all()


@pytest.mark.parametrize("base", BASES, ids=str)
def test_zero_is_mapped_to_the_start(base):
    prior = scaled(base).to_event(2)
    bijection = biject_to(prior.support)
    torch.testing.assert_close(bijection(torch.zeros(3, 4)), prior.base_dist.start)
    value = prior.sample()
    torch.testing.assert_close(bijection(bijection.inv(value)), value, rtol=1e-4, atol=1e-4)


def test_a_start_outside_the_support_falls_back_to_its_middle():
    prior = ScaledPrior(
        dist.Uniform(0.0, 1.0), torch.zeros(2), torch.ones(2), torch.tensor([3.0, 0.2])
    )
    torch.testing.assert_close(biject_to(prior.support)(torch.zeros(2)), torch.tensor([0.5, 0.2]))
