"""Programs with several levels, as Pyro's examples and tutorials have them."""

import pyro
import pyro.distributions as dist
import torch
from pyro.nn import PyroModule

from tests.programs.users_programs import AT_BATS, EFFECTS, ERRORS, HITS, schools

GENERATOR = torch.Generator().manual_seed(1)
GROUP = torch.arange(24) % 4
DOSE = torch.linspace(-1.0, 1.0, 24)
GROWTH = (1 + 0.5 * GROUP) + (0.5 - GROUP) * DOSE
GROWTH = GROWTH + 0.3 * torch.randn(24, generator=GENERATOR)
PASSED = torch.tensor([[1, 1, 0, 1, 0], [1, 0, 0, 0, 0], [1, 1, 1, 1, 1], [1, 1, 0, 0, 1]])


def baseball(at_bats, hits=None):
    """Partially pooled chances of success (the example ``baseball.py``)."""
    m = pyro.sample("m", dist.Uniform(0.0, 1.0))
    kappa = pyro.sample("kappa", dist.Pareto(1.0, 1.5))
    with pyro.plate("players", len(at_bats)):
        phi = pyro.sample("phi", dist.Beta(m * kappa, (1 - m) * kappa))
        return pyro.sample("hits", dist.Binomial(at_bats, probs=phi), obs=hits)


def correlated_effects(dose, group, growth=None):
    """Varying intercepts and slopes that go together (``lkj.py``, and McElreath's cafés)."""
    center = pyro.sample("center", dist.Normal(0.0, 2.0).expand([2]).to_event(1))
    spread = pyro.sample("spread", dist.HalfNormal(1.0).expand([2]).to_event(1))
    factor = pyro.sample("factor", dist.LKJCholesky(2, 2.0))
    noise = pyro.sample("noise", dist.HalfNormal(1.0))
    scale_tril = spread[:, None] * factor
    with pyro.plate("groups", 4):
        effect = pyro.sample("effect", dist.MultivariateNormal(center, scale_tril=scale_tril))
    with pyro.plate("rows", len(dose)):
        mean = effect[group, 0] + effect[group, 1] * dose
        pyro.sample("growth", dist.Normal(mean, noise), obs=growth)


def item_response(n_people, n_items, passed=None):
    """Who passes which question (the two-parameter model of the forum)."""
    people = pyro.plate("people", n_people, dim=-2)
    items = pyro.plate("items", n_items, dim=-1)
    with people:
        ability = pyro.sample("ability", dist.Normal(0.0, 1.0))
    with items:
        difficulty = pyro.sample("difficulty", dist.Normal(0.0, 1.0))
        slope = pyro.sample("slope", dist.LogNormal(0.0, 0.3))
    with people, items:
        logits = slope * (ability - difficulty)
        pyro.sample("passed", dist.Bernoulli(logits=logits), obs=passed)


class MixedEffects(PyroModule):
    """A mixed-effects model whose shared slope is learned, without a prior."""

    def __init__(self):
        super().__init__()
        self.slope = torch.nn.Parameter(torch.tensor(0.0))

    def forward(self, dose, group, growth=None):
        spread = pyro.sample("spread", dist.HalfCauchy(1.0))
        with pyro.plate("groups", 4):
            intercept = pyro.sample("intercept", dist.Normal(0.0, 2 * spread))
        with pyro.plate("rows", len(dose)):
            mean = pyro.deterministic("mean", intercept[group] + self.slope * dose)
            pyro.sample("growth", dist.Normal(mean, 0.5), obs=growth)


GROUPED = {"dose": DOSE, "group": GROUP, "growth": GROWTH}
LEVELS = {
    "eight schools": (schools, {"sigma": ERRORS, "y": EFFECTS}),
    "baseball": (baseball, {"at_bats": AT_BATS, "hits": HITS}),
    "correlated effects": (correlated_effects, GROUPED),
    "item response": (item_response, {"n_people": 4, "n_items": 5, "passed": PASSED.float()}),
    "mixed effects": (MixedEffects(), GROUPED),
}
