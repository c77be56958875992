"""The processes of ``torch.distributed``: what they share, agree on, and how they fail together.

A process that fails while others wait for it keeps them waiting until the collective's time-out.
So before each collective the processes meet: each says whether it failed, and what comes next. If
one failed, or is about to do something else, all raise the same ``ValueError``.
"""

import dataclasses
import functools
import signal
import threading
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Concatenate, ParamSpec, TypeVar

import torch
from torch import Tensor, distributed

from .accumulation import double
from .checks import check
from .fingerprints import fingerprint

__all__ = [
    "Processes",
    "all_reduce",
    "as_one",
    "check_group",
    "current",
    "in_group",
    "is_distributed",
    "together",
]

_CURRENT: ContextVar["Processes | None"] = ContextVar("processes", default=None)
_DONE = 0
_S = TypeVar("_S")
_P = ParamSpec("_P")
_R = TypeVar("_R")
_INTERRUPTED = "interrupted by the keyboard"


def _error(errors: list[str | None]) -> ValueError:
    """The error that all processes raise: what went wrong on which."""
    where: dict[str, list[int]] = {}
    for rank, message in enumerate(errors):
        if message is not None:
            where.setdefault(message, []).append(rank)
    if not where:
        message = "the processes take different steps; give each the same settings and calls"
        return ValueError(message)
    if len(where) == 1 and None not in errors:
        return ValueError(next(iter(where)))
    parts = [f"{message} (on rank {', '.join(map(str, at))})" for message, at in where.items()]
    return ValueError("; ".join(parts))


def check_group(group: Any) -> None:
    """Checks the option that says which processes compute together."""
    expected = "a process group, None for all processes, or False for this one alone"
    is_choice = group is None or group is False
    is_group = distributed.is_available() and isinstance(group, distributed.ProcessGroup)
    check(is_choice or is_group, "group", expected, repr(group))


class Processes:
    """A group of processes, of which each holds its own rows.

    Args:
        group: a process group; ``None`` for all processes, if ``torch.distributed`` is initialized;
            ``False`` for this one alone.
    """

    def __init__(self, group: Any = None) -> None:
        check_group(group)
        self.group = None if group is False else group
        known = distributed.is_available() and distributed.is_initialized()
        shares = group is not False and known
        self.size = distributed.get_world_size(self.group) if shares else 1
        self.rank = distributed.get_rank(self.group) if shares else 0
        self.interrupts = 0
        self._heeds_interrupts = True
        self._out_of_step = False

    def all_reduce(self, tensors: list[Tensor]) -> list[Tensor]:
        """Sums tensors over the processes."""
        if self.size == 1:
            return tensors
        packed = torch.cat([double(t).flatten() for t in tensors])
        packed = packed.to(self._device(packed.device))
        with self._meeting(packed.numel()):
            distributed.all_reduce(packed, group=self.group)
        parts = packed.split([t.numel() for t in tensors])
        return [part.reshape(t.shape).to(t) for t, part in zip(tensors, parts, strict=True)]

    def any_of(self, *flags: bool) -> list[bool]:
        """Says of each flag whether it is set on some process."""
        if self.size == 1:
            return [*flags]
        return [bool(total) for total in self.all_reduce([torch.tensor([*map(float, flags)])])[0]]

    @torch.no_grad()
    def copy_first(self, tensors: Sequence[Tensor]) -> None:
        """Gives tensors the values that they have on the first process."""
        if self.size > 1:
            own = [t.detach() if self.rank == 0 else torch.zeros_like(t) for t in tensors]
            for tensor, first in zip(tensors, self.all_reduce(own), strict=True):
                tensor.copy_(first)

    def gather(self, what: str, value: Any) -> list[Any]:
        """Returns what each process gave, in the order of their ranks; ``what`` says what it is."""
        if self.size == 1:
            return [value]
        with self._meeting(-1 - zlib.crc32(what.encode())):
            return self._gathered(value)

    def from_first(self, value: Any) -> Any:
        """Returns what the first process gave."""
        return self.gather("the first's", value if self.rank == 0 else None)[0]

    def agree(self, settings: Mapping[str, Any]) -> None:
        """Checks that all processes have the same settings."""
        if self.size == 1:
            return
        mine = {name: _described(value) for name, value in settings.items()}
        of_first, *others = self.gather(", ".join(settings), mine)
        for rank, of_other in enumerate(others, 1):
            for name, (first, mark) in of_first.items():
                other, other_mark = of_other[name]
                other = "others" if other == first else other
                if mark != other_mark:
                    got = f"{first} on rank 0 and {other} on rank {rank}"
                    check(False, name, "the same on all processes", got)

    def defer_interrupts(self) -> None:
        """Leaves ``interrupts`` to the caller to look at: meetings do not fail by them any more."""
        self._heeds_interrupts = False

    def fail(self, error: BaseException) -> None:
        """Tells the others of an error, which all raise; without others, nothing happens."""
        if self.size == 1 or self._out_of_step:
            return
        shared = self._meet(_DONE, _words(error))
        assert shared is not None
        raise shared from error

    def leave(self) -> None:
        """Waits for the others, of which one may have failed."""
        if self.size > 1:
            with self._meeting(_DONE):
                pass

    @contextmanager
    def _meeting(self, what: int) -> Iterator[None]:
        is_interrupted = self._heeds_interrupts and self.interrupts
        error = self._meet(what, _INTERRUPTED if is_interrupted else None)
        if error is not None:
            raise error
        self._out_of_step = True
        with _answered():
            yield
        self._out_of_step = False

    def _meet(self, what: int, failure: str | None) -> ValueError | None:
        """Compares what each process is about to do; returns the error that all have to raise."""
        self._out_of_step = True
        values = [int(failure is not None), what, -what]
        state = torch.tensor(values, device=self._device(torch.device("cpu")))
        with _answered():
            distributed.all_reduce(state, distributed.ReduceOp.MAX, group=self.group)
            failed, largest, smallest = state.tolist()
            if failed or largest != -smallest:
                return _error(self._gathered(failure))
        self._out_of_step = False
        return None

    def _gathered(self, value: Any) -> list[Any]:
        gathered: list[Any] = [None] * self.size
        distributed.all_gather_object(gathered, value, group=self.group)
        return gathered

    def _device(self, wanted: torch.device) -> torch.device:
        """The device itself if the group's backend can reach it, or one that it can."""
        reached = distributed.get_backend_config(self.group)
        if f"{wanted.type}:" in reached:
            return wanted
        if "cuda:" in reached:
            return torch.device("cuda", torch.cuda.current_device())
        return torch.device(reached.split(":")[0])


