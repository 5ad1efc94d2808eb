"""One short name for everything that a result depends on besides its input."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, replace

from restora.pipeline import Restorer
from restora.version import __version__


def recipe_hash(restorer: Restorer, writing: Mapping[str, object]) -> str:
    """Of the networks, the options and how results are written.

    writing  what the caller decides: enlargement, format, quality

    The number of threads and the GPU are left out: they change no result beyond rounding.
    """
    options = replace(restorer.options, threads=0, gpu=None)
    values = {
        "restora": __version__,
        "networks": sorted(info.to_json() for info in restorer.describe_networks()),
        "options": asdict(options),
        "faces": None if restorer.faces is None else asdict(restorer.faces.options),
        "writing": dict(writing),
    }
    text = json.dumps(values, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]
