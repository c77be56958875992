"""A plain Pyro program, known from one run of it."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pyro
import torch
from pyro import poutine
from pyro.distributions import Delta, Unit
from pyro.poutine.util import site_is_subsample
from torch import Tensor

from ..checks import check
from .enumeration import enumerated, summed_out
from .plates import Term, by_plate, plates_of, whole_plates

__all__ = ["Draws", "Rows", "Traced", "count_rows", "is_point", "layers_of", "run"]

Rows = tuple[Any, ...]
"""Data that entered a program: rows, and labels or targets if there are some.

Of a plain program they are its arguments in order, whatever they are.
"""

Draws = Mapping[str, Tensor]
"""Values of latent sites by name: of one draw, or of many with a first dimension ``(S,)``.

Our models take ``(S, 1)`` as well, the second for rows.
"""


def count_rows(rows: Rows) -> int:
    """How many rows there are: the length of the first argument that has one, else one."""
    return next((len(part) for part in rows if isinstance(part, Tensor) and part.dim()), 1)


def run(program: Callable, rows: Rows, draw: Draws | None = None) -> poutine.Trace:
    """Runs a program on rows with values of latent sites, and evaluates all log densities.

    Plates are whole where the program would subsample, so that every run evaluates the same.
    """
    conditioned = poutine.condition(program, data=dict(draw)) if draw else program
    with whole_plates():
        trace = poutine.trace(conditioned).get_trace(*rows)
    trace.compute_log_prob()
    return trace


@contextlib.contextmanager
def _without_gradients() -> Iterator[None]:
    with torch.inference_mode(False), torch.no_grad(), pyro.validation_enabled(False):
        yield


def _sampled(trace: poutine.Trace) -> dict[str, Any]:
    """The nodes of sample statements, which are no subsamples."""
    return {
        name: node
        for name, node in trace.nodes.items()
        if node["type"] == "sample" and not site_is_subsample(node)
    }


def is_point(distribution: Any) -> bool:
    """Whether all of a distribution is at one value."""
    return any(isinstance(one, Delta) for one in layers_of(distribution))


def layers_of(distribution: Any) -> Iterator[Any]:
    """A distribution, and those that it wraps."""
    yield distribution
    if hasattr(distribution, "base_dist"):
        yield from layers_of(distribution.base_dist)


def _is_function(node: Mapping[str, Any]) -> bool:
    """Whether a site is a function of others: deterministic, or reparametrized."""
    is_given = node["is_observed"] or node["infer"].get("_deterministic")
    return bool(is_given) and is_point(node["fn"])


class Traced:
    """The sites of a program that was run once on rows.

    Args:
        model: the program.
        rows: its data.

    Attributes:
        latent: the nodes of latent sites, by name, but for discrete ones.
        discrete: the names of discrete latent sites, which are summed out.
        observed: the nodes of observed sites.
        factors: the names of ``pyro.factor``'s.
        deterministic: the nodes of sites that are functions of those.
        n_plate_dims: how many dimensions plates take, from the right.
        terms: the plates of what observed sites and factors add to the log joint density.

    Raises:
        ValueError: if the program observes nothing, its observations are in no plate though they
            are independent, or a latent site is a point, or discrete without enumeration.
    """

    def __init__(self, model: Callable, rows: Rows) -> None:
        self.model = self._program = model
        with _without_gradients():
            try:
                nodes = _sampled(run(model, rows))
            except NotImplementedError as error:  # of a prior that is no distribution
                reason = str(error).partition("\n")[0]
                said = f"model: expected sites that can be drawn, got {reason}"
                raise ValueError(said) from error
            self.deterministic = {k: node for k, node in nodes.items() if _is_function(node)}
            drawn = {k: node for k, node in nodes.items() if k not in self.deterministic}
            seen = {k: node for k, node in drawn.items() if node["is_observed"]}
            self.factors = [k for k, node in seen.items() if isinstance(node["fn"], Unit)]
            self.observed = {k: node for k, node in seen.items() if k not in self.factors}
            self._drawn = {k: node for k, node in drawn.items() if k not in seen}
            self._check(seen)
            self.discrete = frozenset(k for k, node in self._drawn.items() if _is_discrete(node))
            self.latent = {k: node for k, node in self._drawn.items() if k not in self.discrete}
            dims = (frame.dim for node in nodes.values() for frame in plates_of(node))
            self.n_plate_dims = -min(dims, default=0)
            self.terms = self._known_terms(rows)

    def _known_terms(self, rows: Rows) -> dict[str, tuple[str, ...]]:
        """The plates of terms; and forgets functions of what is summed out."""
        if self.discrete:
            self._program = enumerated(self.model, self.discrete, self.n_plate_dims)
        trace = self.scored(rows, {name: node["value"] for name, node in self.latent.items()})
        self.deterministic = {
            name: node
            for name, node in self.deterministic.items()
            if trace.nodes[name]["value"].shape == node["value"].shape
        }
        return {name: term.plates for name, term in self.densities(trace)[1].items()}

    def scored(self, rows: Rows, draw: Draws) -> poutine.Trace:
        """Runs the program with values of latent sites, and all of those that are summed out.

        Raises:
            ValueError: if it drew other sites than the first time.
        """
        trace = run(self._program, rows, draw)
        self.check_sites(trace)
        return trace

    def densities(self, trace: poutine.Trace) -> tuple[Tensor, dict[str, Term]]:
        """The log prior of such a run, and the terms of observed sites and factors by name."""
        nodes, seen = _sampled(trace), [*self.observed, *self.factors]
        if self.discrete:
            return summed_out(trace, [*nodes], seen)
        terms = {name: by_plate(nodes[name]["log_prob"], plates_of(nodes[name])) for name in seen}
        latent = (node["log_prob"].sum() for name, node in nodes.items() if name not in seen)
        return sum(latent, next(iter(terms.values())).value.new_zeros(())), terms

    def _check(self, seen: Mapping[str, Any]) -> None:
        expected = (
            "a Pyro program with an observed site, given data (sample(..., obs=y); arguments other "
            "than x and y by name, in a dictionary x)"
        )
        check(seen, "model", expected, f"observed sites [], and draws of {[*self._drawn]}")
        for name, node in seen.items():
            sizes = {frame.dim: frame.size for frame in plates_of(node)}
            shape = tuple(node["log_prob"].shape)
            fits = all(size in (1, sizes.get(i - len(shape))) for i, size in enumerate(shape))
            expected = f"{name} in a plate for each of its dimensions (or .to_event)"
            plates = {frame.name: frame.size for frame in plates_of(node)}
            check(fits, "model", expected, f"log densities of shape {shape} in plates {plates}")
        for name, node in self._drawn.items():
            expected = "latent sites with a density (pyro.deterministic for others)"
            check(not is_point(node["fn"]), "model", expected, f"{name}, a Delta")

    def check_sites(self, trace: poutine.Trace) -> None:
        """Checks that another run drew the same sites.

        Raises:
            ValueError: if it did not.
        """
        known = {*self.observed, *self.factors, *self._drawn}
        drawn = {name for name, node in _sampled(trace).items() if not is_point(node["fn"])}
        expected = f"the same latent sites {[*self._drawn]} at every run"
        got = sorted(drawn - {*self.observed, *self.factors})
        check(drawn == known, "model", expected, f"{got}")


def _is_discrete(node: Mapping[str, Any]) -> bool:
    """Whether a site is discrete.

    Raises:
        ValueError: if its values cannot be enumerated.
    """
    function = node["fn"]
    if not function.support.is_discrete:
        return False
    try:
        function.enumerate_support(expand=False)
    except NotImplementedError:
        expected = "discrete latent sites whose values Pyro can enumerate, to be summed out"
        check(False, "model", expected, f"{node['name']} with support {function.support}")
    return True
