"""Which settings decide the pixels of a result, in a form that can be compared and hashed.

Two Restorers with equal settings give equal pixels, up to the rounding of their runtimes. Settings
that change no pixel (threads, which GPU, batches) are left out, and settings with the same effect
are equal. The tiles of a photo follow from the recorded limits of tiles and from its size.
"""

from __future__ import annotations

import hashlib
import math
from pathlib import Path

import numpy as np

from restora.artifact import ArtifactInfo, Kind
from restora.backends import OpenedSession
from restora.damage import DamageStage
from restora.errors import ModelError, OptionError
from restora.faces.options import FaceOptions
from restora.faces.pipeline import FaceStage
from restora.models import find_artifact
from restora.models.store import sha256_of
from restora.networks import Networks
from restora.options import RestoreOptions
from restora.tiling import Tiling

Settings = dict[str, object]


def settings_of_stages(
    upsampler: tuple[str | Path | None] | None,
    faces: FaceStage | None,
    damage: DamageStage | None,
    networks: Networks,
    options: RestoreOptions,
) -> Settings:
    """Settings of a whole Restorer.

    upsampler: its model, None for sessions that were given; None: photos are interpolated
    """
    return {
        "upsampler": None
        if upsampler is None
        else settings_of_upsampler(*upsampler, networks, options),
        "faces": None if faces is None else settings_of_faces(faces, networks),
        **({} if damage is None else {"damage": settings_of_damage(damage, networks)}),
        **({} if options.color == "off" else {"color": options.color}),
    }


def settings_of_upsampler(
    model: str | Path | None, networks: Networks, options: RestoreOptions
) -> Settings:
    """Settings of the network that enlarges, its tiles, and what is done before and after it.

    model: None for sessions that were given
    """
    opened = networks.find("upsampler", "uint8")
    assert opened is not None
    session = opened.session
    return {
        "networks": _pair(model, "upsampler", networks),
        "tiles": settings_of_tiling(options.tiling_for(session), session.limits.multiple),
        "alpha": options.alpha,
        "resize": options.resize,
        "pre_pad_px": options.pre_pad,
        "compat": options.compat,
    }


def settings_of_faces(stage: FaceStage, networks: Networks) -> Settings:
    """Settings of the face stage: its networks, which faces are restored, how they are pasted."""
    options: FaceOptions = stage.options
    found = networks.find("face", "uint8") is not None
    parser = networks.find("parser", "uint8")
    detector = networks.find("detector", "uint8")
    return {
        "networks": _pair(options.model, "face", networks)
        if found
        else {"uint8": _given(stage.info)},
        "detector": {
            "name": stage.detector.name,
            "network": None if detector is None else _network(detector),
            "sha256": getattr(stage.detector, "sha256", None),
            "long_side_px": options.long_side,
        },
        "parser": _network(parser)
        if parser is not None
        else stage.parser and _given(stage.parser.session.info),
        "strength": float(options.strength),
        "eye_distance_px": float(options.eye_dist_threshold),
        "only_center_face": options.only_center_face,
        "published_paste": options.published_paste,
    }


def settings_of_damage(stage: DamageStage, networks: Networks) -> Settings:
    """Settings of the repair of damage: its networks, and what is repaired."""
    options, opened = stage.options, networks.find("damage-detector", "uint8")
    repairer, drawn = networks.find("repairer", "uint8"), stage.drawn
    finder = stage.finder
    return {
        "find": options.find,
        "detector": None
        if finder is None
        else _given(finder.session.info)
        if opened is None
        else _network(opened),
        "repairer": _given(stage.repairer.session.info) if repairer is None else _network(repairer),
        "mask": None if drawn is None else hashlib.sha256(np.packbits(drawn).tobytes()).hexdigest(),
        "threshold": options.threshold,
        "max_share": options.max_share,
        "max_face_share": options.max_face_share,
    }


def settings_of_tiling(tiling: Tiling, multiple: int) -> Settings:
    """The effective limits of tiles for a network whose sides must be multiples of `multiple`.

    Together with the size of a photo, they decide its tiles.
    """
    if tiling.size == 0:
        return {"grid": "whole"}
    fade = tiling.fade_px
    settings: Settings = {
        "grid": "published" if tiling.published_grid else "fixed" if tiling.fixed else "even",
        "size_px": tiling.size,
        "overlap_px": tiling.overlap // 2 * 2,
        "fade_px": fade,
        "blend": tiling.blend if fade else None,
    }
    if not tiling.published_grid:
        settings["size_px"] = tiling.size // multiple * multiple
        settings["overlap_px"] = math.ceil(tiling.overlap / multiple) * multiple
    if settings["grid"] == "even":
        most = tiling.max_pixels
        settings["max_tile_px"] = None if most is None or most >= tiling.size**2 else most
        if tiling.shapes:
            settings["prepared_px"] = sorted(tiling.shapes)
            settings["other_cost"] = tiling.other_cost
    return settings


def _pair(model: str | Path | None, kind: Kind, networks: Networks) -> Settings:
    """The network for 8 bits, which is open, and the one for 16 bits, which a later photo opens."""
    opened, deep = networks.find(kind, "uint8"), networks.find(kind, "float32")
    assert opened is not None
    sha256 = _sha256_for_16_bits(model, kind, opened)
    if model is None and deep is not None:
        sha256 = _sha256_of_info(deep.session.info)
    return {"uint8": _network(opened), "float32": sha256}


def _network(opened: OpenedSession) -> Settings:
    return {
        "sha256": opened.sha256 or _sha256_of_info(opened.session.info),
        "precision": opened.arithmetic or opened.precision,
    }


def _given(info: ArtifactInfo) -> Settings:
    return {"sha256": _sha256_of_info(info), "precision": info.precision}


def _sha256_for_16_bits(model: str | Path | None, kind: Kind, opened: OpenedSession) -> str | None:
    """SHA-256 of the artifact's file, in the precision of the one that is open. None if there is no
    file yet: one that is exported on demand has the same weights as the one that is open."""
    if model is None:
        return None
    try:
        path = find_artifact(model, "float32", kind)
    except (ModelError, OptionError):
        return None
    precision = opened.session.info.precision
    near = path.with_name(path.name.replace(".float32.onnx", f".{precision}.float32.onnx"))
    try:
        return sha256_of(near if precision != "fp32" and near.is_file() else path)
    except OSError:
        return None  # it cannot be opened later either, which is an error then


def _sha256_of_info(info: ArtifactInfo) -> str:
    """Identity of a session that was opened from no file: its metadata."""
    return hashlib.sha256(info.to_json().encode()).hexdigest()
