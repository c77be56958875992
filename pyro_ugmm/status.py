"""How an iteration ended: the same for EM, training and sampling."""

from enum import Enum

__all__ = ["Ended", "Status"]


class Status(Enum):
    """How a fit or a run ended; each member carries its sentence, with the remedy.

    A result has it as ``status``, for programs, and beside it ``reason``, in words with figures.

    Example:
        >>> from pyro_ugmm.status import Status
        >>> Status.CONVERGED.is_whole, Status.BROKEN_DOWN.is_whole
        (True, False)
        >>> print(Status.LIMIT_REACHED)
        stopped after the largest number of steps; raise it, or go on from here
    """

    CONVERGED = "converged: another step would change next to nothing"
    LIMIT_REACHED = "stopped after the largest number of steps; raise it, or go on from here"
    INTERRUPTED = "interrupted by the keyboard; go on from here, or from a checkpoint"
    BROKEN_DOWN = (
        "stopped where a number left the range of its type, at the last values that were sound; "
        "standardize the data, start nearer, or take smaller steps"
    )

    @property
    def is_whole(self) -> bool:
        """Whether all steps were taken that had been asked for, or were needed."""
        return self in (Status.CONVERGED, Status.LIMIT_REACHED)

    def __str__(self) -> str:
        return self.value


class Ended:
    """The outcome of a fit or a run, which says how it ended.

    Attributes:
        status: how it ended, with the remedy.

    Example:
        >>> from pyro_ugmm.em import EMResult
        >>> from pyro_ugmm.status import Ended
        >>> issubclass(EMResult, Ended)
        True
    """

    status: Status

    @property
    def converged(self) -> bool:
        """Whether it ended because another step would change next to nothing."""
        return self.status is Status.CONVERGED

    @property
    def interrupted(self) -> bool:
        """Whether the keyboard ended it, or a part of it, such as one restart of many."""
        return self.status is Status.INTERRUPTED
