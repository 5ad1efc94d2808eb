"""Where the files of models lie: the package, and one folder that the user can move."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Literal

from restora.cache_folder import cache_folder
from restora.errors import (
    ArtifactError,
    ChecksumError,
    MissingModelError,
    ModelError,
    OptionError,
    UnknownModelError,
)
from restora.models.checkpoint_files import (
    CHECKPOINT_SUFFIXES,
    NCNN_SUFFIX,
    files_of_checkpoint,
    is_checkpoint_name,
)
from restora.models.entry import Kind, ModelEntry
from restora.models.regular_file import (
    is_regular_file,
    kind_of,
    open_model_file,
    sha256_of_stream,
    shown,
)
from restora.models.table import MODELS, YUNET_FILE, find_entry

Io = Literal["uint8", "float32"]
FindArtifact = Callable[[str | Path, Io, Kind], Path]
_MAX_BYTES = 4 << 30
_OWN_ENDING = re.compile(
    r"(?i)((\.(fp16|mixed|int8))?(\.float32)?\.onnx|"
    + "|".join(re.escape(suffix) for suffix in CHECKPOINT_SUFFIXES)
    + ")$"
)


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """What of one model is on this machine; None for what is not."""

    entry: ModelEntry
    artifact: Path | None
    artifact_float32: Path | None
    checkpoint: Path | None


def model_folder() -> Path:
    """$RESTORA_MODELS, or restora/models in $XDG_CACHE_HOME or ~/.cache. It need not exist.

    Raises OptionError if nothing names a folder, or the variable one that cannot be.
    """
    folder = find_model_folder()
    if folder is None:
        raise OptionError(
            "there is no folder for models, since this user has no home directory: set "
            "RESTORA_MODELS to one"
        )
    return folder


def find_model_folder() -> Path | None:
    """The same; None if nothing names a folder, so that no model can be in it."""
    return cache_folder("models", variable="RESTORA_MODELS")


def checkpoint_path(entry: ModelEntry) -> Path:
    """Where the checkpoint belongs, there or not."""
    return model_folder() / entry.file


def ncnn_path(entry: ModelEntry) -> Path:
    """Where the model belongs as an ncnn network, there or not."""
    return model_folder() / f"{entry.name}{NCNN_SUFFIX}"


def find_checkpoint_of(entry: ModelEntry) -> Path | None:
    """The published checkpoint if it is here, or else a file of the model's name in any format.

    Of a bundled model: what others of its artifacts are exported from, which may be an artifact.
    """
    if entry.bundled:
        return _if_file(_package_file(entry.file))
    if find_model_folder() is None:
        return None
    published = checkpoint_path(entry)
    return published if is_regular_file(published) else find_own_checkpoint(entry.name)


def find_own_checkpoint(name: str) -> Path | None:
    """A checkpoint in the model folder, by its name, with or without the ending."""
    folder = find_model_folder()
    if folder is None or not name or Path(name).name != name:
        return None
    endings = ("",) if is_checkpoint_name(name) else CHECKPOINT_SUFFIXES
    paths = [folder / f"{name}{ending}" for ending in endings]
    return next(
        (path for path in paths if all(map(is_regular_file, files_of_checkpoint(path)))), None
    )


def own_models() -> tuple[str, ...]:
    """Names of the files in the model folder that belong to no model of the table, sorted."""
    folder = find_model_folder()
    try:
        paths = [] if folder is None else [path for path in folder.iterdir() if path.is_file()]
    except OSError:
        return ()  # the folder need not exist
    known = {Path(entry.file).stem for entry in MODELS.values()}
    known |= {*MODELS, Path(YUNET_FILE).stem}
    names = {_OWN_ENDING.sub("", path.name) for path in paths if _OWN_ENDING.search(path.name)}
    return tuple(sorted(names - known))


def artifact_path(entry: ModelEntry, io: Io) -> Path:
    """Where the artifact belongs, there or not: in the package if bundled."""
    name = f"{entry.name}{_artifact_suffix(io)}"
    return _package_file(name) if entry.bundled else model_folder() / name


def find_model(name: str) -> ModelFiles:
    """What is present of the model called `name`. Raises UnknownModelError."""
    entry = find_entry(name)
    if find_model_folder() is None and not entry.bundled:
        return ModelFiles(entry, None, None, None)
    return ModelFiles(
        entry,
        _if_file(artifact_path(entry, "uint8")),
        _if_file(artifact_path(entry, "float32")),
        find_checkpoint_of(entry),
    )


def find_artifact(model: str | Path, io: Io, kind: Kind = "upsampler") -> Path:
    """The artifact of `model` that takes pictures of type `io`.

    model: a name of the table, the name of a file in the model folder without its ending, or the
        path of an .onnx file; for float32, its neighbor NAME.float32.onnx is taken if the file
        itself is NAME.onnx
    kind: what a model of the table must be

    Raises UnknownModelError, MissingModelError saying how to get the file, OptionError for a
    checkpoint or a model of another kind, and ArtifactError for a path that is no regular file.
    """
    if _is_checkpoint(model):
        artifact = Path(model).with_suffix(".onnx")
        raise OptionError(
            f"{shown(model)} is a checkpoint, which is not run as it is: make an artifact of it "
            f"with `restora export {shown(model)} -o {shown(artifact)}` and name that"
        )
    if isinstance(model, Path) or model.lower().endswith(".onnx"):
        return _find_beside(Path(model), io)
    try:
        entry = find_entry(model)
    except UnknownModelError:
        return _find_own_artifact(model, io)
    if entry.kind != kind:
        raise OptionError(f"{entry.name} is a model of kind {entry.kind}, {kind} is needed")
    path = artifact_path(entry, io)
    if is_regular_file(path):
        return path
    checkpoint = find_checkpoint_of(entry)
    if checkpoint is not None:
        raise _needs_export(entry.name, io, checkpoint, path)
    raise MissingModelError(
        f"{entry.name} is not on this machine: get it with `restora models fetch {entry.name}`, "
        f"or put {entry.file} into {model_folder()}"
    )


def verify_checkpoint(path: Path, entry: ModelEntry) -> str:
    """The file's SHA-256. Raises ChecksumError if another one is on record for `entry`."""
    found = sha256_of(path)
    if entry.sha256 is not None and found != entry.sha256:
        raise ChecksumError(
            f"{shown(path)} must have SHA-256 {entry.sha256}, it has {found}: the file is damaged "
            "or not the published one; delete it and fetch it again"
        )
    return found


