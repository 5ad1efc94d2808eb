"""A worker that outlives its photos: they are restored in a child process, which may die."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from restora.child import Child
from restora.cluster.attempts import (
    Attempts,
    WorkerJournal,
    count_logs,
    read_attempts,
    write_fatal_error,
)
from restora.cluster.rows import COLUMNS, Columns, Row, failed_row
from restora.cluster.worker_child import Begun, Failed, Finished
from restora.errors import SessionError
from restora.jobs.blame import MAX_CRASHES

_SERVE = "restora.cluster.worker_child:serve"


class IsolatedBatch:
    """RestoreBatch in a child process; called as it is.

    payload: a pickled RestoreBatch
    attempts: folder of journals; rows of inputs that any worker finished are taken from there
    recipes: the recipe of a result, by its format
    max_workers: workers that may be started, those that died included; None: any number

    Inputs that were open when the child died are tried again, each photo alone. One that crashed
    three processes alone, here or in other workers, becomes a row with the error type
    "Quarantined". Raises SessionError for what is no photo's fault.
    """

    def __init__(
        self,
        payload: bytes,
        attempts: str,
        recipes: Mapping[str, str],
        max_workers: int | None = None,
    ) -> None:
        self._payload = payload
        self._recipes = recipes
        self._max_workers = max_workers
        self._folder = Path(attempts)
        self._journal: WorkerJournal | None = None
        self._child: Child | None = None
        self._past = Attempts()
        self._idle_crashes = 0

    def __call__(self, batch: Mapping[str, Sequence[str] | np.ndarray[Any, Any]]) -> Columns:
        try:
            return self._restore(batch)
        except SessionError as error:
            write_fatal_error(self._folder, str(error))
            raise

    def close(self) -> None:
        """End the child."""
        if self._child is not None:
            self._child.kill()
            self._child = None
        if self._journal is not None:
            self._journal.close()
            self._journal = None

    def _restore(self, batch: Mapping[str, Sequence[str] | np.ndarray[Any, Any]]) -> Columns:
        # what other workers, or this one before it was restarted, have done by now
        self._past = read_attempts(self._folder)
        self._journal = self._journal or self._start_journal()
        targets = {
            str(source): str(target)
            for source, target in zip(batch["input"], batch["output"], strict=True)
        }
        blame = self._past.blame
        while left := [source for source in targets if source not in self._past.rows]:
            trusted = [source for source in left if source not in blame.suspects]
            together = trusted or left[:1]
            if blame.crashes.get(together[0], 0) >= MAX_CRASHES:
                why = f"it crashed {MAX_CRASHES} processes"
                self._end(failed_row(together[0], targets[together[0]], "Quarantined", why))
                continue
            self._ask([(source, targets[source]) for source in together])
        rows = [self._past.rows[source] for source in targets]
        return {name: [row[name] for row in rows] for name in COLUMNS}

    def _start_journal(self) -> WorkerJournal:
        """Raises SessionError if too many workers have died."""
        before = count_logs(self._folder)
        if self._max_workers is not None and before >= self._max_workers:
            raise SessionError(
                f"{before} workers were started, and they keep dying: something ends them from "
                "outside, such as a full memory; run again to continue"
            )
        return WorkerJournal(self._folder, self._recipes)

    def _ask(self, pairs: list[tuple[str, str]]) -> None:
        """Let the child restore these, until it is done or dies."""
        assert self._journal is not None
        begun: set[str] = set()
        targets = dict(pairs)
        try:
            if self._child is None:
                self._child = Child(_SERVE, keeps_output=True)
                self._child.connection.send_bytes(self._payload)
            self._child.connection.send(pairs)
            while not isinstance(answer := self._child.connection.recv(), Finished):
                if isinstance(answer, Begun):
                    begun.add(answer.source)
                    self._journal.begin(answer.source, targets[answer.source])
                elif isinstance(answer, Failed):
                    raise SessionError(answer.words)
                else:
                    begun.discard(answer["input"])
                    self._end(answer)
        except (EOFError, OSError):
            self._crashed(begun)

    def _crashed(self, begun: set[str]) -> None:
        assert self._journal is not None
        if self._child is not None:
            self._child.kill()
            self._child = None
        self._journal.crashed(sorted(begun))
        self._past.blame.blame(begun)
        self._idle_crashes = 0 if begun else self._idle_crashes + 1
        if self._idle_crashes >= MAX_CRASHES:
            raise SessionError(
                f"{MAX_CRASHES} processes died before they began a photo: the networks cannot be "
                "opened here; try `restora restore` on this machine"
            )

    def _end(self, row: Row) -> None:
        assert self._journal is not None
        self._journal.end(row)
        self._past.rows[row["input"]] = row

    def __del__(self) -> None:
        self.close()
