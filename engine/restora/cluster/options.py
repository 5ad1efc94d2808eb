"""Options of restore_on_cluster, and what it reports while it works."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol, get_args

from restora.checks import check_choice, check_flag, check_number, check_whole, set_checked
from restora.errors import OptionError
from restora.image import PhotoLimits
from restora.jobs.inputs import Ext
from restora.jobs.outcome import Outcome
from restora.jobs.plan import Job
from restora.upsample import check_outscale

_FLAGS = ("recursive", "overwrite", "retry_failed")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterOptions:
    """How photos are spread over workers, and how results are named and written. Raises OptionError
    for a value that cannot work, when the options are made.

    workers: processes that restore, each with its own networks; 0: one for each GPU, or as many as
        the CPUs allow
    cpus: cores, and threads, of a worker
    gpus_per_worker: may be a fraction; None: 1 where the cluster has GPUs, else 0
    photos_per_task: photos that a worker takes at once
    restarts: of each worker that dies, on average, before the run ends with an error
    address: of a Ray cluster; None: the one that this process uses, or Ray on this machine
    ext: format of results: "jpg", "png", "webp", "tiff"; "auto": the input's own, or png
    quality: of JPEG and WebP, 1..100; higher is better
    outscale: final enlargement; None: the model's own
    recursive: go into subfolders
    overwrite: replace results that exist, and restore again what is done
    retry_failed: try again what failed, or crashed the process, in earlier runs
    limits: of inputs
    memory: limit of each worker in bytes; None: its share of half of what is free is for photos
    """

    workers: int = 0
    cpus: int = 1
    gpus_per_worker: float | None = None
    photos_per_task: int = 16
    restarts: int = 5
    address: str | None = None
    ext: Ext = "auto"
    quality: int = 95
    outscale: float | None = None
    recursive: bool = False
    overwrite: bool = False
    retry_failed: bool = False
    limits: PhotoLimits = field(default_factory=PhotoLimits)
    memory: int | None = None

    def __post_init__(self) -> None:
        gpus, outscale, memory = self.gpus_per_worker, self.outscale, self.memory
        if gpus is not None:
            gpus = check_number("gpus_per_worker", gpus, minimum=0)
        if self.address is not None and (not isinstance(self.address, str) or not self.address):
            raise OptionError(f"address must be a Ray address or None, got {self.address!r}")
        if not isinstance(self.limits, PhotoLimits):
            raise OptionError(f"limits must be PhotoLimits, got {self.limits!r}")
        set_checked(
            self,
            workers=check_whole("workers", self.workers, minimum=0),
            cpus=check_whole("cpus", self.cpus, minimum=1),
            gpus_per_worker=gpus,
            photos_per_task=check_whole("photos_per_task", self.photos_per_task, minimum=1),
            restarts=check_whole("restarts", self.restarts, minimum=0),
            ext=check_choice("ext", self.ext, get_args(Ext)),
            quality=check_whole("quality", self.quality, minimum=1, maximum=100),
            outscale=None if outscale is None else check_outscale(outscale),
            memory=None if memory is None else check_whole("memory", memory, minimum=1),
            **{name: check_flag(name, getattr(self, name)) for name in _FLAGS},
        )


class ClusterProgress(Protocol):
    """Callbacks of a run, all in the thread that called it. What they raise ends the run."""

    def begin(self, jobs: Sequence[Job]) -> None:
        """All inputs are known, and nothing is decided about them yet."""

    def note(self, words: str) -> None:
        """Something that a person may want to know."""

    def end(self, job: Job, outcome: Outcome, /) -> None:
        """A photo is restored, skipped or failed."""


class NoProgress:
    """Reports nothing."""

    def begin(self, jobs: Sequence[Job]) -> None:
        pass

    def note(self, words: str) -> None:
        pass

    def end(self, job: Job, outcome: Outcome) -> None:
        pass
