"""Errors as problem documents (RFC 9457), each with a stable code."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from typing import Any

from restora import errors
from restora.errors import RestoraError

CONTENT_TYPE = "application/problem+json"
INTERNAL = "internal"
# where a class is missing, the one that it derives from counts; codes are made of names
_STATUSES: dict[type[RestoraError], int] = {
    errors.RestoraError: 500,
    errors.ShapeError: 422,
    errors.OptionError: 400,
    errors.ImageError: 422,
    errors.UnknownFormatError: 415,
    errors.ImageTooLargeError: 413,
    errors.FileTooLargeError: 413,
    errors.MemoryLimitError: 413,
    errors.OutputError: 500,
    errors.DiskFullError: 507,
    errors.UnsafePathError: 403,
    errors.UnknownModelError: 404,
    errors.MissingModelError: 422,
    errors.VideoError: 422,
    errors.FaceError: 422,
    errors.DecoderProcessError: 503,
    errors.MissingBackendError: 501,
    errors.DeviceMemoryError: 503,
    errors.HostMemoryError: 503,
    errors.ServiceError: 500,
    errors.RequestError: 400,
    errors.UnauthorizedError: 401,
    errors.ForbiddenError: 403,
    errors.NotFoundError: 404,
    errors.ConflictError: 409,
    errors.NotAcceptableError: 406,
    errors.UnsupportedMediaTypeError: 415,
    errors.UploadTimeoutError: 408,
    errors.RateLimitError: 429,
    errors.UnavailableError: 503,
    errors.AbandonedError: 503,
    errors.DeadlineExceededError: 504,
    errors.ClientGoneError: 499,  # nginx's number: nobody reads it
}
_RETRY_S = 5  # after an error that says nothing about it, such as a full GPU
_HTTP = {404: "not-found", 405: "method-not-allowed", 400: "request", 413: "file-too-large"}


@dataclass(frozen=True, slots=True)
class Problem:
    """An error as a client sees it.

    code: stable, for programs; title: the same for all problems of a code
    retry_after: whole seconds after which the same request may succeed; None: it will not
    """

    status: int
    code: str
    title: str
    detail: str
    retry_after: int | None = None

    def document(self, request_id: str) -> dict[str, Any]:
        """The members of the JSON object."""
        document: dict[str, Any] = {
            "type": f"/problems/{self.code}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "code": self.code,
            "request_id": request_id,
        }
        if self.retry_after is not None:
            document["retry_after"] = self.retry_after
        return document

    def body(self, request_id: str, *, v2: bool = False) -> bytes:
        """The JSON object as bytes. v2: with the member that clients of the Open Inference Protocol
        show"""
        document = self.document(request_id)
        return json.dumps(document | ({"error": self.detail} if v2 else {})).encode()

    @property
    def headers(self) -> dict[str, str]:
        """Beside Content-Type."""
        found = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        return found | ({"WWW-Authenticate": "Bearer"} if self.status == 401 else {})


def problem_of(error: BaseException) -> Problem:
    """The problem that an error is. What is no RestoraError is a fault of the service, whose
    message is not shown."""
    if not isinstance(error, RestoraError):
        return Problem(500, INTERNAL, "Internal error", "the service failed; its log says how")
    kind = type(error)
    status, code = status_of(kind), code_of(kind)
    after = getattr(error, "retry_after_s", None)
    if after is None and status == 503:
        after = _RETRY_S
    retry_after = None if after is None else max(1, math.ceil(after))
    return Problem(status, code, title_of(kind), str(error) or title_of(kind), retry_after)


def problem_of_status(status: int, detail: str) -> Problem:
    """Of a plain HTTP status, such as that of a path that does not exist."""
    code = _HTTP.get(status, "request" if status < 500 else INTERNAL)
    return Problem(status, code, code.replace("-", " ").capitalize(), detail)


def status_of(kind: type[RestoraError]) -> int:
    return next(_STATUSES[base] for base in kind.__mro__ if base in _STATUSES)


def code_of(kind: type[BaseException]) -> str:
    """TruncatedImageError -> truncated-image."""
    name = kind.__name__.removesuffix("Error")
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", name).lower()


def title_of(kind: type[BaseException]) -> str:
    """TruncatedImageError -> Truncated image."""
    return code_of(kind).replace("-", " ").capitalize()


def all_problems() -> dict[str, dict[str, object]]:
    """Each code with its status, its title, and what it means."""
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    found: dict[str, dict[str, object]] = {
        code_of(kind): {
            "code": code_of(kind),
            "status": status_of(kind),
            "title": title_of(kind),
            "meaning": " ".join((kind.__doc__ or "").split()),
        }
        for kind in kinds
        if issubclass(kind, RestoraError) and kind is not RestoraError
    }
    for status, code in ((405, "method-not-allowed"), (500, INTERNAL)):
        meaning = "The path does not take this method." if status == 405 else "The service failed."
        title = code.replace("-", " ").capitalize()
        found[code] = {"code": code, "status": status, "title": title, "meaning": meaning}
    return found
