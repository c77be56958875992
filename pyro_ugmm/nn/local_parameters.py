"""Pyro modules whose parameters are their own, not shared by name through the parameter store.

A Pyro module reads its parameters through the global parameter store, where two networks, or two
guides of the same model, meet under the same names and overwrite each other. Pyro's
``module_local_params`` setting turns that off for the whole process; here it is on only while such
a module runs, so that the user's own setting and store are left alone.

What Pyro compiles (``JitTrace_ELBO`` and its like) finds parameters by their names in the store,
and nowhere else. For it alone they are there too.
"""

import contextlib
import itertools
import threading
import weakref
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any, ClassVar

import pyro
import torch
from pyro.nn import PyroModule
from pyro.nn.module import _Context
from pyro.poutine.block_messenger import BlockMessenger
from pyro.poutine.replay_messenger import ReplayMessenger
from pyro.poutine.runtime import _PYRO_STACK
from pyro.poutine.trace_messenger import TraceMessenger

__all__ = ["LocalModule", "kept_contexts", "localize"]


def _is_looked_for_by_name() -> bool:
    """Whether what runs is the first call of ``pyro.ops.jit``, which notes parameters' names."""
    return any(
        isinstance(outer, BlockMessenger) and isinstance(inner, TraceMessenger) and inner.param_only
        for outer, inner in itertools.pairwise(_PYRO_STACK)
    )


def _is_constant() -> bool:
    """Whether what runs is compiled without its parameters, as ``NUTS`` does: nothing moves them.

    Torch compiles no constant that requires gradients.
    """
    if not torch.jit.is_tracing():
        return False
    return not any(isinstance(one, ReplayMessenger) and one.params for one in _PYRO_STACK)


class _LocalContext(_Context):
    """A module's context that switches to module-local parameters while it is active.

    Pyro's own also enters a scope of the store, which strips the parameters of a guide that is
    being traced around it of what ``pyro.infer.SVI`` needs; modules that hold all their parameters
    need no such scope.
    """

    _lock = threading.Lock()  # of the setting, which is the whole process's
    _entered: ClassVar[set["_LocalContext"]] = set()
    _outer_setting = False

    def __init__(self) -> None:
        super().__init__()
        self.param_state: Any = {"params": {}, "constraints": {}}

    def __enter__(self) -> None:
        with _LocalContext._lock:
            if not _LocalContext._entered:
                _LocalContext._outer_setting = pyro.settings.get("module_local_params")
            _LocalContext._entered.add(self)
            if not self.active:  # an interrupt before this line must not leave it undone for good
                pyro.settings.set(module_local_params=not _is_looked_for_by_name())
            self.active += 1
        self.used = True

    def __exit__(self, *exception) -> None:
        self.return_to(self.active - 1)

    def return_to(self, active: int) -> None:
        """Leaves so many entries that are left; an interrupt within may have lost count."""
        with _LocalContext._lock:
            self.active = active
            if active:
                return
            self.cache.clear()
            if _LocalContext._entered == {self}:
                pyro.settings.set(module_local_params=_LocalContext._outer_setting)
            _LocalContext._entered.discard(self)


class _Itself:
    """Returns a parameter that holds this; a copy or a file of the parameter does not."""

    def __init__(self, parameter: torch.nn.Parameter) -> None:
        self._reference = weakref.ref(parameter)

    def __call__(self) -> torch.nn.Parameter | None:
        return self._reference()

    def __reduce__(self):
        return OrderedDict, ()  # which torch.load knows, whatever it is told to load


def localize(module: PyroModule) -> None:
    """Makes the parameters of ``module`` and of the Pyro modules inside it their own, in place."""
    context = _LocalContext()
    for part in module.modules():
        if isinstance(part, PyroModule):
            part._pyro_context = context


@contextlib.contextmanager
def kept_contexts(*modules: torch.nn.Module) -> Iterator[None]:
    """Takes modules out, on the way out, of what an interrupt within has not let them leave."""
    held = {
        part._pyro_context
        for module in modules
        for part in module.modules()
        if isinstance(part, PyroModule) and isinstance(part._pyro_context, _LocalContext)
    }
    before = [(context, context.active) for context in held]
    try:
        yield
    finally:
        for context, active in before:
            context.return_to(active)


class LocalModule(PyroModule):
    """A Pyro module whose parameters are its own: it works as a plain torch module as well."""

    _numbers = itertools.count()

    def __init__(self, name: str = "") -> None:
        # Two modules in one Pyro model must not register their parameters under one name.
        super().__init__(name or f"{type(self).__name__}_{next(self._numbers)}")
        self._pyro_context = _LocalContext()

    def __getattr__(self, name: str):
        value = super().__getattr__(name)
        # pyro.infer.SVI looks for it on every parameter that its handlers see.
        is_seen = bool(_PYRO_STACK) and isinstance(value, torch.nn.Parameter)
        if is_seen and _is_constant():
            return value.data  # which tracing does not see
        if is_seen and not isinstance(getattr(value, "unconstrained", None), _Itself):
            value.unconstrained = _Itself(value)
        return value
