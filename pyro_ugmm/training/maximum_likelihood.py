"""Training by maximum likelihood."""

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pyro
from torch import Tensor

from ..checkpoint import Checkpoint
from ..checks import check
from ..ensemble import ensemble_of, model_starts
from ..nn.mode import training_mode
from ..optimization.breakdown import bad_rows
from ..optimization.convergence import Settled
from ..optimization.descent import Descent
from ..optimization.joint_descent import JointDescent
from ..optimization.objective import Objective
from ..optimization.result import FitResult
from ..optimization.run_identity import same_run
from ..optimization.schedule import Schedule
from ..optimization.shared_start import rows_of_all, share_start
from ..optimization.stopping import MakesRule
from ..precision import full_precision
from ..processes import in_group
from ..programs.entry import check_program
from ..programs.joint import LogJoint, joint_of
from ..programs.notes import NotesFit
from ..programs.parameters import holding_parameters
from ..programs.sites import LatentSites, sites_of
from ..programs.traced import Rows, count_rows
from ..sources import Batches
from ..trainable import trainable
from .run import ROWS_NOTED, check_starts, in_training, learnable, make_batches_of
from .starts import as_one_model, one_after_another

__all__ = ["fit_mle"]


def _traced_rows(model: Callable, batches: Batches) -> Rows:
    """The rows by which a program is known; none for one that knows itself."""
    return () if isinstance(model, LatentSites) else batches.first_rows(batches.n_rows)


@full_precision
@in_group
def fit_mle(
    model: Callable,
    x: Any,
    y: Any = None,
    *,
    steps: int = 500,
    batch_size: int | None = None,
    size: int | None = None,
    learning_rate: float | Callable[[int], float] = 0.05,
    max_gradient_norm: float | None = None,
    stopping: MakesRule = Settled,
    checkpoint: str | os.PathLike | None = None,
    checkpoint_every: int = 100,
    num_starts: int = 1,
    seed: int | None = None,
    progress: bool = True,
    group: Any = None,
) -> FitResult:
    r"""Maximizes the likelihood of a model without priors, over its own parameters.

    .. math:: \hat\theta = \arg\max_\theta \sum_i \log p(y_i \mid x_i, \theta)

    A network also notes the scale of the scores that reach its hidden layers now: priors over
    these layers, of models made of ``model.network`` from then on, are in these units.

    Args:
        model: a model without any prior; its parameters are updated in place.
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
        num_starts: how many fits there are: the model's own, and those of copies of it that start
            elsewhere, at random. Of several, all alike in the :class:`Ensemble` that comes back;
            those that break down do not count. They are fitted at once, to the same rows at each
            step; or one after the other, which the ``reason`` says, where a model does not
            evaluate several sets of its parameters, or with ``max_gradient_norm``.
        seed: for dropout and batches; torch's generator is used, and left alone if given.
        progress: whether to show a progress bar (on runs of more than a second).
        group: the processes of ``torch.distributed`` that fit together, as to
            :class:`pyro_ugmm.em.EMFitter`: each gives its own rows, and all get the fit to the rows
            of all. ``size`` counts those of all. They start where the first one's model is, which
            reads and writes the checkpoint for all.

    Raises:
        ValueError: if the model is none or has priors, the data do not fit it, a learning rate
            is negative or not finite, or the checkpoint is damaged or of another run.

    Example:
        >>> import torch
        >>> from pyro_ugmm.models import UGMMClassifier
        >>> from pyro_ugmm.nn import UGMMNetwork
        >>> from pyro_ugmm.training import fit_mle
        >>> x = torch.randn(60, 2)
        >>> y = (x[:, 0] > 0).long()
        >>> model = UGMMClassifier(UGMMNetwork([2, 4, 2]))
        >>> fit_mle(model, x, y, steps=30, seed=0, progress=False).n_steps
        30
    """
    check_program(model)
    schedule = Schedule(steps, learning_rate, max_gradient_norm, seed, progress)
    file = None if checkpoint is None else Checkpoint(checkpoint, checkpoint_every)
    num_starts = check_starts(num_starts, checkpoint)
    model = holding_parameters(model)
    with in_training(schedule, model):

        def make_batches() -> Batches:
            return make_batches_of(model, x, y, batch_size, size)

        def fit(model: Any) -> FitResult:
            return _fit_mle(model, make_batches(), schedule, stopping, file)

        if num_starts == 1:
            return fit(model)
        batches = make_batches()
        rows = batches.first_rows(ROWS_NOTED)
        models = model_starts(model, rows, num_starts)
        with trainable(*models):
            whole = as_one_model(models, rows) if max_gradient_norm is None else None
            if whole is None:
                fits, how = one_after_another(map(fit, models)), "one after the other"
            else:
                fits, how = _fit_at_once(models, whole, batches, schedule, stopping), "at once"
        return ensemble_of(fits, how, num_starts, rows)


def _loss(joint: LogJoint, n_rows: int) -> Callable[..., Tensor]:
    """The loss of rows; of several sets of parameters, that of each."""

    def loss_of_rows(*rows: Tensor) -> Tensor:
        return -joint.row_terms(*rows).sum(-1) * (n_rows / count_rows(rows))

    return loss_of_rows


def _objective(model: Any, batches: Batches) -> Objective:
    first = _traced_rows(model, batches)
    sites = [*sites_of(model, first).latent_sites()]
    expected = "a model without priors (fit one with priors by fit_svi)"
    check(not sites, "model", expected, f"sites {sites}")
    joint = joint_of(model, first)

    def diagnose(*rows: Tensor) -> str | None:
        return bad_rows(joint.row_terms(*rows))

    share_start(model=model)
    loss = _loss(joint, batches.n_rows)
    return Objective(loss, learnable(model=model), "maximum likelihood", diagnose)


def _noted(result: FitResult, model: Any, batches: Batches) -> FitResult:
    """The result with its model, which takes note of its fit."""

    def note() -> None:
        if isinstance(model, NotesFit):
            with training_mode(model, False):
                model.note_fit(*rows_of_all(batches, ROWS_NOTED))

    try:
        note()
    except KeyboardInterrupt:  # which comes too late to stop anything
        note()
    return replace(result, model=model)


def _fit_mle(
    model: Any,
    batches: Batches,
    schedule: Schedule,
    stopping: MakesRule,
    file: Checkpoint | None,
) -> FitResult:
    objective = _objective(model, batches)
    with same_run(file, batches, model=model) as run, training_mode(model, True):
        descent = Descent(objective, batches, schedule, run, stopping)
        with pyro.validation_enabled(False):  # NaN is a result, no error
            result = descent.run(file)
        return _noted(result, model, batches)


def _fit_at_once(
    models: Sequence[Any], whole: Any, batches: Batches, schedule: Schedule, stopping: MakesRule
) -> list[FitResult]:
    """Fits all models, of which ``whole`` evaluates rows."""
    objectives = [_objective(model, batches) for model in models]
    losses, parameters = _loss(whole, batches.n_rows), learnable(model=whole)
    with training_mode(whole, True), pyro.validation_enabled(False):
        descent = JointDescent(objectives, losses, parameters, batches, schedule, stopping)
        results = descent.run()
    return [_noted(*pair, batches) for pair in zip(results, models, strict=True)]
