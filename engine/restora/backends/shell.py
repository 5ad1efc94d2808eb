"""What all sessions share: loading with a log line, the checks around each run, closing.

A new backend is a subclass of NetworkSession with two methods, `_load` and `_compute`.
"""

from __future__ import annotations

import logging
import time
from abc import ABC, abstractmethod
from typing import Any, Generic, TypeVar, cast

import numpy as np

from restora.artifact import Artifact, ArtifactInfo
from restora.backends.base import (
    Batch,
    SizeLimits,
    check_batch,
    check_finite,
    check_result,
    limits_of,
)
from restora.errors import RestoraError, SessionError

logger = logging.getLogger(__name__)

Network = TypeVar("Network")


class SessionShell:
    """The facts of a session: its artifact's metadata, and the sizes that it accepts."""

    def __init__(self, info: ArtifactInfo, limits: SizeLimits) -> None:
        self._info = info
        self._limits = limits

    @property
    def info(self) -> ArtifactInfo:
        return self._info

    @property
    def limits(self) -> SizeLimits:
        return self._limits

    def _closed_error(self) -> SessionError:
        return SessionError(f"the session of {self._info.model} is closed")


class NetworkSession(SessionShell, ABC, Generic[Network]):
    """A session whose runtime takes a batch in host memory and returns arrays.

    runtime: name and version of the runtime, for messages
    setup: how the runtime is set up, such as "2 threads", for the log
    limits: the accepted sizes; by default those of the artifact

    `Network` is the runtime's own object. Set what `_load` needs before calling this constructor.
    Raises SessionError if the runtime cannot load the artifact.
    """

    def __init__(
        self, artifact: Artifact, *, runtime: str, setup: str, limits: SizeLimits | None = None
    ) -> None:
        super().__init__(artifact.info, limits or limits_of(artifact.info))
        self._runtime, self._setup = runtime, setup
        started = time.perf_counter()
        try:
            self._network: Network | None = self._load(artifact)
        except RestoraError:
            raise
        except Exception as error:  # the exception types of runtimes are not public
            raise SessionError(f"{runtime} cannot load {self._info.model}: {error}") from error
        elapsed_s = time.perf_counter() - started
        logger.info("%s on %s, %s, loaded in %.2f s", self._info.model, runtime, setup, elapsed_s)

    @abstractmethod
    def _load(self, artifact: Artifact) -> Network:
        """Load the network. Any exception is accepted; it becomes a SessionError."""

    @abstractmethod
    def _compute(self, network: Network, batch: Batch) -> tuple[Any, Any]:
        """Compute the output and the channel means of a checked, contiguous batch.

        Several threads may call this at once. The arrays must not change later. Any exception is
        accepted; `_translate` turns it into a RestoraError.
        """

    @property
    def precision(self) -> str:
        """The precision in which the session computes, as in SessionOptions."""
        return self._info.precision

    @property
    def runtime(self) -> str:
        """Name and version of the runtime."""
        return self._runtime

    @property
    def setup(self) -> str:
        """How the runtime is set up, such as "2 threads"."""
        return self._setup

    def run(self, batch: Batch) -> Batch:
        check_batch(batch, self._info, self._limits)
        network = self._network  # a local reference: the session may be closed during this run
        if network is None:
            raise self._closed_error()
        try:
            output, means = self._compute(network, np.ascontiguousarray(batch))
        except RestoraError:
            raise
        except Exception as error:  # the exception types of runtimes are not public
            raise self._translate(error, batch.shape) from error
        result = cast(Batch, output)
        check_result(result, batch, self._info)
        check_finite(np.asarray(means), self._info)
        return result

    def close(self) -> None:
        """Drop the network. A run in another thread still ends, then its memory is freed."""
        self._network = None

    def _translate(self, error: Exception, shape: tuple[int, ...]) -> RestoraError:
        """Describe a failed run on an input of this shape."""
        return SessionError(
            f"{self._runtime} failed on {self._info.model} with input {shape}: {error}"
        )
