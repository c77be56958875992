"""Mixtures as parts of programs, as people ask for them, with data and a start."""

import pyro
import pyro.distributions as dist
import torch

from pyro_ugmm.distributions import UnivariateGaussianMixture

GENERATOR = torch.Generator().manual_seed(4)
N_ROWS, N_GROUPS = 45, 3
GROUP = torch.arange(N_ROWS) % N_GROUPS
IS_SECOND = torch.rand(N_ROWS, generator=GENERATOR) < 0.4
X, NOISE = torch.randn(2, N_ROWS, generator=GENERATOR)
LIMIT = 2.0


def two_components(center=2.0):
    """The locations and scales of two components, and the weight of the second."""
    centers = center * torch.tensor([-1.0, 1.0])
    loc = pyro.sample("loc", dist.Normal(centers, 1.0).to_event(1))
    scale = pyro.sample("scale", dist.LogNormal(-0.5, 0.5))
    share = pyro.sample("share", dist.Beta(2.0, 2.0))
    return loc, scale.expand(2), torch.stack([1 - share, share])


def regression(x, group, y=None):
    """Two lines, of which nobody knows whose a row is, and effects of groups on both."""
    loc, scale, weights = two_components()
    slope = pyro.sample("slope", dist.Normal(torch.zeros(2), 1.0).to_event(1))
    spread = pyro.sample("spread", dist.HalfNormal(1.0))
    with pyro.plate("groups", N_GROUPS):
        effect = pyro.sample("effect", dist.Normal(0.0, 1.0))
    lines = loc + slope * x[:, None] + spread * effect[group, None]
    with pyro.plate("rows", len(x)):
        pyro.sample("y", UnivariateGaussianMixture(lines, scale, probs=weights), obs=y)


def hierarchical(group, y=None):
    """Components that groups share, each in proportions of its own."""
    loc, scale, common = two_components()
    strength = pyro.sample("strength", dist.LogNormal(1.5, 0.5))
    with pyro.plate("groups", N_GROUPS):
        share = pyro.sample("own", dist.Beta(strength * common[1], strength * common[0]))
    weights = torch.stack([1 - share, share], -1)[group]
    with pyro.plate("rows", len(group)):
        pyro.sample("y", UnivariateGaussianMixture(loc, scale, probs=weights), obs=y)


def effects(error, y=None):
    """Many effects, of which most are about zero: a mixture as their prior."""
    share = pyro.sample("share", dist.Beta(1.0, 3.0))
    wide = pyro.sample("wide", dist.LogNormal(1.0, 0.5))
    scale = torch.stack([torch.full_like(wide, 0.4), wide])
    weights = torch.stack([1 - share, share])
    with pyro.plate("rows", len(error)):
        prior = UnivariateGaussianMixture(torch.zeros(2), scale, probs=weights)
        effect = pyro.sample("effect", prior)
        pyro.sample("y", dist.Normal(effect, error), obs=y)


def censored(y, is_censored):
    """Values that an instrument cuts off: how likely it is to see more, by the mirror image."""
    loc, scale, weights = two_components()
    with pyro.plate("rows", len(y)):
        with pyro.poutine.mask(mask=~is_censored):
            pyro.sample("y", UnivariateGaussianMixture(loc, scale, probs=weights), obs=y)
        more = UnivariateGaussianMixture(-loc, scale, probs=weights).cdf(-y).log()
        pyro.factor("more", torch.where(is_censored, more, 0.0))


def hidden_covariate(x, z, is_known, y=None):
    """A covariate of two values that is known of some rows, and goes with another."""
    share = pyro.sample("share", dist.Beta(2.0, 2.0))
    shift = pyro.sample("shift", dist.Normal(0.0, 1.0))
    w = pyro.sample("w", dist.Normal(0.0, 2.0).expand([3]).to_event(1))
    scale = pyro.sample("scale", dist.LogNormal(-0.5, 0.5))
    with pyro.plate("rows", len(x)):
        z = pyro.sample("z", dist.Bernoulli(share), obs=z, obs_mask=is_known)
        pyro.sample("x", dist.Normal(shift * z, 1.0), obs=x)
        pyro.sample("y", dist.Normal(w[0] + w[1] * x + w[2] * z, scale), obs=y)


Y = torch.where(IS_SECOND, 2.0, -2.0) + 0.5 * NOISE
SLOPED = Y + torch.where(IS_SECOND, X, -X) + GROUP - 1
SHIFTED = torch.where(IS_SECOND, 3.0, 0.0) + 0.5 * NOISE
KNOWN = torch.arange(N_ROWS) % 3 == 0
APART = {"loc": torch.tensor([-2.0, 2.0]), "scale": torch.tensor(0.5)}
MIXTURE_PROGRAMS = {
    "regression with group effects": (
        regression,
        {"x": X, "group": GROUP, "y": SLOPED},
        APART | {"slope": torch.tensor([-1.0, 1.0]), "effect": torch.arange(3.0) - 1},
    ),
    "hierarchical mixture": (hierarchical, {"group": GROUP, "y": Y}, APART),
    "mixture as a prior": (
        effects,
        {"error": torch.full((12,), 0.5), "y": SHIFTED[:12]},
        {"effect": SHIFTED[:12]},
    ),
    "censored mixture": (censored, {"y": Y.clamp(max=LIMIT), "is_censored": Y > LIMIT}, APART),
    "hidden covariate": (
        hidden_covariate,
        {"x": X, "z": IS_SECOND.float(), "is_known": KNOWN, "y": Y + X},
        {"w": torch.tensor([-2.0, 1.0, 4.0])},
    ),
}
