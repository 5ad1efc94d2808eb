"""The work on one photo: decode, restore, encode, in one worker thread."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from restora.enlarge import check_output_size
from restora.errors import ImageTooLargeError, MemoryLimitError
from restora.image import Photo, PhotoHeader, PhotoLimits, encode_photo
from restora.image.encode import Format
from restora.image.isolated import probe_isolated, read_isolated
from restora.jobs.budget import Budget
from restora.jobs.inputs import format_of_result
from restora.jobs.photo_flow import count_coders
from restora.jobs.stage import Stage
from restora.networks import max_in_flight
from restora.pipeline import Restorer
from restora.restoration import Restoration
from restora.serve.parameters import PhotoParameters
from restora.serve.queue import Weight
from restora.serve.tickets import Ticket
from restora.serve.uploads import Blob

logger = logging.getLogger(__name__)

NAME = "the photo"  # of an upload, in messages
_PROBE_S = 5.0
MOST_PROBES = 4  # files made to take long hold up headers alone
FOR_SMALL = 2  # requests beside those that keep the networks busy
_STAGES = {"detect": "detect", "restore": "faces", "paste": "paste", "upsample": "upsample"}


@dataclass(frozen=True, slots=True)
class Made:
    """The result of one photo, encoded.

    size: width and height in pixels
    faces: a row for each face that was found; None: faces were not asked for
    seconds: of each stage, without waiting; waited_s: for its turn in stages
    """

    blob: Blob
    format: Format
    size: tuple[int, int]
    model: str
    scale: float
    faces: tuple[dict[str, Any], ...] | None
    face_model: str | None
    face_error: str | None
    seconds: dict[str, float]
    waited_s: float


@dataclass(frozen=True, slots=True)
class PhotoStages:
    """Bounds of what happens at once.

    decoders, probes: photos that are decoded, and whose headers are read, at the same time; with a
        limit of memory these are one in all
    long, large: photos of more than a tile, and large ones, that are computed at the same time;
        what is left of `restore` is for small ones
    """

    decode: Stage
    restore: Stage
    encode: Stage
    decoders: Budget
    probes: Budget
    long: Budget
    large: Budget = field(default_factory=lambda: Budget(1))

    @classmethod
    def around(cls, restorer: Restorer, *, memory: int | None) -> PhotoStages:
        coders, in_flight = count_coders(), max_in_flight(restorer.networks)
        decoders = Budget(coders if memory is None else 1)
        return cls(
            Stage("decode", coders),
            Stage("restore", in_flight + FOR_SMALL),
            Stage("encode", coders),
            decoders,
            Budget(MOST_PROBES) if memory is None else decoders,
            Budget(in_flight),
        )

    @property
    def workers(self) -> int:
        """Requests in flight that keep all stages busy."""
        return sum(s.slots.capacity for s in (self.decode, self.restore, self.encode)) + 1


def probe_upload(source: Path | bytes, limits: PhotoLimits) -> PhotoHeader:
    """The header of an upload, read in a decoder process.

    Raises ImageError; ImageTooLargeError for more pixels than the limits allow.
    """
    quick = PhotoLimits(
        limits.max_pixels, limits.max_file_bytes, min(_PROBE_S, limits.max_decode_s)
    )
    header = probe_isolated(source, limits=quick, name=NAME)
    pixels = header.width * header.height
    if pixels > limits.max_pixels:
        raise ImageTooLargeError(
            f"{NAME} has {header.width} x {header.height} = {pixels / 1e6:.0f} MP, the limit is "
            f"{limits.max_pixels / 1e6:.0f}"
        )
    return header


def check_result_size(header: PhotoHeader, restorer: Restorer, parameters: PhotoParameters) -> None:
    """Raise ImageTooLargeError if the result would pass the limit, before anything is decoded."""
    if not parameters.aligned:
        scale = max(parameters.outscale or 0.0, float(restorer.scale))
        most = restorer.options.max_output_pixels
        check_output_size(header.width, header.height, scale, most)


class PhotoWork:
    """Restores photos in worker threads.

    limits: of photos; folder, memory_bytes: for results, see Blob
    """

    def __init__(
        self, stages: PhotoStages, limits: PhotoLimits, folder: Path, memory_bytes: int
    ) -> None:
        self.stages = stages
        self._limits = limits
        self._folder = folder
        self._memory_bytes = memory_bytes

    def probe(self, source: Path | bytes) -> PhotoHeader:
        """The header of an upload; see probe_upload. With a limit of memory it waits for the only
        decoder."""
        with self.stages.probes.holding(1):
            return probe_upload(source, self._limits)

    def restore(
        self,
        ticket: Ticket,
        source: Path | bytes,
        restorer: Restorer,
        parameters: PhotoParameters,
        *,
        weight: Weight,
        keep: bool = False,
    ) -> Made:
        """Restore an upload.

        weight: its share of the stages
        keep: whether the result is kept, so that it goes to disk in any case

        Raises ImageError if it cannot be read, OptionError if the format cannot hold the result,
        AbandonedError if nobody waits any more, and what the networks raise.
        """
        try:
            return self._restore(
                _Clock(), ticket, source, restorer, parameters, weight=weight, keep=keep
            )
        except MemoryError as error:
            raise MemoryLimitError(f"{NAME} needs more memory than there is") from error

    def _restore(
        self,
        clock: _Clock,
        ticket: Ticket,
        source: Path | bytes,
        restorer: Restorer,
        parameters: PhotoParameters,
        *,
        weight: Weight,
        keep: bool,
    ) -> Made:
        stages = self.stages
        ticket.check()
        ticket.state = "decoding"
        with stages.decode.running(), stages.decoders.holding(1), clock.timed("decode"):
            photo = read_isolated(source, limits=self._limits, name=NAME)
        ticket.check()
        ticket.state = "restoring"
        is_long, is_large = weight != "small", weight == "large"
        with (
            _held(stages.large, is_large),
            _held(stages.long, is_long),
            stages.restore.running(),
            clock.timed("restore"),
        ):
            result = self._run_networks(ticket, photo, restorer, parameters)
        chosen = parameters.ext
        format_ = format_of_result(photo.format) if chosen == "auto" else chosen
        del photo
        ticket.check()
        ticket.state = "encoding"
        with stages.encode.running(), clock.timed("encode"):
            blob = self._encode(result.photo, format_, parameters, keep=keep)
        del clock.seconds["restore"]
        clock.seconds.update({_STAGES[name]: s for name, s in result.seconds.items()})
        if parameters.aligned:
            clock.seconds["faces"] = result.elapsed_s
        return Made(
            blob,
            format_,
            (result.photo.width, result.photo.height),
            result.model,
            result.scale,
            None if result.face_model is None else tuple(f.as_row() for f in result.faces),
            result.face_model,
            result.face_error,
            clock.seconds,
            clock.waited_s(),
        )

    def _run_networks(
        self, ticket: Ticket, photo: Photo, restorer: Restorer, parameters: PhotoParameters
    ) -> Restoration:
        if parameters.aligned:
            return restorer.restore_aligned(photo)
        return restorer.restore(
            photo, outscale=parameters.outscale, progress=ticket.report, check=ticket.check
        )

    def _encode(
        self, photo: Photo, format_: Format, parameters: PhotoParameters, *, keep: bool
    ) -> Blob:
        data = encode_photo(
            photo,
            format=format_,
            quality=parameters.quality,
            strip_metadata=parameters.strip_metadata,
        )
        memory_bytes = 0 if keep else self._memory_bytes
        blob = Blob(self._folder, memory_bytes=memory_bytes, most_bytes=len(data))
        try:
            blob.write(data)
            blob.finish()
        except BaseException:
            blob.close()
            raise
        return blob


class _Clock:
    """Seconds of each stage, and those between them."""

    def __init__(self) -> None:
        self._started = time.perf_counter()
        self._busy_s = 0.0
        self.seconds: dict[str, float] = {}

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        begun = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = time.perf_counter() - begun
            self._busy_s += self.seconds[name]

    def waited_s(self) -> float:
        return max(0.0, time.perf_counter() - self._started - self._busy_s)


@contextmanager
def _held(budget: Budget, wanted: bool) -> Iterator[None]:
    if not wanted:
        yield
        return
    with budget.holding(1):
        yield
