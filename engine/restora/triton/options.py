"""How models run on a Triton server."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal, get_args

from restora.checks import check_choice, check_flag, check_number, check_whole, set_checked
from restora.errors import OptionError

ServedPrecision = Literal["fp32", "fp16"]

MAX_BATCH = 256
MAX_COUNT = 64  # of instances and processes
MAX_QUEUE = 1 << 20
MAX_SECONDS = 86_400.0


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """How models run on a server. Raises OptionError for a value that cannot work.

    precisions: each network is written in each of them: "fp32" as NAME, "fp16" as NAME.fp16, which
        needs an FP16 artifact that met its accuracy threshold
    max_batch: tiles or faces in one execution of a network
    batch_delay_ms: how long a tile waits for others of its size
    queue_size: photos that may wait for restora-photo, or requests of other clients for a network;
        a further one is refused at once
    queue_timeout_s: a request that waits longer is refused
    instances: copies of each network, on each GPU or on the CPU
    photos: photos that restora-photo restores at the same time, each in a process of its own
    threads: CPU threads of a network; 0: all cores
    equal_tiles: all tiles of photos that are larger than a tile have its full size, so that tiles
        of photos of any size share batches; they overlap more, which costs time
    engine_cache: absolute path, on the server, of a folder that keeps the engines which TensorRT
        builds; None: engines are built again at every start
    warmup: run each network once in its smallest and its largest size before it is ready
    plans: write TensorRT plans of this machine's cache instead of ONNX files where there are some;
        the server needs the TensorRT and the GPU that they were built with
    """

    precisions: tuple[ServedPrecision, ...] = ("fp32",)
    max_batch: int = 8
    batch_delay_ms: float = 2.0
    queue_size: int = 256
    queue_timeout_s: float = 60.0
    instances: int = 1
    photos: int = 4
    threads: int = 0
    equal_tiles: bool = False
    engine_cache: str | None = "/tmp/restora-engines"  # noqa: S108  of the server's own container
    warmup: bool = True
    plans: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.precisions, tuple | list) or not self.precisions:
            raise OptionError(
                f"precisions must be a tuple such as ('fp32', 'fp16'), got {self.precisions!r}"
            )
        chosen = [
            check_choice("a precision", value, get_args(ServedPrecision))
            for value in self.precisions
        ]
        set_checked(
            self,
            precisions=tuple(dict.fromkeys(chosen)),
            max_batch=check_whole("max_batch", self.max_batch, minimum=1, maximum=MAX_BATCH),
            batch_delay_ms=check_number(
                "batch_delay_ms", self.batch_delay_ms, minimum=0, maximum=1000
            ),
            queue_size=check_whole("queue_size", self.queue_size, minimum=1, maximum=MAX_QUEUE),
            queue_timeout_s=check_number(
                "queue_timeout_s", self.queue_timeout_s, minimum=0.001, maximum=MAX_SECONDS
            ),
            instances=check_whole("instances", self.instances, minimum=1, maximum=MAX_COUNT),
            photos=check_whole("photos", self.photos, minimum=1, maximum=MAX_COUNT),
            threads=check_whole("threads", self.threads, minimum=0, maximum=1024),
            equal_tiles=check_flag("equal_tiles", self.equal_tiles),
            warmup=check_flag("warmup", self.warmup),
            plans=check_flag("plans", self.plans),
        )
        cache = self.engine_cache
        if cache is not None and not (
            isinstance(cache, str) and PurePosixPath(cache).is_absolute() and cache.isprintable()
        ):
            raise OptionError(
                f"engine_cache must be an absolute path on the server, or None, got {cache!r}"
            )
