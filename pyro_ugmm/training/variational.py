"""Training by stochastic variational inference."""

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import chain, starmap
from typing import Any

import pyro
from pyro.infer import ELBO, Trace_ELBO, TraceEnum_ELBO
from pyro.infer.autoguide import AutoGuide
from torch import Tensor

from ..checkpoint import Checkpoint
from ..checks import check, check_integer, kind_of
from ..ensemble import ensemble_of, svi_starts
from ..first_run import first_run
from ..guides.direct_elbo import direct_elbo
from ..nn.mode import training_mode
from ..optimization.breakdown import bad_site
from ..optimization.convergence import Settled
from ..optimization.descent import Descent
from ..optimization.joint_descent import JointDescent
from ..optimization.objective import Objective
from ..optimization.result import FitResult
from ..optimization.run_identity import guide_identity, same_run
from ..optimization.schedule import Schedule
from ..optimization.shared_start import share_start
from ..optimization.stopping import MakesRule
from ..precision import full_precision
from ..processes import in_group
from ..programs.entry import check_program, unchecked
from ..programs.enumeration import in_parallel
from ..programs.joint import LogJoint
from ..programs.parameters import holding_parameters, takes_size
from ..programs.sites import LatentSites, discrete_sites, sites_of, sites_of_rows
from ..programs.traced import Rows, count_rows
from ..sources import Batches
from ..trainable import trainable
from .run import ROWS_NOTED, check_starts, in_training, learnable, make_batches_of
from .starts import as_one_guide, as_one_model, one_after_another

__all__ = ["fit_svi"]