def sha256_of(path: Path) -> str:
    """Of a regular file. Raises MissingModelError or ModelError."""
    with open_model_file(path, what="file", error=ModelError, max_bytes=_MAX_BYTES) as stream:
        return sha256_of_stream(stream)


def _package_file(name: str) -> Path:
    return Path(str(files("restora") / "data" / name))


def _artifact_suffix(io: Io) -> str:
    return ".onnx" if io == "uint8" else f".{io}.onnx"


def _find_own_artifact(name: str, io: Io) -> Path:
    """Of a file in the model folder that the table does not know."""
    folder = find_model_folder()
    if folder is not None and Path(name).name == name:
        path = folder / f"{name}.onnx"
        if is_regular_file(path):
            return _find_beside(path, io)
        checkpoint = find_own_checkpoint(name)
        if checkpoint is not None:
            raise _needs_export(name, io, checkpoint, path)
    find_entry(name)  # raises UnknownModelError with the nearest names
    raise AssertionError


def _needs_export(name: str, io: Io, checkpoint: Path, artifact: Path) -> MissingModelError:
    flag = " --io float32" if io == "float32" else ""
    return MissingModelError(
        f"{shown(name)} is here as a checkpoint, but not as an artifact for {io} pictures: "
        f"make it with `restora export {shown(checkpoint)} -o {shown(artifact)}{flag}`"
    )


def _is_checkpoint(model: str | Path) -> bool:
    """By its name; NAME.pth of the table is a model, unless such a file is in this folder."""
    if not is_checkpoint_name(model):
        return False
    return isinstance(model, Path) or "/" in model or is_regular_file(model)


def _find_beside(path: Path, io: Io) -> Path:
    if io == "float32" and path.name:
        neighbor = path.with_name(path.name.removesuffix(".onnx") + ".float32.onnx")
        if is_regular_file(neighbor):
            return neighbor
    kind = kind_of(path)
    if kind is None:
        raise MissingModelError(f"there is no artifact at {shown(path)}")
    if not is_regular_file(path):
        raise ArtifactError(f"{shown(path)} must be an .onnx file, it is {kind}")
    return path


def _if_file(path: Path) -> Path | None:
    return path if is_regular_file(path) else None
