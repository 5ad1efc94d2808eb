"""The files that a checkpoint consists of: one, or two for an ncnn network."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO

from restora.errors import ModelError
from restora.models.regular_file import open_model_file, sha256_of_streams

NCNN_SUFFIX = ".param"
CHECKPOINT_SUFFIXES = (".pth", ".pt", ".ckpt", ".safetensors", NCNN_SUFFIX)


def is_checkpoint_name(path: Path | str) -> bool:
    """Whether the name ends as that of a checkpoint."""
    return Path(path).suffix.lower() in CHECKPOINT_SUFFIXES


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
