"""The posterior of a Pyro model, by sequential Monte Carlo."""

import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from tqdm.auto import tqdm

from ..checks import check, check_flag, check_integer, check_seed
from ..nn.mode import training_mode
from ..precision import full_precision
from ..programs.entry import check_program, enter_observed
from ..pyro_state import exclusive_pyro
from ..randomness import generator_for, seeded
from . import smc
from .result import PosteriorSample
from .target import Target
from .verdict import verdict

__all__ = ["sample_posterior"]

_MOST_RUNGS = 500


@full_precision
def sample_posterior(
    model: Callable,
    x: Any,
    y: Any = None,
    *,
    start: Any = None,
    num_particles: int = 256,
    num_populations: int = 4,
    most_moves: int = 32,
    seed: int | None = None,
    progress: bool = True,
) -> PosteriorSample:
    r"""Samples a model's posterior by tempered sequential Monte Carlo, all particles in one batch.

    .. math:: \pi_\beta(\theta) \propto q(\theta)^{1-\beta} \, p(y, \theta \mid x)^\beta,
        \qquad 0 = \beta_0 < \beta_1 < \dots < \beta_T = 1

    from the prior or a guide :math:`q` to the posterior. Each temperature leaves half of the
    particles effective; they are resampled, and moved along Hamiltonian trajectories until they
    have forgotten where they were. It needs no start, finds modes that a guide or a chain misses,
    and estimates the evidence :math:`p(y \mid x)`. The populations share temperatures and lengths
    of moves, nothing else: how they differ is the error of everything.

    What has no prior is held where it is, and the result names it.

    Args:
        model: the model, one of ours or a Pyro program.
        x: features, or the rows of a mixture, shape ``(n, K)``; or a dictionary of all the model's
            arguments by name.
        y: labels or targets, for a model that takes them.
        start: where the particles come from: the prior if None, or a fitted guide, from which the
            path is shorter; one temperature, if the guide is right.
        num_particles: in all populations together.
        num_populations: how many independent populations there are.
        most_moves: the most moves of a particle at one temperature.
        seed: for all that is random; torch's generators are used, and left alone if given.
        progress: whether to show a progress bar (on runs of more than a second).

    Returns:
        The draws, with a status, the evidence and R-hat over populations. A numerical failure is
        a status; so is an interruption by the keyboard, of whose draws the result says how far
        they had come.

    Raises:
        ValueError: if the model has no priors, or none that are densities; if its sites or its
            density differ from run to run; if the data, the start or the numbers do not fit.

    Source: Del Moral, Doucet and Jasra (2006), *Sequential Monte Carlo samplers*; Chopin and
    Papaspiliopoulos (2020), *An introduction to sequential Monte Carlo*, chapter 17.

    Example:
        >>> import torch
        >>> from pyro_ugmm.models import BayesianGaussianMixture, Priors
        >>> from pyro_ugmm.sampling import sample_posterior
        >>> x = torch.cat([torch.randn(30, 1) - 3, torch.randn(30, 1) + 3])
        >>> model = BayesianGaussianMixture(2, 1, priors=Priors.from_data(x))
        >>> sample = sample_posterior(model, x, num_particles=64, seed=0, progress=False)
        >>> sample.draws["means"].shape
        torch.Size([64, 2, 1])
    """
    check_program(model)
    num_populations = check_integer("num_populations", num_populations)
    num_particles = check_integer("num_particles", num_particles, minimum=2 * num_populations)
    fits = num_particles % num_populations == 0
    expected = f"a multiple of num_populations={num_populations}"
    check(fits, "num_particles", expected, num_particles)
    most_moves = check_integer("most_moves", most_moves, minimum=2)
    seed, progress = check_seed("seed", seed), check_flag("progress", progress)
    with exclusive_pyro(), training_mode(model, False), seeded(seed), torch.inference_mode(False):
        rows = enter_observed(model, x, y, "labels or targets, with x")
        target = Target(model, rows, start)
        run = _Run(target, num_populations, most_moves, seed, progress)
        return run.go(num_particles)


class _Run:
    """One run, which the keyboard can end."""

    def __init__(
        self,
        target: Target,
        num_populations: int,
        most_moves: int,
        seed: int | None,
        progress: bool,
    ) -> None:
        self._target, self._num_populations = target, num_populations
        self._most_moves, self._seed, self._progress = most_moves, seed, progress

    def go(self, num_particles: int) -> PosteriorSample:
        began = time.perf_counter()
        position = self._target.start(num_particles)
        state = smc.init(self._target.path, position, self._num_populations)
        states = self._states(state, generator_for(self._seed, position.device))
        interrupted = False
        try:
            for reached in states:
                state = reached
        except KeyboardInterrupt:
            interrupted = True
        position = state.particles.position
        try:
            r_hat = self._target.agreement(position, self._num_populations)
        except KeyboardInterrupt:  # which comes too late to stop anything
            r_hat = self._target.agreement(position, self._num_populations)
        status, reason = verdict(state, r_hat, interrupted)
        draws, _ = self._target.coordinates.values(position)
        return PosteriorSample(
            draws={name: value.detach() for name, value in draws.items()},
            num_populations=self._num_populations,
            status=status,
            reason=reason,
            log_evidences=state.log_evidence * (1.0 if state.temperature == 1 else math.nan),
            r_hat=r_hat,
            rungs=state.rungs,
            held=self._target.held,
            seconds=time.perf_counter() - began,
        )

    def _states(self, state: smc.State, generator: torch.Generator | None) -> Iterator[smc.State]:
        """The states after each temperature."""
        options = {"desc": "sampling", "disable": not self._progress, "delay": 1}
        with tqdm(unit=" temperatures", **options) as bar:
            while state.temperature < 1 and state.is_sound and len(state.rungs) < _MOST_RUNGS:
                state = smc.step(
                    self._target.path, state, most_moves=self._most_moves, generator=generator
                )
                bar.set_postfix(temperature=f"{state.temperature:.2g}", refresh=False)
                bar.update()
                yield state