@full_precision
@in_group
def fit_svi(
    model: Callable,
    guide: Callable,
    x: Any,
    y: Any = None,
    *,
    steps: int = 1000,
    batch_size: int | None = None,
    size: int | None = None,
    learning_rate: float | Callable[[int], float] = 0.1,
    num_particles: int = 1,
    max_gradient_norm: float | None = None,
    stopping: MakesRule = Settled,
    checkpoint: str | os.PathLike | None = None,
    checkpoint_every: int = 100,
    num_starts: int = 1,
    seed: int | None = None,
    progress: bool = True,
    group: Any = None,
) -> FitResult:
    r"""Fits a guide to the posterior of a model by maximizing the evidence lower bound.

    .. math:: \max_q \; \mathbb{E}_{q(\theta)} \bigl[\log p(y, \theta \mid x) - \log q(\theta)\bigr]

    What the model has no prior for is learned with it. Pyro's parameter store is left as it was
    found: the parameters of a guide that is a module become its own; those of a guide that is a
    function are kept by the result's ``guide``, which is to be used in its place.

    Args:
        model: a model with priors.
        guide: a Pyro guide with the model's arguments, such as :func:`pyro_ugmm.guides.mean_field`
            makes, any of Pyro's autoguides, or one of your own; a function may do without
            ``size``.
        x: features, or the rows of a mixture, shape ``(n, K)``, in a tensor, an array, a data
            frame or lists; or a dataset or DataLoader of such rows, or of pairs of these with
            labels; or a dictionary of all the model's arguments by name.
        y: labels, shape ``(n,)``; a mixture has none.
        steps: the number of steps of Adam; the learning rate rises, falls, and stays at a
            twentieth of its peak for the last four tenths.
        batch_size: the rows of a step; all of them if None, which a dataset is then read for
            once. A DataLoader has its own.
        size: the number of rows of the full data, to which losses are scaled. By default those
            that are given; of a DataLoader, the different rows that its passes can reach
            (the rule is in ``sources/reach.py``), however often a sampler draws
            them. A sampler that draws some rows more often than others changes what is learned:
            these rows then count for more.
        learning_rate: the peak; or a function of the step, from zero, that returns its rate.
        num_particles: the draws from the guide in each step.
        max_gradient_norm: the norm to which longer gradients are cut.
        stopping: makes the rule that may end the run and judges it, of its parameters and schedule,
            as a class of ``pyro_ugmm.optimization.stopping`` does; by default, all steps are
            taken.
        checkpoint: a file that is written at the start and every ``checkpoint_every`` steps. If it
            is there, the run goes on from it, along the same trajectory; after a run that ended,
            the same call returns its outcome. A file of another run is refused: of other
            arguments, data, priors, frozen parameters, or another start, so seed what draws one.
            All values of tensors and arrays count, up to 65,536 rows, evenly spread, of other
            datasets, and of an ``IterableDataset`` the class and length alone.
        checkpoint_every: in steps.
        num_starts: how many fits there are: that of the model and guide, and those of copies that
            start elsewhere, at random. Several come back as an :class:`Ensemble`, weighted by
            stacking; those that break down do not count. In place of a guide that
            ``mean_field``, ``low_rank`` or ``full_rank`` has not made, give what makes one:
            ``make_guide(model, start=...)``. Our models under guides of these functions are fitted
            at once, to the same rows at each step; all else, and with ``max_gradient_norm``, one
            after the other, which the ``reason`` says.
        seed: for the draws and batches; torch's generator is used, and left alone if given.
        progress: whether to show a progress bar (on runs of more than a second).
        group: the processes of ``torch.distributed`` that fit together, as to
            :class:`pyro_ugmm.em.EMFitter`: each gives its own rows, and all get the fit to the rows
            of all. ``size`` counts those of all. They start where the first one's model is, which
            reads and writes the checkpoint for all.

    Raises:
        ValueError: if the data do not fit the model, there is nothing to train, a learning rate
            is negative or not finite, or the checkpoint is damaged or of another run.

    Example:
        >>> import torch
        >>> from pyro_ugmm.guides import mean_field
        >>> from pyro_ugmm.models import BayesianGaussianMixture, Priors
        >>> from pyro_ugmm.training import fit_svi
        >>> x = torch.cat([torch.randn(50, 2) - 3, torch.randn(50, 2) + 3])
        >>> model = BayesianGaussianMixture(2, 2, priors=Priors.from_data(x))
        >>> result = fit_svi(model, mean_field(model), x, steps=30, seed=0, progress=False)
        >>> result.losses.shape
        torch.Size([30])
    """
    check_program(model)
    is_guide = callable(guide) and not isinstance(guide, LatentSites | type)
    check(is_guide, "guide", "a Pyro guide", kind_of(guide))
    num_particles = check_integer("num_particles", num_particles)
    schedule = Schedule(steps, learning_rate, max_gradient_norm, seed, progress)
    file = None if checkpoint is None else Checkpoint(checkpoint, checkpoint_every)
    num_starts, model = check_starts(num_starts, checkpoint), holding_parameters(model)
    if num_starts == 1:
        guide = holding_parameters(guide)
    with in_training(schedule, model, guide):

        def make_batches() -> Batches:
            return make_batches_of(model, x, y, batch_size, size)

        def fit(model: Any, guide: Any) -> FitResult:
            return _fit_svi(model, guide, make_batches(), schedule, stopping, file, num_particles)

        if num_starts == 1:
            return fit(model, guide)
        batches = make_batches()
        rows, fits, how = batches.first_rows(ROWS_NOTED), None, "at once"
        starts = svi_starts(model, guide, rows, num_starts)
        starts = [(model, holding_parameters(guide)) for model, guide in starts]
        with trainable(*chain.from_iterable(starts)):
            if max_gradient_norm is None:
                fits = _fit_at_once(starts, batches, schedule, stopping, num_particles, rows)
            if fits is None:
                fits, how = one_after_another(starmap(fit, starts)), "one after the other"
        return ensemble_of(fits, how, num_starts, rows)


