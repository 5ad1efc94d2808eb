"""Find a model's artifact, or export it from its checkpoint: the one place that does, for the
command line, Python and the cluster."""

import errno
import hashlib
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from restora.artifact import Io, Kind, Precision
from restora.atomic import write_atomically
from restora.errors import (
    AccuracyGateError,
    CheckpointError,
    DiskFullError,
    MissingBackendError,
    MissingModelError,
    OptionError,
    OutputError,
    UnknownModelError,
    UnsafePathError,
)
from restora.models import (
    MODELS,
    FindArtifact,
    find_artifact,
    find_model,
    find_model_folder,
    find_own_checkpoint,
    model_folder,
)
from restora.models.checkpoint_files import (
    is_checkpoint_name,
    is_foreign,
    sha256_of_checkpoint,
)
from restora.models.regular_file import is_regular_file, kind_of, shown

logger = logging.getLogger(__name__)

DENOISE_MODEL, DENOISE_PARTNER = "realesr-general-x4v3", "realesr-general-wdn-x4v3"


def artifact_finder(
    model: str | Path | None, denoise_strength: float | None, *, half: bool = False
) -> FindArtifact:
    """A function that finds artifacts, and exports those of which only the checkpoint is here.

    model: the upsampler: a name of the table, or the path of an artifact or of a checkpoint
    denoise_strength: 0..1, for realesr-general-x4v3: 1 is the model itself, 0 its partner that
        keeps noise; None: the model itself
    half: export FP16 artifacts too, beside those in FP32

    An export is done once, into the folder `exported` of the model folder, and logged.
    """
    if denoise_strength is not None:
        if str(model).removesuffix(".pth") != DENOISE_MODEL:
            raise OptionError(
                f"denoise_strength (--denoise-strength) works with {DENOISE_MODEL} only, the "
                f"model is {model}"
            )
        if not 0 <= denoise_strength <= 1:
            raise OptionError(
                f"denoise_strength (--denoise-strength) must be in 0..1, got {denoise_strength}"
            )
    if denoise_strength is None or denoise_strength == 1:
        return partial(find_or_export, half=half)
    first, second = _checkpoint(DENOISE_MODEL), _checkpoint(DENOISE_PARTNER)
    pair = [(first, denoise_strength), (second, 1 - denoise_strength)]
    name = f"{DENOISE_MODEL}-dn{denoise_strength:g}"

    def find(wanted: str | Path, io: Io, kind: Kind) -> Path:
        if wanted == model:
            return _export_once(first, name, io, pair, half=half)
        return find_or_export(wanted, io, kind, half=half)

    return find


def find_or_export(model: str | Path, io: Io, kind: Kind, *, half: bool = False) -> Path:
    """The artifact of a model, of an .onnx file or of a checkpoint file, which an .onnx file of
    another exporter is too.

    half: export an FP16 one beside it too, if the network gives pictures and its checkpoint is here

    Raises UnknownModelError or MissingModelError if there is neither an artifact nor a checkpoint,
    MissingBackendError if an export needs `restora[export]` and it is not installed.
    """
    half = half and kind in ("upsampler", "face")
    path = Path(model)
    if is_checkpoint_name(path):
        if is_regular_file(path):
            return _export_once(path, path.stem, io, [(path, 1.0)], half=half)
        if (found := kind_of(path)) is not None:
            raise CheckpointError(f"{shown(path)} must be a regular file, it is {found}")
        if len(path.parts) > 1:
            raise MissingModelError(f"there is no checkpoint at {shown(path)}")
    if path.suffix.lower() == ".onnx" and is_foreign(path):
        return _export_once(path, path.stem, io, [(path, 1.0)], half=half)
    try:
        artifact = find_artifact(model, io, kind)
    except MissingModelError:
        if path.suffix.lower() == ".onnx":
            raise
        name, checkpoint = _checkpoint_by_name(str(model))
        if checkpoint is None:
            raise
        return _export_once(checkpoint, name, io, [(checkpoint, 1.0)], half=half)
    return _with_half(artifact, str(model), io) if half else artifact


def _with_half(artifact: Path, name: str, io: Io) -> Path:
    """An artifact of a bundled model that has an FP16 one beside it, which is exported where only
    the checkpoint is in the package; the artifact itself without PyTorch."""
    entry = MODELS.get(name)
    checkpoint = find_model(name).checkpoint if entry is not None and entry.bundled else None
    if checkpoint is None:
        return artifact
    if find_model_folder() is None:
        logger.warning("%s runs without its FP16 artifact: there is no folder to export to", name)
        return artifact
    try:
        return _export_once(checkpoint, name, io, [(checkpoint, 1.0)], half=True)
    except MissingBackendError as error:
        logger.warning("%s runs without its FP16 artifact: %s", name, error)
        return artifact


