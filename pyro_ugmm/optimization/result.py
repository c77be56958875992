"""The outcome of a training run."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ..status import Ended, Status

__all__ = ["FitResult"]


@dataclass(frozen=True, repr=False)
class FitResult(Ended):
    """The outcome of a training run.

    Attributes:
        losses: the loss at each step, in nats for the full data: the negative log-likelihood (or
            score), or the negative evidence lower bound. Shape ``(n_steps,)``, on the CPU.
        status: how the run ended, with the remedy; see
            :func:`pyro_ugmm.optimization.convergence.verdict`.
        reason: why it ended, in words with figures.
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
        >>> result.n_steps, result.converged, result.status.name
        (20, False, 'LIMIT_REACHED')
    """

    losses: Tensor
    status: Status
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
