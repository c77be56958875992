"""What both trainings do around a run."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pyro
from torch import Tensor

from ..checks import check, check_integer
from ..optimization.schedule import Schedule
from ..optimization.shared_start import common_seed
from ..processes import current, is_distributed
from ..programs.entry import device_of, enter_observed
from ..programs.traced import Rows
from ..pyro_state import exclusive_pyro
from ..randomness import seeded
from ..sources import Batches, Batching, SharedBatches, source_of
from ..trainable import trainable

__all__ = ["ROWS_NOTED", "check_starts", "in_training", "learnable", "make_batches_of"]

ROWS_NOTED = 1024


def make_batches_of(
    model: Callable, x: Any, y: Any, batch_size: int | None, size: int | None
) -> Batches:
    """The batches of data, of all processes if there are several."""

    def convert(x: Any, y: Any = None) -> Rows:
        return enter_observed(model, x, y, "labels, one for each row")

    batches = source_of(x).batches(y, Batching(batch_size, size, device_of(model), convert))
    return SharedBatches(batches, size, current()) if is_distributed() else batches


def learnable(**parts: Any) -> dict[str, Tensor]:
    """The parameters that require gradients, by the name of their part and their own.

    Raises:
        ValueError: if there are none.
    """
    parameters = {
        f"{part}.{name}": parameter
        for part, module in parts.items()
        for name, parameter in module.named_parameters()
        if parameter.requires_grad
    }
    check(parameters, " and ".join(parts), "parameters that require gradients", "none")
    return parameters


def check_starts(num_starts: Any, checkpoint: Any) -> int:
    """Checks how many fits there are to be: one, with a checkpoint or several processes."""
    num_starts = check_integer("num_starts", num_starts)
    is_one = num_starts == 1 or not is_distributed()
    check(is_one, "num_starts", "1 with several processes, or group=False", num_starts)
    check(
        num_starts == 1 or checkpoint is None, "checkpoint", "None for several starts", checkpoint
    )
    return num_starts


@contextlib.contextmanager
def in_training(schedule: Schedule, *programs: Callable) -> Iterator[None]:
    """The state of the process in which runs are alike: one at a time, with gradients, seeded."""
    own_store, seed = pyro.get_param_store().scope(), common_seed(schedule.seed)
    with exclusive_pyro(), own_store, trainable(*programs), seeded(seed):
        yield