def _checkpoint_by_name(name: str) -> tuple[str, Path | None]:
    """The model's own name, and its checkpoint in the model folder."""
    try:
        found = find_model(name)
    except UnknownModelError:
        checkpoint = find_own_checkpoint(name)
        return name if checkpoint is None else checkpoint.stem, checkpoint
    return found.entry.name, found.checkpoint


def _checkpoint(name: str) -> Path:
    checkpoint = find_model(name).checkpoint
    if checkpoint is None:
        raise MissingModelError(
            f"blending needs the checkpoint of {name}: restora models fetch {name}"
        )
    return checkpoint


def _export_once(
    checkpoint: Path, name: str, io: Io, parts: list[tuple[Path, float]], *, half: bool
) -> Path:
    """The artifact of these checkpoints, exported unless it is there; its name holds their hash."""
    digests = [(sha256_of_checkpoint(path), weight) for path, weight in parts]
    blend = parts[1] if len(parts) > 1 else None
    precisions: tuple[Precision, ...] = ("fp32", "fp16") if half else ("fp32",)
    paths = {precision: _path_of(name, io, precision, digests) for precision in precisions}
    other: Io = "float32" if io == "uint8" else "uint8"
    target = paths["fp32"]
    if not all(map(_is_settled, paths.values())):
        _make_folder(target.parent)
        with _only_here(target):
            for precision, path in paths.items():
                if not _is_settled(path):
                    likes = [target, _path_of(name, other, "fp32", digests)]
                    like = next(filter(is_regular_file, likes), None)
                    _export_or_refuse(checkpoint, path, name, io, precision, blend, like)
    return target


def _path_of(name: str, io: Io, precision: Precision, digests: list[tuple[str, float]]) -> Path:
    """Where the export of checkpoints with these digests and shares lies."""
    from restora.version import __version__

    key = hashlib.sha256(f"{io} {__version__}".encode())
    for digest, weight in digests:
        key.update(bytes.fromhex(digest))
        key.update(repr(weight).encode())
    # names of files end at 255 bytes
    short = name.encode("utf-8", "replace")[:150].decode("utf-8", "ignore")
    kind = ("" if precision == "fp32" else f".{precision}") + ("" if io == "uint8" else f".{io}")
    return model_folder() / "exported" / f"{short}.{key.hexdigest()[:16]}{kind}.onnx"


def _is_settled(path: Path) -> bool:
    """Whether the artifact is there, or is known to fail its accuracy threshold."""
    return is_regular_file(path) or is_regular_file(_refusal_of(path))


def _refusal_of(path: Path) -> Path:
    """The note that keeps an FP16 artifact from being exported again at every start."""
    return path.with_name(path.name + ".refused")


def _export_or_refuse(
    checkpoint: Path,
    path: Path,
    name: str,
    io: Io,
    precision: Precision,
    blend: tuple[Path, float] | None,
    like: Path | None,
) -> None:
    try:
        _export(checkpoint, path, name, io, precision, blend, like)
    except AccuracyGateError as error:
        if precision == "fp32":
            raise
        logger.warning("%s has no %s artifact: %s", name, precision, error)
        write_atomically(_refusal_of(path), f"{error}\n".encode())


@contextmanager
def _only_here(target: Path) -> Iterator[None]:
    """Processes that need the same export do it once."""
    from filelock import FileLock

    lock = target.with_name(target.name + ".lock")
    if os.path.lexists(lock) and (lock.is_symlink() or not is_regular_file(lock)):
        raise UnsafePathError(f"{shown(lock)} must be a regular file: remove it")
    try:
        with FileLock(lock):
            yield
    except NotImplementedError as error:
        raise OutputError(f"{shown(lock)} cannot be locked: {error}") from error


def _export(
    checkpoint: Path,
    target: Path,
    name: str,
    io: Io,
    precision: Precision,
    blend: tuple[Path, float] | None,
    like: Path | None,
) -> None:
    try:
        from restora_export.files import export_file
    except ImportError as error:
        raise MissingBackendError(
            f"{checkpoint} is a checkpoint, not an artifact; exporting it needs "
            f"pip install 'restora[export]' ({error})"
        ) from error
    logger.warning("exporting %s to ONNX (%s, %s pictures); this is done once", name, precision, io)
    export_file(
        checkpoint,
        target,
        name=name,
        io=io,
        precision=precision,
        blend=blend,
        like=like,
        report=logger.warning,
    )


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if folder.is_symlink():
            raise UnsafePathError(
                f"{shown(folder)} is a link; artifacts are not written through it"
            )
    except OSError as error:
        if isinstance(error, OutputError):
            raise
        kind = DiskFullError if error.errno in (errno.ENOSPC, errno.EDQUOT) else OutputError
        raise kind(
            f"the folder {shown(folder)} cannot be made: {error.strerror or error}; RESTORA_MODELS "
            "chooses another"
        ) from error
