"""The files that a checkpoint consists of: one, or two for an ncnn network."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO

from restora.artifact.onnx_wire import read_onnx_facts
from restora.errors import ArtifactError, ModelError
from restora.models.regular_file import is_regular_file, open_model_file, sha256_of_streams

NCNN_SUFFIX = ".param"
_ARTIFACT_MARK = b"restora"  # the key of the metadata
_MAX_ONNX_BYTES = 2**31 - 1  # the limit of protobuf
CHECKPOINT_SUFFIXES = (".pth", ".pt", ".ckpt", ".safetensors", NCNN_SUFFIX)


def is_checkpoint_name(path: Path | str) -> bool:
    """Whether the name ends as that of a checkpoint."""
    return Path(path).suffix.lower() in CHECKPOINT_SUFFIXES


def is_foreign(path: Path) -> bool:
    """Whether a file is an ONNX file without the metadata of an artifact.

    The name of restora in it is enough to take it for an artifact: opening it tells what is wrong.
    """
    if not is_regular_file(path):
        return False
    with open_model_file(path, what="file", error=ModelError, max_bytes=_MAX_ONNX_BYTES) as stream:
        if os.fstat(stream.fileno()).st_size == 0:
            return False
        with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
            if data.find(_ARTIFACT_MARK) >= 0:
                return False
        stream.seek(0)
        try:
            read_onnx_facts(stream.read())
        except ArtifactError:
            return False
    return True


def files_of_checkpoint(path: Path) -> tuple[Path, ...]:
    """The file itself; of an ncnn network, NAME.param and the weights beside it, NAME.bin."""
    if path.suffix.lower() == NCNN_SUFFIX:
        return path, path.with_suffix(".bin")
    return (path,)


@contextmanager
def open_checkpoint(path: Path, *, error: type[ModelError]) -> Iterator[tuple[BinaryIO, ...]]:
    """Open all files of a checkpoint, as open_model_file does."""
    with ExitStack() as stack:
        yield tuple(
            stack.enter_context(open_model_file(part, what="checkpoint", error=error))
            for part in files_of_checkpoint(path)
        )


def sha256_of_checkpoint(path: Path) -> str:
    """SHA-256 of its file, or of .param and .bin, one after the other.

    Raises MissingModelError or ModelError.
    """
    with open_checkpoint(path, error=ModelError) as streams:
        return sha256_of_streams(*streams)
