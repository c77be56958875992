"""Pyro's reparameterizers, compiled ELBOs and compiled NUTS run on every model."""

import math
import warnings

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer import MCMC, NUTS, JitTrace_ELBO, Predictive, Trace_ELBO
from pyro.infer.autoguide import AutoNormal
from pyro.infer.reparam import AutoReparam, LocScaleReparam
from pyro.infer.reparam.strategies import MinimalReparam

from pyro_ugmm.models import BayesianGaussianMixture, Priors, UGMMClassifier, UGMMDensity
from pyro_ugmm.nn import UGMMNetwork
from tests.models.networks import data

X, Y = data(20)
WEIGHTED = Priors(weights=1.0)
HEAVY = Priors(means=dist.StudentT(4.0, 1.0, 2.0), variances=dist.Uniform(0.1, 3.0))
MODELS = {
    "full": lambda: (BayesianGaussianMixture(2, 2), (X,)),
    "tied": lambda: (BayesianGaussianMixture(2, 2, "tied"), (X,)),
    "diagonal": lambda: (BayesianGaussianMixture(2, 2, "diagonal", HEAVY), (X,)),
    "spherical": lambda: (BayesianGaussianMixture(2, 2, "spherical"), (X,)),
    "classifier": lambda: (UGMMClassifier(UGMMNetwork([2, 3, 3]), WEIGHTED), (X, Y)),
    "density": lambda: (UGMMDensity(UGMMNetwork([3, 3, 1]), 3, WEIGHTED), (X, Y)),
}


def of(names, reparam):
    """A configuration for sites whose name ends like this; each has its own reparameterizer."""
    return lambda site: reparam() if site["name"].endswith(names) else None


CONFIGURATIONS = {
    "auto": AutoReparam,
    "auto, decentered": lambda: AutoReparam(centered=0.0),
    "minimal": MinimalReparam,
    "learned": lambda: of(("means", "loc"), LocScaleReparam),
    "decentered": lambda: of(("means", "loc"), lambda: LocScaleReparam(0.0)),
    "half": lambda: of(("means", "loc"), lambda: LocScaleReparam(0.5)),
    "of variances": lambda: of(("variances", "variance"), lambda: LocScaleReparam(0.0)),
}


@pytest.mark.parametrize("configuration", CONFIGURATIONS)
@pytest.mark.parametrize("model", MODELS)
def test_reparameterized(model, configuration):
    program, rows = MODELS[model]()
    changed = poutine.reparam(program, config=CONFIGURATIONS[configuration]())
    with pyro.get_param_store().scope():
        guide = AutoNormal(changed)
        loss = Trace_ELBO().differentiable_loss(changed, guide, *rows)
        loss.backward()
        draws = Predictive(changed, guide=guide, num_samples=3)(*rows)
        found = {*poutine.trace(changed).get_trace(*rows).nodes}
    assert loss.isfinite() and {*program.site_distributions()} <= found
    assert all(value.isfinite().all() for value in draws.values())


@pytest.mark.parametrize("centered", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("site", ["layers.0.loc", "layers.1.loc", "layers.0.variance"])
def test_reparameterized_priors_are_the_same(site, centered):
    torch.manual_seed(0)
    program, rows = MODELS["classifier"]()
    prior = program.site_distributions()[site]
    changed = poutine.reparam(program, config={site: LocScaleReparam(centered)})
    trace = poutine.trace(changed).get_trace(*rows)
    value, unit = trace.nodes[site]["value"], prior.base_dist.scale
    expected = prior.log_prob(value)
    if centered != 1:
        new = trace.nodes[f"{site}_decentered"]
        found = new["fn"].log_prob(new["value"])
        expected = expected + (1 - centered) * unit.log().sum()
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-3)
        start = torch.distributions.biject_to(new["fn"].support)(torch.zeros(value.shape))
        # A plain autoguide starts where it did, so that neurons are not alike.
        own = new["fn"].base_dist
        z = (start - own.loc) / own.scale
        torch.testing.assert_close(z, prior.base_dist.origin, rtol=1e-4, atol=1e-4)
    assert math.isfinite(expected.item())


@pytest.mark.parametrize("model", MODELS)
def test_compiled(model):
    program, rows = MODELS[model]()
    with warnings.catch_warnings(), pyro.get_param_store().scope():
        warnings.simplefilter("ignore")
        guide = AutoNormal(program, init_scale=1e-4)
        plain = Trace_ELBO().loss(program, guide, *rows)
        compiled = JitTrace_ELBO(ignore_jit_warnings=True)
        losses = [compiled.loss(program, guide, *rows) for _ in range(2)]
        assert losses == pytest.approx([plain] * 2, rel=0.05, abs=1)
        kernel = NUTS(program, jit_compile=True, ignore_jit_warnings=True, max_tree_depth=2)
        mcmc = MCMC(kernel, num_samples=2, warmup_steps=2, disable_progbar=True)
        mcmc.run(*rows)
    assert all(value.isfinite().all() for value in mcmc.get_samples().values())
