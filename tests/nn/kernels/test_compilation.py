"""The library in C: compiled where it runs, kept, and loaded only if it is what was kept."""

import ctypes
import multiprocessing
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
import threading
import warnings
from pathlib import Path

import pytest
import torch

from pyro_ugmm.nn import UGMMLayer
from pyro_ugmm.nn.kernels import backend_for, compilation, library_files
from pyro_ugmm.nn.kernels.compiler import find_compiler
from tests.attacking import damaged

CC = shutil.which("cc") or shutil.which("gcc")
pytestmark = pytest.mark.skipif(CC is None, reason="there is no C compiler")
is_root = hasattr(os, "geteuid") and os.geteuid() == 0
as_root = pytest.mark.skipif(not is_root, reason="only root gives files to others")
NOBODY = 65534


@pytest.fixture(scope="module")
def made():
    """A folder that everybody may read, with a library, and one that says so when it is loaded."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    functions = "".join(f"int {name}(void) {{ return 0; }}\n" for name in library_files.SYMBOLS)
    (folder / "good.c").write_text(functions)
    said = f'__attribute__((constructor)) void say(void) {{ creat("{folder}/loaded", 0600); }}\n'
    (folder / "planted.c").write_text("#include <fcntl.h>\n" + said + functions)
    (folder / "empty.c").write_text("int nothing;\n")
    for name in ("good", "planted", "empty"):
        source, to = folder / f"{name}.c", folder / f"{name}.so"
        subprocess.run([CC, "-shared", "-fPIC", str(source), "-o", str(to)], check=True)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def compiler(made, monkeypatch, tmp_path):
    """Puts a script in the compiler's place, and a new folder in the cache's; makes others."""

    def use(line):
        script = made / "cc.sh"
        script.write_text(f'#!/bin/sh\nwhile [ "$1" != -o ]; do shift; done\n{line}\n')
        script.chmod(0o755)
        monkeypatch.setenv("CC", str(script))
        return script

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("TRITON_INTERPRET", "0")
    monkeypatch.setattr(compilation, "FOUND", [])
    use(f'echo run >> {made}/runs; cp {made}/good.so "$2"')
    (made / "runs").unlink(missing_ok=True)
    (made / "loaded").unlink(missing_ok=True)
    return use


def runs(made):
    """How often the compiler was run."""
    file = made / "runs"
    return len(file.read_text().splitlines()) if file.exists() else 0


def kept():
    """The library that is kept."""
    (path,) = (Path(os.environ["XDG_CACHE_HOME"]) / "pyro_ugmm").iterdir()
    return path


def plant(content):
    """Keeps a library of this content under its right name."""
    folder = Path(os.environ["XDG_CACHE_HOME"]) / "pyro_ugmm"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    key = library_files.key_of([os.environ["CC"]])
    path = folder / f"mixture_layer-{key}-{library_files.digest(content)}.so"
    path.write_bytes(content)
    path.chmod(0o700)
    return path


def test_it_is_compiled_once_and_kept_for_the_user_alone(compiler, made):
    for _ in range(3):
        loaded, failure = compilation.load_library()
        assert loaded is not None and failure == ""
    assert runs(made) == 1
    assert kept().stat().st_mode & 0o777 == kept().parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[: len(content) // 2],
        lambda content: content[:30],
        lambda content: b"",
        lambda content: b"garbage" * 1000,
        lambda content: content[:5000] + bytes([content[5000] ^ 1]) + content[5001:],
    ],
)
def test_what_is_damaged_is_compiled_again(compiler, made, damage):
    compilation.load_library()
    sound = kept().read_bytes()
    kept().write_bytes(damage(sound))
    assert compilation.load_library()[0] is not None
    assert runs(made) == 2 and kept().read_bytes() == sound
    compilation.load_library()
    assert runs(made) == 2


def test_what_is_damaged_anywhere_is_compiled_again(compiler, made, attacks):
    compilation.load_library()
    sound = kept().read_bytes()
    for number in attacks(3):
        kept().write_bytes(damaged(sound, number))
        assert compilation.load_library()[0] is not None
        assert runs(made) == number + 2 and kept().read_bytes() == sound


@pytest.mark.parametrize("name", ["empty.so", "cc.sh"])
def test_what_is_whole_and_no_such_library_is_compiled_again(compiler, made, name):
    plant((made / name).read_bytes())
    assert compilation.load_library()[0] is not None and runs(made) == 1


def test_a_process_outlives_the_damage_of_what_it_loaded(compiler, made):
    """A library that is loaded is mapped: to cut it short would kill the process."""
    loaded = compilation.load_library()[0]
    kept().write_bytes(b"")
    assert loaded.mixture_layer_forward_float(*[0] * 12) == 0
    again = compilation.load_library()[0]
    kept().write_bytes(b"")
    assert again.mixture_layer_backward_double(*[0] * 17) == 0


def test_threads_compile_once(compiler, made):
    found, start = [], threading.Barrier(4)

    def load():
        start.wait()
        found.append(compilation.library())

    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert runs(made) == 1 and len({id(opened) for opened, _ in found}) == 1
    assert all(failure == "" for _, failure in found)


def _load_in_process(start, results):
    start.wait()
    results.put([compilation.load_library()[1] for _ in range(3)])


def test_processes_share_a_new_cache(compiler, made):
    compiler(f'sleep 0.2; cp {made}/good.so "$2"')  # so that all of them compile
    context = multiprocessing.get_context("fork")
    start, results = context.Barrier(4), context.Queue()
    processes = [context.Process(target=_load_in_process, args=(start, results)) for _ in range(4)]
    for process in processes:
        process.start()
    assert [results.get(timeout=60) for _ in processes] == [[""] * 3] * 4
    for process in processes:
        process.join()
    assert kept().suffix == ".so"


def test_what_a_killed_process_left_is_swept(compiler):
    left = plant(b"").parent / "compiling-left"
    left.mkdir()
    os.utime(left, (0, 0))
    young = left.with_name("compiling-now")
    young.mkdir()
    compilation.load_library()
    assert not left.exists() and young.exists()


def _of_another_user(path):
    os.chown(path, NOBODY, NOBODY)


def _of_another_users_folder(path):
    os.chown(path.parent, NOBODY, NOBODY)


def _writable(path):
    path.chmod(0o777)


def _in_a_writable_folder(path):
    path.parent.chmod(0o770)


def _by_a_link(path):
    path.rename(path.parent.with_name("elsewhere"))
    path.symlink_to(path.parent.with_name("elsewhere"))


def _in_a_linked_folder(path):
    path.parent.rename(path.parent.with_name("elsewhere"))
    path.parent.symlink_to(path.parent.with_name("elsewhere"))


@pytest.mark.parametrize(
    "given",
    [
        pytest.param(_of_another_user, marks=as_root),
        pytest.param(_of_another_users_folder, marks=as_root),
        _writable,
        _in_a_writable_folder,
        _by_a_link,
        _in_a_linked_folder,
    ],
)
def test_what_others_could_write_is_not_loaded(compiler, made, given):
    given(plant((made / "planted.so").read_bytes()))
    assert compilation.load_library()[0] is not None
    assert runs(made) == 1 and not (made / "loaded").exists()


def test_a_planted_library_would_say_so(compiler, made):
    plant((made / "planted.so").read_bytes())
    assert compilation.load_library()[0] is not None
    assert runs(made) == 0 and (made / "loaded").exists()


@pytest.mark.parametrize("cache", ["/dev/null", "/proc/self/none", "relative"])
def test_where_nothing_can_be_kept_it_is_made_for_the_process(
    compiler, made, monkeypatch, cache, tmp_path
):
    monkeypatch.setenv("XDG_CACHE_HOME", cache)
    monkeypatch.setenv("HOME", "/dev/null")
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    assert compilation.load_library()[0] is not None and runs(made) == 1
    assert not [*temporary.iterdir()]


def test_without_a_home_it_is_made_for_the_process(compiler, made, monkeypatch):
    def nobody(uid):
        raise KeyError(uid)

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr(pwd, "getpwuid", nobody)
    assert compilation.load_library()[0] is not None and runs(made) == 1


def _load_as_nobody(results):
    if is_root:
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    results.put(compilation.load_library()[1])


def test_a_cache_that_is_only_read_is_no_failure(compiler, made, monkeypatch):
    cache = made / "cache"
    (cache / "pyro_ugmm").mkdir(parents=True)
    if is_root:
        os.chown(cache / "pyro_ugmm", NOBODY, NOBODY)
    (cache / "pyro_ugmm").chmod(0o500)
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    compiler(f'cp {made}/good.so "$2"')
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    process = context.Process(target=_load_as_nobody, args=(results,))
    process.start()
    assert results.get(timeout=60) == ""
    process.join()
    assert not [*(cache / "pyro_ugmm").iterdir()]
    (cache / "pyro_ugmm").chmod(0o700)


FAILURES = {
    "/nowhere/cc": "No such file",
    "false": "false failed",
    "true": "true wrote no library",
    '"': "CC='\"' names no compiler",
    "/dev/null": "Permission denied",
}


@pytest.mark.parametrize("named", FAILURES)
def test_what_is_no_compiler_is_said_once(compiler, monkeypatch, named):
    monkeypatch.setenv("CC", named)
    with pytest.warns(UserWarning, match="large layers will be slower") as said:
        found = [compilation.library() for _ in range(3)]
    assert len(said) == 1 and FAILURES[named] in found[0][1]
    assert found == [(None, found[0][1])] * 3
    assert backend_for("cpu", torch.float32) == "tiled"
    assert UGMMLayer(60, 40)(torch.randn(20, 60)).shape == (20, 40)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('echo no > "$2"', "no library that loads.*too short"),
        (': > "$2"', "no library that loads"),
        ('cp {made}/empty.so "$2"', "no function mixture_layer_forward_float"),
        ('mkdir "$2"', "no library that loads"),
        ("printf '\\377' >&2; exit 1", "failed"),
    ],
)
def test_what_makes_no_library_is_said_once(compiler, made, line, message):
    compiler(line.format(made=made))
    with pytest.warns(UserWarning, match=message) as said:
        assert compilation.library()[0] is None and compilation.library()[0] is None
    assert len(said) == 1
    folder = Path(os.environ["XDG_CACHE_HOME"]) / "pyro_ugmm"
    assert not [*folder.iterdir()]  # nothing of it is kept


@pytest.mark.parametrize("named", ["", " ", '""', "  ''  "])
def test_no_name_of_a_compiler_stands_for_the_usual_one(compiler, monkeypatch, named):
    monkeypatch.setenv("CC", named)
    assert find_compiler() == ([CC], "")


def test_without_any_compiler_that_is_said(compiler, monkeypatch):
    monkeypatch.setenv("CC", "")
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.warns(UserWarning, match="there is no C compiler"):
        assert compilation.library()[0] is None


def test_the_compiler_may_have_options(compiler, monkeypatch):
    """The one compilation of the whole source."""
    monkeypatch.setenv("CC", f"{CC} -pthread")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        opened, failure = compilation.library()
    assert failure == "" and isinstance(opened, ctypes.CDLL)
    assert UGMMLayer(60, 40)(torch.randn(20, 60)).isfinite().all()


def test_a_process_without_a_compiler_works_all_the_same(tmp_path):
    code = (
        "import torch; from pyro_ugmm.nn import UGMMLayer; from pyro_ugmm.nn.kernels import *\n"
        "print(UGMMLayer(100, 100)(torch.randn(10, 100)).shape, backend_for('cpu', torch.float32))"
    )
    environment = os.environ | {"CC": "false", "XDG_CACHE_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env=environment | {"TRITON_INTERPRET": "0"},
    )
    assert done.stdout.strip() == "torch.Size([10, 100]) tiled"
    assert done.stderr.count("large layers will be slower") == 1
