"""The batches of several processes, each of which has rows of its own."""

from typing import Any

from torch import Tensor

from ..checks import check_integer
from ..processes import Processes
from .batches import Batches

__all__ = ["SharedBatches"]


class SharedBatches(Batches):
    r"""Batches of the rows of all processes, of which each gives its own.

    The loss of the full data is the average of what the processes estimate, each from its rows,

    .. math:: L = \sum_r \frac{n_r}{\sum_s n_s} L_r, \qquad
        L_r = -\log p(\theta) - \frac{N}{n_r} \sum_{i \in r} \log p(y_i \mid \theta)

    in which likelihoods add up, and priors count once. Processes that do not all know how many rows
    they have, where ``size`` tells how many there are, count alike.

    Args:
        own: the batches of this process.
        size: :math:`N`, if it is not the sum of the processes' rows :math:`n_r`.
        processes: all of them.
    """

    def __init__(self, own: Batches, size: int | None, processes: Processes) -> None:
        self._own, self._processes = own, processes
        processes.agree({"size": size})
        counts = processes.gather("rows", own.n_own)
        self.n_own = None if None in counts else sum(counts)
        parts = [1] * processes.size if self.n_own is None else counts
        self.share = parts[processes.rank] / sum(parts)
        least = round(self.n_own or 1)
        self.n_rows = least if size is None else check_integer("size", size, least)

    def first_rows(self, count: int) -> tuple[Tensor, ...]:
        """Returns some rows of this process."""
        return self._own.first_rows(count)

    def next(self) -> tuple[Tensor, ...]:
        """Returns this process's rows of the next step."""
        return self._own.next()

    def state(self) -> dict[str, Any]:
        """Returns the places of all processes."""
        return {"processes": self._processes.gather("places", self._own.state())}

    def load(self, state: dict[str, Any]) -> None:
        """Goes to this process's place."""
        self._own.load(state["processes"][self._processes.rank])

    def fingerprint(self) -> str:
        """Tells these data from others."""
        prints = self._processes.gather("data", self._own.fingerprint())
        return f"{self.n_rows} rows: {'; '.join(prints)}"

    def check_resumable(self) -> None:
        """Checks that a run can be taken up again with these data."""
        self._own.check_resumable()
