"""Presets: the layers of published networks that a search returned to FP32, to save the search."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import get_args

from restora.errors import OptionError
from restora_calibration.int8.ranges import Method

_FILE = "presets.json"


@dataclass(frozen=True, slots=True)
class Preset:
    """What a search found for a network.

    kept: names of layers, and of blocks whose layers all stay in FP32; the first and the last layer
        do so anyway
    method: the most accurate method of finding value ranges
    """

    kept: tuple[str, ...]
    method: Method

    def choose(self, names: Iterable[str]) -> frozenset[str]:
        """The layers in 8 bits, of those that may be."""
        starts = tuple(f"{kept}." for kept in self.kept)
        return frozenset(
            name for name in names if name not in self.kept and not name.startswith(starts)
        )


def find_preset(model: str, *, tuned: bool = False) -> Preset | None:
    """The preset of a model in the model table, or None.

    tuned: the preset for fine-tuned weights, if the model has one of its own
    """
    found = _read().get(model)
    return None if found is None else found[tuned]


@cache
def _read() -> dict[str, tuple[Preset, Preset]]:
    """The presets of each model: without and with fine-tuning."""
    text = (files("restora_calibration.int8") / _FILE).read_text()
    found = {}
    for model, values in json.loads(text).items():
        method = values["method"]
        if method not in get_args(Method):
            raise OptionError(f"{_FILE} has an unknown method for {model}: {method}")
        kept = tuple(values["kept"])
        tuned = tuple(values.get("kept_if_tuned", kept))
        found[model] = Preset(kept, method), Preset(tuned, method)
    return found
