"""Which artifacts go into a repository, and under which names."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from restora.artifact import Artifact, Io, Kind, Precision, read_artifact, read_precision_variants
from restora.errors import MissingModelError, ModelError, OptionError
from restora.models import MODELS, FindArtifact
from restora.triton.options import ServedPrecision

_NOT_A_NAME = re.compile(r"[^A-Za-z0-9_.-]+")
_MOST_CHARACTERS = 100


@dataclass(frozen=True, slots=True)
class ServedNetwork:
    """An artifact, and the name of its model on the server."""

    name: str
    artifact: Artifact

    @property
    def kind(self) -> Kind:
        return self.artifact.info.kind

    @property
    def io(self) -> Io:
        return self.artifact.info.io


def find_networks(
    models: Sequence[str | Path], precisions: Sequence[ServedPrecision], find: FindArtifact
) -> list[ServedNetwork]:
    """The networks to serve, in the order of `models`: of upsamplers and face networks those for
    uint8 and those for float32 pictures, in each precision.

    find: returns the path of an artifact

    Raises MissingModelError if an upsampler is not there in an asked precision, AccuracyGateError
    if it misses its accuracy threshold, OptionError if two have the same name.
    """
    found: dict[str, ServedNetwork] = {}
    for model in models:
        for network in _networks_of(model, precisions, find):
            other = found.setdefault(network.name, network)
            if other.artifact.sha256 != network.artifact.sha256:
                raise OptionError(
                    f"two networks would be called {network.name} on the server: export one of "
                    "them to a repository of its own"
                )
    return list(found.values())


def kind_of_model(model: str | Path) -> Kind:
    """Of a model in the table; other models are taken for upsamplers, unless their artifact says
    otherwise."""
    return MODELS[str(model)].kind if str(model) in MODELS else "upsampler"


def name_on_server(model: str, precision: Precision, io: Io) -> str:
    """Of a network, such as "restora-lite-x2.fp16.float32": safe in a path and in an address."""
    base = _NOT_A_NAME.sub("_", model)[:_MOST_CHARACTERS].strip(".")
    parts = [base or "network"]
    if precision != "fp32":
        parts.append(precision)
    if io != "uint8":
        parts.append(io)
    return ".".join(parts)


def _networks_of(
    model: str | Path, precisions: Sequence[ServedPrecision], find: FindArtifact
) -> Iterator[ServedNetwork]:
    kind = kind_of_model(model)
    path = find(model, "uint8", kind)
    first = read_artifact(path)
    for precision in precisions:
        yield _named(_in_precision(first, path, precision))
    if first.info.kind not in ("upsampler", "face"):
        return
    deep_path = _find_deep(model, find, kind)
    if deep_path is None:
        return
    deep = read_artifact(deep_path)
    if deep.info.io == "float32":
        for precision in precisions:
            variants = read_precision_variants(deep, deep_path, _half(precision))
            yield _named(_pick(variants, precision) or deep)


def _find_deep(model: str | Path, find: FindArtifact, kind: Kind) -> Path | None:
    """The artifact for 16-bit photos; None if there is none, so that these are refused."""
    try:
        return find(model, "float32", kind)
    except ModelError:
        return None


def _in_precision(first: Artifact, path: Path, precision: ServedPrecision) -> Artifact:
    """An upsampler in exactly this precision; other networks in FP32 if they have no FP16."""
    found = _pick(read_precision_variants(first, path, _half(precision)), precision)
    if found is not None:
        return found
    if first.info.kind != "upsampler":
        return first
    raise MissingModelError(
        f"there is no {precision} artifact of {first.info.model} beside {path}: make one with "
        f"`restora export --precision {precision}`"
    )


def _half(precision: ServedPrecision) -> tuple[Precision, ...]:
    return () if precision == "fp32" else (precision,)


def _pick(family: Sequence[Artifact], precision: ServedPrecision) -> Artifact | None:
    return next((one for one in family if one.info.precision == precision), None)


def _named(artifact: Artifact) -> ServedNetwork:
    info = artifact.info
    return ServedNetwork(name_on_server(info.model, info.precision, info.io), artifact)
