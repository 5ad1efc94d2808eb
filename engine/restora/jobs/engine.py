"""What restores the photos of a run: one Restorer in this process, or a process for each device."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from restora.image import PhotoLimits
from restora.jobs.memory import PhotoMemory
from restora.jobs.outcome import Outcome
from restora.jobs.output import WriteOptions
from restora.jobs.photo_flow import PhotoFlow, Stages
from restora.jobs.plan import Job
from restora.jobs.stage import StageStats
from restora.networks import OpenNetwork
from restora.pipeline import Restorer


@dataclass(frozen=True, slots=True)
class FlowOptions:
    """How photos are restored; see RunOptions and PhotoFlow."""

    writing: WriteOptions
    memory: int | None = None
    outscale: float | None = None
    aligned: bool = False
    limits: PhotoLimits = field(default_factory=PhotoLimits)
    hash_sources: bool = False


@dataclass(frozen=True, slots=True)
class FlowCalls:
    """Callbacks of a flow; see PhotoFlow and DeviceFlow."""

    begin: Callable[[Job], None]
    retry: Callable[[Sequence[Job]], Iterable[Job]]
    progress: Callable[[Job, int, int], None]


class Flow(Protocol):
    """Photos on their way."""

    def iter_outcomes(
        self, jobs: Iterable[Job], *, stop: Callable[[], bool]
    ) -> Generator[tuple[Job, Outcome], None, None]: ...

    def stats(self) -> dict[str, StageStats]: ...

    @property
    def networks(self) -> tuple[OpenNetwork, ...]: ...


class Engine(Protocol):
    """Open networks, and how photos flow through them. Used once.

    restores_faces: whether aligned faces can be restored
    """

    @property
    def networks(self) -> tuple[OpenNetwork, ...]: ...

    @property
    def scale(self) -> int: ...

    @property
    def restores_faces(self) -> bool: ...

    def output_settings(self) -> Mapping[str, object]: ...

    def flow(self, calls: FlowCalls) -> Flow: ...


class LocalEngine:
    """A Restorer in this process."""

    def __init__(self, restorer: Restorer, options: FlowOptions) -> None:
        self._restorer = restorer
        self._options = options

    @property
    def networks(self) -> tuple[OpenNetwork, ...]:
        return self._restorer.networks

    @property
    def scale(self) -> int:
        return self._restorer.scale

    @property
    def restores_faces(self) -> bool:
        return self._restorer.faces is not None

    def output_settings(self) -> Mapping[str, object]:
        return self._restorer.output_settings()

    def flow(self, calls: FlowCalls) -> PhotoFlow[Job]:
        options = self._options
        return PhotoFlow(
            self._restorer,
            Stages.around(self._restorer),
            options.writing,
            PhotoMemory(self._restorer, options.memory),
            outscale=options.outscale,
            aligned=options.aligned,
            limits=options.limits,
            hash_sources=options.hash_sources,
            begin=calls.begin,
            progress=calls.progress,
            header_of=lambda job: job.known_header,
        )
