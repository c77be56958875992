"""The library in C: built of these sources, loaded if it is there, done without if not."""

import ctypes
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from pyro_ugmm.native import library, open_variant, variants
from pyro_ugmm.nn.kernels import backend_for

ROOT = Path(__file__).parent.parent


@pytest.fixture
def hatch_build():
    """The module that builds, which is outside of the package."""
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def nothing_loaded():
    library.cache_clear()
    open_variant.cache_clear()
    yield
    library.cache_clear()
    open_variant.cache_clear()


@pytest.fixture
def folder(monkeypatch, tmp_path, nothing_loaded):
    """An empty folder where the package's libraries were."""
    monkeypatch.setattr("pyro_ugmm.native.loading.FOLDER", tmp_path)
    return tmp_path


def test_libraries_are_of_these_sources(hatch_build):
    for name in variants():
        opened = open_variant(name)
        made_of = (ctypes.c_char * 64).in_dll(opened, "digest").value.decode()
        assert made_of == hatch_build.digest(), "python hatch_build.py builds them anew"


@pytest.mark.skipif(not variants(), reason="there is no library here")
def test_the_fastest_is_taken(nothing_loaded):
    assert library() == (open_variant(variants()[0]), "")


@pytest.mark.skipif(len(variants()) < 2, reason="there are no variants here")
def test_torchs_variable_holds_it_back():
    code = "from pyro_ugmm.native import variants; print(*variants())"
    environment = os.environ | {"ATEN_CPU_CAPABILITY": "avx2"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["avx2", "baseline"]


@pytest.mark.skipif(
    sys.platform != "linux" or not variants(), reason="there is no library with threads here"
)
def test_threads_are_those_of_the_openmp_that_torch_has_loaded():
    """Another would have threads of its own, and none may be installed."""
    code = (
        "import torch\n"
        "from pyro_ugmm.native import library\n"
        "def files(): return {line.split()[-1] for line in open('/proc/self/maps')}\n"
        "before = files()\n"
        "library()\n"
        "print(*(path for path in files() - before if '.so' in path))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    (loaded,) = done.stdout.split()
    assert Path(loaded).name == f"kernels-{variants()[0]}.so"
    content = Path(loaded).read_bytes()
    assert b"GOMP_parallel" in content and b"libgomp" not in content


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "for want of a C compiler.*pip install"), (b"", "does not load"), (b"?", "short")],
)
def test_what_is_missing_or_does_not_load_is_said_once(folder, content, message):
    if content is not None:
        (folder / "kernels-baseline.so").write_bytes(content)
    with pytest.warns(
        UserWarning, match=f"EM and large layers will be slower on the CPU: .*{message}"
    ) as said:
        assert [backend_for("cpu", torch.float32) for _ in range(3)] == ["tiled"] * 3
    assert len(said) == 1


@pytest.mark.parametrize("compiler", ["false", "/nowhere/cc"])
def test_without_a_compiler_nothing_is_left_and_nothing_breaks(
    hatch_build, monkeypatch, tmp_path, compiler
):
    monkeypatch.setenv("CC", compiler)
    (tmp_path / "kernels-baseline.so").write_bytes(b"of older sources")
    failures = hatch_build.build(tmp_path)
    assert all(compiler in failure for failure in failures.values())
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("content", ["GOMP_parallel", "__kmpc_fork_call"])
def test_no_library_asks_for_an_openmp_that_torch_does_not_bring(
    hatch_build, monkeypatch, tmp_path, content
):
    """With clang's, ``-fopenmp`` is given up."""
    script = tmp_path / "cc.sh"
    script.write_text(
        '#!/bin/sh\ncase "$*" in *"-fopenmp "*) echo gomp > kind;; *" -c "*) echo none > kind;; *)'
        f" grep -q gomp kind && echo {content} > kernels.so || echo plain > kernels.so;; esac\n"
    )
    script.chmod(0o700)
    monkeypatch.setenv("CC", str(script))
    assert not any(hatch_build.build(tmp_path).values())
    built = (tmp_path / "kernels-baseline.so").read_text().strip()
    assert built == ("plain" if "kmpc" in content else content)
