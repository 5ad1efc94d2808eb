"""Write a model repository for Triton: networks, and restora-photo, which uses them."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from restora.backends.tensorrt.cache import PlanCache
from restora.errors import MissingModelError, OptionError, OutputError
from restora.faces.open import (
    DETECTOR_MODEL,
    PARSER_MODEL,
    find_detector,
    find_face_model,
)
from restora.faces.options import FaceOptions
from restora.files import make_folder, write_file
from restora.image import PhotoLimits
from restora.models import model_folder
from restora.models.resolve import artifact_finder
from restora.models.table import YUNET_FILE
from restora.options import RestoreOptions
from restora.triton.config_text import Message, to_text
from restora.triton.network_config import MODEL_FILE, network_config
from restora.triton.networks import ServedNetwork, find_networks
from restora.triton.options import ServerOptions
from restora.triton.photo_model import PHOTO_MODEL, PROGRAM, photo_config
from restora.triton.photo_settings import (
    SETTINGS_FILE,
    NetworkSettings,
    PhotoSettings,
    photo_options,
    settings_to_json,
)
from restora.triton.plans import find_plans, plan_config

logger = logging.getLogger(__name__)

DEFAULT_TILE = 256
CONFIG_FILE = "config.pbtxt"
_VERSION = "1"
Platform = Literal["onnxruntime_onnx", "tensorrt_plan", "python"]


@dataclass(frozen=True, slots=True)
class WrittenModel:
    """One model of a repository.

    platform: what runs it: "onnxruntime_onnx", "tensorrt_plan" or "python"
    max_batch: tiles, faces or photos in one request
    """

    name: str
    platform: Platform
    folder: Path
    max_batch: int


def export_repository(
    models: Sequence[str | Path],
    repository: str | Path,
    *,
    server: ServerOptions | None = None,
    restore: RestoreOptions | None = None,
    faces: FaceOptions | bool | None = None,
    limits: PhotoLimits | None = None,
    overwrite: bool = False,
) -> tuple[WrittenModel, ...]:
    """Write networks for a Triton server, and restora-photo, which restores photos with them.

    models: upsamplers, the first of them for requests that name none; what Restorer takes. Face
        networks, detectors and parsers may be among them
    repository: a folder, which need not exist; each model is a folder in it
    server: how networks run there
    restore: how restora-photo cuts and joins photos; the tile "auto" is 256 pixels
    faces: True or FaceOptions: restora-photo restores faces too, and their networks are written
    limits: of photos
    overwrite: replace models of the same names

    Raises OptionError for options that cannot work, MissingModelError if a network is not there,
    AccuracyGateError if an artifact fails its accuracy threshold, OutputError if a model is there
    already or cannot be written.
    """
    server = server or ServerOptions()
    options = photo_options(restore or RestoreOptions(), tile=DEFAULT_TILE)
    assert isinstance(options.tile, int)
    chosen = _choose_faces(faces, options)
    half = "fp16" in server.precisions
    strength = None if restore is None else restore.denoise_strength
    find = artifact_finder(models[0] if models else None, strength, half=half)
    networks = find_networks([*models, *_models_of_faces(chosen)], server.precisions, find)
    if not any(network.kind == "upsampler" for network in networks):
        raise OptionError("name at least one upsampler, such as restora-lite-x2")
    writer = _Writer(Path(repository), server, overwrite=overwrite)
    written = [writer.write_network(network, tile=options.tile) for network in networks]
    settings = PhotoSettings(
        tuple(
            NetworkSettings(network.name, network.artifact.info, model.max_batch)
            for network, model in zip(networks, written, strict=True)
        ),
        options,
        chosen,
        limits or PhotoLimits(),
        server.equal_tiles,
    )
    return (*written, writer.write_photo_model(settings))


class _Writer:
    """Writes models into a repository, each of them whole or not at all."""

    def __init__(self, repository: Path, server: ServerOptions, *, overwrite: bool) -> None:
        self._repository = repository
        self._server = server
        self._overwrite = overwrite
        self._cache = PlanCache() if server.plans else None

    def write_network(self, network: ServedNetwork, *, tile: int) -> WrittenModel:
        name, artifact = network.name, network.artifact
        plans = () if self._cache is None else find_plans(artifact, self._cache)
        if plans:
            config = plan_config(name, artifact, plans, self._server)
            files = {f"{_VERSION}/{plan.file}": plan.plan for plan in plans}
            return self._write(name, "tensorrt_plan", config, files)
        if self._cache is not None:
            logger.warning("%s is written as ONNX: the cache holds no plan for it", name)
        config = network_config(name, artifact, self._server, tile=tile)
        return self._write(
            name, "onnxruntime_onnx", config, {f"{_VERSION}/{MODEL_FILE}": artifact.onnx}
        )

    def write_photo_model(self, settings: PhotoSettings) -> WrittenModel:
        files: dict[str, bytes | str] = {
            f"{_VERSION}/model.py": PROGRAM,
            f"{_VERSION}/{SETTINGS_FILE}": settings_to_json(settings),
        }
        if settings.faces is not None and settings.faces.detector == "yunet":
            files[f"{_VERSION}/{YUNET_FILE}"] = _read_yunet()
        return self._write(PHOTO_MODEL, "python", photo_config(self._server), files)

    def _write(
        self, name: str, platform: Platform, config: Message, files: Mapping[str, bytes | str]
    ) -> WrittenModel:
        folder = self._repository / name
        with _new_folder(folder, overwrite=self._overwrite) as partial:
            for path, data in files.items():
                write_file(partial / path, data)
            write_file(partial / CONFIG_FILE, to_text(config))
        most = config["max_batch_size"]
        assert isinstance(most, int)
        return WrittenModel(name, platform, folder, most)


def _choose_faces(faces: FaceOptions | bool | None, options: RestoreOptions) -> FaceOptions | None:
    """With the model and the detector that this machine has. Raises MissingModelError."""
    if not faces:
        return None
    chosen = FaceOptions() if faces is True else faces
    model = chosen.model or find_face_model()
    if model is None:
        raise MissingModelError(
            "face restoration needs a face model: `restora models fetch GFPGANv1.4`, or give the "
            "artifact of another model (--face-model)"
        )
    detector = find_detector() if chosen.detector == "auto" else chosen.detector
    if detector is None:
        raise MissingModelError(
            f"face detection needs a detector: `restora models fetch {DETECTOR_MODEL}`, or "
            "pip install 'restora[faces]'"
        )
    published = chosen.published_paste or options.compat == "upstream"
    return replace(chosen, model=model, detector=detector, published_paste=published)  # type: ignore[arg-type]


def _models_of_faces(faces: FaceOptions | None) -> Iterator[str | Path]:
    if faces is None:
        return
    assert faces.model is not None
    yield faces.model
    if faces.detector == "retinaface":
        yield DETECTOR_MODEL
    if faces.parse:
        yield PARSER_MODEL


def _read_yunet() -> bytes:
    path = model_folder() / YUNET_FILE
    try:
        return path.read_bytes()
    except OSError as error:
        raise MissingModelError(f"{path} cannot be read: {error.strerror}") from error


@contextmanager
def _new_folder(folder: Path, *, overwrite: bool) -> Iterator[Path]:
    """A folder to fill, which takes the place of `folder` when the block ends. It lies outside the
    repository, in which Triton takes every folder for a model."""
    if folder.is_symlink() or (folder.exists() and not overwrite):
        raise OutputError(
            f"{folder} exists: choose another repository, or replace it with overwrite "
            "(--overwrite)"
        )
    make_folder(folder.parent)
    try:
        partial = Path(tempfile.mkdtemp(prefix=".restora-", dir=_staging_folder(folder.parent)))
        try:
            yield partial
            partial.chmod(0o755)  # the server runs as another user
            _replace_folder(folder, partial)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    except OSError as error:
        if isinstance(error, OutputError):
            raise
        raise OutputError(f"{folder} cannot be written: {error.strerror or error}") from error


def _replace_folder(folder: Path, new: Path) -> None:
    """Move `new` to the place of `folder`, which stays if that fails. A server that looks between
    the two moves finds no model for an instant, but never a part of one."""
    if not folder.exists():
        shutil.move(new, folder)
        return
    old = new.with_name(f"{new.name}.old")
    shutil.move(folder, old)
    try:
        shutil.move(new, folder)
    except OSError:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.move(old, folder)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _staging_folder(repository: Path) -> Path | None:
    """Beside the repository, so that a model is moved at once; None, for the system's folder for
    temporary files, where nothing can be written there."""
    parent = repository.resolve().parent
    return parent if os.access(parent, os.W_OK) else None
