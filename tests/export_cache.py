"""Exports that tests need, but do not test, are kept between runs in build/test-exports.

A name is made of all that decides the bytes, so that a change of the exporter, of a recipe, of the
test or of PyTorch leads to another file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cache
from importlib.metadata import version
from pathlib import Path

from restora.atomic import write_atomically

_ROOT = Path(__file__).parents[1]
_FOLDER = _ROOT / "build" / "test-exports"
_SOURCES = (
    "export/restora_export",
    "engine/restora/artifact",
    "engine/restora/tiling",
    "engine/restora/backends/onnxruntime_cpu.py",
    "engine/restora/backends/shell.py",
    "benchmarks/restora_benchmarks/recipe.py",
)
_DATA = ("benchmarks/restora_benchmarks/data/recipe.json", "tests/recipe.py")
_LIBRARIES = ("torch", "onnx", "onnxscript", "onnxruntime", "numpy")


def kept(name: str, make: Callable[[], bytes]) -> bytes:
    """What `make` returns, from the disk if it was made before by this very code.

    name: all that tells one export of the module of `make` from another
    """
    test = Path(make.__code__.co_filename)
    key = hashlib.sha256(f"{test.name}\0{name}\0".encode() + test.read_bytes()).hexdigest()[:24]
    path = _FOLDER / f"{_exporter()}-{key}"
    if path.exists():
        return path.read_bytes()
    data = make()
    _FOLDER.mkdir(parents=True, exist_ok=True)
    for other in _FOLDER.iterdir():
        if not other.name.startswith((_exporter(), ".")):
            other.unlink(missing_ok=True)  # of code that is gone
    write_atomically(path, data)
    return data


@cache
def _exporter() -> str:
    """A digest of the sources and libraries that decide what an export is."""
    digest = hashlib.sha256()
    for source in _SOURCES:
        path = _ROOT / source
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            digest.update(f"{file.relative_to(_ROOT)}\0".encode() + file.read_bytes())
    for data in _DATA:
        digest.update((_ROOT / data).read_bytes())
    digest.update(" ".join(version(library) for library in _LIBRARIES).encode())
    return digest.hexdigest()[:16]
