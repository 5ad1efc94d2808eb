"""The facts about a restored photo, as headers and as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from restora.image import PhotoHeader
from restora.networks import OpenNetwork
from restora.serve.accept import MEDIA_TYPES
from restora.serve.kept import Kept
from restora.serve.photos import Made

_STAGES = ("upload", "queue", "decode", "upsample", "detect", "faces", "paste", "encode", "total")
_MOST_TEXT = 500


def answer_headers(
    header: PhotoHeader, made: Made, network: OpenNetwork | None, seconds: Mapping[str, float]
) -> dict[str, str]:
    """network: the one that enlarged the photo; seconds: of each stage"""
    precision, backend = _where(network)
    found = {
        "X-Restora-Model": _plain(made.model),
        "X-Restora-Precision": precision,
        "X-Restora-Backend": backend,
        "X-Restora-Scale": f"{made.scale:g}",
        "X-Restora-Input-Size": f"{header.width}x{header.height}",
        "X-Restora-Output-Size": f"{made.size[0]}x{made.size[1]}",
        "Server-Timing": ", ".join(
            f"{name};dur={1000 * seconds[name]:.1f}" for name in _STAGES if name in seconds
        ),
    }
    if made.faces is not None:
        counts = Counter(face["status"] for face in made.faces)
        found["X-Restora-Faces-Found"] = str(len(made.faces))
        found["X-Restora-Faces-Restored"] = str(counts["restored"])
    if made.face_error is not None:
        found["X-Restora-Face-Error"] = _plain(made.face_error)
    return found


def answer_document(
    request_id: str,
    header: PhotoHeader,
    made: Made,
    network: OpenNetwork | None,
    seconds: Mapping[str, float],
    kept: Kept,
) -> dict[str, Any]:
    precision, backend = _where(network)
    return {
        "id": request_id,
        "model": made.model,
        "precision": precision,
        "backend": backend,
        "scale": made.scale,
        "input": {
            "width": header.width,
            "height": header.height,
            "format": header.format,
            "bits": header.bits,
            "bytes": header.file_bytes,
        },
        "output": {
            "width": made.size[0],
            "height": made.size[1],
            "format": made.format,
            "bytes": made.blob.size,
        },
        "faces": _faces_of(made),
        "seconds": {name: round(seconds[name], 4) for name in _STAGES if name in seconds},
        "result": {
            "href": f"/v1/results/{kept.id}",
            "type": MEDIA_TYPES[made.format],
            "bytes": made.blob.size,
            "expires": kept.expires.isoformat(timespec="seconds").replace("+00:00", "Z"),
        },
    }


def _faces_of(made: Made) -> dict[str, Any] | None:
    if made.faces is None:
        return None
    counts = Counter(face["status"] for face in made.faces)
    return {
        "model": made.face_model,
        "found": len(made.faces),
        **{status: counts[status] for status in ("restored", "skipped", "failed")},
        "error": made.face_error,
        "list": list(made.faces),
    }


def _where(network: OpenNetwork | None) -> tuple[str, str]:
    return ("none", "none") if network is None else (network.precision, network.backend)


def _plain(text: str) -> str:
    """As a header can hold it."""
    printable = "".join(mark if mark.isprintable() else " " for mark in text)
    return printable.encode("ascii", "replace").decode()[:_MOST_TEXT]