@contextmanager
def _answered() -> Iterator[None]:
    """Says of a collective that fails what it means."""
    try:
        yield
    except RuntimeError as error:
        raise ConnectionError(
            "another process died, or did not answer within the time-out of its process group "
            f"({error})"
        ) from error


def _words(error: BaseException) -> str:
    if isinstance(error, KeyboardInterrupt):
        return _INTERRUPTED
    return str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"


def _described(value: Any) -> tuple[str, str]:
    """A setting in words, and a mark that tells it from all others."""
    if isinstance(value, Tensor):
        words, value = f"a tensor {tuple(value.shape)} of {value.dtype}", value.detach()
    else:
        words = f"a {type(value).__name__}" if dataclasses.is_dataclass(value) else repr(value)
    return words, fingerprint(value)


def current() -> Processes:
    """Returns the processes that compute together now."""
    return _CURRENT.get() or Processes()


def is_distributed() -> bool:
    """Whether there are other processes that compute together with this one."""
    return current().size > 1


def all_reduce(tensors: list[Tensor]) -> list[Tensor]:
    """Sums tensors over the processes that compute together, if there are others."""
    return current().all_reduce(tensors)


@contextmanager
def together(group: Any = None) -> Iterator[Processes]:
    """Within it the processes of a group compute together: an error of one is an error of all.

    The keyboard's interrupt is held back until they meet. Within another of the same group, it
    changes nothing.

    Args:
        group: as for :class:`Processes`.

    Raises:
        ValueError: on all processes, if anything is raised on one.
    """
    processes, outer = Processes(group), _CURRENT.get()
    if outer is not None and (outer.group, outer.size) == (processes.group, processes.size):
        yield outer
        return
    token = _CURRENT.set(processes)
    try:
        with _held_back(processes):
            yield processes
            processes.leave()
    except BaseException as error:
        processes.fail(error)
        raise
    finally:
        _CURRENT.reset(token)


def as_one(
    method: Callable[Concatenate[_S, _P], _R],
) -> Callable[Concatenate[_S, _P], _R]:
    """Lets the processes of the ``group`` of a method's object compute :func:`together` in it."""

    @functools.wraps(method)
    def shared(self: Any, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        with together(self.group):
            return method(self, *args, **kwargs)

    return shared


def in_group(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Lets the processes of a function's keyword ``group`` compute :func:`together` in it."""

    @functools.wraps(function)
    def shared(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        with together(kwargs.get("group")):
            return function(*args, **kwargs)

    return shared


@contextmanager
def _held_back(processes: Processes) -> Iterator[None]:
    """Counts interrupts of the keyboard instead of raising them, until the third."""
    is_main = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGINT)
    if processes.size == 1 or not is_main or not callable(before):
        yield
        return

    def note(number: int, frame: Any) -> None:
        processes.interrupts += 1
        if processes.interrupts > 2:
            before(number, frame)

    signal.signal(signal.SIGINT, note)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
