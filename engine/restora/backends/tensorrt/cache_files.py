"""Files of the plan cache: read without trust, signed with a key that only this user can read."""

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


def read_regular(path: Path, *, most: int) -> bytes:
    """A regular file's bytes. Raises OSError, or ValueError if it is another kind of file or has
    more than `most` bytes."""
    with open(path, "rb", opener=_open_at_once) as stream:  # pathlib has no opener
        status = os.fstat(stream.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("it is not a regular file")
        if status.st_size > most:
            raise ValueError(f"it has {status.st_size} bytes, at most {most} are read")
        return stream.read(most)


def read_facts(path: Path) -> dict[str, Any]:
    """A JSON object that is not believed yet. Raises OSError or ValueError."""
    try:
        facts = json.loads(read_regular(path, most=MOST_FACTS_BYTES))
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if isinstance(facts, dict):
        return facts
    raise ValueError(f"it must be a JSON object, got {type(facts).__name__}")


@contextmanager
def raising_output_errors(path: Path) -> Iterator[None]:
    """Turn what the system says about writing `path` into an OutputError."""
    try:
        yield
    except OutputError:
        raise
    except OSError as error:
        kind = DiskFullError if error.errno in (errno.ENOSPC, errno.EDQUOT) else OutputError
        raise kind(f"{path} cannot be written: {error.strerror or error}") from error


class Signer:
    """Keyed digests (HMAC-SHA-256) of facts and of the plan that belongs to them.

    path: of the key: made with mode 0600 when something is signed first
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def sign(self, facts: dict[str, Any], plan: bytes) -> str:
        """Raises OutputError if there is no key and none can be made."""
        with raising_output_errors(self._path):
            try:
                key = self._read_key()
            except FileNotFoundError:
                self._make_key()
                key = self._read_key()
        return _digest(key, facts, plan)

    def signed(self, facts: dict[str, Any], plan: bytes) -> bool:
        """Whether facts["digest"] is that of the facts and the plan. Raises OSError."""
        given = facts.get("digest")
        if not isinstance(given, str):
            return False
        # facts that are nested too deeply to be written were not written here
        with suppress(FileNotFoundError, RecursionError):
            expected = _digest(self._read_key(), facts, plan)
            # as bytes: text that is not ASCII cannot be compared
            return hmac.compare_digest(given.encode(errors="surrogatepass"), expected.encode())
        return False

    def _read_key(self) -> bytes:
        try:
            return read_regular(self._path, most=1024)
        except ValueError as error:
            raise OutputError(f"{self._path} holds no key: {error}") from error

    def _make_key(self) -> None:
        draft = self._path.with_name(f".{self._path.name}.{secrets.token_hex(4)}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(secrets.token_bytes(_KEY_BYTES))
            with suppress(FileExistsError):
                os.link(draft, self._path)  # whole or not at all; the first one wins
        finally:
            draft.unlink(missing_ok=True)


def _open_at_once(path: str, flags: int) -> int:
    """A pipe would wait for somebody to write into it."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _digest(key: bytes, facts: dict[str, Any], plan: bytes) -> str:
    signed = {name: value for name, value in facts.items() if name != "digest"}
    code = hmac.new(key, json.dumps(signed, sort_keys=True).encode(), hashlib.sha256)
    code.update(hashlib.sha256(plan).digest())
    return code.hexdigest()
