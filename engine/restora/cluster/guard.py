"""A worker that outlives its photos: they are restored in a child process, which may die."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from restora.cluster.attempts import AttemptLog, Row, read_attempts
from restora.cluster.batch import COLUMNS, Columns, RestoreBatch
from restora.errors import SessionError

MOST_KILLS = 3


class GuardedBatch:
    """RestoreBatch in a child process; called as it is.

    payload   a pickled RestoreBatch
    attempts  a folder where what is begun and ended is written down; rows that lie there are
              given again and not made again, whichever worker made them

    A photo at which the child died three times, here or under other workers, becomes a row with
    the error type "Quarantined". Raises SessionError for what is no photo's fault.
    """

    def __init__(self, payload: bytes, attempts: str) -> None:
        self._payload = payload
        self._folder = Path(attempts)
        self._log: AttemptLog | None = None
        self._child: subprocess.Popen[bytes] | None = None
        self._rows: dict[str, Row] = {}
        self._kills: dict[str, int] = {}

    def __call__(self, batch: Mapping[str, Sequence[str] | np.ndarray[Any, Any]]) -> Columns:
        # what other workers, or this one before it was restarted, have done by now
        self._rows, self._kills = read_attempts(self._folder)
        pairs = zip(batch["input"], batch["output"], strict=True)
        rows = [self._restore(str(source), str(target)) for source, target in pairs]
        return {name: [row[name] for row in rows] for name in COLUMNS}

    def close(self) -> None:
        """End the child."""
        if self._child is not None:
            self._child.kill()
            self._child.communicate()
            self._child = None
        if self._log is not None:
            self._log.close()
            self._log = None

    def _restore(self, source: str, target: str) -> Row:
        if source in self._rows:
            return self._rows[source]
        self._log = self._log or AttemptLog(self._folder)
        for _ in range(self._kills.get(source, 0), MOST_KILLS):
            self._log.begin(source)
            answer = self._ask(source, target)
            if answer is not None:
                row = answer
                break
            self.close()
            self._log = AttemptLog(self._folder)
        else:
            row = failed_row(source, target, "Quarantined", f"{MOST_KILLS} processes died at it")
        self._log.end(row)
        return row

    def _ask(self, source: str, target: str) -> Row | None:
        """The child's row, or None if it died."""
        if self._child is None:
            self._child = subprocess.Popen(
                [sys.executable, "-m", "restora.cluster.guard"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
            self._send(base64.b64encode(self._payload))
        self._send(json.dumps({"input": source, "output": target}).encode())
        assert self._child.stdout is not None
        line = self._child.stdout.readline()
        if not line.endswith(b"\n"):
            return None
        answer: Row = json.loads(line)
        if "broken" in answer:
            raise SessionError(answer["broken"])
        return answer

    def _send(self, line: bytes) -> None:
        assert self._child is not None
        assert self._child.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # reading finds that it is gone
            self._child.stdin.write(line + b"\n")
            self._child.stdin.flush()

    def __del__(self) -> None:
        self.close()


def failed_row(source: str, target: str, kind: str, reason: str) -> Row:
    row: Row = dict.fromkeys(COLUMNS)
    failure = {"status": "failed", "error_type": kind, "reason": reason}
    return {**row, "input": source, "output": target, **failure}


def serve(lines: IO[bytes], answers: IO[bytes]) -> None:
    """The child: a RestoreBatch, then a photo a line; ends when the worker does."""
    restore: RestoreBatch = pickle.loads(base64.b64decode(lines.readline()))  # noqa: S301
    for line in lines:
        photo = json.loads(line)
        try:
            columns = restore({name: [photo[name]] for name in ("input", "output")})
            answer = {name: columns[name][0] for name in COLUMNS}
        except Exception as error:  # noqa: BLE001  the worker raises it
            answer = {"broken": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(answer).encode() + b"\n")
        answers.flush()


if __name__ == "__main__":
    # what libraries print must not come between the answers
    with os.fdopen(os.dup(1), "wb") as stdout:
        os.dup2(2, 1)
        serve(sys.stdin.buffer, stdout)
