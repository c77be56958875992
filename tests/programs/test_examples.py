"""Models of Pyro's own examples and tutorials: every inference goes to ArviZ."""

import numpy as np
import pyro
import pytest
from pyro.infer import MCMC, NUTS

from pyro_ugmm.diagnostics import loo, to_inference_data
from pyro_ugmm.guides import full_rank, mean_field
from pyro_ugmm.sampling import sample_posterior
from pyro_ugmm.training import fit_svi
from tests.diagnostics.arviz_words import TOTAL
from tests.programs.examples.hidden import HIDDEN, SERIES
from tests.programs.examples.levels import LEVELS
from tests.programs.examples.regressions import REGRESSIONS

QUIET = {"seed": 0, "progress": False}
EXAMPLES = LEVELS | REGRESSIONS | SERIES | HIDDEN
pytestmark = [
    pytest.mark.usefixtures("own_store"),
    pytest.mark.filterwarnings("ignore:Estimated shape"),
    pytest.mark.filterwarnings("ignore:torch.vmap cannot"),
]


def by_svi(model, data):
    guide = mean_field(model, x=data)
    return fit_svi(model, guide, data, steps=20, **QUIET).guide


def by_nuts(model, data):
    pyro.set_rng_seed(0)
    kernel = NUTS(model, max_tree_depth=2)
    chain = MCMC(kernel, num_samples=10, warmup_steps=10, disable_progbar=True)
    chain.run(**data)
    return chain


def by_smc(model, data):
    return sample_posterior(model, data, num_particles=32, num_populations=2, most_moves=4, **QUIET)


INFERENCES = {"SVI": by_svi, "NUTS": by_nuts, "SMC": by_smc}


@pytest.mark.parametrize("kind", EXAMPLES)
@pytest.mark.parametrize("infer", INFERENCES.values(), ids=[*INFERENCES])
def test_goes_to_arviz(kind, infer):
    model, data = EXAMPLES[kind]
    idata = to_inference_data(model, infer(model, data), data, num_samples=10, seed=0)
    assert {*idata.prior.data_vars} == {*idata.posterior.data_vars}
    finite = [*idata.posterior.data_vars.values(), *idata.log_likelihood.data_vars.values()]
    assert all(np.isfinite(values.values).all() for values in finite)
    assert {*idata.observed_data.data_vars} == {*idata.posterior_predictive.data_vars}


def by_long_svi(model, data):
    guide = full_rank(model, x=data)
    return fit_svi(model, guide, data, steps=250, learning_rate=0.05, **QUIET).guide


def by_long_nuts(model, data):
    pyro.set_rng_seed(0)
    kernel = NUTS(model, max_tree_depth=4)
    chain = MCMC(kernel, num_samples=100, warmup_steps=60, disable_progbar=True)
    chain.run(**data)
    return chain


def by_long_smc(model, data):
    return sample_posterior(model, data, **QUIET)


@pytest.mark.parametrize("kind", ["counts", "zero-inflated"])
def test_what_is_left_out_is_as_likely_by_each(kind):
    """Within the error of the chain, 100 draws that depend on each other."""
    model, data = REGRESSIONS[kind]
    found = []
    for infer in (by_long_svi, by_long_nuts, by_long_smc):
        inference = infer(model, data)
        idata = to_inference_data(model, inference, data, num_samples=500, seed=0)
        found.append(loo(idata)[TOTAL])
    assert found == pytest.approx([found[-1]] * 3, abs=3.0)
