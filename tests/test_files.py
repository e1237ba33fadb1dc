import errno
import os
import pathlib
import re
import threading
import time

import pytest

from tfrcp import files

SOURCE = pathlib.Path(files.__file__).parent


class Model:
    """What is saved like a model, as far as the disk has room."""

    def __init__(self, content, room=True):
        self.content, self.room = content, room

    def save(self, path):
        path.write_bytes(self.content[: None if self.room else 1])
        if not self.room:
            raise OSError(errno.ENOSPC, "No space left on device")


@pytest.fixture
def full_disk(monkeypatch):
    """Lets every file be cut off after its first character."""

    def cut(write):
        def call(path, content):
            write(path, content[:1])
            raise OSError(errno.ENOSPC, "No space left on device")

        return call

    for name in ("write_text", "write_bytes"):
        monkeypatch.setattr(pathlib.Path, name, cut(getattr(pathlib.Path, name)))


WRITERS = {
    "text": lambda path: files.write_text(path, "new"),
    "bytes": lambda path: files.write_bytes(path, b"new"),
    "model": lambda path: files.save_model(path, Model(b"new")),
}


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_a_file_is_replaced_and_nothing_lies_beside_it(tmp_path, write):
    file = tmp_path / "file.keras"
    for _ in range(2):
        write(file)
        assert [path.name for path in tmp_path.iterdir()] == ["file.keras"]
        assert file.read_text() == "new"
        file.write_text("old")


@pytest.mark.parametrize(
    "write",
    [
        WRITERS["text"],
        WRITERS["bytes"],
        lambda path: files.save_model(path, Model(b"new", room=False)),
    ],
    ids=WRITERS,
)
def test_on_a_full_disk_the_file_before_stands_alone(tmp_path, request, write):
    file = tmp_path / "file.keras"
    file.write_text("old")
    request.getfixturevalue("full_disk")
    with pytest.raises(OSError, match="No space left"):
        write(file)
    assert [path.name for path in tmp_path.iterdir()] == ["file.keras"]
    assert file.read_text() == "old"


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_writers_that_look_alike_do_not_meet(tmp_path, monkeypatch, write):
    # Two machines, or containers, with one name and one process id; two threads of one process.
    monkeypatch.setattr("os.getpid", lambda: 1)
    monkeypatch.setattr("socket.gethostname", lambda: "localhost")
    taken, errors, both = [], [], threading.Barrier(2, timeout=10)
    replace = files.os.replace

    def meet(source, target):
        taken.append(source)
        both.wait()  # each has written, none has given its file the name
        replace(source, target)

    def run():
        try:
            write(tmp_path / "file.keras")
        except BaseException as error:
            errors.append(error)

    monkeypatch.setattr(files.os, "replace", meet)
    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == [] and len(set(taken)) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["file.keras"]
    assert (tmp_path / "file.keras").read_text() == "new"


LEFT = ".tmp.{machine}.77.0123456789abcdef.file.txt"


def leave(folder, machine=None, age=0.0):
    """What a killed process leaves: a file that nobody has locked."""
    path = folder / LEFT.format(machine=machine or files._machine())
    path.write_text("half")
    os.utime(path, (time.time() - age,) * 2)
    return path


def test_what_killed_processes_left_is_cleared_by_the_next_start(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "_cleared", set())
    left, folder = leave(tmp_path), tmp_path / ".tmp.a.b.1.0123456789abcdef.saved_model"
    old, young = leave(tmp_path, "pod-1", 1e6), leave(tmp_path, "pod-2")
    os.utime(folder.mkdir() or folder, (0, 0))
    mine = [tmp_path / name for name in (".tmp.mine", "tmp.txt", ".tmp.x.1.0123456789abcdef.")]
    for path in mine:
        path.write_text("the user's")
    (tmp_path / ".tmp.c.1.0123456789abcdef.link").symlink_to(mine[0])
    files.write_text(tmp_path / "file.txt", "new")
    assert not left.exists() and not old.exists() and not folder.exists()
    assert young.exists() and all(path.exists() for path in mine)
    assert (tmp_path / "file.txt").read_text() == "new"


@pytest.mark.parametrize("begin", [files.replacing, files.beside])
def test_what_a_living_process_writes_is_not_cleared(tmp_path, begin):
    with begin(tmp_path / "file.keras") as unfinished:
        files.clear(tmp_path)
        assert unfinished.exists()
        if begin is files.replacing:
            unfinished.write_text("new")
    files.clear(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["file.keras"] * (begin is files.replacing)


def test_a_file_that_is_cleared_before_it_is_locked_is_begun_again(tmp_path, monkeypatch):
    locks, met = files._locks, []

    def slow(handle):
        if not met:
            met.append(handle)
            files.clear(tmp_path)
        return locks(handle)

    monkeypatch.setattr(files, "_locks", slow)
    files.write_text(tmp_path / "file.txt", "new")
    assert met and [path.read_text() for path in tmp_path.iterdir()] == ["new"]


def test_files_are_replaced_in_one_place():
    # `replacing` alone chooses names for files that are not whole yet.
    found = {
        path.relative_to(SOURCE).as_posix()
        for path in SOURCE.rglob("*.py")
        if re.search(
            r"os\.replace\(|NamedTemporaryFile|mkstemp|\.replace\(path\)", path.read_text()
        )
    }
    renames_of_whole_files = {"run/workdir.py", "deployment/writing.py", "training/backup.py"}
    assert found == {"files.py"} | renames_of_whole_files


def test_differences_are_told_with_where_they_stand():
    old = {"seed": 0, "budget": {"flops": 0.5, "params": None}, "gone": 1}
    new = {"seed": 0, "budget": {"flops": 0.3, "params": None}, "come": [2]}
    assert list(files.differences(old, new)) == [
        ("budget.flops", 0.5, 0.3),
        ("gone", 1, None),
        ("come", None, [2]),
    ]
    assert list(files.differences(old, old)) == []
