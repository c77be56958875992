"""Builds the kernels in C into the package: a library for each kind of processor.

``python hatch_build.py`` builds them in place, for a checkout that is not installed. No Python is
in them, so that one wheel serves all versions of it; and no OpenMP, which torch brings.
"""

import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

try:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface
except ImportError:  # run by hand
    BuildHookInterface = object

NATIVE = Path(__file__).parent / "pyro_ugmm" / "native"
SOURCES = ["mixture_layer.c", "em.c", "kmeans.c", "products.c", "bounds.c", "digest.c"]

_FLAGS = ["-O3", "-fPIC", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast"]
_AVX2 = ["-mavx2", "-mfma"]
_AVX512 = [*_AVX2, "-mavx512f", "-mavx512vl", "-mavx512bw", "-mavx512dq"]
# What torch's own kernels of these names ask of a processor.
_X86 = {"baseline": [], "avx2": _AVX2, "avx512": _AVX512}
# gcc's loops are vectorized only without this optimization.
_OPENMP = ["-fopenmp", "-fno-tree-pre"]
_ONE_THREAD = ["-fopenmp-simd"]


def digest() -> str:
    """Tells what libraries are made of: the sources, and how they are built."""
    paths = sorted(path for path in NATIVE.iterdir() if path.suffix in (".c", ".h", ".inc"))
    return hashlib.sha256(
        b"".join(one.read_bytes() for one in (*paths, Path(__file__)))
    ).hexdigest()


def build(folder: Path = NATIVE) -> dict[str, str]:
    """Builds all variants that the processor's kind has; says for each what failed, if anything.

    Files that are there are replaced, not written to: processes may have them loaded.
    """
    variants = _X86 if platform.machine() in ("x86_64", "AMD64") else {"baseline": []}
    with tempfile.TemporaryDirectory(dir=folder) as name, ThreadPoolExecutor() as pool:
        works = {variant: Path(name, variant) for variant in variants}
        failures = [*pool.map(_build_variant, works.values(), variants.values())]
        for variant, work in works.items():
            built, path = work / "kernels.so", folder / f"kernels-{variant}.so"
            built.replace(path) if built.exists() else path.unlink(missing_ok=True)
    return dict(zip(variants, failures, strict=True))


def _build_variant(work: Path, flags: list[str]) -> str:
    """Builds a variant in a new folder; returns what failed."""
    work.mkdir()
    named = shlex.split(os.environ.get("CC", ""))
    compiler = named or [path for path in map(shutil.which, ("cc", "gcc")) if path][:1]
    if sys.platform == "win32" or not compiler:
        return "there is no C compiler (cc or gcc, or the one that CC names)"
    failure = ""
    for more in (_OPENMP, _ONE_THREAD):
        failure = _compile(compiler, [*_FLAGS, *flags, *more], work)
        if not failure:
            return ""
    return failure


def _compile(compiler: list[str], flags: list[str], work: Path) -> str:
    library = work / "kernels.so"
    flags = [*flags, f'-DDIGEST="{digest()}"', "-c"]
    objects = {str(NATIVE / name): Path(name).with_suffix(".o").name for name in SOURCES}
    commands = [[*compiler, *flags, source, "-o", name] for source, name in objects.items()]
    commands.append([*compiler, "-shared", *objects.values(), "-o", library.name, "-lm"])
    for command in commands:
        try:
            subprocess.run(command, cwd=work, check=True, capture_output=True, text=True)
        except subprocess.CalledProcessError as error:
            return f"{shlex.join(command)}: {error.stderr.strip()[-500:]}"
        except OSError as error:
            return str(error)
    if b"__kmpc_" in library.read_bytes():  # LLVM's OpenMP, where torch brings GNU's
        library.unlink()
        return "the compiler's OpenMP is not torch's"
    return ""


class KernelsHook(BuildHookInterface):
    """Has the wheel contain what could be built, and be of its platform then."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Builds before the wheel, which may be one for an editable installation, is made."""
        failures = build()
        for variant, failure in failures.items():
            if failure:
                self.app.display_warning(f"no {variant} kernels, which are faster: {failure}")
        if not all(failures.values()):
            tag = self.build_config.builder.get_best_matching_tag()
            build_data["tag"] = f"py3-none-{tag.split('-')[-1]}"
            build_data["pure_python"] = False


if __name__ == "__main__":
    for variant, failure in build().items():
        print(f"{variant}: {failure or 'built'}")
