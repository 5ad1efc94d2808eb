"""Turn whatever a file makes a library raise into that file's error."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager

from restora.errors import MemoryLimitError, RestoraError, TruncatedImageError


@contextmanager
def file_errors(name: str, what: str = "ends early or is damaged") -> Iterator[None]:
    """Raise TruncatedImageError for any exception from within, MemoryLimitError for a MemoryError.

    Decoders raise whatever they stumble over: AssertionError, OverflowError, RecursionError,
    struct.error. Errors of restora's own pass through.

    name: of the file; what: the rest of the sentence, before the reason
    """
    try:
        yield
    except RestoraError:
        raise
    except MemoryError as error:
        raise MemoryLimitError(f"{name} takes more memory to decode than is allowed") from error
    except Exception as error:
        raise TruncatedImageError(f"{name} {what}: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    if isinstance(error, struct.error):
        return "it ends inside a number"
    return " ".join(str(error).split())[:200] or type(error).__name__
