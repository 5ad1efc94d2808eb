"""The public face: a photo in, a restored photo out."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import TracebackType

import numpy as np

from restora.artifact import ArtifactInfo, Io
from restora.backends import Session, SessionStats, choose_session
from restora.errors import (
    DeviceLostError,
    FaceError,
    ImageTooLargeError,
    NonFiniteOutputError,
    OptionError,
    SessionError,
)
from restora.faces.open import open_faces
from restora.faces.options import FaceOptions
from restora.faces.pipeline import FaceStage
from restora.image import Photo
from restora.models import DEFAULT_MODEL, FindArtifact, find_artifact
from restora.networks import ChooseSession, Networks, OpenNetwork
from restora.options import AUTO_TILES, RestoreOptions
from restora.photo_input import PhotoLike, photo_from
from restora.restoration import Restoration
from restora.settings import settings_of_faces, settings_of_upsampler
from restora.tiling import Progress
from restora.upsample import Upsampler, check_outscale, resize_lanczos

logger = logging.getLogger(__name__)


PLAIN_SCALE = 2  # of a Restorer without an upsampler, as the published face script's


class Restorer:
    """Restore photos with one model, and their faces with another. Safe to call from several
    threads: tiles and faces of photos that are restored at the same time share batches.

    model    a name of the model table, or the path of an .onnx artifact; None: photos are
             enlarged by interpolation (Lanczos, twice unless told), for faces only
    options  RestoreOptions; None for the defaults
    faces    FaceOptions to restore faces too; None: they are enlarged like all else
    find     where a model's artifact for "uint8" or "float32" pictures lies; by default beside
             the given path, in the package or in the model folder. The float32 one is opened
             when the first 16-bit photo comes.
    choose   opens an artifact; by default on the best runtime of this machine

    After close(), which leaving a `with` block calls, restoring raises SessionError; facts such as
    `model` and `scale` stay.

    Raises UnknownModelError or MissingModelError if there is no such model, AccuracyGateError if
    its artifact failed its gate, MissingBackendError if no runtime is installed.
    """

    def __init__(
        self,
        model: str | Path | None = DEFAULT_MODEL,
        *,
        options: RestoreOptions | None = None,
        faces: FaceOptions | None = None,
        find: FindArtifact = find_artifact,
        choose: ChooseSession = choose_session,
    ) -> None:
        self.options = options or RestoreOptions()
        self._model = model
        self._find = find
        self._upsamplers: dict[Io, Upsampler] = {}
        self._opening = threading.Lock()
        self._warned = False
        self._networks = Networks(
            self.options, face_batch=1 if faces is None else faces.batch, choose=choose
        )
        self.faces: FaceStage | None = None
        self._close_faces: Callable[[], None] = lambda: None
        try:
            if model is not None:
                self._upsampler("uint8")
            if faces is not None:
                self.faces, self._close_faces = open_faces(
                    faces, find=find, open_session=self._networks.open
                )
        except BaseException:
            self._networks.close(finish=False)
            raise

    @property
    def model(self) -> str:
        """The upsampler's name; "none" for interpolation."""
        return self._upsamplers["uint8"].session.info.model if self._upsamplers else "none"

    @property
    def scale(self) -> int:
        """The network's own enlargement."""
        return self._upsamplers["uint8"].scale if self._upsamplers else PLAIN_SCALE

    @property
    def networks(self) -> tuple[OpenNetwork, ...]:
        """Facts about every network that was opened: what it runs on, sizes, and what it has done
        so far."""
        return self._networks.describe()

    def output_settings(self) -> dict[str, object]:
        """All settings that decide the pixels of a result, for JSON: the artifacts by SHA-256 and
        the precision they really run in, tiles, and options. Left out is what changes no pixel
        beyond rounding: threads, backend and GPU, batches, limits.

        The same before and after 16-bit photos came, as long as the files stay.
        """
        faces = self.faces
        return {
            "upsampler": None
            if self._model is None
            else settings_of_upsampler(self._model, self._networks, self.options),
            "faces": None if faces is None else settings_of_faces(faces, self._networks),
        }

    @property
    def places(self) -> int:
        """How much work at once keeps the networks busy: calls of restore, each of which takes
        places_of its photo. Always two calls at least: while one is computed, the other is cut
        and joined."""
        return 2 * self._places_of_one

    def places_of(self, width: int, height: int) -> int:
        """Of a photo of this size: its tiles, or half of all places."""
        if not self._upsamplers:
            return 1
        upsampler = self._upsamplers["uint8"]
        multiple = upsampler.session.limits.multiple
        tiles = 1
        for side in (height, width):
            tiles *= len(upsampler.tiling.split(side + -side % multiple, multiple))
        return min(tiles, self._places_of_one)

    @property
    def _places_of_one(self) -> int:
        """Tiles, or faces, that fill all calls which a network makes use of."""
        in_batches = [
            s for s in self._networks.shared if s.info.kind == "upsampler" or s.gains_by_batches
        ]
        return max([1, *(s.batch * s.limits.best_calls for s in in_batches)])

    def iter_batches(self) -> Iterator[tuple[ArtifactInfo, int, int]]:
        """Of each network that makes pictures: the side of its tiles or faces, and most at once."""
        for session in self._networks.shared:
            tile = self.options.tiling_for(session).size or AUTO_TILES[1]
            yield session.info, session.info.side or tile, session.batch

    def session_stats(self) -> list[tuple[ArtifactInfo, SessionStats]]:
        """What each network that makes pictures has done so far."""
        return [(session.info, session.use) for session in self._networks.shared]

    def describe_sessions(self) -> list[str]:
        """What each network runs on, a line each. Why on nothing faster is logged at INFO."""
        return list(dict.fromkeys(opened.describe() for opened in self._networks.opened))

    def restore(
        self,
        photo: PhotoLike,
        *,
        outscale: float | None = None,
        progress: Progress | None = None,
    ) -> Restoration:
        """Restore and enlarge one photo.

        photo     a Photo; its pixels, uint8 or uint16, RGB (height, width, 3) or gray; the path
                  of a picture file; or the bytes of one
        outscale  final enlargement; None: the network's own
        progress  called with (output pixels done, output pixels in all)

        Raises ImageError if a file cannot be read, ImageTooLargeError if the result would pass
        max_output_pixels, OptionError if outscale leaves no pixel, SessionError after close().
        """
        with self._networks.in_use():
            photo = photo_from(photo)
            started = time.perf_counter()
            scale = float(self.scale) if outscale is None else check_outscale(outscale)
            self._check_output_size(photo, scale)
            self._warn_of_interpolation(scale)
            result = self._enlarge(photo, scale, progress)
            seconds = {"upsample": time.perf_counter() - started}
            restoration = Restoration(result, self.model, scale, 0.0, seconds)
            if self.faces is not None:
                restoration = _with_faces(restoration, self.faces, photo)
        return replace(restoration, elapsed_s=time.perf_counter() - started)

    def restore_aligned(self, photo: PhotoLike) -> Restoration:
        """Restore a photo that is one aligned face: the result has the face network's side.

        Raises OptionError if this Restorer was made without `faces`, and what the network raises.
        """
        with self._networks.in_use():
            if self.faces is None:
                raise OptionError(
                    "restoring aligned faces needs Restorer(..., faces=FaceOptions())"
                )
            photo = photo_from(photo)
            started = time.perf_counter()
            outcome = self.faces.restore_aligned(photo)
        assert outcome.restored is not None
        result = Photo(outcome.restored, metadata=photo.metadata, format=photo.format)
        elapsed_s = time.perf_counter() - started
        return Restoration(
            result,
            self.faces.model,
            result.width / photo.width,
            elapsed_s,
            faces=(outcome,),
            face_model=self.faces.model,
        )

    def _enlarge(self, photo: Photo, scale: float, progress: Progress | None) -> Photo:
        if self._model is None:
            return resize_lanczos(photo, scale)
        io: Io = "float32" if photo.pixels.dtype == np.uint16 else "uint8"
        return self._upsampler(io).upsample(photo, outscale=scale, progress=progress)

    def close(self) -> None:
        """Free the networks. Photos that other threads are restoring are finished first; any later
        call raises SessionError. Closing again does nothing, but waits for the first to be done.
        """
        self._close(finish=True)

    def __enter__(self) -> Restorer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # on Ctrl-C the photos of other threads may take minutes: they end at their next tile
        self._close(finish=kind is None or issubclass(kind, Exception))

    def _close(self, *, finish: bool) -> None:
        self._networks.close(finish=finish)
        self._close_faces()

    def _warn_of_interpolation(self, scale: float) -> None:
        """Once: a network makes details only up to its own scale."""
        if scale > self.scale and self._upsamplers and not self._warned:
            self._warned = True
            logger.warning(
                "%s enlarges %d times; from there to %g times pixels are interpolated. A model for "
                "%g times gives more detail: see `restora models`",
                self.model,
                self.scale,
                scale,
                scale,
            )

    def _upsampler(self, io: Io) -> Upsampler:
        assert self._model is not None
        with self._opening:
            if io not in self._upsamplers:
                path = self._find(self._model, io, "upsampler")
                self._upsamplers[io] = self._make_upsampler(
                    self._networks.open(path, "upsampler", io)
                )
            return self._upsamplers[io]

    def _make_upsampler(self, session: Session) -> Upsampler:
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


def _with_faces(restoration: Restoration, stage: FaceStage, photo: Photo) -> Restoration:
    """Paste the restored faces; if the detector fails, say so and leave the photo as it is."""
    try:
        result = stage.restore_faces(photo, restoration.photo, upscale=restoration.scale)
    except DeviceLostError:
        raise
    except (FaceError, NonFiniteOutputError, SessionError) as error:
        logger.warning("no faces were restored: %s", error)
        return replace(restoration, face_error=str(error), face_model=stage.model)
    return replace(
        restoration,
        faces=result.faces,
        seconds={**restoration.seconds, **result.seconds},
        face_model=stage.model,
    )
