"""Pairs of degraded pictures and a teacher's answers, kept in a folder.

NNNNNN.npz holds `degraded`, uint8 (height, width, 3); `answer`, uint8 (scale * height,
scale * width, 3); and, where the clean picture is known, `clean` of the answer's shape.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from restora.atomic import write_atomically
from restora.errors import OptionError
from restora_training.data.samples import Sample, tensor_of
from restora_training.recipe import Recipe

Pixels = NDArray[np.uint8]
_SUFFIX = ".npz"
_CACHE_BYTES = 4 << 30


@dataclass(frozen=True, slots=True)
class Pair:
    degraded: Pixels
    answer: Pixels
    clean: Pixels | None


class PairSet:
    """Pairs by index. They are read once and stay in memory.

    with_clean: read the clean pictures, too
    cache_bytes: pairs beyond it are read whenever they are needed

    Safe to use from several threads.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        scale: int,
        *,
        with_clean: bool = True,
        cache_bytes: int = _CACHE_BYTES,
    ) -> None:
        self.paths, self.scale = list(paths), scale
        self._with_clean = with_clean
        self._kept: dict[int, Pair] = {}
        self._bytes_left = cache_bytes

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Pair:
        """Raises OptionError for a file that is no pair."""
        kept = self._kept.get(index)
        if kept is not None:
            return kept
        pair = self._read(self.paths[index])
        size = pair.degraded.nbytes + pair.answer.nbytes
        size += 0 if pair.clean is None else pair.clean.nbytes
        if size <= self._bytes_left:
            self._bytes_left -= size
            self._kept[index] = pair
        return pair

    def _read(self, path: Path) -> Pair:
        try:
            # np.load closes only streams that hold a whole file
            with path.open("rb") as stream, np.load(stream) as stored:
                has_clean = self._with_clean and "clean" in stored.files
                clean = stored["clean"] if has_clean else None
                pair = Pair(stored["degraded"], stored["answer"], clean)
        except Exception as error:  # np.load raises many types for a damaged file
            raise OptionError(f"{path} is not a pair: {error}") from error
        height, width = (*pair.degraded.shape, 0, 0)[:2]
        _require(path, "degraded picture", pair.degraded, (height, width, 3))
        large = (height * self.scale, width * self.scale, 3)
        _require(path, "answer", pair.answer, large)
        if pair.clean is not None:
            _require(path, "clean picture", pair.clean, large)
        return pair


def _require(path: Path, name: str, pixels: NDArray[Any], shape: tuple[int, ...]) -> None:
    if pixels.shape != shape or pixels.dtype != np.uint8:
        raise OptionError(
            f"{path}: the {name} must be uint8 of shape {shape}, it is {pixels.dtype} of shape "
            f"{pixels.shape}"
        )


def open_pairs(
    folder: Path, *, scale: int, held_out: int, with_clean: bool = True
) -> tuple[PairSet, PairSet]:
    """The pairs to train on, and the first `held_out` ones to measure progress with.

    with_clean: read the clean pictures of the pairs to train on

    Raises OptionError if there are too few.
    """
    paths = sorted(folder.glob(f"*{_SUFFIX}")) if folder.is_dir() else []
    if len(paths) <= held_out:
        raise OptionError(
            f"{folder} has {len(paths)} pairs; training needs more than the {held_out} that are "
            "held out"
        )
    training = PairSet(paths[held_out:], scale, with_clean=with_clean)
    return training, PairSet(paths[:held_out], scale)


def write_pair(folder: Path, number: int, pair: Pair) -> Path:
    """Write one pair whole or not at all."""
    path = pair_path(folder, number)
    stream = io.BytesIO()
    arrays = {"degraded": pair.degraded, "answer": pair.answer}
    if pair.clean is not None:
        arrays["clean"] = pair.clean
    np.savez_compressed(stream, **arrays)  # type: ignore[arg-type]
    write_atomically(path, stream.getvalue())
    return path


def pair_path(folder: Path, number: int) -> Path:
    return folder / f"{number:06d}{_SUFFIX}"


class PairMaker:
    """Cuts patches out of pairs: the teacher's answer is the target."""

    def __init__(self, pairs: PairSet, recipe: Recipe) -> None:
        self.pairs, self.seed = pairs, recipe.run.seed
        self.patch = recipe.data.patch
        self.flip, self.rotate = recipe.data.flip, recipe.data.rotate
        self.needs_clean = bool(recipe.losses.truth)

    def make(self, step: int, index: int) -> Sample:
        rng = np.random.default_rng([self.seed, step, index])
        number = int(rng.integers(len(self.pairs)))
        pair = self.pairs[number]
        if self.needs_clean and pair.clean is None:
            raise OptionError(
                f"losses.truth needs clean pictures, but {self.pairs.paths[number]} has none"
            )
        scale = self.pairs.scale
        side = self.patch // scale
        if min(pair.degraded.shape[:2]) < side:
            raise OptionError(
                f"{self.pairs.paths[number]} is smaller than a patch: data.patch must be at most "
                f"{scale * min(pair.degraded.shape[:2])}, got {self.patch}"
            )
        top, left = (int(rng.integers(size - side + 1)) for size in pair.degraded.shape[:2])
        turns = int(rng.integers(4)) if self.rotate else 0
        mirrored = self.flip and rng.uniform() < 0.5

        def cut(pixels: Pixels, factor: int) -> Pixels:
            rows = slice(top * factor, (top + side) * factor)
            patch = pixels[rows, left * factor : (left + side) * factor]
            patch = np.rot90(patch, turns)
            return patch[:, ::-1] if mirrored else patch

        answer = tensor_of(cut(pair.answer, scale))
        clean = answer if pair.clean is None else tensor_of(cut(pair.clean, scale))
        # the teacher's answer is what pixel and perceptual losses compare with
        return Sample(tensor_of(cut(pair.degraded, 1)), clean, answer, {})
