"""A worker that outlives its photos: they are restored in a child process, which may die."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from restora.cluster.attempts import (
    AttemptLog,
    Attempts,
    Row,
    count_logs,
    read_attempts,
    write_fatal_error,
)
from restora.cluster.batch import COLUMNS, Columns, RestoreBatch
from restora.errors import SessionError

MOST_KILLS = 3


class IsolatedBatch:
    """RestoreBatch in a child process; called as it is.

    payload   a pickled RestoreBatch
    attempts  a folder where what is begun and ended is written down; rows that lie there are
              given again and not made again, whichever worker made them
    most      workers that may have been there when another one starts; None: any number

    What the child was at when it died is tried again, each photo alone. One at which it died three
    times alone, here or under other workers, becomes a row with the error type "Quarantined".
    Raises SessionError for what is no photo's fault.
    """

    def __init__(self, payload: bytes, attempts: str, most: int | None = None) -> None:
        self._payload = payload
        self._most = most
        self._folder = Path(attempts)
        self._log: AttemptLog | None = None
        self._child: subprocess.Popen[bytes] | None = None
        self._past = Attempts()
        self._idle_deaths = 0

    def __call__(self, batch: Mapping[str, Sequence[str] | np.ndarray[Any, Any]]) -> Columns:
        try:
            return self._restore(batch)
        except SessionError as error:
            write_fatal_error(self._folder, str(error))
            raise

    def _restore(self, batch: Mapping[str, Sequence[str] | np.ndarray[Any, Any]]) -> Columns:
        # what other workers, or this one before it was restarted, have done by now
        self._past = read_attempts(self._folder)
        self._log = self._log or self._start_log()
        targets = {
            str(source): str(target)
            for source, target in zip(batch["input"], batch["output"], strict=True)
        }
        while left := [source for source in targets if source not in self._past.rows]:
            trusted = [source for source in left if source not in self._past.suspects]
            together = trusted or left[:1]
            if self._past.kills.get(together[0], 0) >= MOST_KILLS:
                why = f"{MOST_KILLS} processes died at it"
                self._end(failed_row(together[0], targets[together[0]], "Quarantined", why))
                continue
            self._ask({source: targets[source] for source in together})
        rows = [self._past.rows[source] for source in targets]
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

    def _start_log(self) -> AttemptLog:
        """Raises SessionError if too many workers have died."""
        before = count_logs(self._folder)
        if self._most is not None and before >= self._most:
            raise SessionError(
                f"{before} workers were started, and they go on dying: something ends them from "
                "outside, such as a full memory; run again to go on"
            )
        return AttemptLog(self._folder)

    def _ask(self, targets: Mapping[str, str]) -> None:
        """Let the child restore these, until it is done or dies."""
        assert self._log is not None
        if self._child is None:
            self._child = subprocess.Popen(
                [sys.executable, "-m", "restora.cluster.guard"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
            self._send(base64.b64encode(self._payload))
        self._send(json.dumps(list(targets.items())).encode())
        assert self._child.stdout is not None
        begun: set[str] = set()
        while (line := self._child.stdout.readline()).endswith(b"\n"):
            answer: Row = json.loads(line)
            if "begun" in answer:
                begun.add(answer["begun"])
                self._log.begin(answer["begun"])
            elif "row" in answer:
                begun.discard(answer["row"]["input"])
                self._end(answer["row"])
            elif "broken" in answer:
                raise SessionError(answer["broken"])
            else:
                return
        self._child.kill()
        self._child.communicate()
        self._child = None
        self._log.died()
        self._past.blame(begun)
        self._idle_deaths = 0 if begun else self._idle_deaths + 1
        if self._idle_deaths >= MOST_KILLS:
            raise SessionError(
                f"{MOST_KILLS} processes died before they began a photo: the networks cannot be "
                "opened here; try `restora restore` on this machine"
            )

    def _end(self, row: Row) -> None:
        assert self._log is not None
        self._log.end(row)
        self._past.rows[row["input"]] = row

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
    """The child: a RestoreBatch, then a batch of photos a line; ends when the worker does."""
    restore: RestoreBatch = pickle.loads(base64.b64decode(lines.readline()))  # noqa: S301
    telling = threading.Lock()

    def tell(answer: Row) -> None:
        with telling:
            try:
                answers.write(json.dumps(answer).encode() + b"\n")
                answers.flush()
            except BrokenPipeError:
                os._exit(1)  # the worker died, and whoever comes after it does these again

    theirs = restore.begin

    def begin(source: str) -> None:
        tell({"begun": source})
        theirs(source)

    def restore_photos(line: bytes) -> None:
        try:
            for _, row in restore.iter_rows(
                [(source, target) for source, target in json.loads(line)]
            ):
                tell({"row": row})
            tell({"done": True})
        except Exception as error:  # noqa: BLE001  the worker raises it
            tell({"broken": f"{type(error).__name__}: {error}"})

    restore.begin = begin  # type: ignore[method-assign]
    for line in lines:
        restore_photos(line)


if __name__ == "__main__":
    # what libraries print must not come between the answers
    with os.fdopen(os.dup(1), "wb") as stdout:
        os.dup2(2, 1)
        serve(sys.stdin.buffer, stdout)
