"""The artifact to open, with those of the same network in other precisions."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from restora.artifact import Artifact, read_precision_variants
from restora.backends.options import SessionOptions
from restora.errors import AccuracyGateError, MissingBackendError, MissingModelError

if TYPE_CHECKING:
    from restora.backends.base import Session


@dataclass(frozen=True)
class ArtifactRef:
    """The artifact to open, and its path if it comes from a file."""

    named: Artifact
    path: Path | None = None
    _refused: dict[str, AccuracyGateError] = field(default_factory=dict, init=False)

    def family(self, precision: str = "auto") -> list[Artifact]:
        """The named artifact, followed by its other precisions in the same folder, without those
        that miss their accuracy threshold. Raises AccuracyGateError if the asked one does."""
        family = self._family
        if precision in self._refused:
            raise self._refused[precision]
        return family

    def sha256_of(self, session: Session) -> str:
        """SHA-256 of the artifact that `session` runs."""
        if session.info == self.named.info:
            return self.named.sha256
        return next(
            (found.sha256 for found in self._family if found.info == session.info),
            self.named.sha256,
        )

    @cached_property
    def _family(self) -> list[Artifact]:
        if self.path is None:
            return [self.named]
        return read_precision_variants(self.named, self.path, refused=self._refused)


def pick_artifact(source: ArtifactRef, options: SessionOptions, *, half: bool) -> Artifact:
    """The artifact of the asked precision; if that is "auto", the FP16 one for `half` if it is
    here, else the one that was named."""
    if options.precision == "auto" and not half:
        return source.named
    if options.precision == "bf16":
        raise MissingBackendError("bf16 needs the OpenVINO backend")
    by_precision = {
        artifact.info.precision: artifact for artifact in source.family(options.precision)
    }
    if options.precision == "auto":
        return by_precision.get("fp16", source.named)
    if options.precision not in by_precision:
        way = {
            "int8": "restora calibrate",
            "fp8": "restora calibrate --format fp8",
        }.get(options.precision, f"restora export --precision {options.precision}")
        raise MissingModelError(
            f"there is no {options.precision} artifact of {source.named.info.model}, only "
            f"{', '.join(by_precision)}: make one with "
            f"`{way}`"
        )
    return by_precision[options.precision]
