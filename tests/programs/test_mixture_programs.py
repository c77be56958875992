"""Mixtures inside programs: their densities by hand, and three inferences that agree."""

import numpy as np
import pyro
import pytest
import torch
from pyro.infer import MCMC, NUTS
from pyro.infer.autoguide import init_to_value
from torch.distributions import Normal

from pyro_ugmm.diagnostics import to_inference_data
from pyro_ugmm.guides import full_rank
from pyro_ugmm.programs.entry import enter
from pyro_ugmm.programs.joint import joint_of
from pyro_ugmm.programs.simulation import simulation_of
from pyro_ugmm.sampling import sample_posterior
from pyro_ugmm.training import fit_svi
from tests.programs.mixture_programs import MIXTURE_PROGRAMS

QUIET = {"seed": 0, "progress": False}
pytestmark = pytest.mark.filterwarnings("ignore:Estimated shape")


def by_svi(model, data, start):
    guide = full_rank(model, start=start, x=data)
    return fit_svi(model, guide, data, steps=300, learning_rate=0.05, **QUIET).guide


def by_nuts(model, data, start):
    pyro.set_rng_seed(0)
    kernel = NUTS(model, max_tree_depth=3, init_strategy=init_to_value(values=start))
    chain = MCMC(kernel, num_samples=60, warmup_steps=40, disable_progbar=True)
    chain.run(**data)
    return chain


def moments(model, inference, data):
    posterior = to_inference_data(model, inference, data, num_samples=400, seed=0).posterior
    draws = [site.values.reshape(-1, site[0, 0].size) for site in posterior.data_vars.values()]
    whole = np.concatenate(draws, -1)
    return whole.mean(0), whole.std(0)


@pytest.mark.parametrize("kind", MIXTURE_PROGRAMS)
def test_inferences_agree(kind):
    """Chains and fits are short: within two standard deviations, and widths by a factor of three.

    The tutorial of these programs runs them to their ends.
    """
    model, data, start = MIXTURE_PROGRAMS[kind]
    mean, spread = moments(model, sample_posterior(model, data, **QUIET), data)
    for infer in (by_svi, by_nuts):
        center, width = moments(model, infer(model, data, start), data)
        assert np.abs((center - mean) / spread).max() < 2.0
        assert np.abs(np.log(width / spread)).mean() < 1.1


def terms_of(kind):
    model, data, _ = MIXTURE_PROGRAMS[kind]
    rows = enter(model, data)
    draws = simulation_of(model, rows).sample_prior(1)
    terms = joint_of(model, rows).site_terms(*rows, draws=draws)
    return data, {k: value[0] for k, value in draws.items()}, {k: v[0] for k, v in terms.items()}


def test_what_is_beyond_the_limit_has_the_chance_of_more():
    data, draw, terms = terms_of("censored mixture")
    y, is_censored = data["y"], data["is_censored"]
    weights = torch.stack([1 - draw["share"], draw["share"]])
    parts = Normal(draw["loc"].double(), draw["scale"].double())
    seen = parts.log_prob(y[:, None].double()).exp() @ weights.double()
    more = (1 - parts.cdf(y[:, None].double())) @ weights.double()
    expected = torch.where(is_censored, more, seen).log().float()
    torch.testing.assert_close(terms["y"] + terms["more"], expected, rtol=1e-4, atol=1e-4)


def test_a_covariate_is_summed_out_where_it_is_hidden():
    data, draw, terms = terms_of("hidden covariate")
    w, share = draw["w"], draw["share"]
    joint = torch.stack(
        [
            (share if z else 1 - share).log()
            + Normal(draw["shift"] * z, 1.0).log_prob(data["x"])
            + Normal(w[0] + w[1] * data["x"] + w[2] * z, draw["scale"]).log_prob(data["y"])
            for z in (0, 1)
        ]
    )
    known = joint.gather(0, data["z"].long()[None])[0]
    expected = torch.where(data["is_known"], known, joint.logsumexp(0))
    torch.testing.assert_close(sum(terms.values()), expected, rtol=1e-4, atol=1e-4)
