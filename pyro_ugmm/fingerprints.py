"""What tells values, functions and objects from others, in a few letters."""

import functools
import hashlib
import logging
import random
import sys
import sysconfig
import types
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePath
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Distribution
from torch.distributions.utils import lazy_property
from torch.utils.data import DataLoader, Dataset

__all__ = ["Fingerprint", "fingerprint", "is_of_library"]

_LENGTH = 32
_LIBRARIES = {"builtins", "numpy", "pyro", "pyro_ugmm", "torch", *sys.stdlib_module_names}
_LIBRARIES -= {"__main__"}
_INSTALLED = tuple(sysconfig.get_paths()[name] for name in ("purelib", "platlib"))
_PLAIN = (str, int, float, complex, type(None), type(...))
_CONTAINERS = (list, tuple, set, frozenset, Mapping, types.CodeType)
_METHODS = (types.FunctionType, staticmethod, classmethod, property)
_COMPUTED = (lazy_property, functools.cached_property)


class Fingerprint:
    """Takes in values of any kind, and says what tells all of them from others.

    Tensors and arrays count with all their bytes; functions with their code, their defaults and
    what they refer to outside; classes with all that is written in them; objects with their class
    and attributes. Of parameters only the shape counts, of modules, data sets and random generators
    the class, and of the latter the seed; of a library's functions and classes the name.

    Example:
        >>> from pyro_ugmm.fingerprints import Fingerprint
        >>> one, other = Fingerprint(), Fingerprint()
        >>> one.add([1, 2])
        >>> other.add([2, 1])
        >>> str(one) == str(other)
        False
    """

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._seen: dict[int, Any] = {}

    def __str__(self) -> str:
        return self._hash.hexdigest()[:_LENGTH]

    def add(self, value: Any) -> None:
        """Takes in a value."""
        if isinstance(value, _PLAIN):
            self._say(f"{type(value).__name__} {value!r}")
        elif isinstance(value, bytes):
            self._say(f"bytes {len(value)}")
            self._hash.update(value)
        elif isinstance(value, Tensor):
            self._tensor(value)
        elif isinstance(value, np.ndarray | np.generic):
            self._array(np.asarray(value))
        elif id(value) in self._seen:
            self._say("again")
        else:
            self._seen[id(value)] = value  # which keeps its address its own
            self._say(type(value).__name__)
            self._object(value)
            if isinstance(value, _CONTAINERS):  # equal ones may be one, or may not
                del self._seen[id(value)]

    def _say(self, text: str) -> None:
        self._hash.update(text.encode(errors="backslashreplace") + b"\0")

    def _tensor(self, tensor: Tensor) -> None:
        self._say(f"tensor {tensor.dtype} {tuple(tensor.shape)}")
        if isinstance(tensor, torch.nn.Parameter):
            return
        dense = tensor.detach().to_dense() if tensor.layout != torch.strided else tensor.detach()
        whole = dense.cpu().resolve_conj().resolve_neg().contiguous()
        flat = whole.as_strided((whole.numel(),), (1,))
        self._hash.update(flat.view(torch.uint8).numpy().data)

    def _array(self, array: np.ndarray) -> None:
        self._say(f"array {array.dtype} {array.shape}")
        if array.dtype == object:
            self.add(array.tolist())
        else:
            self._hash.update(array.tobytes())

    @functools.singledispatchmethod
    def _object(self, value: Any) -> None:
        """Takes in an object by its class and attributes; the methods below, what is told else."""
        self.add(type(value))
        self._say(str(getattr(value, "__name__", "")))  # of what is written in C
        holds_much = isinstance(value, torch.nn.Module | Dataset | DataLoader | types.ModuleType)
        if not holds_much:
            self.add(_attributes(value))

    @_object.register
    def _distribution(self, value: Distribution) -> None:
        names: Any = type(value).arg_constraints  # a property, of those that have none
        given = {name: getattr(value, name) for name in names} if isinstance(names, dict) else {}
        self._parts([type(value), _attributes(value) | given])

    @_object.register(torch.dtype)
    @_object.register(torch.device)
    @_object.register(PurePath)
    def _worded(self, value: Any) -> None:
        self._say(str(value))

    @_object.register(logging.Logger)
    @_object.register(random.Random)
    def _changing(self, value: Any) -> None:
        """Of what changes while it is used, the class is all."""

    @_object.register(list)
    @_object.register(tuple)
    def _parts(self, values: Sequence) -> None:
        self._say(f"{len(values)} parts")
        for value in values:
            self.add(value)

    @_object.register(set)
    @_object.register(frozenset)
    def _unordered(self, values: Iterable) -> None:
        self._parts(sorted(map(fingerprint, values)))

    @_object.register(Mapping)
    def _mapping(self, value: Mapping) -> None:
        self._parts([part for item in value.items() for part in item])

    @_object.register
    def _code(self, code: types.CodeType) -> None:
        self._parts([code.co_code, code.co_names, code.co_varnames, code.co_consts])

    @_object.register
    def _method(self, method: types.MethodType) -> None:
        self._parts([method.__func__, method.__self__])

    @_object.register(functools.partial)
    def _partial(self, value: functools.partial) -> None:
        self._parts([value.func, value.args, value.keywords])

    @_object.register
    def _generator(self, generator: torch.Generator) -> None:
        self._say(f"generator {generator.initial_seed()}")

    @_object.register
    def _function(self, function: types.FunctionType) -> None:
        self._say(function.__qualname__)
        if is_of_library(function):
            return
        self._parts([function.__code__, function.__defaults__, function.__kwdefaults__])
        for cell in function.__closure__ or ():
            try:
                self.add(cell.cell_contents)
            except ValueError:  # a name that has no value yet
                self._say("nothing")
        if _is_installed(function):
            return
        self._looked_up(_names_of(function.__code__), function.__globals__)

    def _looked_up(self, names: set[str], namespace: Mapping[str, Any]) -> None:
        """Takes in what names refer to, unless a library holds it."""
        for name in sorted(names & namespace.keys()):
            value = namespace[name]
            if isinstance(value, types.ModuleType):
                self._say(value.__name__)
                if not is_of_library(value) and not _is_installed(value):
                    self._looked_up(names - {name}, vars(value))
            elif (held_as := _name_in_library(value)) is not None:
                self._say(held_as)
            else:
                self.add(value)

    @_object.register
    def _class(self, kind: type) -> None:
        self._say(f"class {kind.__module__}.{kind.__qualname__}")
        for one in kind.__mro__:
            if not is_of_library(one):
                self._parts([part for item in _written_in(one) for part in item])


