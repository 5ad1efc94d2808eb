"""What a target is: its seeds, how they are mutated, what is done with a mutant, and its limits."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import NamedTuple


class Input(NamedTuple):
    """Bytes as they lie in a file with this ending."""

    ending: str
    data: bytes


Mutate = Callable[[Input, Random, Sequence[Input]], Input]


@dataclass(frozen=True, slots=True)
class Target:
    """make_seeds  inputs that are valid, or of a kind that is refused, by name
    mutate      a mutant of one of them; the others are there to splice with
    check       takes the path of a file and says in a word what came of it; raises RestoraError if
                it must be refused, and anything else only through a fault
    cpu_s       most CPU seconds for one input
    wall_s      most seconds: the process is killed, since it hangs
    memory_mb   most that the process, with its children, may grow beyond what it takes after all
                seeds have gone through
    weight      share of the time of a run
    shrinks     whether parts may be left out of an input without doing harm
    """

    make_seeds: Callable[[], dict[str, Input]]
    mutate: Mutate
    check: Callable[[Path], str]
    cpu_s: float = 5.0
    wall_s: float = 30.0
    memory_mb: int = 256
    weight: float = 1.0
    shrinks: bool = True


def find_target(name: str) -> Target:
    """By the name of a module in fuzz.targets, or as MODULE:ATTRIBUTE."""
    module, _, attribute = name.partition(":")
    if not attribute:
        module, attribute = f"fuzz.targets.{name}", "TARGET"
    target = getattr(importlib.import_module(module), attribute)
    assert isinstance(target, Target)
    return target


def draw_mutant(target: Target, seeds: Sequence[Input], name: str, seed: int, index: int) -> Input:
    """The input number `index` of a run: a function of these arguments alone."""
    rng = Random(f"{seed}/{name}/{index}")
    return target.mutate(rng.choice(seeds), rng, seeds)


def save_seeds(target: Target, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    for name, (ending, data) in target.make_seeds().items():
        (folder / f"{name}{ending}").write_bytes(data)


def load_seeds(folder: Path) -> list[Input]:
    """In order of name."""
    return [Input(path.suffix, path.read_bytes()) for path in sorted(folder.iterdir())]
