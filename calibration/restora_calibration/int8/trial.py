"""Measure the distance of layer assignments from FP32, each one only once, across runs."""

from __future__ import annotations

import contextlib
import glob
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from restora.artifact import measure_psnr
from restora.artifact.tensors import INPUT, OUTPUT
from restora.atomic import write_atomically
from restora.errors import OutputError
from restora_calibration.int8.layers import Layer
from restora_calibration.int8.qdq import Recipe, quantize_graph
from restora_calibration.int8.runner import open_runner
from restora_calibration.int8.statistics import Tiles

Array = NDArray[Any]
_KEY = "key of the run"


@dataclass(frozen=True, slots=True)
class Distance:
    """PSNR against FP32 over all tiles, in dB."""

    mean: float
    least: float


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

    def keep(self, name: str, make: Callable[[], Mapping[str, Array]]) -> Mapping[str, Array]:
        """Arrays that took long to compute, from disk if an earlier run with this key kept them."""
        if self.path is None:
            return make()
        path = self.path.with_name(f"{self.path.stem}.{name}.npz")
        broken = (OSError, ValueError, KeyError, BadZipFile)
        with contextlib.suppress(*broken), path.open("rb") as stream, np.load(stream) as found:
            if str(found[_KEY]) == self.key:
                return {stem: found[stem] for stem in found.files if stem != _KEY}
        made = make()
        written = BytesIO()
        arrays: dict[str, Any] = {_KEY: np.array(self.key), **made}
        np.savez(written, **arrays)
        write_atomically(path, written.getvalue())
        return made

    def remove(self) -> None:
        """Remove the log and what was kept beside it."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)
            for path in self.path.parent.glob(f"{glob.escape(self.path.stem)}.*.npz"):
                path.unlink(missing_ok=True)


class Trials:
    """Compares layer assignments of an FP32 graph with the graph itself.

    searching: tiles that the search compares all assignments on
    judging: tiles that accept or refuse an artifact, which the search does not use
    """

    def __init__(
        self,
        model: onnx.ModelProto,
        layers: Sequence[Layer],
        searching: Tiles,
        log: TrialLog,
        *,
        judging: Tiles,
    ) -> None:
        self.model = model
        self.layers = list(layers)
        self.log = log
        self._judging = judging
        self._searching = searching

    def measure(self, recipe: Recipe, *, only: tuple[int, ...] | None = None) -> Distance:
        """Measure a recipe on the tiles of the search, or on those of these indices only."""
        tiles = "all" if only is None else ",".join(map(str, only))
        key = f"{tiles} {key_of(recipe)}"
        if key not in self.log.found:
            chosen = list(range(len(self._searching)) if only is None else only)
            got = self._run(self._quantize(recipe), self._searching[chosen])
            mean, least = measure_psnr(got, self._exact[chosen])
            self.log.add(key, Distance(mean, least))
        return self.log.found[key]

    def find_worst(self, recipe: Recipe, count: int) -> tuple[int, ...]:
        """Indices of the tiles of the search on which a recipe is the least accurate."""
        got = self._run(self._quantize(recipe), self._searching)
        found = [measure_psnr(got[[i]], self._exact[[i]])[0] for i in range(len(got))]
        return tuple(int(index) for index in np.argsort(found, kind="stable")[:count])

    def _quantize(self, recipe: Recipe) -> onnx.ModelProto:
        return quantize_graph(self.model, self.layers, recipe)

    @cached_property
    def _exact(self) -> Tiles:
        return self._run(self.model, self._searching)

    def cases(self) -> Iterator[tuple[Tiles, Tiles]]:
        """The tiles to judge on, one by one, with the results of FP32."""
        for tile, answer in zip(self._judging, self._answers, strict=True):
            yield tile[None], answer[None]

    @cached_property
    def _answers(self) -> Tiles:
        return self._run(self.model, self._judging)

    @staticmethod
    def _run(model: onnx.ModelProto, tiles: Tiles) -> Tiles:
        run = open_runner(model)
        return np.concatenate([run(tile[None]) for tile in tiles])


def run_graph(session: onnxruntime.InferenceSession, batch: Tiles) -> Tiles:
    restored: Tiles = session.run([OUTPUT], {INPUT: batch})[0]
    return restored


def key_of(recipe: Recipe) -> str:
    """A short hash of a recipe."""
    digest = hashlib.sha256()
    digest.update("|".join(sorted(recipe.layers)).encode())
    for name in sorted(recipe.ranges):
        digest.update(f"{name}={recipe.ranges[name]:.9g};".encode())
    for values in (recipe.biases, recipe.weights):
        for name in sorted(values):
            digest.update(name.encode() + values[name].tobytes())
    for name, found in sorted(recipe.factors.layers.items()):
        digest.update(name.encode() + found.inputs.tobytes() + found.outputs.tobytes())
        digest.update(found.rounded.tobytes())
    digest.update(f"{recipe.residuals} {recipe.format}".encode())
    return digest.hexdigest()[:24]