def _written_in(kind: type) -> list[tuple[str, Any]]:
    """What a class holds, without what Python notes there for itself."""
    return [
        (name, value)
        for name, value in vars(kind).items()
        if not name.startswith("__") or isinstance(value, _METHODS)
    ]


def _attributes(value: Any) -> dict[str, Any]:
    """What an object holds in its dictionary and slots, without what it keeps once computed."""
    held = dict(getattr(value, "__dict__", {}))
    for kind in type(value).__mro__:
        for name, member in vars(kind).items():
            if isinstance(member, _COMPUTED):
                held.pop(name, None)
            elif isinstance(member, types.MemberDescriptorType) and hasattr(value, name):
                held[name] = getattr(value, name)
    held.pop("__doc__", None)
    return held


def _name_in_library(value: Any) -> str | None:
    """The name by which the library that has its class holds a value itself."""
    kind = type(value)
    module = sys.modules.get(kind.__module__) if is_of_library(kind) else None
    held = getattr(module, "__dict__", {}).items()
    return next((n for n, other in held if other is value and not n.startswith("__")), None)


def _module_of(value: Any) -> str:
    is_module = isinstance(value, types.ModuleType)
    return str(getattr(value, "__name__" if is_module else "__module__", "")).partition(".")[0]


def is_of_library(value: Any) -> bool:
    """Whether a function, class or module is a library's, whose name says it all."""
    return _module_of(value) in _LIBRARIES


def _is_installed(value: Any) -> bool:
    """Whether a function or module is an installed package's, which may refer to all of that."""
    file = getattr(sys.modules.get(_module_of(value)), "__file__", None) or ""
    return file.startswith(_INSTALLED)


def _names_of(code: types.CodeType) -> set[str]:
    """The names that code, and the functions made in it, look up outside."""
    inner = [part for part in code.co_consts if isinstance(part, types.CodeType)]
    return set(code.co_names).union(*map(_names_of, inner))


def fingerprint(*values: Any) -> str:
    """Returns what tells values from others; see :class:`Fingerprint`.

    Example:
        >>> import torch
        >>> from pyro_ugmm.fingerprints import fingerprint
        >>> fingerprint(torch.ones(3)) == fingerprint(torch.ones(3))
        True
    """
    total = Fingerprint()
    for value in values:
        total.add(value)
    return str(total)
