"""The posterior of a Pyro model, by sequential Monte Carlo."""

import os
from collections.abc import Callable
from typing import Any

import torch

from ..nn.mode import training_mode
from ..precision import full_precision
from ..processes import Processes, together
from ..programs.entry import check_program, enter_observed
from ..pyro_state import exclusive_pyro
from ..randomness import seeded
from .identity import run_identity
from .result import PosteriorSample
from .run import Run
from .settings import Settings
from .target import Target

__all__ = ["sample_posterior"]


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
    draws_per_particle: int = 4,
    checkpoint: str | os.PathLike | None = None,
    group: Any = None,
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
    of moves, nothing else: how they differ is the error of everything. Draws of one particle stand
    next to each other, and depend on each other as ArviZ's effective sample size says.

    What has no prior is held where it is, and the result names it.

    Args:
        model: the model, one of ours or a Pyro program.
        x: features, or the rows of a mixture, shape ``(n, K)``; or a dictionary of all the model's
            arguments by name.
        y: labels or targets, for a model that takes them.
        start: where the particles come from: the prior if None, or a fitted guide, from which the
            path is shorter; one temperature, if the guide is right. The result's ``moved`` judges
            the guide by where the posterior is.
        num_particles: in all populations together.
        num_populations: how many independent populations there are.
        most_moves: the most moves of a particle at one temperature, until they are forgotten.
        draws_per_particle: how many draws each particle leaves at the posterior, the last places
            of its moves. The first few cost nothing, since it moves anyway; more of them are moves
            that go on, at a fraction of what more particles cost.
        checkpoint: a file that is written after each temperature. If it is there, the run goes on
            from it, to the same draws; after a run that ended, the same call returns its outcome.
            A file of another run is refused: of other arguments, data, priors, or values.
        group: the processes of ``torch.distributed`` that evaluate parts of the particles for each
            other: all if None, this one alone if False. Each gives the same arguments, and gets
            the same sample, which is that of one process but for rounding.
        seed: for all that is random, and torch's generators are left alone. Another process or
            processor may round sums otherwise, after which draws differ. Without one, it is
            drawn from them.
        progress: whether to show a progress bar (on runs of more than a second).

    Returns:
        The draws, with a status, the evidence and R-hat over populations. A numerical failure is
        a status; so is an interruption by the keyboard, of whose draws the result says how far
        they had come.

    Raises:
        ValueError: if the model has no priors, or none that are densities; if its sites or its
            density differ from run to run; if the data, the start or the numbers do not fit; if
            the checkpoint is damaged or of another run; on all processes, if one fails.

    Source: Del Moral, Doucet and Jasra (2006), *Sequential Monte Carlo samplers*; Chopin and
    Papaspiliopoulos (2020), *An introduction to sequential Monte Carlo*, chapter 17; Dau and
    Chopin (2022), *Waste-free sequential Monte Carlo*.

    Example:
        >>> import torch
        >>> from pyro_ugmm.models import BayesianGaussianMixture, Priors
        >>> from pyro_ugmm.sampling import sample_posterior
        >>> x = torch.cat([torch.randn(30, 1) - 3, torch.randn(30, 1) + 3])
        >>> model = BayesianGaussianMixture(2, 1, priors=Priors.from_data(x))
        >>> sample = sample_posterior(model, x, num_particles=64, seed=0, progress=False)
        >>> sample.draws["means"].shape
        torch.Size([256, 2, 1])
    """
    with together(group) as processes:
        settings = Settings(
            num_particles, num_populations, most_moves, draws_per_particle, seed, progress
        )
        return _sample(model, x, y, start, settings, checkpoint, processes)


def _sample(
    model: Callable,
    x: Any,
    y: Any,
    start: Any,
    settings: Settings,
    checkpoint: str | os.PathLike | None,
    processes: Processes,
) -> PosteriorSample:
    check_program(model)
    seed = settings.seed
    if seed is None:
        seed = processes.from_first(int(torch.randint(1 << 62, ())))
    with exclusive_pyro(), training_mode(model, False), seeded(seed), torch.inference_mode(False):
        rows = enter_observed(model, x, y, "labels or targets, with x")
        target, identity = Target(model, rows, start), {}
        if checkpoint is not None or processes.size > 1:
            identity = run_identity(model, rows, start, settings)
            processes.agree(identity)
        return Run(target, settings, processes, identity).go(checkpoint)
