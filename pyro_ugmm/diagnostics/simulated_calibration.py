"""Simulation-based calibration: truths that are known, and where inference puts them."""

import copy
import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..checkpoint import Checkpoint
from ..checks import check, check_flag, check_integer, check_seed
from ..fingerprints import fingerprint
from ..interrupts import noted_interrupts
from ..optimization.resumption import Resumption
from ..precision import full_precision
from ..programs.entry import by_name, check_program, enter
from ..programs.traced import Rows
from ..progress_bars import progress_bar
from ..pyro_state import exclusive_pyro
from ..randomness import seeded
from .arviz_interface import effective_sizes
from .calibration_quantities import Quantities, Quantity
from .calibration_result import LEAST_SIMULATIONS, SimulatedCalibration
from .data_simulation import DataSimulation
from .draws import PosteriorDraws, evaluation, posterior_draws

__all__ = ["simulate_calibration"]

_MOST_FAILURES = 3  # at the start, of which none is a data set's fault
_LEAST_DRAWS = 2


@full_precision
def simulate_calibration(
    model: Callable,
    infer: Callable,
    x: Any,
    y: Any = None,
    *,
    num_simulations: int = 200,
    num_draws: int = 99,
    quantities: Mapping[str, Quantity] | None = None,
    seed: int | None = 0,
    progress: bool = True,
    checkpoint: str | os.PathLike | None = None,
) -> SimulatedCalibration:
    r"""Checks an inference on data whose truth is known, since it was drawn from the prior.

    .. math:: \theta^* \sim p(\theta), \quad y \sim p(y \mid \theta^*), \quad
        \theta_1, \dots, \theta_L \sim q(\theta \mid y)

    If :math:`q` is the posterior, then the rank of :math:`f(\theta^*)` among the
    :math:`f(\theta_l)` is even over data sets, for every quantity :math:`f`. Ranks pile up at both
    ends where the posterior is too narrow, and at one where it is biased. Sources: Talts and others
    (2018), arXiv:1804.06788; for the simultaneous bands, Säilynoja, Bürkner and Vehtari (2022),
    arXiv:2103.10522; for quantities of the data, Modrák and others (2023), arXiv:2211.02383.

    The quantities are the log prior, the log likelihood, that of three rows, and numbers of the
    sites, unless these belong to a component or a hidden neuron, whose labels can be exchanged.

    Draws that depend on each other, of chains or of particles with common ancestors, are thinned,
    evenly, to the least effective sample size of the quantities, by ArviZ; independent ones of a
    guide are as many as asked for.

    Args:
        model: the model: one of ours, or any Pyro program ``model(x, y)`` or ``model(x)``.
        infer: ``infer(model, x, y)`` returns what :func:`to_inference_data` takes: a fitted guide,
            a sample of the posterior, or MCMC that was run; ``y`` is None for a model without, or
            if ``x`` is a dictionary. It gets a copy of the model, and torch's generators seeded.
        x: features, which all data sets share; or rows of which the data sets have the shape, in a
            model whose rows are observed; or a dictionary of all the model's arguments by name, of
            which those that are observed have a data set's shape.
        y: for a program that needs labels or targets to run, some of their shape.
        num_simulations: how many data sets, ten or more.
        num_draws: the most draws among which a truth is ranked.
        quantities: more of them, by name, in place of those of rows and sites: functions of draws
            ``(S,)`` by site, ``x`` and ``y``, that return shape ``(S,)``.
        seed: for all that is random; torch's generators are used, and left alone if given.
        progress: whether to show a progress bar (on runs of more than a second).
        checkpoint: a file from which an interrupted run goes on, also with more data sets.

    Returns:
        The ranks, with p-values, the coverage of intervals and a verdict. A data set on which the
        inference fails is counted, and the others go on; interrupted by the keyboard, it is of
        those that are done.

    Raises:
        ValueError: if the model has no likelihood, or no priors that can be drawn from; if the
            first data sets all fail; if the arguments do not fit, or the checkpoint is another's.

    Example:
        >>> import pyro, torch
        >>> from pyro.distributions import Normal
        >>> from pyro_ugmm.diagnostics import simulate_calibration
        >>> def model(x):
        ...     mean = pyro.sample("mean", Normal(0.0, 1.0))
        ...     with pyro.plate("rows", len(x)):
        ...         pyro.sample("x", Normal(mean, 1.0), obs=x)
        >>> def infer(model, x, y):  # in closed form, but for a standard deviation of a third
        ...     mean, deviation = x.sum() / (len(x) + 1), (len(x) + 1) ** -0.5
        ...     return lambda x: pyro.sample("mean", Normal(mean, deviation / 3))
        >>> x = torch.zeros(8)
        >>> found = simulate_calibration(model, infer, x, num_simulations=50, num_draws=20)
        >>> found.names[:2], found.ranks.shape
        (('log_prior', 'log_likelihood'), torch.Size([50, 6]))
        >>> print(found.verdict)
        not calibrated: ...
    """
    check_program(model)
    expected = "a function infer(model, x, y)"
    check(callable(infer) and not isinstance(infer, type), "infer", expected, type(infer).__name__)
    num_simulations = check_integer("num_simulations", num_simulations, LEAST_SIMULATIONS)
    num_draws = check_integer("num_draws", num_draws, minimum=_LEAST_DRAWS)
    seed, progress = check_seed("seed", seed), check_flag("progress", progress)
    file = None if checkpoint is None else Checkpoint(checkpoint, every=1)
    model = copy.deepcopy(model)
    with evaluation(model, 0):
        rows, is_named = enter(model, x, y), isinstance(x, Mapping)
        run = _Run(model, infer, rows, is_named, quantities, num_simulations, num_draws, seed)
    return run.go(file, progress)


