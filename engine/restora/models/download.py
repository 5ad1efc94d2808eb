"""Request a file over HTTPS, and describe network errors in plain words."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, urljoin, urlsplit

from restora.errors import DownloadError
from restora.models.regular_file import shown

if TYPE_CHECKING:
    import requests

logger = logging.getLogger(__name__)

FetchProgress = Callable[[int, int], None]
_TIMEOUT_S = (10, 30)  # seconds to connect, and between two chunks
_CHUNK = 1 << 18
_MAX_REDIRECTS = 10
_REDIRECTS = (301, 302, 303, 307, 308)
_CHECK = "check that this machine is connected to the internet"
_LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer of a server.

    start: offset of the first byte in the file
    length: announced number of bytes, or 0
    ends_before: the file is shorter than the requested offset
    media_type: such as "text/html"; "" if the server does not tell it
    url: after redirects
    """

    start: int
    length: int
    ends_before: bool
    media_type: str
    url: str
    _response: Any

    def chunks(self) -> Iterator[bytes]:
        """Iterate over the data. Raises DownloadError if the connection breaks."""
        with _in_plain_words(urlsplit(self._response.url).hostname):
            yield from self._response.iter_content(_CHUNK)


@contextmanager
def open_answer(
    url: str, start: int, *, accept: str | None = None, certificates: str | None = None
) -> Iterator[Answer]:
    """Request a file from byte `start`. A server may nevertheless start at 0.

    accept: the media types that are asked for; None: any
    certificates: a file or folder of certificates; None: those of requests

    All redirects must use https, or all of them http on this machine. Raises DownloadError.
    """
    import requests

    class Session(requests.Session):
        def get_redirect_target(self, resp: requests.Response) -> None:
            """Disable redirects of requests, which would read the whole body of a redirect."""

    with Session() as session:
        if certificates is not None:
            session.verify = certificates
        if accept is not None:
            session.headers["Accept"] = accept
        response = _follow(session, url, start)
        with response:
            yield _read_headers(response, start)


def _follow(session: requests.Session, url: str, start: int) -> requests.Response:
    headers = {"Accept-Encoding": "identity"}  # so that lengths are those of the file
    if start:
        headers["Range"] = f"bytes={start}-"
    local = _is_local(_split(url))
    for _ in range(_MAX_REDIRECTS):
        address = _split(url)
        if address.scheme != "https" and not (local and _is_local(address)):
            raise DownloadError(
                f"models are downloaded over https only, not from {shown(without_login(url))}"
            )
        with _in_plain_words(address.hostname):
            response = session.get(
                url, headers=headers, stream=True, timeout=_TIMEOUT_S, allow_redirects=False
            )
        if response.status_code not in _REDIRECTS:
            return response
        target = response.headers.get("Location", "")
        response.close()
        try:
            url = urljoin(url, target)
        except ValueError:
            target = ""
        if not target:
            raise DownloadError(f"{address.hostname} redirects without an address")
    raise DownloadError(f"the server redirects more than {_MAX_REDIRECTS} times")


def _split(url: str) -> SplitResult:
    try:
        address = urlsplit(url)
        port = address.port  # raises ValueError for an invalid port
    except ValueError:
        raise DownloadError(f"{shown(without_login(url))!r} is no address of a file") from None
    if not address.hostname or port == 0:
        raise DownloadError(f"{shown(without_login(url))!r} is no address of a file")
    return address


def without_login(url: str) -> str:
    """The URL without a user's name and password, for messages."""
    scheme, separator, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}{separator}{host.rpartition('@')[2]}{slash}{path}"


def _is_local(address: SplitResult) -> bool:
    return address.scheme == "http" and address.hostname in _LOCAL_HOSTS


def _read_headers(response: requests.Response, start: int) -> Answer:
    host = urlsplit(response.url).hostname
    kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if response.status_code == 416:
        return Answer(start, 0, True, kind, response.url, response)
    if response.status_code not in (200, 206):
        reason = shown(response.reason or "")[:60]
        raise DownloadError(f"{host} answered {response.status_code} {reason}".rstrip())
    encoding = response.headers.get("Content-Encoding", "identity")
    if encoding.strip().lower() not in ("", "identity"):
        raise DownloadError(
            f"{host} sends the file in the encoding {shown(encoding)[:40]!r}, which was not "
            "requested; a proxy may have changed it"
        )
    resumed = response.status_code == 206
    sent = response.headers.get("Content-Range", "")
    if resumed and not re.match(rf"bytes {start}-", sent):
        raise DownloadError(f"{host} sends {shown(sent)[:60]!r} instead of byte {start} onwards")
    length = response.headers.get("Content-Length", "0").strip()
    if not re.fullmatch("[0-9]{1,18}", length):
        raise DownloadError(f"{host} sends a length that is not a number: {shown(length)[:40]!r}")
    return Answer(start if resumed else 0, int(length), False, kind, response.url, response)


@contextmanager
def _in_plain_words(host: str | None) -> Iterator[None]:
    """Turn the errors of requests into DownloadError, and log their original text."""
    import http.client

    import urllib3

    try:
        yield
    except (
        OSError,  # the base class of the errors of requests
        urllib3.exceptions.HTTPError,
        http.client.HTTPException,
        ValueError,
    ) as error:
        logger.info("%s: %s", host, shown(str(error)))
        raise DownloadError(_words_of(error, host)) from error


def _words_of(error: Exception, host: str | None) -> str:
    import requests

    names = {type(cause).__name__ for cause in _causes_of(error)}
    if isinstance(error, requests.exceptions.ProxyError):
        return "the proxy that the environment names cannot be used (HTTPS_PROXY)"
    if isinstance(error, requests.exceptions.SSLError):
        return f"the certificate of {host} cannot be verified; perhaps a proxy is in between"
    if "NameResolutionError" in names or "gaierror" in names:
        return f"the host {host} cannot be found; {_CHECK}"
    if isinstance(error, requests.exceptions.ConnectTimeout):
        return f"the host {host} does not answer; {_CHECK}"
    if isinstance(error, requests.exceptions.ReadTimeout) or "ReadTimeoutError" in names:
        return f"{host} sent nothing for {_TIMEOUT_S[1]} seconds"
    if "NewConnectionError" in names or "ConnectionRefusedError" in names:
        return f"the host {host} cannot be reached; {_CHECK}"
    if isinstance(error, ValueError):
        return f"{host} leads to an address that cannot be used"
    return f"the connection to {host} was cut"


def _causes_of(error: BaseException) -> Iterator[BaseException]:
    """An error followed by its causes, contexts and urllib3 reasons."""
    todo, seen = [error], set()
    while todo:
        cause = todo.pop()
        if id(cause) in seen:
            continue
        seen.add(id(cause))
        yield cause
        near = [cause.__cause__, cause.__context__, getattr(cause, "reason", None), *cause.args]
        todo += [one for one in near if isinstance(one, BaseException)]
