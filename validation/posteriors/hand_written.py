"""The same models, written by hand for NumPyro, which shares no code with ours.

What a model's priors take from its data or network, centers and spreads, is read from it.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist
import torch
from jax.scipy.linalg import solve_triangular
from jax.scipy.special import logsumexp
from numpyro.infer.util import log_density

from pyro_ugmm.checks import check
from pyro_ugmm.models import BayesianGaussianMixture

from .cases import Case

__all__ = ["check_same", "program_of"]

numpyro.enable_x64()


def _array(tensor: Any) -> jax.Array:
    return jnp.asarray(tensor.detach().numpy())


def _inverses(factors: jax.Array) -> jax.Array:
    """Of lower triangular matrices."""
    eyes = jnp.broadcast_to(jnp.eye(factors.shape[-1]), factors.shape)
    return solve_triangular(factors, eyes, lower=True)


def _mixture(case: Case) -> Callable[[], None]:
    """Full covariances, or diagonal ones, with the default priors."""
    (x,), model = map(_array, case.rows), case.model
    n_components, n_features = model.n_components, model.n_features
    center, spread = x.mean(0), _array(model.priors.spread)
    unit = jnp.ones((n_components, 1)) * spread**2 * n_components ** (-2 / n_features)
    is_full = model.covariance == "full" and n_features > 1

    def program() -> None:
        weights = numpyro.sample("weights", dist.Dirichlet(jnp.ones(n_components)))
        z = dist.Normal(jnp.zeros((n_components, 1)) + center, 2 * spread)
        means = numpyro.sample("means", z.to_event(2))
        v = dist.LogNormal(-1.5 + jnp.log(unit), 1.5)
        scales = jnp.sqrt(numpyro.sample("variances", v.to_event(2)))
        if is_full:
            lkj = dist.LKJCholesky(n_features, jnp.ones(n_components))
            factor = scales[..., None] * numpyro.sample("correlations", lkj.to_event(1))
            whitened = _inverses(factor) @ (x - means[:, None]).mT
            volumes = jnp.log(jnp.diagonal(factor, axis1=-2, axis2=-1)).sum(-1)
        else:
            whitened = ((x - means[:, None]) / scales[:, None]).mT
            volumes = jnp.log(scales).sum(-1)
        kinds = dist.Normal().log_prob(whitened).sum(-2) - volumes[:, None]
        rows = logsumexp(jnp.log(weights)[:, None] + kinds, 0)
        numpyro.factor("x", rows.sum())

    return program


def _network(case: Case) -> Callable[[], None]:
    """Layers of scores ``log sum_k w_jk N(x_k | loc_jk, variance_jk)``, then a softmax."""
    x, y = map(_array, case.rows)
    layers = [
        (layer.out_features, _array(prior.center), _array(prior.spread))
        for layer, prior in zip(case.model.network.layers, case.model.layer_priors, strict=True)
    ]

    def program() -> None:
        scores = x
        for i, (size, center, spread) in enumerate(layers):
            ones = jnp.ones((size, len(center)))
            loc = dist.Normal(center * ones, 2 * spread).to_event(2)
            loc = numpyro.sample(f"layers.{i}.loc", loc)
            variance = dist.InverseGamma(2 * ones, spread**2).to_event(2)
            variance = numpyro.sample(f"layers.{i}.variance", variance)
            weights = numpyro.sample(f"layers.{i}.weights", dist.Dirichlet(ones).to_event(1))
            terms = dist.Normal(loc, jnp.sqrt(variance)).log_prob(scores[:, None])
            scores = logsumexp(jnp.log(weights) + terms, -1)
        chosen = jnp.take_along_axis(scores, y[:, None], 1)[:, 0]
        numpyro.factor("y", (chosen - logsumexp(scores, -1)).sum())

    return program


def program_of(case: Case) -> Callable[[], None]:
    """NumPyro's program of a case, with the sites' names of ours."""
    is_mixture = isinstance(case.model, BayesianGaussianMixture)
    return (_mixture if is_mixture else _network)(case)


def check_same(case: Case, n_draws: int = 3) -> None:
    """Checks that both programs have the same log joint density at draws from the prior.

    Raises:
        ValueError: if they differ.
    """
    torch.manual_seed(0)
    draws, program = case.model.sample_prior(n_draws), program_of(case)
    ours = case.model.log_prior(draws) + case.model.row_terms(*case.rows, draws=draws).sum(-1)
    for i, expected in enumerate(ours.tolist()):
        values = {site: _array(value[i]) for site, value in draws.items()}
        got = float(log_density(program, (), {}, values)[0])
        same = abs(got - expected) < 1e-6 * abs(expected)
        check(same, "program", f"a log density of {expected} for {case.title}", got)
