"""Facts about the Accept header: what is wanted most is sent, and nothing that is not wanted."""

from __future__ import annotations

import pytest

from restora.errors import NotAcceptableError
from restora.serve.accept import choose_answer


@pytest.mark.parametrize(
    ("header", "answer"),
    [
        (None, ("auto", False)),
        ("", ("auto", False)),
        ("*/*", ("auto", False)),
        ("image/*", ("auto", False)),
        ("image/webp", ("webp", False)),
        ("IMAGE/JPEG ; q=0.9", ("jpg", False)),
        ("application/json", ("auto", True)),
        ("text/html, image/png;q=0.5, image/jpeg;q=0.8", ("jpg", False)),
        ("image/tiff;q=0.3, application/json", ("auto", True)),
        ("image/png, image/webp", ("png", False)),
        ("image/avif,image/webp,*/*;q=0.8", ("webp", False)),
    ],
)
def test_the_best_format_is_chosen(header: str | None, answer: tuple[str, bool]) -> None:
    assert choose_answer(header) == answer


@pytest.mark.parametrize("header", ["text/html", "image/avif", "image/png;q=0", ",", "a" * 10_000])
def test_a_request_that_accepts_nothing_else_is_refused(header: str) -> None:
    with pytest.raises(NotAcceptableError, match="answers with image/png, image/jpeg"):
        choose_answer(header)
