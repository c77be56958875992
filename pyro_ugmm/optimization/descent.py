"""Descent along stochastic gradients, and its outcome."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from tqdm.auto import tqdm

from ..checks import check
from .batches import Batches
from .breakdown import bad_parameter, largest_parameter
from .checkpoint import Checkpoint, check_form
from .convergence import verdict
from .fingerprints import fingerprint
from .random_states import random_states, restore_random_states
from .saving import Saving
from .schedule import Schedule
from .values import Values

__all__ = ["Descent", "FitResult"]


@dataclass(frozen=True, repr=False)
class FitResult:
    """The outcome of a training run.

    Attributes:
        losses: the loss at each step, in nats for the full data: the negative log-likelihood (or
            score), or the negative evidence lower bound. Shape ``(n_steps,)``, on the CPU.
        converged: whether the loss and the parameters had settled by the end of the run; see
            :func:`pyro_ugmm.optimization.convergence.verdict`.
        reason: why the run ended, in words, and what to do about it.
        guide: the fitted guide, of a run of SVI.
        model: the model that was fitted; one written as a function holds its parameters here.
        averaged_from: the step from which on parameters were averaged, if they were.

    Example:
        >>> import torch
        >>> from pyro_ugmm.models import UGMMClassifier
        >>> from pyro_ugmm.nn import UGMMNetwork
        >>> from pyro_ugmm.training import fit_mle
        >>> model, y = UGMMClassifier(UGMMNetwork([2, 4, 3])), torch.arange(30) % 3
        >>> result = fit_mle(model, torch.randn(30, 2), y, steps=20, progress=False)
        >>> result.n_steps, result.converged
        (20, False)
    """

    losses: Tensor
    converged: bool
    reason: str
    guide: Any = None
    averaged_from: int | None = None
    model: Any = None

    @property
    def n_steps(self) -> int:
        """The number of optimization steps taken."""
        return len(self.losses)

    def __repr__(self) -> str:
        loss = f"{self.losses[-1].item():.4g}" if self.n_steps else "none"
        return (
            f"{type(self).__name__}(converged={self.converged}, n_steps={self.n_steps}, "
            f"final_loss={loss}, reason={self.reason!r})"
        )


class Descent:
    """Minimizes a loss by Adam.

    A step after which the loss is not finite is taken back. If the parameters only wander about
    the optimum by the end, their average over the steps since the learning rate came down is
    nearer to it than where they happen to be last (Polyak and Juditsky 1992; for variational
    inference, Dhaka and others 2020, arXiv:2009.00666), and is what they become.

    Args:
        loss_of_rows: the loss of the full data, estimated from rows.
        parameters: what to learn, by name.
        batches: where rows come from.
        schedule: the steps and their learning rates.
        title: of the run.
        diagnose: says which part of the loss of rows is not finite, if it can tell.
        run: what else tells this run from others, for checkpoints.
    """

    def __init__(
        self,
        loss_of_rows: Callable[..., Tensor],
        parameters: dict[str, Tensor],
        batches: Batches,
        schedule: Schedule,
        title: str,
        diagnose: Callable[..., str | None],
        run: Mapping[str, str],
    ) -> None:
        self._loss_of_rows, self._parameters = loss_of_rows, parameters
        self._diagnose, self._run = diagnose, run
        self._batches, self._schedule, self._title = batches, schedule, title
        self._values = Values(list(parameters.values()), schedule)
        self._losses: list[Tensor] = []
        self._cause = ""

    def run(self, checkpoint: Checkpoint | None = None) -> FitResult:
        """Takes all steps, those before a checkpoint excepted; stops at an interrupt."""
        try:
            saving = None if checkpoint is None else Saving(checkpoint, self)
            return self._take_steps(saving)
        except KeyboardInterrupt:
            if bad_parameter(self._parameters):
                self._values.take_back()
            taken = f"interrupted after {len(self._losses)} of {self._schedule.steps} steps"
            return self._result(False, taken)

    def _take_steps(self, saving: Saving | None) -> FitResult:
        schedule, steps, done = self._schedule, self._schedule.steps, len(self._losses)
        hide = not schedule.progress
        with tqdm(total=steps, initial=done, desc=self._title, disable=hide, delay=1) as bar:
            for step in range(done, steps):
                if not self._step():
                    said = f"the loss became {self._losses[-1].item()} at step {step + 1}"
                    return self._breakdown(f"{said}: {self._cause}")
                is_last = step + 1 == steps
                if is_last or (saving and (step + 1) % saving.every == 0):
                    cause = bad_parameter(self._parameters)
                    if cause and is_last:
                        return self._breakdown(f"{cause} after step {steps}")
                    if saving and not cause:
                        saving.save()
                bar.update()
                if (step + 1) % 50 == 0:
                    bar.set_postfix(loss=f"{self._losses[-1].item():.4g}", refresh=False)
        cool_from, iterates = self._values.cool_from, self._values.iterates
        converged, said = verdict(iterates, torch.stack(self._losses[cool_from:]))
        if converged:
            self._values.replace(iterates.average())
        taken = f"took {len(self._losses)} steps; {said}"
        return self._result(converged, taken, cool_from if converged else None)

    def _step(self) -> bool:
        """Takes a step; returns False if the loss broke down."""
        rows, random_state = self._batches.next(), torch.get_rng_state()
        loss = self._loss_of_rows(*rows)
        self._losses.append(loss.detach())
        if not loss.isfinite():
            with torch.random.fork_rng():
                torch.set_rng_state(random_state)
                self._cause = self._find_cause(rows)
            return False
        self._values.step(loss, len(self._losses) - 1)
        return True

    def _find_cause(self, rows: tuple[Tensor, ...]) -> str:
        cause = bad_parameter(self._parameters)
        if cause is None:
            cause = self._diagnose(*rows)
        return cause or f"there are {largest_parameter(self._parameters)}"

    def _breakdown(self, what: str) -> FitResult:
        """Takes the last step back, if there was one."""
        self._values.take_back()
        if len(self._losses) == 1 and not self._losses[0].isfinite():
            done, remedy = "no step was taken", "Check the scale of the data, and the start"
        else:
            done = "the last step was taken back"
            remedy = "Lower the learning rate, or check the scale of the data"
        return self._result(False, f"{what}; {done}. {remedy}")

    def _result(self, converged: bool, reason: str, averaged_from: int | None = None) -> FitResult:
        losses = torch.stack(self._losses).cpu() if self._losses else torch.zeros(0)
        return FitResult(losses, converged, reason, averaged_from=averaged_from)

    # -- checkpoints ------------------------------------------------------------------------

    def identity(self) -> dict[str, str]:
        """What tells this run from others."""
        shapes = {
            name: (tuple(tensor.shape), str(tensor.dtype))
            for name, tensor in self._parameters.items()
        }
        rates = [self._schedule.rate(step) for step in range(self._schedule.steps)]
        said = f"{min(rates):.9g} to {max(rates):.9g}, {fingerprint(rates)}"
        return {
            "title": self._title,
            "parameters": str(shapes),
            "data": self._batches.fingerprint(),
            "steps": str(self._schedule.steps),
            "learning rates": said,
            "max_gradient_norm": str(self._schedule.max_gradient_norm),
            "seed": str(self._schedule.seed),
            **self._run,
        }

    def state(self) -> dict[str, Any]:
        """All that the steps to come depend on, as tensors and numbers."""
        tensors = [tensor.detach() for tensor in self._parameters.values()]
        losses = torch.stack(self._losses) if self._losses else tensors[0].new_zeros(0)
        return {
            "values": self._values.state(),
            "losses": losses,
            "batches": self._batches.state(),
            "random": random_states(on_gpu=any(tensor.is_cuda for tensor in tensors)),
        }

    def load(self, state: dict[str, Any]) -> None:
        """Takes over what :meth:`state` returned, perhaps in another process.

        Raises:
            ValueError: if it is not of the form that this run's has.
        """
        own = self.state()
        check(state.keys() == own.keys(), "state", f"{[*own]}", f"{[*state]}")
        check_form(state["values"], own["values"], "values")
        found = dict(zip(self._parameters, state["values"]["parameters"], strict=True))
        bad = bad_parameter(found)
        check(bad is None, "parameters", "finite ones", bad)
        losses, device = state["losses"], next(iter(self._parameters.values())).device
        fits = losses.is_floating_point() and losses.dim() == 1
        fits = fits and len(losses) <= self._schedule.steps
        got = f"{tuple(losses.shape)} of {losses.dtype}"
        check(fits, "losses", f"up to {self._schedule.steps} numbers", got)
        self._batches.load(state["batches"])
        restore_random_states(state["random"])
        self._values.load(state["values"])
        self._losses = list(losses.to(device))

    @property
    def is_done(self) -> bool:
        """Whether all steps are taken."""
        return len(self._losses) == self._schedule.steps
