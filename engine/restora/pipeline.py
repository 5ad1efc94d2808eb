"""The public face: a photo in, a restored photo out."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Protocol

import numpy as np

from restora.artifact import ArtifactInfo, Io, Kind
from restora.errors import (
    DeviceLostError,
    FaceError,
    ImageTooLargeError,
    MissingModelError,
    NonFiniteOutputError,
    OptionError,
    SessionError,
)
from restora.image.photo import Photo, Pixels
from restora.joint import FaceOptions, FaceStage, open_faces
from restora.models import DEFAULT_MODEL, FindArtifact, find_artifact
from restora.options import AUTO_TILES, RestoreOptions
from restora.restoration import Restoration
from restora.sessions import Opened, Session, SessionUse, SharedSession, choose_session
from restora.sessions.options import BackendChoice, SessionOptions
from restora.tiling import Progress
from restora.upsample import Upsampler, enlarge_plainly

logger = logging.getLogger(__name__)


class ChooseSession(Protocol):
    """What choose_session does."""

    def __call__(self, artifact: Path, /, *, options: SessionOptions | None = None) -> Opened: ...


_SMALL: dict[BackendChoice, BackendChoice] = {
    "auto": "auto",
    "tensorrt": "auto",
    "cuda": "cuda",
    "openvino": "openvino",
    "cpu": "cpu",
}
PLAIN_SCALE = 2  # of a Restorer without an upsampler, as the published face script's


class Restorer:
    """Restore photos with one model, and their faces with another. Safe to call from several
    threads: tiles and faces of photos that are restored at the same time share batches.

    model    a name of the model table, or the path of an .onnx artefact; None: photos are
             enlarged by interpolation (Lanczos, twice unless told), for faces only
    options  RestoreOptions; None for the defaults
    faces    FaceOptions to restore faces too; None: they are enlarged like all else
    find     where a model's artefact for "uint8" or "float32" pictures lies; by default beside
             the given path, in the package or in the model folder. The float32 one is opened
             when the first 16-bit photo comes.
    choose   opens an artefact; by default on the best runtime of this machine

    Raises UnknownModelError or MissingModelError if there is no such model, AccuracyGateError if
    its artefact failed its gate, MissingBackendError if no runtime is installed.
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
        self._face_options = faces
        self._find = find
        self._choose = choose
        self._upsamplers: dict[Io, Upsampler] = {}
        self._shared: list[SharedSession] = []
        self._opening = threading.Lock()
        self._opened: list[Opened] = []
        if model is not None:
            self._upsampler("uint8")
        self.faces: FaceStage | None = None
        if faces is not None:
            self.faces, self._close_faces = open_faces(
                faces, find=find, open_session=self._open_session
            )

    @property
    def model(self) -> str:
        return "none" if self._model is None else self._upsampler("uint8").session.info.model

    @property
    def scale(self) -> int:
        """The network's own enlargement."""
        return PLAIN_SCALE if self._model is None else self._upsampler("uint8").scale

    def describe_networks(self) -> list[ArtifactInfo]:
        """Facts about every network that is open."""
        return [opened.session.info for opened in self._opened]

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
        upsampler = self._upsampler("uint8")
        multiple = upsampler.session.limits.multiple
        tiles = 1
        for side in (height, width):
            tiles *= len(upsampler.tiling.split(side + -side % multiple, multiple))
        return min(tiles, self._places_of_one)

    @property
    def _places_of_one(self) -> int:
        """Tiles, or faces, that fill all calls which a network makes use of."""
        in_batches = [s for s in self._shared if s.info.kind == "upsampler" or s.gains_by_batches]
        return max([1, *(s.batch * s.limits.best_calls for s in in_batches)])

    def iter_batches(self) -> Iterator[tuple[ArtifactInfo, int, int]]:
        """Of each network that makes pictures: the side of its tiles or faces, and most at once."""
        for session in self._shared:
            tile = self.options.tiling_for(session).size or AUTO_TILES[1]
            yield session.info, session.info.side or tile, session.batch

    def session_use(self) -> list[tuple[ArtifactInfo, SessionUse]]:
        """What each network that makes pictures has done so far."""
        return [(session.info, session.use) for session in self._shared]

    def describe_sessions(self) -> list[str]:
        """What each network runs on and why on nothing faster, a line each."""
        return list(dict.fromkeys(opened.describe() for opened in self._opened))

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
        result = self._enlarge(photo, scale, progress)
        seconds = {"upsample": time.perf_counter() - started}
        restoration = Restoration(result, self.model, scale, 0.0, seconds)
        if self.faces is not None:
            restoration = _with_faces(restoration, self.faces, photo)
        return replace(restoration, elapsed_s=time.perf_counter() - started)

    def restore_aligned(self, photo: Photo | Pixels) -> Restoration:
        """Restore a photo that is one aligned face: the result has the face network's side.

        Raises OptionError if this Restorer was made without `faces`, and what the network raises.
        """
        if self.faces is None:
            raise OptionError("restoring aligned faces needs Restorer(..., faces=FaceOptions())")
        if not isinstance(photo, Photo):
            photo = Photo(np.asarray(photo))
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
            return enlarge_plainly(photo, scale)
        io: Io = "float32" if photo.pixels.dtype == np.uint16 else "uint8"
        return self._upsampler(io).upsample(photo, outscale=scale, progress=progress)

    def close(self) -> None:
        """Free the sessions."""
        with self._opening:
            for upsampler in self._upsamplers.values():
                upsampler.session.close()
            self._upsamplers.clear()
            if self.faces is not None:
                self._close_faces()

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
        assert self._model is not None
        session = self._open_session(self._find(self._model, io, "upsampler"), "upsampler")
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

    def _open_session(self, path: Path, kind: Kind) -> Session:
        options = self.options.session_options()
        if kind in ("detector", "parser"):
            # small networks: no plans are built of them, and they may stay on the CPU
            options = replace(options, backend=_SMALL[options.backend], precision="auto", gpu=None)
        opened = self._choose(path, options=options)
        self._opened.append(opened)
        if kind not in ("upsampler", "face"):
            return opened.session
        face_batch = 1 if self._face_options is None else self._face_options.batch
        tile_batch = self.options.tiling_for(opened.session).batch
        batch = tile_batch if kind == "upsampler" else face_batch
        self._shared.append(SharedSession(opened.session, batch=batch))
        return self._shared[-1]

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
