"""Restore the bytes of photos with networks of a server: what restora-photo does for a request."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from restora.artifact import Io, Kind
from restora.backends import Session
from restora.errors import MissingModelError, OptionError, UnknownModelError
from restora.faces import FaceDetector, FaceParser, FaceRestorer, RetinaFaceDetector
from restora.faces.pipeline import FaceStage
from restora.image import Photo, encode_photo
from restora.image.encode import Format
from restora.image.isolated import read_isolated
from restora.models.table import YUNET_FILE
from restora.pipeline import Restorer
from restora.restoration import Restoration
from restora.triton.photo_request import PhotoRequest, request_from
from restora.triton.photo_settings import NetworkSettings, PhotoSettings

OpenNetwork = Callable[[NetworkSettings], Session]

PHOTO_NAME = "the photo"  # in messages
_WRITTEN_AS: dict[str | None, Format] = {
    "JPEG": "jpg", "MPO": "jpg", "PNG": "png", "WEBP": "webp", "TIFF": "tiff",
}  # fmt: skip


class PhotoWorker:
    """Restores photos with networks that are open elsewhere.

    folder: of the model on the server, which holds the file of a detector that is no network
    open_network: returns a session, which is kept

    Raises MissingModelError or MissingBackendError if the face stage lacks a part.
    """

    def __init__(self, settings: PhotoSettings, folder: Path, open_network: OpenNetwork) -> None:
        self.settings = settings
        self._folder = folder
        self._open_network = open_network
        self._sessions: dict[str, Session] = {}
        self._faces = None if settings.faces is None else self._open_faces()
        self._restorers: dict[tuple[str, bool], Restorer] = {}

    def restore(
        self,
        data: bytes,
        parameters: Mapping[str, object],
        *,
        check: Callable[[], None] | None = None,
    ) -> tuple[bytes, dict[str, Any]]:
        """The bytes of the restored photo, and facts about it for JSON.

        data: a photo's file
        parameters: fields of PhotoRequest; texts are read as numbers and flags
        check: called between tiles and between batches of faces; what it raises ends the call

        Raises OptionError for parameters that cannot work, ImageError for a photo that cannot be
        read, and what the networks raise.
        """
        started = time.perf_counter()
        asked = request_from(parameters)
        with_faces = self._wants_faces(asked)
        network = self._find_upsampler(asked.model)
        seconds = {}
        photo = self._read(data)
        seconds["decode"] = time.perf_counter() - started
        restorer = self._restorer(network, with_faces)
        result = restorer.restore(photo, outscale=asked.outscale, check=check)
        seconds |= result.seconds
        before = time.perf_counter()
        format_ = _format_of(asked, result.photo)
        encoded = encode_photo(
            result.photo,
            format=format_,
            quality=asked.quality,
            strip_metadata=asked.strip_metadata,
        )
        seconds["encode"] = time.perf_counter() - before
        seconds["total"] = time.perf_counter() - started
        facts = {
            "model": network.name,
            "precision": network.info.precision,
            "scale": result.scale,
            "input": {**_describe(photo), "format": photo.format, "bytes": len(data)},
            "output": {**_describe(result.photo), "format": format_, "bytes": len(encoded)},
            "faces": _describe_faces(result) if with_faces else None,
            "seconds": {name: round(value, 4) for name, value in seconds.items()},
        }
        return encoded, facts

    def close(self) -> None:
        """Free what is not the server's: the detector."""
        for restorer in self._restorers.values():
            restorer.close()

    def _read(self, data: bytes) -> Photo:
        """In a child process, as a stranger's file."""
        return read_isolated(data, limits=self.settings.limits, name=PHOTO_NAME)

    def _wants_faces(self, asked: PhotoRequest) -> bool:
        if asked.faces and self._faces is None:
            raise OptionError(
                "this server restores no faces: export its repository with --faces, or leave out "
                "the parameter faces"
            )
        return self._faces is not None and asked.faces is not False

    def _find_upsampler(self, name: str | None) -> NetworkSettings:
        names = self.settings.upsamplers()
        wanted = names[0] if name is None else name
        if wanted not in names:
            raise UnknownModelError(
                f"the parameter model must be one of {', '.join(names)}, got {wanted!r}"
            )
        return next(one for one in self.settings.networks if one.name == wanted)

    def _restorer(self, network: NetworkSettings, with_faces: bool) -> Restorer:
        key = (network.name, with_faces)
        if key not in self._restorers:
            deep = self.settings.sixteen_bit_of(network)
            self._restorers[key] = Restorer.from_session(
                self._session(network),
                session_16bit=None if deep is None else self._session(deep),
                faces=self._faces if with_faces else None,
                options=self.settings.restore,
            )
        return self._restorers[key]

    def _session(self, network: NetworkSettings) -> Session:
        if network.name not in self._sessions:
            self._sessions[network.name] = self._open_network(network)
        return self._sessions[network.name]

    def _need(self, kind: Kind, io: Io) -> NetworkSettings:
        network = self.settings.find(kind, io)
        if network is None:
            raise MissingModelError(
                f"the repository holds no {kind} for {io} pictures: export it again with one"
            )
        return network

    def _open_faces(self) -> FaceStage:
        options = self.settings.faces
        assert options is not None
        parser = None
        if options.parse:
            parser = FaceParser(self._session(self._need("parser", "uint8")))
        opened: dict[Io, FaceRestorer] = {}

        def restorer(io: Io) -> FaceRestorer:
            if io not in opened:
                network = self._need("face", io)
                batch = min(options.batch, network.max_batch)
                opened[io] = FaceRestorer(
                    self._session(network), batch=batch, strength=options.strength
                )
            return opened[io]

        restorer("uint8")
        return FaceStage(self._open_detector(), restorer, parser=parser, options=options)

    def _open_detector(self) -> FaceDetector:
        options = self.settings.faces
        assert options is not None
        if options.detector == "yunet":
            from restora.faces.yunet import YuNetDetector

            return YuNetDetector(self._folder / YUNET_FILE, long_side=options.long_side)
        if options.detector == "centerface":
            from restora.faces.centerface import CenterFaceDetector

            return CenterFaceDetector(long_side=options.long_side)
        session = self._session(self._need("detector", "uint8"))
        return RetinaFaceDetector(session, long_side=options.long_side)


def _format_of(asked: PhotoRequest, photo: Photo) -> Format:
    """auto: as the input, or PNG if restora does not write that."""
    return _WRITTEN_AS.get(photo.format, "png") if asked.ext == "auto" else asked.ext


def _describe(photo: Photo) -> dict[str, Any]:
    bits = 8 * photo.pixels.itemsize
    return {"width": photo.width, "height": photo.height, "bits": bits}


def _describe_faces(result: Restoration) -> dict[str, Any]:
    rows = [face.as_row() for face in result.faces]
    states = [row["status"] for row in rows]
    return {
        "model": result.face_model,
        "found": len(rows),
        **{state: states.count(state) for state in ("restored", "skipped", "failed")},
        "error": result.face_error,
        "list": rows,
    }