def _make_elbo(model: Any, num_particles: int, sums_out: bool, n_plate_dims: int) -> ELBO:
    """Draws the particles at once for a model that is known to evaluate many draws."""
    options: dict[str, Any] = {"num_particles": num_particles, "max_plate_nesting": n_plate_dims}
    if sums_out:
        return TraceEnum_ELBO(**options)
    at_once = num_particles > 1 and isinstance(model, LogJoint)
    return Trace_ELBO(vectorize_particles=at_once, **options)


def _check_whole(rows: Rows, batches: Batches, takes_parts: bool, own: list[str]) -> None:
    """Checks that a step is of all rows, where the program or its guide cannot take fewer."""
    count = count_rows(rows)
    is_whole = count == batches.n_rows
    expected = f"one that takes size, as steps are of {count} of {batches.n_rows} rows"
    check(is_whole or takes_parts, "model", expected, "one without")
    expected = f"None, as {own} have a value for each row, and the guide holds those of all"
    remedy = "a guide written as a function draws those of a step"
    check(is_whole or not own, "batch_size", expected, f"steps of {count} rows ({remedy})")


def _objective(model: Any, guide: Any, batches: Batches, num_particles: int) -> Objective:
    """The bound, by a model and guide that run here for the first time."""
    size = {"size": batches.n_rows} if takes_size(model) else {}
    first = batches.first_rows(1 if isinstance(model, LatentSites) else batches.n_rows)
    discrete, n_plate_dims = discrete_sites(model, first)
    elbo, program = _make_elbo(model, num_particles, bool(discrete), n_plate_dims), unchecked(model)
    if discrete:
        program = in_parallel(program, discrete)
    holds_all = isinstance(guide, AutoGuide) and guide.create_plates is None
    own = sites_of_rows(model, first) if holds_all else []

    def traced_loss(*rows: Tensor) -> Tensor:
        _check_whole(rows, batches, bool(size), own)
        return elbo.differentiable_loss(program, guide, *rows, **size)

    def diagnose(*rows: Tensor) -> str | None:
        return bad_site(program, guide, *rows, **size)

    sites = sites_of(model, first).latent_sites()
    first_run(elbo, program, guide, sites, first, **size)
    share_start(model=model, guide=guide)
    direct = direct_elbo(model, guide, num_particles, batches.n_rows)
    loss = traced_loss if direct is None else direct.loss
    return Objective(loss, learnable(model=model, guide=guide), "SVI", diagnose)


def _fit_svi(
    model: Any,
    guide: Any,
    batches: Batches,
    schedule: Schedule,
    stopping: MakesRule,
    file: Checkpoint | None,
    num_particles: int,
) -> FitResult:
    with training_mode(model, True):
        objective = _objective(model, guide, batches, num_particles)
        with same_run(file, batches, model=model, guide=guide) as run:
            run |= {
                "guide": guide_identity(getattr(guide, "function", guide)),
                "num_particles": str(num_particles),
            }
            # Pyro has checked the model and guide once; from here on NaN is a result, no error.
            with pyro.validation_enabled(False):
                result = Descent(objective, batches, schedule, run, stopping).run(file)
    return replace(result, guide=guide, model=model)


def _fit_at_once(
    starts: Sequence[tuple[Any, Any]],
    batches: Batches,
    schedule: Schedule,
    stopping: MakesRule,
    num_particles: int,
    rows: Rows,
) -> list[FitResult] | None:
    """Fits all guides to their models, if the bound of all is evaluated directly."""
    models, guides = zip(*starts, strict=True)
    model = as_one_model(models, rows)
    if model is None:
        return None
    objectives = [_objective(*start, batches, num_particles) for start in starts]
    guide = as_one_guide(guides)
    direct = None if guide is None else direct_elbo(model, guide, num_particles, batches.n_rows)
    if direct is None:
        return None
    with training_mode(model, True), pyro.validation_enabled(False):
        parameters = learnable(model=model, guide=guide)
        descent = JointDescent(objectives, direct.losses, parameters, batches, schedule, stopping)
        results = descent.run()
    return [
        replace(result, guide=guide, model=model)
        for result, (model, guide) in zip(results, starts, strict=True)
    ]
