"""Report the progress of a build, and cancel it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from restora.backends.tensorrt.interrupts import HeldInterrupt
from restora.backends.tensorrt.log import BuildLog
from restora.backends.tensorrt.module import Features
from restora.errors import BuildCanceledError

# (phase, finished steps, total steps or 0); an exception cancels the build
BuildProgress = Callable[[str, int, int], None]

PHASE_WITHOUT_STEPS = "building"


class Monitor(Protocol):
    def raise_if_canceled(self) -> None: ...


class _FromLog:
    """Progress for a TensorRT without progress reports (8.6): it counts log messages.

    Such a build cannot be canceled; an exception is raised when the build has ended.
    """

    def __init__(self, log: BuildLog, report: BuildProgress | None) -> None:
        self._log = log
        self._report = report
        if report is not None:
            log.listener = self._count

    def _count(self, lines: int) -> None:
        if self._log.failure is None and self._report is not None:
            self._report(PHASE_WITHOUT_STEPS, lines, 0)

    def raise_if_canceled(self) -> None:
        _raise(self._log.failure)


def make_monitor(
    trt: Any,
    features: Features,
    config: Any,
    log: BuildLog,
    progress: BuildProgress | None,
    held: HeldInterrupt,
) -> Monitor:
    """Attach `progress` to the builder configuration, or to the log if that is not supported.

    held: a build that can be canceled is, as soon as an interrupt is held
    """
    if not features.progress:
        return _FromLog(log, progress)
    report = progress or _ignore
    phases: dict[str, int] = {}

    class ProgressMonitor(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.cause: BaseException | None = None

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            del parent_phase
            phases[phase_name] = num_steps
            self._report(phase_name, 0)

        def step_complete(self, phase_name: str, step: int) -> bool:
            self._report(phase_name, step + 1)
            return self.cause is None and held.cause is None

        def phase_finish(self, phase_name: str) -> None:
            self._report(phase_name, phases.get(phase_name, 0))

        def _report(self, phase: str, done: int) -> None:
            # an exception must not propagate through TensorRT
            if self.cause is None:
                try:
                    report(phase, done, phases.get(phase, 0))
                except BaseException as error:  # noqa: BLE001
                    self.cause = error

        def raise_if_canceled(self) -> None:
            _raise(self.cause or log.failure)

    monitor = ProgressMonitor()
    config.progress_monitor = monitor
    return monitor


def _ignore(_phase: str, _done: int, _total: int) -> None:
    pass


def _raise(cause: BaseException | None) -> None:
    if cause is None:
        return
    if not isinstance(cause, Exception):  # Ctrl-C
        raise cause
    raise BuildCanceledError("the build was canceled", final=True) from cause
