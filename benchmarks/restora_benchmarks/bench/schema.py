"""The format of results, versioned, so that those of other machines can be read and compared."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema

from restora.atomic import write_atomically
from restora.errors import ModelError, OptionError
from restora.models.regular_file import open_model_file, shown

VERSION = 1
_MAX_BYTES = 64 << 20


@cache
def read_schema() -> dict[str, Any]:
    """The JSON Schema of version VERSION."""
    text = (files("restora_benchmarks") / "data" / "bench.schema.json").read_text()
    schema: dict[str, Any] = json.loads(text)
    return schema


def check_result(result: Any, *, name: str) -> None:
    """Raise OptionError, saying where, unless `result` is of this version's format."""
    found = result.get("version") if isinstance(result, dict) else None
    if found != VERSION:
        raise OptionError(f"{name} is of format {found}, this restora reads {VERSION}")
    try:
        jsonschema.validate(result, read_schema())
    except jsonschema.ValidationError as error:
        place = "/".join(map(str, error.absolute_path)) or "the whole"
        raise OptionError(
            f"{name} is no result of `restora bench`: {place}: {error.message}"
        ) from error


def read_result(path: Path) -> dict[str, Any]:
    """Raises OptionError if the file cannot be read or is of another format."""
    try:
        with open_model_file(path, what="result", error=ModelError, max_bytes=_MAX_BYTES) as file:
            result: dict[str, Any] = json.loads(file.read(_MAX_BYTES))
    except (ModelError, ValueError, RecursionError) as error:
        raise OptionError(f"{shown(path)} cannot be read: {error}") from error
    check_result(result, name=str(path))
    return result


def write_result(path: Path, result: dict[str, Any]) -> None:
    """Into a folder that exists. Raises OutputError."""
    check_result(result, name=str(path))
    write_atomically(path, (json.dumps(result, indent=1) + "\n").encode())
