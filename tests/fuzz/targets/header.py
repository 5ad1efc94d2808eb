"""The header of a picture file is read, or refused, in little time and memory."""

from pathlib import Path

from fuzz.pictures import make_seeds, mutate
from fuzz.target import Target
from restora.image import probe_file


def check(path: Path) -> str:
    header = probe_file(path)
    assert header.width > 0, "a width"
    assert header.height > 0, "a height"
    assert header.channels in (1, 2, 3, 4), "channels"
    assert header.bits in (8, 16), "bits"
    return f"header {header.format}"


TARGET = Target(make_seeds, mutate, check, cpu_s=1.0, memory_mb=64)
