"""Options of a service."""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from restora.checks import check_flag, check_number, check_whole, set_checked
from restora.errors import OptionError
from restora.faces.options import FaceOptions
from restora.image import PhotoLimits
from restora.models import DEFAULT_MODEL
from restora.options import RestoreOptions

_ROOT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_ORIGIN = re.compile(r"https?://[A-Za-z0-9.\-\[\]:]+")
_MAX_PORT = 65535


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeOptions:
    """Options of a service. Raises OptionError for a value that cannot work, when the options are
    made.

    host: address to listen at; any but a loopback address needs `tokens`
    port: TCP port; 0: a free one
    grpc_port: port of the Open Inference Protocol over gRPC; None: no gRPC
    page: whether a page for browsers is served at /
    models: models to open, by name or path; the first is the one that requests get by default
    faces: options of the face networks; None: no faces
    restore: how photos are cut and on what networks run; `memory` bounds the whole process
    limits: limits of photos, checked before they are decoded
    tokens: a file of bearer tokens; None: requests need none
    allowed_hosts: names of this server in the Host header, beside localhost and IP addresses; "*":
        any. Requests with another name are refused; with tokens, only if some are given
    cors: origins whose pages may read answers; none by default
    rate: requests per second of each token, or of each address where there are no tokens; None: no
        limit
    queue: requests that may wait; more are refused at once
    deadline_s: seconds after which a request fails that names no deadline itself; None: never
    upload_timeout_s: seconds within which a request's body must arrive
    memory_upload_bytes: larger uploads are written to disk
    keep_s, keep_bytes: how long results are kept that were asked for as links, and how many bytes
        of them in all
    spool: a folder for uploads and kept results; None: one in the system's folder for such files
    roots: folders by name, inside which jobs may read and write
    state: a folder that jobs are recorded in; needed with `roots`
    drain_delay_s: seconds for which a server that was told to end still takes requests, while it
        already reports that it is not ready
    drain_timeout_s: seconds within which requests must end then
    """

    host: str = "127.0.0.1"
    port: int = 8000
    grpc_port: int | None = None
    page: bool = True
    models: tuple[str | Path, ...] = (DEFAULT_MODEL,)
    faces: FaceOptions | None = None
    restore: RestoreOptions = field(default_factory=RestoreOptions)
    limits: PhotoLimits = field(default_factory=lambda: PhotoLimits(max_file_bytes=256 << 20))
    tokens: Path | None = None
    allowed_hosts: tuple[str, ...] = ()
    cors: tuple[str, ...] = ()
    rate: float | None = None
    queue: int = 64
    deadline_s: float | None = None
    upload_timeout_s: float = 60.0
    memory_upload_bytes: int = 1 << 20
    keep_s: float = 600.0
    keep_bytes: int = 1 << 30
    spool: Path | None = None
    roots: Mapping[str, Path] = field(default_factory=dict)
    state: Path | None = None
    drain_delay_s: float = 0.0
    drain_timeout_s: float = 30.0

    def __post_init__(self) -> None:
        set_checked(
            self,
            port=check_whole("port", self.port, minimum=0, maximum=_MAX_PORT),
            page=check_flag("page", self.page),
            queue=check_whole("queue", self.queue, minimum=1),
            upload_timeout_s=check_number("upload_timeout_s", self.upload_timeout_s, minimum=0.1),
            memory_upload_bytes=check_whole(
                "memory_upload_bytes", self.memory_upload_bytes, minimum=0
            ),
            keep_s=check_number("keep_s", self.keep_s, minimum=1),
            keep_bytes=check_whole("keep_bytes", self.keep_bytes, minimum=0),
            drain_delay_s=check_number("drain_delay_s", self.drain_delay_s, minimum=0),
            drain_timeout_s=check_number("drain_timeout_s", self.drain_timeout_s, minimum=0),
        )
        if self.grpc_port is not None:
            check_whole("grpc_port", self.grpc_port, minimum=0, maximum=_MAX_PORT)
        for name in ("rate", "deadline_s"):
            value = getattr(self, name)
            if value is not None and not check_number(name, value, minimum=0) > 0:
                raise OptionError(f"{name} must be above 0, got {value!r}")
        if not self.models:
            raise OptionError("a service needs at least one model")
        self._check_roots()
        for origin in self.cors:
            if not _ORIGIN.fullmatch(origin):
                raise OptionError(f"an origin is written like https://example.org, got {origin!r}")
        if not is_loopback(self.host) and self.tokens is None:
            raise OptionError(
                f"listening at {self.host} lets other machines in: give a file of bearer tokens "
                "(--tokens), or listen at 127.0.0.1 behind a proxy that checks requests"
            )

    def _check_roots(self) -> None:
        for name, folder in self.roots.items():
            if not _ROOT_NAME.fullmatch(name):
                raise OptionError(
                    f"a root's name must consist of letters, digits, dots and hyphens, got {name!r}"
                )
            if not Path(folder).is_dir():
                raise OptionError(f"the root {name} must be a folder, {folder} is none")
        if self.roots and self.state is None:
            raise OptionError("jobs need a folder that they are recorded in: give state (--state)")


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a server that listens at this address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def parse_rate(text: str) -> float:
    """Requests per second of "10/s", "30/min" or "1000/h". Raises OptionError."""
    number, _, unit = text.partition("/")
    seconds = {"s": 1, "min": 60, "h": 3600}.get(unit)
    try:
        count = float(number)
    except ValueError:
        count = math.nan
    if seconds is None or not 0 < count < math.inf:
        raise OptionError(f"a rate is written like 10/s, 30/min or 1000/h, got {text!r}")
    return count / seconds
