"""The public face: a photo in, a restored photo out."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np

from restora.artifact import Io
from restora.errors import ImageTooLargeError, MissingModelError, OptionError
from restora.image.photo import Photo, Pixels
from restora.models import DEFAULT_MODEL, find_artifact
from restora.sessions import CpuOptions, Session, open_session
from restora.tiling import Blend, Progress, Tiling
from restora.upsample import AlphaMethod, ResizeMethod, Upsampler

logger = logging.getLogger(__name__)

AUTO_TILE = 256
DEFAULT_MAX_OUTPUT_PIXELS = 400_000_000


@dataclass(frozen=True, slots=True)
class RestoreOptions:
    """How a Restorer works. Lengths in input pixels.

    tile        "auto", 0 for the whole photo at once, or the largest side of a tile
    overlap     that neighbouring tiles share; None: as measured when the artefact was made
    batch       tiles per call of the network
    blend       how tiles are joined; "crop" is the published hard cut
    published_tiles  the published script's grid: `tile` is a tile's core, overlap / 2 its padding
    alpha       how transparency is enlarged
    resize      how an outscale other than the network's is reached
    pre_pad     mirrored onto the right and lower side before the network
    threads     of the CPU; 0 = all cores that this process may use
    max_output_pixels  larger results are refused before any work is done
    """

    tile: int | str = "auto"
    overlap: int | None = None
    batch: int = 1
    blend: Blend = "cosine"
    published_tiles: bool = False
    alpha: AlphaMethod = "network"
    resize: ResizeMethod = "area-lanczos"
    pre_pad: int = 0
    threads: int = 0
    max_output_pixels: int = DEFAULT_MAX_OUTPUT_PIXELS

    def __post_init__(self) -> None:
        if isinstance(self.tile, str) and self.tile != "auto":
            raise OptionError(f"tile must be 'auto' or a number of pixels, got {self.tile!r}")

    def tiling_for(self, session: Session) -> Tiling:
        size = AUTO_TILE if self.tile == "auto" else int(self.tile)
        overlap = session.info.overlap_px if self.overlap is None else self.overlap
        return Tiling(
            size=size,
            overlap=overlap,
            batch=self.batch,
            blend=self.blend,
            published_grid=self.published_tiles,
        )


@dataclass(frozen=True, slots=True)
class Restoration:
    """One finished photo: the result, the model that made it and how long that took."""

    photo: Photo
    model: str
    scale: float
    elapsed_s: float


class Restorer:
    """Restore photos with one model. Safe to call from several threads.

    model    a name of the model table, or the path of an .onnx artefact
    options  RestoreOptions; None for the defaults
    find     where the model's artefact for "uint8" or "float32" pictures lies; by default beside
             the given path, in the package or in the model folder. The float32 one is opened
             when the first 16-bit photo comes.

    Raises UnknownModelError or MissingModelError if there is no such model, AccuracyGateError if
    its artefact failed its gate, MissingBackendError if no runtime is installed.
    """

    def __init__(
        self,
        model: str | Path = DEFAULT_MODEL,
        *,
        options: RestoreOptions | None = None,
        find: Callable[[Io], Path] | None = None,
    ) -> None:
        self.options = options or RestoreOptions()
        self._find = find or (lambda io: find_artifact(model, io))
        self._upsamplers: dict[Io, Upsampler] = {}
        self._opening = threading.Lock()
        self._upsampler("uint8")

    @property
    def model(self) -> str:
        return self._upsampler("uint8").session.info.model

    @property
    def scale(self) -> int:
        """The network's own enlargement."""
        return self._upsampler("uint8").scale

    def restore(
        self,
        photo: Photo | Pixels,
        *,
        outscale: float | None = None,
        progress: Progress | None = None,
    ) -> Restoration:
        """Restore and enlarge one photo.

        photo     a Photo, or its pixels: uint8 or uint16, RGB (height, width, 3) or grey
        outscale  final enlargement; None: the network's own
        progress  called with (output pixels done, output pixels in all)

        Raises ImageTooLargeError if the result would pass max_output_pixels.
        """
        if not isinstance(photo, Photo):
            photo = Photo(np.asarray(photo))
        started = time.perf_counter()
        scale = float(self.scale if outscale is None else outscale)
        self._check_output_size(photo, scale)
        io: Io = "float32" if photo.pixels.dtype == np.uint16 else "uint8"
        upsampler = self._upsampler(io)
        result = upsampler.upsample(photo, outscale=outscale, progress=progress)
        elapsed_s = time.perf_counter() - started
        return Restoration(result, upsampler.session.info.model, scale, elapsed_s)

    def close(self) -> None:
        """Free the sessions."""
        with self._opening:
            for upsampler in self._upsamplers.values():
                upsampler.session.close()
            self._upsamplers.clear()

    def __enter__(self) -> Restorer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _upsampler(self, io: Io) -> Upsampler:
        with self._opening:
            if io not in self._upsamplers:
                self._upsamplers[io] = self._open(io)
            return self._upsamplers[io]

    def _open(self, io: Io) -> Upsampler:
        session = open_session(self._find(io), options=CpuOptions(threads=self.options.threads))
        if session.info.io != io:
            raise MissingModelError(
                f"an artefact for {io} pictures is needed, {session.info.model}'s takes "
                f"{session.info.io}: make one with `restora export --io {io}`"
            )
        return Upsampler(
            session,
            tiling=self.options.tiling_for(session),
            alpha=self.options.alpha,
            resize=self.options.resize,
            pre_pad=self.options.pre_pad,
        )

    def _check_output_size(self, photo: Photo, scale: float) -> None:
        # the network's own output is held in memory too, whatever the final size
        pixels = photo.width * photo.height * max(scale, self.scale) ** 2
        if pixels > self.options.max_output_pixels:
            raise ImageTooLargeError(
                f"{photo.width} x {photo.height} enlarged {scale:g} times is "
                f"{pixels / 1e6:.0f} MP, the limit is {self.options.max_output_pixels / 1e6:.0f}: "
                "raise it with max_output_pixels (--max-output-pixels)"
            )
