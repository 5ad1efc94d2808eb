"""What must hold after a run over a folder, whatever happened on the way."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from restora import errors, read_photo
from restora_tools.endurance.pictures import ANY_ERROR, PictureFile

_IMAGE_EXIT_CODE = 4
_LIMITS = {"ImageTooLargeError", "FileTooLargeError", "MemoryLimitError"}
_PICTURE_ERRORS = {
    name
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, errors.ImageError)
}
SCALE = 2


def check_outputs(
    rows: list[dict[str, Any]], files: Mapping[str, PictureFile], output: Path
) -> dict[str, str]:
    """The sha256 of each result, by input. rows: of `--json`, one an input.

    Raises AssertionError with what is wrong.
    """
    counts = Counter(Path(row["input"]).name for row in rows)
    expect(set(counts) == set(files), "every input has a row", set(files) ^ set(counts))
    expect(set(counts.values()) == {1}, "every input has one row", counts.most_common(3))
    digests: dict[str, str] = {}
    for row in rows:
        name = Path(row["input"]).name
        file = files[name]
        if file.error is not None:
            expect(row["status"] == "failed", f"{name} fails", row)
            wanted = _PICTURE_ERRORS if file.error == ANY_ERROR else {file.error}
            expect(row["error_type"] in wanted, f"{name} fails with {file.error}", row)
            continue
        expect(row["status"] in ("restored", "skipped"), f"{name} is done", row)
        photo = read_photo(row["output"])
        size = (file.size[0] * SCALE, file.size[1] * SCALE)
        expect((photo.width, photo.height) == size, f"{name} has {size}", row)
        digests[name] = hashlib.sha256(Path(row["output"]).read_bytes()).hexdigest()
    there = {path for path in output.iterdir() if path.is_file()}
    made = {Path(row["output"]) for row in rows if row["status"] != "failed"}
    expect(there == made, "nothing else lies in the output folder", there ^ made)
    return digests


def check_manifest(manifest: Path, files: Mapping[str, PictureFile]) -> None:
    """Nothing was done twice, and failures have their exit code. What a limit has refused is judged
    again by every run, since the limit may have been raised."""
    ends = [
        row
        for row in map(json.loads, manifest.read_text().splitlines())
        if row["event"] == "end" and row["status"] != "interrupted"
    ]
    final = Counter(row["input"] for row in ends if row.get("error_type") not in _LIMITS)
    twice = [name for name, count in final.items() if count > 1]
    expect(not twice, "nothing is done twice", twice)
    expect({row["input"] for row in ends} == set(files), "every input has its end", len(ends))
    for row in ends:
        code = 0 if row["status"] == "restored" else row["exit_code"]
        wanted = 0 if files[row["input"]].error is None else _IMAGE_EXIT_CODE
        expect(code == wanted, f"{row['input']} has the exit code {wanted}", row)


def expect(holds: bool, what: str, found: object) -> None:
    if not holds:
        raise AssertionError(f"{what}; found: {found}")
