"""Measure the distance of layer assignments from FP32, each one only once, across runs."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

from restora.artifact import measure_psnr
from restora.artifact.tensors import INPUT, OUTPUT
from restora.errors import OutputError
from restora_calibration.int8.layers import Layer
from restora_calibration.int8.qdq import Recipe, quantize_graph
from restora_calibration.int8.statistics import Tiles, open_graph


@dataclass(frozen=True, slots=True)
class Distance:
    """PSNR against FP32 over all tiles, in dB."""

    mean: float
    least: float

    @property
    def squared_error(self) -> float:
        """The squared error of the mean PSNR, as a share of the value range."""
        return float(10 ** (-self.mean / 10))


class TrialLog:
    """A log of measurements in JSON lines, each written to disk before it is used.

    path: path of the log; None stores nothing
    key: hash of everything that the results depend on except for the recipe; lines with other keys
        are ignored
    """

    def __init__(self, path: Path | None, key: str) -> None:
        self.path = path
        self.key = key
        self.found: dict[str, Distance] = {}
        for line in path.read_text(errors="replace").splitlines() if path and path.exists() else ():
            self._take(line)

    def _take(self, line: str) -> None:
        # the last line of a killed run may be incomplete
        with contextlib.suppress(ValueError, KeyError, TypeError):
            values = json.loads(line)
            if values["key"] == self.key:
                self.found[values["recipe"]] = Distance(values["mean"], values["least"])

    def add(self, recipe: str, distance: Distance) -> None:
        self.found[recipe] = distance
        if self.path is None:
            return
        values = {"key": self.key, "recipe": recipe, "mean": distance.mean, "least": distance.least}
        try:
            with self.path.open("a+b") as stream:
                if stream.tell():
                    stream.seek(-1, os.SEEK_END)
                    if stream.read(1) != b"\n":  # the end of a killed run
                        stream.write(b"\n")
                stream.write(json.dumps(values).encode() + b"\n")
                stream.flush()
                os.fsync(stream.fileno())
        except OSError as error:
            raise OutputError(f"{self.path} cannot be written: {error.strerror}") from error

    def remove(self) -> None:
        if self.path is not None:
            self.path.unlink(missing_ok=True)


class Trials:
    """Compares layer assignments of an FP32 graph with the graph itself.

    searching: tiles that the search compares all assignments on
    few: fewer tiles, for comparisons between single layers
    judging: tiles that accept or refuse an artifact, which the search does not use
    """

    def __init__(
        self,
        model: onnx.ModelProto,
        layers: Sequence[Layer],
        searching: Tiles,
        few: Tiles,
        log: TrialLog,
        *,
        judging: Tiles,
    ) -> None:
        self.model = model
        self.layers = list(layers)
        self.log = log
        self._judging = judging
        self._tiles = {"all": searching, "few": few}
        self._exact = {name: self._run(model, tiles) for name, tiles in self._tiles.items()}

    def measure(self, recipe: Recipe, *, few: bool = False) -> Distance:
        """Measure a recipe. `few` uses a smaller set of tiles, for comparisons between layers."""
        tiles = "few" if few else "all"
        key = f"{tiles} {key_of(recipe)}"
        if key not in self.log.found:
            graph = quantize_graph(self.model, self.layers, recipe)
            got = self._run(graph, self._tiles[tiles])
            mean, least = measure_psnr(got, self._exact[tiles])
            self.log.add(key, Distance(mean, least))
        return self.log.found[key]

    def cases(self) -> Iterator[tuple[Tiles, Tiles]]:
        """The tiles to judge on, one by one, with the results of FP32."""
        for tile, answer in zip(self._judging, self._answers, strict=True):
            yield tile[None], answer[None]

    @cached_property
    def _answers(self) -> Tiles:
        return self._run(self.model, self._judging)

    @staticmethod
    def _run(model: onnx.ModelProto, tiles: Tiles) -> Tiles:
        session = open_graph(model)
        return np.concatenate([run_graph(session, tile[None]) for tile in tiles])


def run_graph(session: onnxruntime.InferenceSession, batch: Tiles) -> Tiles:
    restored: Tiles = session.run([OUTPUT], {INPUT: batch})[0]
    return restored


def key_of(recipe: Recipe) -> str:
    """A short hash of a recipe."""
    digest = hashlib.sha256()
    digest.update("|".join(sorted(recipe.layers)).encode())
    for name in sorted(recipe.ranges):
        digest.update(f"{name}={recipe.ranges[name]:.9g};".encode())
    for name in sorted(recipe.biases):
        digest.update(name.encode() + recipe.biases[name].tobytes())
    digest.update(f"{recipe.residuals} {recipe.format}".encode())
    return digest.hexdigest()[:24]
