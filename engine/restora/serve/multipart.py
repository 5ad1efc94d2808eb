"""multipart/form-data with one photo, read as it arrives."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header

from restora.errors import RequestError

PHOTO, PARAMETERS = "photo", "parameters"
_MAX_FIELDS = 64
_MAX_FIELD_BYTES = 1 << 16
_MAX_BOUNDARY = 200


class PhotoForm:
    """Parses the parts of a form.

    boundary: of the Content-Type header
    write: is given the bytes of the part `photo`, as they arrive

    fields: names and values of all other parts; those of the part `parameters`, a JSON object, too

    Raises RequestError for a body that is no form, or one with other files.
    """

    def __init__(self, boundary: bytes, write: Callable[[bytes], None]) -> None:
        self.fields: list[tuple[str, Any]] = []
        self.has_photo = False
        self._write = write
        self._headers: dict[str, bytes] = {}
        self._header_name, self._header_value = b"", b""
        self._name: str | None = None
        self._value = bytearray()
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin_part,
                "on_part_data": self._take_data,
                "on_part_end": self._end_part,
                "on_header_field": self._take_header_name,
                "on_header_value": self._take_header_value,
                "on_header_end": self._end_header,
                "on_headers_finished": self._end_headers,
                "on_end": self._end,
            },
        )
        self._ended = False

    def feed(self, part: bytes) -> None:
        try:
            self._parser.write(part)
        except MultipartParseError as error:
            raise RequestError(f"the body is no multipart/form-data: {error}") from error

    def finish(self) -> None:
        """Raises RequestError if the form is not complete."""
        if not self._ended:
            raise RequestError("the body ends before its last boundary")
        if not self.has_photo:
            raise RequestError(f"the form must have a file part named {PHOTO}")

    def _begin_part(self) -> None:
        self._headers, self._name, self._value = {}, None, bytearray()

    def _take_header_name(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def _take_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _end_header(self) -> None:
        if len(self._headers) >= _MAX_FIELDS:
            raise RequestError("a part of the form has too many headers")
        self._headers[self._header_name.decode("latin-1").lower()] = self._header_value
        self._header_name, self._header_value = b"", b""

    def _end_headers(self) -> None:
        disposition, options = parse_options_header(self._headers.get("content-disposition", b""))
        name = options.get(b"name")
        if disposition != b"form-data" or name is None:
            raise RequestError("each part of the form must have a name")
        self._name = name.decode("utf-8", "replace")
        if self._name == PHOTO:
            if self.has_photo:
                raise RequestError(f"the form must have one part named {PHOTO}")
            self.has_photo = True
        elif b"filename" in options and self._name != PARAMETERS:
            raise RequestError(f"the only file of the form must be named {PHOTO}")
        elif len(self.fields) >= _MAX_FIELDS:
            raise RequestError(f"the form may have {_MAX_FIELDS} fields")

    def _take_data(self, data: bytes, start: int, end: int) -> None:
        if self._name == PHOTO:
            self._write(data[start:end])
            return
        self._value += data[start:end]
        if len(self._value) > _MAX_FIELD_BYTES:
            raise RequestError(f"a field of the form may have {_MAX_FIELD_BYTES} bytes")

    def _end_part(self) -> None:
        if self._name == PARAMETERS:
            self.fields += parse_object(bytes(self._value)).items()
        elif self._name is not None and self._name != PHOTO:
            self.fields.append((self._name, self._value.decode("utf-8", "replace")))

    def _end(self) -> None:
        self._ended = True


def parse_object(data: bytes) -> dict[str, Any]:
    """A JSON object of few members. Raises RequestError for anything else."""
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise RequestError(f"the parameters are no JSON: {error}") from error
    if not isinstance(found, dict) or len(found) > _MAX_FIELDS:
        raise RequestError("the parameters must be a JSON object")
    return found


def find_boundary(content_type: str) -> bytes:
    """Raises RequestError if there is none that can work."""
    _, options = parse_options_header(content_type)
    boundary = options.get(b"boundary", b"")
    if not 0 < len(boundary) <= _MAX_BOUNDARY:
        raise RequestError("multipart/form-data needs a boundary")
    return bytes(boundary)
