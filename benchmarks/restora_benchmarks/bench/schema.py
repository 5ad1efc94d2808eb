"""The format of results, versioned, so that those of other machines can be read and compared."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema

from restora.errors import OptionError

VERSION = 1


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
        result: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise OptionError(f"{path} cannot be read: {error}") from error
    check_result(result, name=str(path))
    return result


def write_result(path: Path, result: dict[str, Any]) -> None:
    check_result(result, name=str(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n")
