"""List the published models, for people who choose one."""

from dataclasses import dataclass

from restora.models.entry import Kind
from restora.models.store import find_model
from restora.models.table import MODELS


@dataclass(frozen=True, slots=True)
class ModelSummary:
    """One published model.

    name: what Restorer, FaceOptions and fetch_model take
    kind: "upsampler", "face", "detector", "parser", "damage-detector" or "repairer"
    purpose: what it is for
    scale: output side / input side of an upsampler; None for other kinds
    license: SPDX name of the license under which its project publishes it
    terms: what this project says about parts that are not under its license; "" if nothing
    source: where it comes from, such as "GitHub"
    size_bytes: of the download; None if there is none, or its size is not on record
    is_here: whether it can be used without a download
    needs_export: whether only its checkpoint is here, which its first use exports
    """

    name: str
    kind: Kind
    purpose: str
    scale: int | None
    license: str
    size_bytes: int | None
    is_here: bool
    needs_export: bool
    terms: str = ""
    source: str = ""


def available_models() -> tuple[ModelSummary, ...]:
    """All published models, whether they are on this machine or not. Looks at no network."""
    return tuple(_summarize(name) for name in MODELS)


def _summarize(name: str) -> ModelSummary:
    files = find_model(name)
    entry = files.entry
    return ModelSummary(
        entry.name,
        entry.kind,
        entry.purpose,
        entry.scale,
        entry.license,
        entry.size_bytes,
        is_here=files.artifact is not None or files.checkpoint is not None,
        needs_export=files.artifact is None and files.checkpoint is not None,
        terms=entry.terms,
        source=entry.source,
    )
