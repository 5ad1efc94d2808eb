"""Select the faces to restore."""

from __future__ import annotations

from collections.abc import Sequence

from restora.faces.face import Face

EYE_DISTANCE_PX = 5.0


def reject_small(face: Face, threshold_px: float) -> str | None:
    """The reason why a face is too small, or None. A distance equal to the threshold is enough."""
    if face.eye_distance_px < threshold_px:
        return (
            f"the distance of its eyes is {face.eye_distance_px:.1f} pixels, the threshold is "
            f"{threshold_px:g} (--eye-dist-threshold)"
        )
    return None


def find_center_face(faces: Sequence[Face], *, width: int, height: int) -> int:
    """Index of the face whose box is closest to the center of the photo; the first of equals."""

    def distance(face: Face) -> float:
        left, top, right, bottom = face.box
        return float(((left + right - width) / 2) ** 2 + ((top + bottom - height) / 2) ** 2)

    return min(range(len(faces)), key=lambda index: distance(faces[index]))
