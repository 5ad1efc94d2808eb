"""Where the files of models lie: the package, and one folder that the user can move."""

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Literal

from restora.errors import ChecksumError, MissingModelError, OptionError
from restora.models.table import Kind, ModelEntry, find_entry

Io = Literal["uint8", "float32"]
FindArtifact = Callable[[str | Path, Io, Kind], Path]
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """What of one model is on this machine; None for what is not."""

    entry: ModelEntry
    artifact: Path | None
    artifact_float32: Path | None
    checkpoint: Path | None


def model_folder() -> Path:
    """$RESTORA_MODELS, or restora/models in $XDG_CACHE_HOME or ~/.cache. It need not exist."""
    chosen = os.environ.get("RESTORA_MODELS")
    if chosen:
        return Path(chosen).expanduser()
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "restora" / "models"


def checkpoint_path(entry: ModelEntry) -> Path:
    """Where the checkpoint belongs, there or not."""
    return model_folder() / entry.file


def artifact_path(entry: ModelEntry, io: Io) -> Path:
    """Where the artefact belongs, there or not: in the package if bundled."""
    name = f"{entry.name}{_artifact_suffix(io)}"
    if entry.bundled:
        return Path(str(files("restora") / "data" / name))
    return model_folder() / name


def find_model(name: str) -> ModelFiles:
    """What is present of the model called `name`. Raises UnknownModelError."""
    entry = find_entry(name)
    return ModelFiles(
        entry,
        _if_file(artifact_path(entry, "uint8")),
        _if_file(artifact_path(entry, "float32")),
        _if_file(checkpoint_path(entry)),
    )


def find_artifact(model: str | Path, io: Io, kind: Kind = "upsampler") -> Path:
    """The artefact of `model` that takes pictures of type `io`.

    model  a name of the table, or the path of an .onnx file; for float32, its neighbour
           NAME.float32.onnx is taken if the file itself is NAME.onnx
    kind   what a model of the table must be

    Raises UnknownModelError, or MissingModelError saying how to get the file.
    """
    if isinstance(model, Path) or model.lower().endswith(".onnx"):
        return _find_beside(Path(model), io)
    if Path(model).suffix.lower() in (".pth", ".pt", ".ckpt", ".safetensors") and "/" in model:
        raise OptionError(
            f"{model} is a checkpoint: make an artefact of it with `restora export {model}`"
        )
    entry = find_entry(model)
    if entry.kind != kind:
        raise OptionError(f"{entry.name} is a model of kind {entry.kind}, {kind} is needed")
    path = artifact_path(entry, io)
    if path.is_file():
        return path
    checkpoint = checkpoint_path(entry)
    flag = " --io float32" if io == "float32" else ""
    export = f"`restora export {checkpoint} -o {path}{flag}`"
    if checkpoint.is_file():
        raise MissingModelError(
            f"{entry.name} is here as a checkpoint, but not as an artefact for {io} pictures: "
            f"make it with {export}"
        )
    raise MissingModelError(
        f"{entry.name} is not on this machine: get it with `restora models fetch {entry.name}`, "
        f"or put {entry.file} into {model_folder()}; then {export}"
    )


def verify_checkpoint(path: Path, entry: ModelEntry) -> str:
    """The file's SHA-256. Raises ChecksumError if another one is on record for `entry`."""
    found = sha256_of(path)
    if entry.sha256 is not None and found != entry.sha256:
        raise ChecksumError(
            f"{path} must have SHA-256 {entry.sha256}, it has {found}: the file is damaged or "
            "not the published one; delete it and fetch it again"
        )
    return found


def sha256_of(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _artifact_suffix(io: Io) -> str:
    return ".onnx" if io == "uint8" else f".{io}.onnx"


def _find_beside(path: Path, io: Io) -> Path:
    if io == "float32":
        neighbour = path.with_name(path.name.removesuffix(".onnx") + ".float32.onnx")
        if neighbour.is_file():
            return neighbour
    if not path.is_file():
        raise MissingModelError(f"there is no artefact at {path}")
    return path


def _if_file(path: Path) -> Path | None:
    return path if path.is_file() else None
