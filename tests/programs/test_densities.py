"""The densities of many kinds of programs: Pyro's own traces, draw by draw, and sums by hand."""

import itertools
import warnings

import pytest
import torch
from pyro import poutine

from pyro_ugmm.programs.entry import enter
from pyro_ugmm.programs.joint import joint_of
from pyro_ugmm.programs.plates import whole_plates
from pyro_ugmm.programs.simulation import simulation_of
from tests.programs.examples.hidden import HIDDEN, SERIES
from tests.programs.examples.levels import LEVELS
from tests.programs.examples.regressions import REGRESSIONS
from tests.programs.users_programs import CONTINUOUS, DISCRETE, LINE, subsampled

N_DRAWS = 3
pytestmark = pytest.mark.usefixtures("own_store")
ALL_CONTINUOUS = CONTINUOUS | LEVELS | REGRESSIONS | SERIES
ALL_DISCRETE = DISCRETE | HIDDEN


def draws_of(program, data):
    torch.manual_seed(0)
    rows = enter(program, data)
    return rows, simulation_of(program, rows).sample_prior(N_DRAWS)


def trace_of(program, data, draw):
    trace = poutine.trace(poutine.condition(program, data=draw)).get_trace(**data)
    trace.compute_log_prob()
    return trace


@pytest.mark.filterwarnings("ignore:torch.vmap cannot")
@pytest.mark.parametrize("kind", ALL_CONTINUOUS)
def test_it_is_that_of_a_trace(kind):
    program, data = ALL_CONTINUOUS[kind]
    rows, draws = draws_of(program, data)
    joint = joint_of(program, rows)
    with warnings.catch_warnings():
        # All draws at once; but Pyro's OrderedTransform works in place.
        warnings.simplefilter("ignore" if kind == "ordinal" else "error")
        log_prior, terms = joint.log_joint(*rows, draws=draws)
    by_site = joint.site_terms(*rows, draws=draws)
    for i in range(N_DRAWS):
        draw = {name: value[i] for name, value in draws.items()}
        trace = trace_of(program, data, draw)
        observed = {
            name: trace.nodes[name]["log_prob"]
            for name in trace.observation_nodes
            if name in by_site
        }
        torch.testing.assert_close(log_prior[i] + terms[i].sum(), trace.log_prob_sum())
        torch.testing.assert_close(joint.log_prior(draw), log_prior[i])
        torch.testing.assert_close(joint.row_terms(*rows, draws=draw), terms[i])
        assert observed.keys() == by_site.keys()
        for name, term in observed.items():
            torch.testing.assert_close(by_site[name][i], term.reshape(by_site[name][i].shape))


def test_plates_are_whole():
    rows, draws = draws_of(subsampled, LINE)
    terms = joint_of(subsampled, rows).row_terms(*rows, draws=draws)
    expected = torch.distributions.Normal(draws["w"][:, None] * LINE["x"], 1.0).log_prob(LINE["y"])
    torch.testing.assert_close(terms, expected)
    with whole_plates():
        assert len(poutine.trace(subsampled).get_trace(**LINE).nodes["y"]["value"]) == 12
    assert len(poutine.trace(subsampled).get_trace(**LINE).nodes["y"]["value"]) == 5


def sum_by_hand(program, data, draw, names):
    """The log of the sum of a trace's densities over all values of discrete sites."""
    trace = trace_of(program, data, draw)
    discrete = [n for n in trace.stochastic_nodes if n not in draw and n.startswith("z")]
    shapes = [trace.nodes[name]["value"].shape for name in discrete]
    supports = [
        trace.nodes[name]["fn"].enumerate_support(expand=False).flatten() for name in discrete
    ]
    sizes = [shape.numel() for shape in shapes]
    every = [support.tolist() for support, n in zip(supports, sizes, strict=True) for _ in range(n)]
    totals = []
    for values in itertools.product(*every):
        parts = torch.tensor(values).split(sizes)
        fixed = {
            name: part.reshape(shape).to(trace.nodes[name]["value"].dtype)
            for name, part, shape in zip(discrete, parts, shapes, strict=True)
        }
        nodes = trace_of(program, data, draw | fixed).nodes
        totals.append(sum(nodes[name]["log_prob"].sum() for name in [*names(nodes), *discrete]))
    return torch.stack(totals).logsumexp(0)


@pytest.mark.parametrize("kind", ALL_DISCRETE)
def test_discrete_sites_are_summed_out(kind):
    program, data = ALL_DISCRETE[kind]
    data = {name: value[:4] for name, value in data.items()}
    rows, draws = draws_of(program, data)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        log_prior, terms = joint_of(program, rows).log_joint(*rows, draws=draws)
    for i in range(N_DRAWS):
        draw = {name: value[i] for name, value in draws.items()}

        def everything(nodes, draw=draw):
            seen = [n for n, node in nodes.items() if node.get("is_observed") and n[0] in "xy"]
            return [*draw, *seen]

        expected = sum_by_hand(program, data, draw, everything)
        torch.testing.assert_close(log_prior[i] + terms[i].sum(), expected)
        expected = sum_by_hand(program, data, draw, lambda _, draw=draw: [*draw])
        torch.testing.assert_close(log_prior[i], expected)


def test_rows_of_a_mixture_and_what_has_none():
    program, data = DISCRETE["a mixture"]
    rows, draws = draws_of(program, data)
    terms = joint_of(program, rows).site_terms(*rows, draws=draws)
    share, loc = draws["share"], draws["loc"]
    densities = torch.distributions.Normal(loc[:, None], 1.0).log_prob(data["x"][None, :, None])
    weights = torch.stack([1 - share, share], -1).log()
    torch.testing.assert_close(terms["x"], (densities + weights[:, None]).logsumexp(-1))
    shapes = {}
    for kind in DISCRETE:
        program, data = DISCRETE[kind]
        rows, draws = draws_of(program, data)
        found = joint_of(program, rows).site_terms(*rows, draws=draws)
        shapes[kind] = {name: tuple(term.shape[1:]) for name, term in found.items()}
    assert shapes == {
        "a mixture": {"x": (12,)},
        "one label": {"y by all": ()},
        "a hidden covariate": {"x + y": (12,)},
        "a chain": {"x_0 + x_1 + x_2 + x_3": ()},
    }
