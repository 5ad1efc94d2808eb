"""A manifest that was edited, torn or made up is read, and what it knows is decided on."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any

from fuzz.json_text import draw_value, mutate_json
from fuzz.mutate import MAX_BYTES, mutate_bytes
from fuzz.target import Input, Target
from restora.jobs.disk import fingerprint
from restora.jobs.journal import Journal, read_results
from restora.jobs.resume import Wanted, decide

_NAMES = ("a.png", "b.jpg", "sub/c.tif")
_STAMP = (7, 9)
_RECIPE = "0123456789abcdef0123456789abcdef"


def make_seeds() -> dict[str, Input]:
    """What runs leave behind: all done, some failed, killed on the way, killed thrice."""
    begun = [_begin(name) for name in _NAMES]
    done = [
        _end(
            name,
            "restored",
            output=f"out/{name}",
            sha256="0" * 64,
            source_sha256="1" * 64,
            made=[8, 5],
            asked=["compare"],
            extras={f"{name}_compare.jpg": "2" * 64},
            ms=12,
        )
        for name in _NAMES
    ]
    failed = _end(
        _NAMES[1], "failed", error_type="TruncatedImageError", reason="it is cut", exit_code=4
    )
    plain = [{key: row[key] for key in ("event", "input", "status", "output")} for row in done]
    rows = {
        "done": [*begun, *done],
        "failed": [*begun, done[0], failed, done[2]],
        "interrupted": [*begun, _end(_NAMES[0], "interrupted"), *begun[:1], done[0]],
        "killed": [*begun, {"event": "killed"}, *begun],
        "killed-thrice": [begun[0], {"event": "killed"}] * 3,
        "older": [*begun, *plain],
        "empty": [],
    }
    return {
        name: Input(".jsonl", b"".join(json.dumps(row).encode() + b"\n" for row in lines))
        for name, lines in rows.items()
    }


def mutate(one: Input, rng: Random, others: Sequence[Input]) -> Input:
    lines = one.data.split(b"\n")
    for _ in range(rng.choice((1, 1, 2, 4))):
        place = rng.randrange(len(lines))
        what = rng.randrange(12)
        if what < 7:
            lines[place] = mutate_json(lines[place], rng)
        elif what == 7:
            other = rng.randrange(len(lines))
            lines[place], lines[other] = lines[other], lines[place]
        elif what == 8:
            lines[place:place] = [lines[place]] * rng.choice((1, 3, 500))
        elif what == 9:
            lines.insert(place, json.dumps(draw_value(rng)).encode())
        elif what == 10:
            del lines[place]
            lines = lines or [b""]
        else:
            return Input(one.ending, mutate_bytes(b"\n".join(lines), rng)[:MAX_BYTES])
    return Input(one.ending, b"\n".join(lines)[: 2 * MAX_BYTES])


def check(path: Path) -> str:
    """Opened twice: what is written by the first must be readable by the second."""
    folder = path.parent
    target = folder / "result.png"
    if not target.exists():
        target.write_bytes(b"a result")
    actions = []
    for _ in range(2):
        list(read_results(path))
        with contextlib.closing(Journal(path)) as manifest:
            for name in _NAMES:
                past = manifest.record(name)
                actions += [decide(past, wanted).action for wanted in _wanted(folder, target)]
                decide(past, next(_wanted(folder, target)), retry_failed=True)
            manifest.begin("new.png", recipe=_RECIPE, stamp=(1, 2), source="/in/new.png")
            manifest.end("new.png", "failed", error_type="ImageError", reason="x", exit_code=4)
            begun: Any = manifest.record("new.png")
            assert begun is not None, "what was written is known"
            assert begun.status == "failed", "what was written is known"
    return ",".join(sorted(set(actions)))


def _wanted(folder: Path, target: Path) -> Iterator[Wanted]:
    for place in (target, folder / "absent.png", folder / "a.png", folder / "sub" / "c.tif"):
        yield Wanted(place, _RECIPE, _STAMP, source="/in/a.png")
        yield Wanted(
            place, "another", fingerprint(target), asked=frozenset({"compare"}), extras=[target]
        )


def _begin(name: str) -> dict[str, Any]:
    row = {"event": "begin", "input": name, "recipe": _RECIPE, "stamp": list(_STAMP)}
    return {**row, "source": f"/in/{name}", "found": None}


def _end(name: str, status: str, **facts: Any) -> dict[str, Any]:
    return {"event": "end", "input": name, "status": status, **facts}


TARGET = Target(make_seeds, mutate, check, cpu_s=3.0, memory_mb=128)
