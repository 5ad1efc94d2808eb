"""The header of a picture file is read, or refused; what it says holds for what is decoded."""

from pathlib import Path

from fuzz.pictures import make_seeds, mutate
from fuzz.target import Target
from restora.image import probe_photo


def check(path: Path) -> str:
    header = probe_photo(path.read_bytes(), name=str(path))
    assert header.width >= 0, "a width"
    return f"header {header.format}"


TARGET = Target(make_seeds, mutate, check, cpu_s=1.0, memory_mb=64)
