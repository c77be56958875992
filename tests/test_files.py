import fcntl
import os
import stat
import threading

import pytest

from pyro_ugmm.files import write_atomically


def test_a_file_is_written_and_replaced(tmp_path):
    path = tmp_path / "file"
    for contents in (b"one", b"two"):
        write_atomically(path, contents)
        assert path.read_bytes() == contents and os.listdir(tmp_path) == ["file"]
    umask = os.umask(0o022)
    os.umask(umask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask


def test_a_link_is_written_through(tmp_path):
    (tmp_path / "far").mkdir()
    target, first, second = tmp_path / "far" / "file", tmp_path / "first", tmp_path / "second"
    first.symlink_to("far/file")
    second.symlink_to(first)
    for contents in (b"one", b"two"):  # at first the link leads to nothing
        write_atomically(second, contents)
        assert target.read_bytes() == contents and first.is_symlink() and second.is_symlink()
    assert os.listdir(target.parent) == ["file"]


def loop(folder):
    (folder / "a").symlink_to("b")
    (folder / "b").symlink_to("a")
    return folder / "a"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: folder, "the folder"),
        (lambda folder: str(folder) + "/", "the folder"),
        (loop, "whose links lead in a circle"),
        (lambda folder: loop(folder) / "file", "whose links lead in a circle"),
        (lambda folder: folder / "nowhere" / "file", "a file in a folder that exists"),
        (lambda folder: os.devnull, "which is none"),
        (lambda folder: "", "a file"),
        (lambda folder: None, "a path, got NoneType"),
        (lambda folder: 3, "a path, got int"),
        (lambda folder: "a" * 5000, "a path, got one that is too long, 'aaa"),
        (lambda folder: "a\0b", "a path, got .*null (byte|character)"),
    ],
)
def test_a_path_that_is_no_files_is_refused(make, message, tmp_path):
    with pytest.raises(ValueError, match=f"target: expected .*{message}"):
        write_atomically(make(tmp_path), b"", "target")


def test_what_killed_writers_left_is_swept_and_nothing_else(tmp_path):
    path = tmp_path / "a[1]*.pt"
    left = tmp_path / f".{path.name}.0123abcd.part"
    held = tmp_path / f".{path.name}.aaaabbbb.part"
    others = [tmp_path / name for name in (".other.0123abcd.part", f".{path.name}.part", "a1.pt")]
    for file in (left, held, *others):
        file.write_bytes(b"half")
    with held.open("rb") as writer:  # one that is alive
        fcntl.flock(writer, fcntl.LOCK_EX)
        write_atomically(path, b"whole")
    assert {*tmp_path.iterdir()} == {path, held, *others}
    write_atomically(path, b"whole")
    assert {*tmp_path.iterdir()} == {path, *others}


def failing(error, after):
    """``os.replace``, interrupted before it starts or as it returns."""
    replace = os.replace

    def replaced(*args):
        if after:
            replace(*args)
        raise error

    return replaced


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(28, "No space left on device")])
@pytest.mark.parametrize("after", [False, True])
def test_an_interrupt_at_the_move_is_passed_on_and_leaves_a_whole_file(
    error, after, monkeypatch, tmp_path
):
    path = tmp_path / "file"
    write_atomically(path, b"old")
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", failing(error, after))
        with pytest.raises(type(error)):
            write_atomically(path, b"new")
    assert path.read_bytes() == (b"new" if after else b"old")
    assert os.listdir(tmp_path) == ["file"]


def test_many_writers_of_one_file(tmp_path):
    path = tmp_path / "file"

    def write(number):
        for _ in range(30):
            write_atomically(path, bytes([number]) * 1000)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert path.read_bytes() in [bytes([number]) * 1000 for number in range(4)]
    assert os.listdir(tmp_path) == ["file"]
