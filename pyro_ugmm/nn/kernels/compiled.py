"""The layer's log-density in C, compiled where it runs for the processor it runs on."""

import ctypes
import functools
import hashlib
import math
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import warnings
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from .contract import Backend, Gradients, Terms

__all__ = ["Compiled"]

_NAMES = ("mixture_layer.c", "mixture_layer.inc", "mixture_layer_narrow.inc")
_SOURCES = [Path(__file__).with_name(name) for name in _NAMES]
_FLAGS = ["-O3", "-march=native", "-shared", "-fPIC", "-fno-math-errno", "-fno-trapping-math"]
_FLAGS += ["-ffp-contract=fast"]
# Each is tried until one compiles: gcc's loops are vectorized only without this optimization.
_VARIANTS = [["-fopenmp", "-fno-tree-pre"], ["-fopenmp"], []]
_TERMS_PER_THREAD = 1 << 15  # fewer do not pay for waking a thread
_SUFFIX = {torch.float32: "float", torch.float64: "double"}


def _cache() -> Path:
    """Where libraries are kept, one for each processor and source."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "pyro_ugmm"


def _processor() -> str:
    """What ``-march=native`` depends on, as far as the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    found = [line for line in lines if line.startswith(("model name", "flags", "Features"))]
    return f"{sysconfig.get_platform()} {sorted(set(found))}"


@functools.cache
def _library() -> tuple[Any, str]:
    """Returns the library, or nothing and why there is none."""
    compiler = shlex.split(os.environ.get("CC", "")) or _found_compiler()
    if sys.platform == "win32" or not compiler:
        return None, "there is no C compiler (cc or gcc, or the one that CC names)"
    key = "".join(path.read_text() for path in _SOURCES) + _processor() + str(compiler)
    name = f"mixture_layer-{hashlib.sha256(key.encode()).hexdigest()[:16]}.so"
    try:
        folder = _cache()
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        folder = Path(tempfile.mkdtemp(prefix="pyro_ugmm"))
    path = folder / name
    if not path.exists():
        failure = _compile(compiler, path)
        if failure:
            warnings.warn(f"large layers will be slower on the CPU: {failure}", stacklevel=2)
            return None, failure
    try:
        library = ctypes.CDLL(str(path))
    except OSError as error:
        return None, f"the compiled library does not load: {error}"
    return library, ""


def _found_compiler() -> list[str]:
    return [path for path in (shutil.which("cc"), shutil.which("gcc")) if path][:1]


def _compile(compiler: list[str], path: Path) -> str:
    """Compiles to a file that is seen whole or not at all; returns what went wrong."""
    partial, said = path.with_name(f".{path.name}.{os.getpid()}"), ""
    for variant in _VARIANTS:
        command = [*compiler, *_FLAGS, *variant, str(_SOURCES[0]), "-o", str(partial), "-lm"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        except (OSError, subprocess.TimeoutExpired) as error:
            return f"{shlex.join(compiler)} failed: {error}"
        if done.returncode == 0:
            os.replace(partial, path)
            return ""
        said = done.stderr.strip()
    return f"{shlex.join(compiler)} failed: {said[:500]}"


class Compiled(Backend):
    """One pass in C, on all threads that torch has; about a second to compile, once."""

    name: ClassVar[str] = "compiled"

    def unavailable(self, device: torch.device, dtype: torch.dtype) -> str:
        if device.type != "cpu":
            return f"it is for the CPU, not for {device.type}"
        if dtype not in _SUFFIX:
            return f"it is for float32 and float64, not for {dtype}"
        return _library()[1]

    @staticmethod
    def _call(name: str, terms: Terms, *more: Tensor) -> int:
        *inputs, omit = terms
        function = getattr(_library()[0], f"mixture_layer_{name}_{_SUFFIX[terms.x.dtype]}")
        sizes = (len(terms.x), *terms.loc.shape)
        threads = 1 + math.prod(sizes) // _TERMS_PER_THREAD
        return function(
            *(ctypes.c_ssize_t(size) for size in sizes),
            ctypes.c_int(omit),
            ctypes.c_int(min(threads, torch.get_num_threads())),
            *(ctypes.c_void_p(tensor.data_ptr()) for tensor in (*inputs, *more)),
        )

    def forward(self, terms: Terms) -> Tensor:
        out = terms.x.new_empty(len(terms.x), len(terms.loc))
        self._call("forward", terms, out)
        return out

    def backward(self, terms: Terms, out: Tensor, grad: Tensor) -> Gradients:
        sums = Gradients(*map(torch.zeros_like, (terms.x, *[terms.loc] * 3)))
        if self._call("backward", terms, out, grad, *sums):
            raise MemoryError("there is no memory for a tile of rows")
        return sums
