"""Pyro modules whose parameters are their own, not shared by name through the parameter store.

A Pyro module reads its parameters through the global parameter store, where two networks, or two
guides of the same model, meet under the same names and overwrite each other. Pyro's
``module_local_params`` setting turns that off for the whole process; here it is on only while such
a module runs, so that the user's own setting and store are left alone.
"""

import itertools
import weakref

import pyro
import torch
from pyro.nn import PyroModule
from pyro.nn.module import _Context

__all__ = ["LocalModule", "localize"]


class _LocalContext(_Context):
    """A module's context that switches to module-local parameters while it is active.

    Pyro's own also enters a scope of the store, which strips the parameters of a guide that is
    being traced around it of what ``pyro.infer.SVI`` needs; modules that hold all their parameters
    need no such scope.
    """

    def __init__(self) -> None:
        with pyro.settings.context(module_local_params=True):
            super().__init__()

    def __enter__(self) -> None:
        if not self.active:
            self._outer_setting = pyro.settings.get("module_local_params")
            pyro.settings.set(module_local_params=True)
        self.active += 1
        self.used = True

    def __exit__(self, *exception) -> None:
        self.active -= 1
        if not self.active:
            self.cache.clear()
            pyro.settings.set(module_local_params=self._outer_setting)


def localize(module: PyroModule) -> None:
    """Makes the parameters of ``module`` and of the Pyro modules inside it their own, in place."""
    context = _LocalContext()
    for part in module.modules():
        if isinstance(part, PyroModule):
            part._pyro_context = context


class LocalModule(PyroModule):
    """A Pyro module whose parameters are its own: it works as a plain torch module as well."""

    _numbers = itertools.count()

    def __init__(self, name: str = "") -> None:
        # Two modules in one Pyro model must not register their parameters under one name.
        super().__init__(name or f"{type(self).__name__}_{next(self._numbers)}")
        self._pyro_context = _LocalContext()

    def __getattr__(self, name: str):
        value = super().__getattr__(name)
        if isinstance(value, torch.nn.Parameter) and not hasattr(value, "unconstrained"):
            # pyro.infer.SVI looks for it on every parameter
            value.unconstrained = weakref.ref(value)  # type: ignore[attr-defined]
        return value
