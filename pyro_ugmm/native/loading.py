"""The library in C that came with the package, in the variant for the processor at hand."""

import ctypes
import sys
import warnings
from functools import cache
from pathlib import Path

import torch

__all__ = ["FOLDER", "library", "open_variant", "variants"]

FOLDER = Path(__file__).parent
"""Where the libraries are, a file for each variant."""

_VARIANTS = ("avx512", "avx2", "baseline")  # each processor runs what comes after its own
_NONE_BUILT = (
    "this installation has no library in C, for want of a C compiler; once there is one, "
    "pip install --no-cache-dir --no-deps --force-reinstall brings it"
)


def variants() -> list[str]:
    """Names the variants built that the processor runs, the fastest first.

    The processor is what torch takes it for, by ``ATEN_CPU_CAPABILITY`` if that is set.
    """
    capability = torch.backends.cpu.get_cpu_capability().lower()
    first = _VARIANTS.index(capability) if capability in _VARIANTS else -1
    return [name for name in _VARIANTS[first:] if _path(name).exists()]


def _path(variant: str) -> Path:
    return FOLDER / f"kernels-{variant}.so"


@cache
def open_variant(name: str) -> ctypes.CDLL:
    """Opens a library, whose threads are those of the OpenMP that torch has loaded.

    Raises:
        OSError: if it cannot be loaded.
    """
    try:
        return ctypes.CDLL(str(_path(name)))
    except OSError:  # torch 2.6 keeps its OpenMP's names to itself
        _share_openmp()
        return ctypes.CDLL(str(_path(name)))


def _share_openmp() -> None:
    """Lets libraries see the names of the OpenMP that is loaded, where Linux says which."""
    maps = Path("/proc/self/maps")
    lines = maps.read_text().splitlines() if maps.exists() else []
    paths = {line.split(maxsplit=5)[5] for line in lines if "libgomp" in line}
    own = str(Path(torch.__file__).parent)  # torch's own comes first: other packages bring theirs
    for path in sorted(paths, key=lambda path: (not path.startswith(own), path)):
        ctypes.CDLL(path, mode=ctypes.RTLD_GLOBAL)


@cache
def library() -> tuple[ctypes.CDLL | None, str]:
    """Returns the fastest library, or nothing and why there is none, of which it warns once."""
    failure = _NONE_BUILT
    for name in variants()[:1]:
        try:
            return open_variant(name), ""
        except OSError as error:
            failure = f"the library in C does not load: {error}"
    if sys.platform != "win32":
        warnings.warn(f"EM and large layers will be slower on the CPU: {failure}", stacklevel=2)
    return None, failure
