"""Read untrusted files of the plan cache, and sign them with a key that only the user can read."""

from __future__ import annotations

import errno
import hashlib
import hmac
import json
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from restora.errors import DiskFullError, OutputError

MOST_FACTS_BYTES = 1 << 20
MOST_PLAN_BYTES = 1 << 34
_KEY_BYTES = 32


def read_regular(path: Path, *, maximum: int) -> bytes:
    """Read a regular file. Raises OSError, or ValueError if it is not a regular file or too large.

    maximum: the largest accepted size, in bytes
    """
    with open(path, "rb", opener=_open_at_once) as stream:  # pathlib has no opener
        status = os.fstat(stream.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("it is not a regular file")
        if status.st_size > maximum:
            raise ValueError(f"it has {status.st_size} bytes, at most {maximum} are read")
        return stream.read(maximum)


def read_facts(path: Path) -> dict[str, Any]:
    """Read a JSON object that is not verified yet. Raises OSError or ValueError."""
    try:
        facts = json.loads(read_regular(path, maximum=MOST_FACTS_BYTES))
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if isinstance(facts, dict):
        return facts
    raise ValueError(f"it must be a JSON object, got {type(facts).__name__}")


@contextmanager
def raising_output_errors(path: Path) -> Iterator[None]:
    """Turn an OSError while `path` is written into an OutputError."""
    try:
        yield
    except OutputError:
        raise
    except OSError as error:
        kind = DiskFullError if error.errno in (errno.ENOSPC, errno.EDQUOT) else OutputError
        raise kind(f"{path} cannot be written: {error.strerror or error}") from error


class Signer:
    """Computes keyed digests (HMAC-SHA-256) of facts and their plan.

    path: path of the key, which is created with mode 0600 for the first signature
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def sign(self, facts: dict[str, Any], plan: bytes) -> str:
        """Compute the digest. Raises OutputError if there is no key and none can be created."""
        with raising_output_errors(self._path):
            try:
                key = self._read_key()
            except FileNotFoundError:
                self._make_key()
                key = self._read_key()
        return _digest(key, facts, plan)

    def signed(self, facts: dict[str, Any], plan: bytes) -> bool:
        """Whether facts["digest"] matches the facts and the plan. Raises OSError."""
        given = facts.get("digest")
        if not isinstance(given, str):
            return False
        # facts that are nested too deeply to be serialized were not signed by us
        with suppress(FileNotFoundError, RecursionError):
            expected = _digest(self._read_key(), facts, plan)
            # as bytes, since compare_digest refuses non-ASCII text
            return hmac.compare_digest(given.encode(errors="surrogatepass"), expected.encode())
        return False

    def _read_key(self) -> bytes:
        try:
            return read_regular(self._path, maximum=1024)
        except ValueError as error:
            raise OutputError(f"{self._path} holds no key: {error}") from error

    def _make_key(self) -> None:
        draft = self._path.with_name(f".{self._path.name}.{secrets.token_hex(4)}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(secrets.token_bytes(_KEY_BYTES))
            with suppress(FileExistsError):
                os.link(draft, self._path)  # atomic; the first process wins
        finally:
            draft.unlink(missing_ok=True)


def _open_at_once(path: str, flags: int) -> int:
    """Open without blocking, since opening a pipe waits for a writer."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _digest(key: bytes, facts: dict[str, Any], plan: bytes) -> str:
    signed = {name: value for name, value in facts.items() if name != "digest"}
    code = hmac.new(key, json.dumps(signed, sort_keys=True).encode(), hashlib.sha256)
    code.update(hashlib.sha256(plan).digest())
    return code.hexdigest()
