"""restora video: what its flags become."""

from __future__ import annotations

from pathlib import Path

import pytest

from processes import run
from restora.errors import OptionError
from restora.exit_codes import ExitCode
from restora.options import RestoreOptions

pytest.importorskip("av")


def test_the_limit_of_memory_bounds_the_tiles_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[RestoreOptions] = []

    def refuse(*_: object, options: RestoreOptions, **__: object) -> None:
        given.append(options)
        raise OptionError("no network is needed here")

    monkeypatch.setattr("restora.cli.video.Restorer", refuse)
    (tmp_path / "in.mp4").write_bytes(b"")
    done = run(tmp_path, "video", "-i", "in.mp4", "-o", "out.mp4", "--memory", "2G", "--no-faces")
    assert done.returncode == ExitCode.USAGE, done.stderr
    assert [options.memory for options in given] == [2 << 30]
