"""Restore the faces of a photo and paste them into the upscaled photo."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from restora.artifact import ArtifactInfo, Io
from restora.errors import OptionError, RestoraError
from restora.faces import (
    Face,
    FaceCrop,
    FaceDetector,
    FaceParser,
    FaceRestorer,
    align_face,
    find_center_face,
    paste_face,
    reject_small,
)
from restora.faces.face import Box
from restora.faces.options import FaceOptions
from restora.image.photo import Photo, Pixels

T = TypeVar("T")


@dataclass(frozen=True, slots=True, eq=False)
class FaceOutcome:
    """The result for one face. A face that is not restored stays as the upsampler made it.

    box, score: the detection, with the box in pixels of the original photo
    status: "restored", "skipped" or "failed"
    reason: why the face was skipped or failed
    crop: the aligned face before the restoration, RGB
    restored: the aligned face after the restoration, RGB
    """

    box: Box
    score: float
    status: Literal["restored", "skipped", "failed"]
    reason: str | None = None
    crop: Pixels | None = field(default=None, repr=False)
    restored: Pixels | None = field(default=None, repr=False)

    def as_row(self) -> dict[str, Any]:
        """The result as a JSON object, without pixels."""
        row: dict[str, Any] = {
            "box": [round(value, 1) for value in self.box],
            "score": round(self.score, 4),
            "status": self.status,
        }
        return row if self.reason is None else {**row, "reason": self.reason}


@dataclass(frozen=True, slots=True)
class FaceResult:
    """The results for all faces, best score first, and the seconds of each stage."""

    faces: tuple[FaceOutcome, ...]
    seconds: dict[str, float]


class FaceStage:
    """Detects, aligns, restores and pastes faces. It can be called from several threads.

    restorer: returns the FaceRestorer for "uint8" or "float32" faces
    parser: the face parser; None pastes whole crops
    """

    def __init__(
        self,
        detector: FaceDetector,
        restorer: Callable[[Io], FaceRestorer],
        *,
        parser: FaceParser | None = None,
        options: FaceOptions | None = None,
    ) -> None:
        self.detector = detector
        self._open_restorer = restorer
        self._used: dict[Io, FaceRestorer] = {}
        self.parser = parser
        self.options = options or FaceOptions()

    @property
    def model(self) -> str:
        return self.info.model

    @property
    def info(self) -> ArtifactInfo:
        """Metadata of the face network for 8-bit photos."""
        return self._restorer("uint8").session.info

    def close(self) -> None:
        """Free the detector, the parser and the face networks in use."""
        self.detector.close()
        if self.parser is not None:
            self.parser.close()
        for restorer in self._used.values():
            restorer.session.close()

    def with_options(self, options: FaceOptions) -> FaceStage:
        """The same networks with other options for faces. Close only one of the stages.

        Raises OptionError for options that need other networks: another model, detector or batch,
        or a parser that is not open.
        """
        for name in ("model", "detector", "batch", "long_side"):
            ours, theirs = getattr(self.options, name), getattr(options, name)
            if ours != theirs:
                raise OptionError(f"{name} of open face networks is {ours!r}, got {theirs!r}")
        if options.parse and self.parser is None:
            raise OptionError("the face parser is not open: open the faces with parse=True")

        def restorer(io: Io) -> FaceRestorer:
            opened = self._restorer(io)
            return FaceRestorer(opened.session, batch=opened.batch, strength=options.strength)

        return FaceStage(
            self.detector, restorer, parser=self.parser if options.parse else None, options=options
        )

    def _restorer(self, io: Io) -> FaceRestorer:
        restorer = self._open_restorer(io)
        self._used[io] = restorer
        return restorer

    def restore_faces(
        self,
        photo: Photo,
        canvas: Photo,
        *,
        upscale: float,
        check: Callable[[], None] | None = None,
    ) -> FaceResult:
        """Paste the restored faces of `photo` into the pixels of `canvas`, in place.

        canvas: the photo upscaled by `upscale`, of the same bit depth
        check: called before the detector and before each batch of faces; what it raises ends this

        Raises FaceError, NonFiniteOutputError or SessionError if the detector fails. If a single
        face fails, its outcome has the reason.
        """
        if check is not None:
            check()
        seconds: dict[str, float] = {}
        color = _color_of(photo.pixels)
        found = _timed(seconds, "detect", lambda: self.detector.detect(_eight_bits(color)))
        outcomes = self._choose(found, photo)
        restorer = self._restorer("float32" if color.dtype == np.uint16 else "uint8")
        crops: dict[int, FaceCrop] = {}
        for index, outcome in enumerate(outcomes):
            if outcome.status == "restored":
                try:
                    crops[index] = align_face(color, found[index].landmarks, side=restorer.side)
                except RestoraError as error:
                    outcomes[index] = _failed(outcome, error)
        pixels = [crop.pixels for crop in crops.values()]
        results = _timed(seconds, "restore", lambda: restorer.restore(pixels, check=check))
        started = time.perf_counter()
        for (index, crop), result in zip(crops.items(), results, strict=True):
            if isinstance(result, RestoraError):
                outcomes[index] = _failed(outcomes[index], result)
                continue
            try:
                self._paste(canvas.pixels, crop, result, upscale)
            except RestoraError as error:
                outcomes[index] = _failed(outcomes[index], error)
                continue
            outcomes[index] = replace(outcomes[index], crop=crop.pixels, restored=result)
        seconds["paste"] = time.perf_counter() - started
        return FaceResult(tuple(outcomes), seconds)

    def restore_aligned(self, photo: Photo) -> FaceOutcome:
        """Restore a photo that is an aligned face. It is resized to the side of the network.

        Raises the errors of the network.
        """
        color = _color_of(photo.pixels)
        restorer = self._restorer("float32" if color.dtype == np.uint16 else "uint8")
        side = (restorer.side, restorer.side)
        crop = np.asarray(cv2.resize(color, side, interpolation=cv2.INTER_LINEAR), color.dtype)
        (result,) = restorer.restore([crop])
        if isinstance(result, RestoraError):
            raise result
        box = (0.0, 0.0, float(photo.width), float(photo.height))
        return FaceOutcome(box, 1.0, "restored", crop=crop, restored=result)

    def _choose(self, found: list[Face], photo: Photo) -> list[FaceOutcome]:
        outcomes = []
        for face in found:
            reason = reject_small(face, self.options.eye_dist_threshold)
            status: Literal["restored", "skipped"] = "skipped" if reason else "restored"
            outcomes.append(FaceOutcome(face.box, face.score, status, reason))
        large = [index for index, outcome in enumerate(outcomes) if outcome.status == "restored"]
        if self.options.only_center_face and large:
            faces = [found[index] for index in large]
            kept = large[find_center_face(faces, width=photo.width, height=photo.height)]
            for index in large:
                if index != kept:
                    reason = "another face is closer to the center (--only-center-face)"
                    outcomes[index] = replace(outcomes[index], status="skipped", reason=reason)
        return outcomes

    def _paste(self, canvas: Pixels, crop: FaceCrop, face: Pixels, upscale: float) -> None:
        mask = None if self.parser is None else self.parser.make_masks([face])[0]
        paste_face(
            canvas,
            face,
            crop.matrix,
            upscale=upscale,
            mask=mask,
            published=self.options.published_paste,
        )


def _failed(outcome: FaceOutcome, error: RestoraError) -> FaceOutcome:
    return replace(outcome, status="failed", reason=str(error))


def _timed(seconds: dict[str, float], name: str, work: Callable[[], T]) -> T:
    started = time.perf_counter()
    result = work()
    seconds[name] = time.perf_counter() - started
    return result


def _color_of(pixels: Pixels) -> Pixels:
    if pixels.ndim == 3:
        return pixels
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB), pixels.dtype)


def _eight_bits(pixels: Pixels) -> NDArray[np.uint8]:
    eight = pixels if pixels.dtype == np.uint8 else pixels // 257
    return eight.astype(np.uint8, copy=False)
