"""Steps of EM by the library in C, many at once, of which torch takes those out of the ordinary."""

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

import torch

from ..distributions import GaussianMixture
from ..distributions.covariance import Covariance
from ..distributions.covariance.matrices import MatrixCovariance
from ..native import library
from ..processes import is_distributed
from .conjugate_prior import ConjugatePrior
from .endings import Ending, Trace, endings_of_step
from .native_call import CONVERGED, EXTRAORDINARY, STRUCTURES, NativeRun, Problems, take_steps
from .state import EMState
from .stopping import StoppingRule, Tolerance
from .torch_steps import TorchSteps

__all__ = ["PRODUCTS_PER_SECOND", "NativeSteps", "Workload", "products_per_row", "unavailable"]

PRODUCTS_PER_SECOND = 2e9  # of one thread
_PRODUCTS_PER_THREAD = 5e5  # in a step: less does not pay for waking threads for it
_PRODUCTS_APART = 1e5  # likewise, where threads have mixtures of their own, for all steps


def unavailable(
    start: GaussianMixture, n_rows: int | None, stopping: StoppingRule, prior: ConjugatePrior | None
) -> str:
    """Says why the library cannot fit so many rows from a start; nothing if it can.

    The number of rows is ``None`` where they come as a stream.
    """
    if n_rows is None:
        return "rows come as a stream"
    if prior is not None:
        return "of a prior"
    if type(stopping) is not Tolerance:
        return "of a stopping rule of its own"
    if start.missing != "error":
        return "NaN may stand for missing entries"
    if start.covariance.name not in STRUCTURES:
        return f"of covariance {start.covariance.name!r}"
    if start.means.device.type != "cpu":
        return f"the start is on {start.means.device.type}"
    return "several processes fit together" if is_distributed() else library()[1]


def products_per_row(structure: type[Covariance], n_components: int, n_features: int) -> int:
    """What a step multiplies for a row, about."""
    squares = n_features**2 if issubclass(structure, MatrixCovariance) else n_features
    return n_components * (squares + 4 * n_features + 8)


class Workload:
    """How much there is to do for a fit, and in what portions.

    Args:
        start: one or more.
        n_rows: how many.
    """

    seconds: ClassVar[float] = 0.2
    """What one does not notice, after which the keyboard is asked."""

    def __init__(self, start: GaussianMixture, n_rows: int) -> None:
        n_components, n_features = start.means.shape[-2:]
        self._n_mixtures = start.batch_shape.numel()
        per_row = products_per_row(type(start.covariance), n_components, n_features)
        self.n_products = self._n_mixtures * n_rows * per_row
        """What a step of all mixtures multiplies, about."""

    @property
    def n_threads(self) -> int:
        """How many pay."""
        n_threads = torch.get_num_threads()
        is_apart = self._n_mixtures >= n_threads
        least = _PRODUCTS_APART if is_apart else _PRODUCTS_PER_THREAD
        return max(1, min(n_threads, int(self.n_products / least)))

    @property
    def longest(self) -> int:
        """How many steps take less time than one notices."""
        return max(1, int(self.seconds * PRODUCTS_PER_SECOND / self.n_products))


class NativeSteps:
    """Takes the steps of a fit to rows that are all at hand, on the processor.

    A call of the library is short enough for the keyboard to interrupt between two.

    Args:
        torch_steps: the same steps, for those out of the ordinary.
        starts: mixtures of batch shape ``(S,)``.
    """

    name: ClassVar[str] = "native"

    def __init__(self, torch_steps: TorchSteps, starts: GaussianMixture) -> None:
        self._torch = torch_steps
        self._rows = torch_steps.rows.whole()
        work = Workload(starts, len(self._rows[0]))
        self._n_threads, self._longest = work.n_threads, work.longest
        self._stride = self._longest

    def start(self, starts: GaussianMixture) -> EMState:
        """Returns the state at starts of batch shape ``(S,)``."""
        run = self._run(starts, 0, 0)
        return self._torch.start(starts) if EXTRAORDINARY in run.outcomes else run.state()

    def advance(
        self, at_work: Sequence[Trace], before: EMState, most: int
    ) -> tuple[EMState, list[Ending]]:
        """Returns the state after up to ``most`` steps, and the restarts that ended in them.

        No restart goes on beyond a step that is out of the ordinary for another one.
        """
        run = self._run(before, before.n_steps, min(most, self._stride))
        steps = zip(run.n_steps, run.outcomes, strict=True)
        odd = [n_steps for n_steps, outcome in steps if outcome == EXTRAORDINARY]
        self._stride = 1 if odd else min(2 * self._stride, self._longest)
        if odd and not min(odd):
            return self._torch.advance(at_work, before, 1)
        if odd and max(run.n_steps) > min(odd):
            run = self._run(before, before.n_steps, min(odd))
        after = run.state()
        return after, self._endings(at_work, before, after, run)

    def _run(self, position: GaussianMixture | EMState, n_before: int, most: int) -> NativeRun:
        mixture = position if isinstance(position, GaussianMixture) else position.mixture
        stopping = self._torch.stopping
        assert isinstance(stopping, Tolerance)
        return take_steps(
            Problems.of_restarts(*self._rows, mixture.batch_shape.numel()),
            position,
            most,
            reg_covar=self._torch.algorithm.reg_covar,
            tol=stopping.tol,
            is_whole=n_before + most == self._torch.max_iter,
            n_threads=self._n_threads,
        )

    def _endings(
        self, at_work: Sequence[Trace], before: EMState, after: EMState, run: NativeRun
    ) -> list[Ending]:
        """Notes the likelihoods, and returns the restarts that ended."""
        reasons = []
        for i, trace in enumerate(at_work):
            n_steps, values, was = run.n_steps[i], run.values[i], before
            trace.history[before.n_steps :] = values[:n_steps]
            if n_steps > 1:
                change = torch.full_like(before.change, values[n_steps - 1] - values[n_steps - 2])
                was = replace(before, change=change, n_steps=before.n_steps + n_steps - 1)
            converged = run.outcomes[i] == CONVERGED
            reasons.append(self._torch.reason(i, was, after, converged))
        return endings_of_step(at_work, before, after, [False] * len(at_work), reasons)
