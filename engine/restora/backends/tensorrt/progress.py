"""Follow a build, and cancel it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from restora.backends.tensorrt.log import BuildLog
from restora.backends.tensorrt.module import Features
from restora.errors import BuildCanceledError

# (phase, steps done, steps in all or 0); raising from it cancels the build
BuildProgress = Callable[[str, int, int], None]

PHASE_WITHOUT_STEPS = "building"


class Monitor(Protocol):
    def raise_if_canceled(self) -> None: ...


class _FromLog:
    """Where TensorRT reports no progress (8.6): lines of its log are counted, which shows that it
    works. It cannot be canceled; an exception is kept until the build has ended."""

    def __init__(self, log: BuildLog, report: BuildProgress | None) -> None:
        self.cause: BaseException | None = None
        self._report = report
        if report is not None:
            log.listener = self._count

    def _count(self, lines: int) -> None:
        if self.cause is None and self._report is not None:
            try:
                self._report(PHASE_WITHOUT_STEPS, lines, 0)
            except BaseException as error:  # noqa: BLE001
                self.cause = error

    def raise_if_canceled(self) -> None:
        _raise(self.cause)


def make_monitor(
    trt: Any,
    features: Features,
    config: Any,
    log: BuildLog,
    progress: BuildProgress | None,
) -> Monitor:
    """Attach `progress` to a builder's config, or to its log where this TensorRT has nothing
    better."""
    if progress is None or not features.progress:
        return _FromLog(log, progress)
    report = progress
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
            return self.cause is None

        def phase_finish(self, phase_name: str) -> None:
            self._report(phase_name, phases.get(phase_name, 0))

        def _report(self, phase: str, done: int) -> None:
            # an exception must not pass through TensorRT's own frames
            if self.cause is None:
                try:
                    report(phase, done, phases.get(phase, 0))
                except BaseException as error:  # noqa: BLE001
                    self.cause = error

        def raise_if_canceled(self) -> None:
            _raise(self.cause)

    monitor = ProgressMonitor()
    config.progress_monitor = monitor
    return monitor


def _raise(cause: BaseException | None) -> None:
    if isinstance(cause, KeyboardInterrupt):
        raise cause
    if cause is not None:
        raise BuildCanceledError("the build was canceled", final=True) from cause
