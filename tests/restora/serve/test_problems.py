"""Facts about problem documents: every typed error has a stable code and a status."""

from __future__ import annotations

import re

import pytest

from restora import errors
from restora.errors import (
    ImageTooLargeError,
    QueueFullError,
    RestoraError,
    TruncatedImageError,
    UnauthorizedError,
)
from restora.serve.problems import all_problems, code_of, problem_of, status_of

KINDS = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, RestoraError)
]


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_has_a_code_of_its_own_and_a_status(kind: type[RestoraError]) -> None:
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", code_of(kind))
    assert 400 <= status_of(kind) < 600
    assert [code_of(other) for other in KINDS].count(code_of(kind)) == 1


def test_codes_of_errors_that_clients_meet_stay_as_they_are() -> None:
    """Programs of others depend on them."""
    found = {code_of(kind): status_of(kind) for kind in KINDS}
    for code, status in {
        "option": 400, "request": 400, "unauthorized": 401, "forbidden": 403, "not-found": 404,
        "unknown-model": 404, "not-acceptable": 406, "upload-timeout": 408, "conflict": 409,
        "file-too-large": 413, "image-too-large": 413, "memory-limit": 413, "unknown-format": 415,
        "unsupported-media-type": 415, "truncated-image": 422, "unsupported-image": 422,
        "animated-image": 422, "decode-timeout": 422, "missing-model": 422, "rate-limit": 429,
        "session": 500, "queue-full": 503, "starting": 503, "draining": 503, "device-memory": 503,
        "deadline-exceeded": 504, "disk-full": 507,
    }.items():  # fmt: skip
        assert found[code] == status, code
    assert set(found) - {"restora"} < set(all_problems())


def test_a_document_has_the_members_of_rfc_9457() -> None:
    document = problem_of(TruncatedImageError("the photo ends early")).document("r1")
    assert document == {
        "type": "/problems/truncated-image", "title": "Truncated image", "status": 422,
        "detail": "the photo ends early", "code": "truncated-image", "request_id": "r1",
    }  # fmt: skip


def test_errors_that_pass_say_when_to_try_again() -> None:
    problem = problem_of(QueueFullError("full", retry_after_s=2.2))
    assert problem.retry_after == 3
    assert problem.headers == {"Retry-After": "3"}
    assert problem.document("r")["retry_after"] == 3
    assert problem_of(ImageTooLargeError("large")).headers == {}
    assert problem_of(UnauthorizedError("who?")).headers == {"WWW-Authenticate": "Bearer"}


def test_the_message_of_a_bug_is_not_shown() -> None:
    problem = problem_of(KeyError("/etc/secret"))
    assert (problem.status, problem.code) == (500, "internal")
    assert "secret" not in problem.detail
