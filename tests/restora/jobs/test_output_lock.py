"""Facts about locks of outputs: one writer at a time, nothing left behind, no link followed."""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from processes import environment
from restora.errors import OptionError, OutputError, UnsafePathError
from restora.jobs.lock import output_lock

HOLD = """
import sys
from pathlib import Path
from restora.jobs.lock import output_lock
with output_lock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.readline()
"""


def test_another_process_is_refused_until_the_first_one_is_done(tmp_path: Path) -> None:
    target = tmp_path / "a.png"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(target)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment(tmp_path),
    )  # fmt: skip
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(OptionError, match=r"another run is writing .*a\.png"), output_lock(target):
        pass
    with output_lock(tmp_path / "b.png"):
        pass
    holder.communicate("\n")
    with output_lock(target):
        pass


def test_a_killed_process_holds_nothing(tmp_path: Path) -> None:
    target = tmp_path / "a.png"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(target)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment(tmp_path),
    )  # fmt: skip
    assert holder.stdout is not None
    holder.stdout.readline()
    holder.kill()
    holder.communicate()
    assert [path.name for path in tmp_path.iterdir()] == [".a.png.lock"]
    with output_lock(target):
        pass
    assert not list(tmp_path.iterdir())


def test_another_thread_is_refused_too(tmp_path: Path) -> None:
    refused = []

    def take() -> None:
        try:
            with output_lock(tmp_path / "a.png"):
                pass
        except OptionError as error:
            refused.append(error)

    with output_lock(tmp_path / "a.png"):
        thread = threading.Thread(target=take)
        thread.start()
        thread.join()
    assert len(refused) == 1


def test_where_flock_does_not_work_another_lock_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_descriptor: int, _operation: int) -> None:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    # filelock has its own way to call it
    monkeypatch.setattr(
        "restora.jobs.lock.fcntl", SimpleNamespace(flock=refuse, LOCK_EX=2, LOCK_NB=4)
    )
    target = tmp_path / "out" / "a.png"
    with output_lock(target):
        with pytest.raises(OptionError, match="another run"), output_lock(target, wait_s=0.05):
            pass
        monkeypatch.undo()
        with pytest.raises(OptionError, match="another run"), output_lock(target, wait_s=0.05):
            pass
    assert not list(target.parent.iterdir())


@pytest.mark.parametrize("name", ["a.png", "é" * 125 + ".png", "." + "x" * 254])
def test_nothing_is_left_in_the_folder(name: str, tmp_path: Path) -> None:
    with output_lock(tmp_path / name):
        (lock,) = tmp_path.iterdir()
        assert lock.name.startswith(".")
    assert not list(tmp_path.iterdir())


def test_one_file_under_two_spellings_has_one_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    monkeypatch.chdir(tmp_path / "real")
    with output_lock(tmp_path / "link" / "a.png"):
        for spelling in (Path("a.png"), tmp_path / "link" / ".." / "real" / "a.png"):
            with pytest.raises(OptionError, match="another run"), output_lock(spelling):
                pass


def test_threads_that_take_turns_never_hold_it_at_once(tmp_path: Path) -> None:
    """Removing the lock file takes the lock from nobody."""
    inside: list[int] = []
    most: list[int] = []

    def work(number: int) -> None:
        for _ in range(30):
            with contextlib.suppress(OptionError), output_lock(tmp_path / "a.png"):
                inside.append(number)
                most.append(len(inside))
                inside.remove(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(most) == 1
    assert not list(tmp_path.iterdir())


def test_a_planted_link_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    out = tmp_path / "out"
    out.mkdir()
    lock = out / ".a.png.lock"
    for plant in (lock.symlink_to, lock.hardlink_to):
        plant(victim)
        with pytest.raises(UnsafePathError, match=r"a\.png\.lock"), output_lock(out / "a.png"):
            pass
        lock.unlink()
    os.mkfifo(lock)
    with pytest.raises(UnsafePathError, match="plain file"), output_lock(out / "a.png"):
        pass
    assert victim.read_text() == "precious"


@pytest.mark.parametrize("folder", ["/proc/restora", "file/out"])
def test_a_folder_that_cannot_be_written_is_an_output_error(folder: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(OutputError, match="cannot be locked"),
        output_lock(tmp_path / folder / "a.png"),
    ):
        pass


@pytest.mark.parametrize("target", ["/proc/a.mp4", ".", "a\0b"])
def test_a_file_that_cannot_be_made_is_not_called_another_run(target: str) -> None:
    with pytest.raises(OutputError, match="cannot be locked"), output_lock(Path(target)):
        pass
