"""From one file to a thousand: speed and memory of the whole command."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from restora_benchmarks.bench.photos import Setting
from restora_benchmarks.command import Command, run_command
from restora_tools.throughput.photos import make_files

Row = dict[str, Any]
COUNTS = (1, 10, 100, 1000)
MEMORY = "600M"


def measure_scale(folder: Path, setting: Setting, *, counts: tuple[int, ...] = COUNTS) -> list[Row]:
    """Small photos, so that a thousand are done in minutes; --memory as MEMORY."""
    rows = []
    for count in counts:
        source, target = folder / f"scale-{count}", folder / f"scaled-{count}"
        make_files(source, count, (256, 192), ".jpg")
        shutil.rmtree(source / "restored")
        words = ("--memory", MEMORY, *setting.words)
        usage = run_command(Command(source, target, None, 0, more=words))
        done = len(list(target.glob("*.jpg")))
        assert done == count, f"{done} of {count} results"
        rows.append(
            {
                "files": count,
                "seconds": round(usage.elapsed_s, 2),
                "photos_per_s": round(count / usage.elapsed_s, 3),
                "peak_mb": round(usage.peak_bytes / 1e6),
                "limit": MEMORY,
            }
        )
    return rows
