"""Facts about forms with a photo: the same however they are cut, and refused when they are odd."""

from __future__ import annotations

import pytest

from restora.errors import RequestError
from restora.serve.multipart import PhotoForm, find_boundary, parse_object

PHOTO = b"\x89PNG\r\n--not the boundary\r\n\x00"


def form_of(*parts: tuple[str, bytes], end: bytes = b"--XX--\r\n") -> bytes:
    body = b""
    for disposition, value in parts:
        body += f"--XX\r\nContent-Disposition: form-data; {disposition}\r\n\r\n".encode()
        body += value + b"\r\n"
    return body + end


WHOLE = form_of(
    ('name="quality"', b"80"),
    ('name="photo"; filename="../../etc/passwd"', PHOTO),
    ('name="parameters"', b'{"faces": false, "outscale": 1.5}'),
)


def read(body: bytes, *, step: int = 1 << 20) -> tuple[bytes, list[tuple[str, object]]]:
    photo = bytearray()
    form = PhotoForm(b"XX", photo.extend)
    for start in range(0, len(body), step):
        form.feed(body[start : start + step])
    form.finish()
    return bytes(photo), form.fields


@pytest.mark.parametrize("step", [1, 2, 3, 7, 64, 10_000])
def test_a_form_is_the_same_however_it_arrives(step: int) -> None:
    fields = [("quality", "80"), ("faces", False), ("outscale", 1.5)]
    assert read(WHOLE, step=step) == (PHOTO, fields)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"not a form", "the body is no multipart/form-data"),
        (WHOLE[:-20], "the body ends before its last boundary"),
        (form_of(('name="quality"', b"80")), "must have a file part named photo"),
        (form_of(('name="photo"', b"1"), ('name="photo"', b"2")), "one part named photo"),
        (form_of(("x=1", b"1")), "each part of the form must have a name"),
        (form_of(('name="other"; filename="a.jpg"', b"1")), "the only file of the form must be"),
        (form_of(('name="a"', b"x" * 70_000)), "a field of the form may have 65536 bytes"),
        (form_of(*[(f'name="a{n}"', b"1") for n in range(70)]), "the form may have 64 fields"),
        (form_of(('name="parameters"', b"{")), "the parameters are no JSON"),
        (form_of(('name="parameters"', b"[1]")), "the parameters must be a JSON object"),
        (b"--XX\r\n" + b"A" * 9000 + b": b\r\n\r\n\r\n--XX--", "Maximum header size exceeded"),
    ],
)
def test_an_odd_form_is_refused(body: bytes, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        read(body)


def test_deep_json_is_refused() -> None:
    with pytest.raises(RequestError, match="the parameters are no JSON"):
        parse_object(b"[" * 100_000)


@pytest.mark.parametrize("value", ["multipart/form-data", "multipart/form-data; boundary="])
def test_a_form_needs_a_boundary(value: str) -> None:
    with pytest.raises(RequestError, match="needs a boundary"):
        find_boundary(value)


def test_the_boundary_is_found_in_quotes_too() -> None:
    assert find_boundary('multipart/form-data; charset=utf-8; boundary="a b"') == b"a b"
