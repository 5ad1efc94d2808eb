"""Tables of the service under load."""

from __future__ import annotations

from collections import Counter
from typing import Any

from restora_tools.page_tables import heads_of, row_of

_HEADS = ["clients", "photos/s", "of the folder run", "p50", "p95", "p99", "refused"]
_WORDS = {
    "200": "restored",
    "503 queue-full": "refused (`queue-full`)",
    "aborted": "given up by the client",
}


def load_table(result: dict[str, Any]) -> str:
    """Photos per second and latency by the number of clients, beside a folder run."""
    load, machine = result["load"], result["machine"]
    words = (
        f"restora-lite-x2 on {machine['cores_allowed']} cores of an {machine['cpu']}, which the "
        f"clients share. `restore_folder` restores {load['folder_photos_per_s']:.2f} of these "
        "photos (128 x 128 to 800 x 600) per second. Latencies are those of admitted requests; "
        "refused ones came again after `Retry-After`."
    )
    return "\n".join([*load_lines(load["rows"]), "", words])


def load_lines(rows: list[dict[str, Any]]) -> list[str]:
    """A table with one line for each number of clients."""
    lines = heads_of(_HEADS)
    for row in rows:
        cells = [str(row["clients"]), f"{row['photos_per_s']:.2f}", f"{row['of_folder']:.2f}"]
        cells += [f"{row[name]:.2f} s" for name in ("p50_s", "p95_s", "p99_s")]
        lines.append(row_of([*cells, str(row["refused"])]))
    return lines


def facts_list(result: dict[str, Any]) -> str:
    """Fairness, a crowd, and memory, as a list."""
    return "\n".join(
        f"- {_of_part(result[name])}"
        for name, _of_part in (
            ("fairness", _of_fairness), ("crowd", _of_crowd), ("memory", _of_memory),
        )
    )  # fmt: skip


def _of_fairness(found: dict[str, Any]) -> str:
    alone, beside = found["alone"]["p95_s"], found["beside_large"]["p95_s"]
    return (
        f"The p95 of photos of 160 x 120, sent by {found['clients']} clients, is {alone:.2f} s "
        f"alone and {beside:.2f} s beside a photo of {found['large_megapixels']:g} megapixels "
        f"({found['p95_ratio']:.1f} times)."
    )


def _of_crowd(found: dict[str, Any]) -> str:
    counts: Counter[str] = Counter()
    for answers in found["answers"].values():
        counts.update(answers)
    told = ", ".join(f"{count} were {_say(answer)}" for answer, count in sorted(counts.items()))
    return (
        f"Of {found['uploads']:,} uploads at once, a tenth of them cut off, slow or aborted, "
        f"{told}. Nothing was left in progress, and the next photo took "
        f"{found['photo_afterwards']['p50_s']:.2f} s."
    )


def _of_memory(found: dict[str, Any]) -> str:
    low, high = min(found["memory_mb"]), max(found["memory_mb"])
    return (
        f"Over {found['requests']:,} requests, the memory of the service and its decoders stays "
        f"between {low} and {high} MB."
    )


def _say(answer: str) -> str:
    status, _, code = answer.partition(" ")
    return _WORDS.get(answer) or f"answered with {status} (`{code}`)"
