"""Photos and recipes for tiny training runs."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np

# of the smallest network of the GFP-GAN family
FACE_SIZES = {"side": 64, "narrow": 0.0625, "channel_multiplier": 1, "style_features": 16}


def write_photos(folder: Path, count: int = 4, side: int = 128) -> Path:
    folder.mkdir()
    for index in range(count):
        rng = np.random.default_rng(index)
        coarse = rng.integers(0, 256, (side // 16, side // 16, 3), np.uint8)
        photo = cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(folder / f"{index}.png"), photo)
    return folder


def values_of(photos: Path, **run: Any) -> dict[str, Any]:
    return {
        "network": {"architecture": "srvgg", "scale": 2, "features": 8, "convs": 2},
        "data": {"photos": str(photos), "patch": 32, "batch": 2, "held_out": 1},
        "degradation": {"kind": "mild"},
        "optimizer": {"rate": 1e-3},
        "run": {"steps": 4, "save": 2, "log": 1, "validate": 2, "threads": 1, **run},
    }
