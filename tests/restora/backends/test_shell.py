"""Facts about the shell of all sessions, shown with a backend of two methods."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fakes import tiny_artifact
from restora.artifact import Artifact
from restora.backends.base import Batch
from restora.backends.shell import NetworkSession
from restora.errors import (
    DeviceMemoryError,
    NonFiniteOutputError,
    SessionError,
    ShapeError,
)

Run = Callable[[Batch], tuple[Any, Any]]
BATCH = np.zeros((1, 4, 4, 3), np.uint8)


class TwoMethods(NetworkSession[Run]):
    """The network is a function."""

    def __init__(self, network: Run | Exception) -> None:
        self._given = network
        super().__init__(tiny_artifact(), runtime="Runtime 1.2", setup="3 threads")

    def _load(self, artifact: Artifact) -> Run:
        if isinstance(self._given, Exception):
            raise self._given
        return self._given

    def _compute(self, network: Run, batch: Batch) -> tuple[Any, Any]:
        assert batch.flags.c_contiguous
        return network(batch)


def enlarge(batch: Batch) -> tuple[Any, Any]:
    return batch.repeat(2, axis=1).repeat(2, axis=2), np.zeros((len(batch), 3), np.float32)


def fail(error: Exception) -> Run:
    def run(_batch: Batch) -> tuple[Any, Any]:
        raise error

    return run


def test_two_methods_make_a_session(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        session = TwoMethods(enlarge)
    assert "tiny on Runtime 1.2, 3 threads, loaded in" in caplog.text
    assert session.info.model == "tiny"
    assert session.limits.multiple == 2
    assert session.precision == "fp32"
    turned = np.arange(96, dtype=np.uint8).reshape(1, 8, 4, 3).transpose(0, 2, 1, 3)
    assert np.array_equal(session.run(turned)[:, ::2, ::2], turned)


def test_batches_results_and_means_are_checked() -> None:
    with pytest.raises(ShapeError, match="multiples of 2"):
        TwoMethods(enlarge).run(np.zeros((1, 3, 4, 3), np.uint8))
    with pytest.raises(SessionError, match="it gives uint8 of shape"):
        TwoMethods(lambda batch: (batch, np.zeros((1, 3)))).run(BATCH)
    with pytest.raises(NonFiniteOutputError):
        TwoMethods(lambda batch: (enlarge(batch)[0], np.full((1, 3), np.nan))).run(BATCH)


def test_errors_of_the_runtime_become_session_errors_and_typed_ones_stay() -> None:
    with pytest.raises(SessionError, match=r"Runtime 1\.2 cannot load tiny: no such layer"):
        TwoMethods(RuntimeError("no such layer"))
    with pytest.raises(SessionError, match=r"Runtime 1\.2 failed on tiny with input \(1, 4, 4, 3"):
        TwoMethods(fail(RuntimeError("no memory"))).run(BATCH)
    full = DeviceMemoryError("full")
    for make in (lambda: TwoMethods(full), lambda: TwoMethods(fail(full)).run(BATCH)):
        with pytest.raises(DeviceMemoryError) as caught:
            make()
        assert caught.value is full


def test_a_session_that_is_closed_during_a_run_ends_the_run_and_refuses_the_next() -> None:
    def close_and_enlarge(batch: Batch) -> tuple[Any, Any]:
        session.close()
        return enlarge(batch)

    session = TwoMethods(close_and_enlarge)
    assert session.run(BATCH).shape == (1, 8, 8, 3)
    with pytest.raises(SessionError, match="the session of tiny is closed"):
        session.run(BATCH)