class _Run:
    """A run over data sets, one after the other, each with a seed of its own."""

    def __init__(
        self,
        model: Callable,
        infer: Callable,
        rows: Rows,
        is_named: bool,
        quantities: Mapping[str, Quantity] | None,
        num_simulations: int,
        num_draws: int,
        seed: int | None,
    ) -> None:
        self._model, self._infer, self._num_draws = model, infer, num_draws
        self._is_named = is_named
        own = copy.deepcopy(model)  # which stays in evaluation mode
        self._quantities = Quantities(own, rows, quantities)
        self._simulation = DataSimulation(own, rows)
        truth, example = self._simulation.draw()
        self._names = tuple(self._quantities.evaluate(example, truth, *self._data(example)))
        self._identity = {
            "model": fingerprint(truth, example),
            "inference": fingerprint(infer),
            "quantities": f"{', '.join(self._names)} {fingerprint(quantities)}",
            "number of draws": str(num_draws),
            "seed": str(seed),
        }
        self._seed, self._num_simulations = _base(seed), num_simulations
        self._outcomes: list[Tensor | str] = []  # ranks and the number of draws, or what failed

    # -- the checkpoint -------------------------------------------------------------------------

    @property
    def is_done(self) -> bool:
        return len(self._outcomes) >= self._num_simulations

    def identity(self) -> dict[str, str]:
        return self._identity

    def state(self) -> dict[str, Any]:
        return {"outcomes": self._outcomes}

    def load(self, state: dict[str, Any]) -> None:
        self._outcomes = list(state["outcomes"])

    # -- the data sets --------------------------------------------------------------------------

    def go(self, file: Checkpoint | None, progress: bool) -> SimulatedCalibration:
        resumption = None if file is None else Resumption(file, self)
        total, taken = self._num_simulations, len(self._outcomes)
        words = {"desc": "calibration", "unit": " data sets"}
        try:
            with progress_bar(total=total, initial=taken, shown=progress, **words) as bar:
                while not self.is_done:
                    self._outcomes.append(self._outcome(len(self._outcomes)))
                    self._check_failures()
                    if resumption is not None:
                        resumption.save()
                    bar.update()
        except KeyboardInterrupt:
            pass  # what is done is whole
        return self._result()

    def _outcome(self, i: int) -> Tensor | str:
        seed = np.random.SeedSequence([self._seed, i]).generate_state(1, np.uint64)[0] >> 1
        with exclusive_pyro(), seeded(int(seed)), noted_interrupts() as interrupts:
            try:
                outcome: Tensor | str = self._ranks()
            except Exception as error:
                words = (str(error).strip().splitlines() or [""])[0]
                outcome = f"data set {i}: {type(error).__name__}: {words}"
            if interrupts:
                raise KeyboardInterrupt
        return outcome

    def _ranks(self) -> Tensor:
        """Simulates a data set; returns the ranks of its truth, and among how many draws."""
        model = copy.deepcopy(self._model)
        with evaluation(model, None):
            truth, rows = self._simulation.draw()
            is_finite = self._simulation.are_finite(rows)
            check(is_finite, "the data", "finite numbers", "others, drawn given the prior's draw")
        data = self._data(rows)
        inference = self._infer(model, *data)
        with evaluation(model, None):
            drawn = posterior_draws(model, inference, self._num_draws, rows)
            joined = {name: torch.cat([truth[name], drawn.values[name]]) for name in truth}
            evaluated = self._quantities.evaluate(rows, joined, *data)
            values = torch.stack([*evaluated.values()], -1)
            actual, others = values[0], _thinned(values[1:], drawn, self._num_draws)
            unknown = [name for name, value in evaluated.items() if value.isnan().any()]
            check(not unknown, "the draws", "quantities that are numbers", f"NaN of {unknown}")
            below, equal = (others < actual).sum(0), (others == actual).sum(0)
            ties = (torch.rand(len(equal), dtype=torch.float64) * (equal + 1)).long()
        return torch.cat([below + ties, torch.tensor([len(others)])])

    def _data(self, rows: Rows) -> tuple[Any, Any]:
        """Data as inferences take them: ``x`` and ``y``, or all by name and None."""
        if self._is_named:
            return by_name(self._model, rows), None
        return rows[0], rows[1] if len(rows) > 1 else None

    def _check_failures(self) -> None:
        """Stops if nothing succeeds: that is no data set's fault."""
        is_start = len(self._outcomes) == _MOST_FAILURES
        if is_start and all(isinstance(outcome, str) for outcome in self._outcomes):
            got = f"failures on the first {_MOST_FAILURES}; {self._outcomes[0]}"
            raise ValueError(f"infer: expected an inference that works on data sets, got {got}")

    def _result(self) -> SimulatedCalibration:
        names = self._names
        ranked = [outcome for outcome in self._outcomes if isinstance(outcome, Tensor)]
        table = torch.stack(ranked) if ranked else torch.zeros(0, len(names) + 1).long()
        return SimulatedCalibration(
            names=names,
            ranks=table[:, :-1],
            num_draws=table[:, -1],
            num_simulations=max(self._num_simulations, len(self._outcomes)),
            failures=tuple(outcome for outcome in self._outcomes if isinstance(outcome, str)),
        )


def _base(seed: int | None) -> int:
    return int(torch.randint(2**62, ())) if seed is None else seed


def _thinned(values: Tensor, drawn: PosteriorDraws, most: int) -> Tensor:
    """Draws ``(S, Q)`` as few as are independent of each other, evenly spread over all."""
    if drawn.log_q is None:
        chains = values.T.reshape(values.shape[1], drawn.n_chains, -1)
        sizes = effective_sizes(chains.numpy())
        least = np.nanmin(np.append(sizes, len(values)))  # NaN where nothing varies
        most = max(_LEAST_DRAWS, min(most, int(least)))
    count = min(most, len(values))
    return values[torch.linspace(0, len(values) - 1, count).long()]
