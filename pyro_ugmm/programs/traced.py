"""A plain Pyro program, known from one run of it."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pyro
import torch
from pyro import poutine
from pyro.distributions import Delta
from pyro.poutine.util import site_is_subsample
from torch import Tensor

from ..checks import check

__all__ = ["Draws", "Rows", "Traced", "is_point", "layers_of", "run"]

Rows = tuple[Tensor, ...]
"""Data that entered a program: rows, and labels or targets if there are some."""

Draws = Mapping[str, Tensor]
"""Values of latent sites by name: of one draw, or of many with a first dimension ``(S,)``.

Our models take ``(S, 1)`` as well, the second for rows.
"""


def run(model: Callable, rows: Rows, draw: Draws | None = None) -> poutine.Trace:
    """Runs a program on rows with values of latent sites, and evaluates all log densities."""
    program = poutine.condition(model, data=dict(draw)) if draw else model
    trace = poutine.trace(program).get_trace(*rows)
    trace.compute_log_prob()
    return trace


@contextlib.contextmanager
def _without_gradients() -> Iterator[None]:
    with torch.inference_mode(False), torch.no_grad(), pyro.validation_enabled(False):
        yield


def _drawn(trace: poutine.Trace) -> dict[str, Any]:
    """The sites that are neither subsamples nor functions of others."""
    return {
        name: node
        for name, node in trace.nodes.items()
        if node["type"] == "sample"
        and not site_is_subsample(node)
        and not node["infer"].get("_deterministic")
        and not (node["is_observed"] and is_point(node["fn"]))  # as a reparametrized site is
    }


def is_point(distribution: Any) -> bool:
    """Whether all of a distribution is at one value."""
    return any(isinstance(one, Delta) for one in layers_of(distribution))


def layers_of(distribution: Any) -> Iterator[Any]:
    """A distribution, and those that it wraps."""
    yield distribution
    if hasattr(distribution, "base_dist"):
        yield from layers_of(distribution.base_dist)


class Traced:
    """The sites of a program that was run once on rows.

    Nothing is guessed: rows are the plate, at dimension -1, around the one observed site.

    Args:
        model: the program.
        rows: its data.

    Attributes:
        latent: the nodes of latent sites, by name.
        observed: the node of the observed site.

    Raises:
        ValueError: if the program has no observed site or several, its rows are not in one plate,
            or a latent site is discrete, a point or drawn row by row.
    """

    def __init__(self, model: Callable, rows: Rows) -> None:
        self.model = model
        with _without_gradients():
            try:
                nodes = _drawn(run(model, rows))
            except NotImplementedError as error:  # of a prior that is no distribution
                reason = str(error).partition("\n")[0]
                said = f"model: expected sites that can be drawn, got {reason}"
                raise ValueError(said) from error
        seen = [name for name, node in nodes.items() if node["is_observed"]]
        expected = "a Pyro program with one observed site, given data (sample(..., obs=y))"
        check(len(seen) == 1, "model", expected, f"observed sites {seen}")
        self.name = seen[0]
        self.observed = nodes.pop(self.name)
        self.latent = nodes
        self.n_rows = len(rows[0])
        self._check_rows()
        for name, node in self.latent.items():
            self._check_latent(name, node)

    def _check_rows(self) -> None:
        frames = [frame for frame in self.observed["cond_indep_stack"] if frame.vectorized]
        plates = [(frame.name, frame.dim, frame.size, frame.full_size) for frame in frames]
        sizes = (self.n_rows, self.n_rows)
        fits = len(plates) == 1 and plates[0][1] == -1 and plates[0][2:] == sizes
        expected = f"{self.name} in one plate, at dimension -1, of all {self.n_rows} rows"
        said = [f"{name!r} at {dim} of {size} of {full}" for name, dim, size, full in plates]
        check(fits, "model", expected, f"plates {', '.join(said) or 'none'}")
        shape = tuple(self.observed["log_prob"].shape)
        expected = f"a log density of {self.name} for each of {self.n_rows} rows"
        check(shape == sizes[:1], "model", expected, f"shape {shape}")
        self.plate = frames[0].name

    def _check_latent(self, name: str, node: Mapping[str, Any]) -> None:
        support = node["fn"].support
        expected = "continuous latent sites (sum a discrete one out, as our mixtures do)"
        check(not support.is_discrete, "model", expected, f"{name} with support {support}")
        expected = "latent sites with a density (pyro.deterministic for others)"
        check(not is_point(node["fn"]), "model", expected, f"{name}, a Delta")
        plates = [frame.name for frame in node["cond_indep_stack"]]
        expected = f"latent sites outside of the plate {self.plate!r} of the rows"
        check(self.plate not in plates, "model", expected, f"{name} in it")

    def check_sites(self, trace: poutine.Trace) -> None:
        """Checks that another run drew the same sites.

        Raises:
            ValueError: if it did not.
        """
        nodes = _drawn(trace).items()
        drawn = {name for name, node in nodes if not is_point(node["fn"])} - {self.name}
        expected = f"the same latent sites {[*self.latent]} at every run"
        check(drawn == self.latent.keys(), "model", expected, f"{sorted(drawn)}")
