"""Bearer tokens: who may use the service."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from restora.errors import OptionError, UnauthorizedError
from restora.serve.options import parse_rate

_SCHEME = "bearer"
_LEAST_LENGTH = 16
_TOKEN = re.compile(rf"[A-Za-z0-9._~+/=-]{{{_LEAST_LENGTH},}}")  # RFC 6750


@dataclass(frozen=True, slots=True)
class Client:
    """Who sends a request.

    name: of the token; "anonymous" where none are needed
    rate: requests per second of this token; None: the service's own limit
    """

    name: str
    rate: float | None = None


ANONYMOUS = Client("anonymous")


class Tokens:
    """The tokens of a service. Only their digests are kept.

    clients: token and client, each; empty: no token is needed
    """

    def __init__(self, clients: Iterable[tuple[str, Client]] = ()) -> None:
        self._clients = [(_digest(token), client) for token, client in clients]

    @property
    def required(self) -> bool:
        return bool(self._clients)

    def authenticate(self, header: str | None) -> Client:
        """The client of an Authorization header, found in a time that does not depend on it.

        Raises UnauthorizedError for a header that names no known token.
        """
        if not self._clients:
            return ANONYMOUS
        scheme, _, token = (header or "").partition(" ")
        if scheme.lower() != _SCHEME or not token:
            raise UnauthorizedError("this service needs a token: Authorization: Bearer TOKEN")
        given = _digest(token.strip())
        found = None
        for known, client in self._clients:  # all of them, whichever it is
            if hmac.compare_digest(known, given):
                found = client
        if found is None:
            raise UnauthorizedError("the service does not know this token")
        return found


def read_tokens(path: Path | None) -> Tokens:
    """Tokens of a file with a line NAME TOKEN, or NAME TOKEN RATE, for each. Empty lines and lines
    that begin with # are left out.

    Raises OptionError for a file that cannot be read, or holds something else.
    """
    if path is None:
        return Tokens()
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise OptionError(f"the tokens cannot be read: {error}") from error
    clients: dict[str, tuple[str, Client]] = {}
    for number, line in enumerate(lines, 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if len(words) not in (2, 3) or not _TOKEN.fullmatch(words[1]):
            # the line itself is a secret
            raise OptionError(
                f"{path}, line {number}: a line must be NAME TOKEN or NAME TOKEN RATE, with a "
                f"token of at least {_LEAST_LENGTH} letters, digits and -._~+/="
            )
        name, token = words[:2]
        if name in clients:
            raise OptionError(f"{path}, line {number}: {name} has a token already")
        other = next((known for known, (its, _) in clients.items() if its == token), None)
        if other is not None:
            raise OptionError(f"{path}, line {number}: {name} and {other} have the same token")
        clients[name] = (token, Client(name, parse_rate(words[2]) if len(words) == 3 else None))
    if not clients:
        raise OptionError(f"{path} holds no token")
    return Tokens(clients.values())


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
