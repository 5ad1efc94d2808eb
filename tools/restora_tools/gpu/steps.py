"""The steps of the check, in the order in which they decide whether the engine works on a GPU."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

from restora_tools.gpu.subjects import SUBJECTS, TINY, Subject

Stage = Literal[
    "device",
    "prepare",
    "build",
    "verify",
    "speed",
    "layers",
    "tests",
    "ceiling",
    "photos",
    "damage",
    "sweep",
    "peers",
]
Interpreter = Literal["export", "tensorrt", "torch"]

_INTERPRETERS: dict[Stage, Interpreter] = {
    "prepare": "export",
    "ceiling": "torch",
    "peers": "torch",
}
_BUDGETS_S: dict[Stage, float] = {
    "device": 60,
    "prepare": 240,
    "build": 500,
    "verify": 180,
    "speed": 120,
    "layers": 60,
    "tests": 400,  # four plans are built
    "ceiling": 60,
    "photos": 180,
    "damage": 400,  # two engines are built
    "sweep": 500,
    "peers": 300,
}
# in which order networks decide, each in FP16 before any of them in FP32
_ORDER = ("RealESRGAN_x4plus", "GFPGANv1.4", "realesr-general-x4v3")
_BUNDLED = "restora-lite-x2"
WAYS = ("eager", "compiled", "onnxruntime", "ort-tensorrt")


@dataclass(frozen=True, slots=True)
class Step:
    """One process of the check.

    kind: a precision for stages of TensorRT, a way for `peers`
    budget_s: after which it is stopped; for `build` and `sweep`, of each plan
    """

    stage: Stage
    subject: str = ""
    kind: str = ""

    @property
    def name(self) -> str:
        return ":".join(part for part in (self.stage, self.subject, self.kind) if part)

    @property
    def interpreter(self) -> Interpreter:
        return _INTERPRETERS.get(self.stage, "tensorrt")

    @property
    def budget_s(self) -> float:
        return _BUDGETS_S[self.stage]

    def needs(self) -> tuple[str, ...]:
        """Names of the steps without which this one cannot run."""
        if self.stage in ("verify", "speed", "layers", "sweep"):
            return (Step("build", self.subject, self.kind).name,)
        if self.stage == "photos":
            return (Step("speed", self.subject, self.kind).name,)
        return ()


def all_steps() -> tuple[Step, ...]:
    """Every step once, in order."""
    return tuple(dict.fromkeys(_in_order()))


def choose_steps(patterns: Sequence[str]) -> tuple[Step, ...]:
    """The steps whose names match one of the patterns, such as "build:*:fp16"; all without any.

    A pattern without a star also matches the steps below it: "build" matches "build:tiny:fp16".
    Raises LookupError if a pattern matches nothing.
    """
    steps = all_steps()
    for pattern in patterns:
        if not any(_matches(step, pattern) for step in steps):
            raise LookupError(f"no step is named {pattern!r}: see `gpu_check list`")
    if not patterns:
        return steps
    return tuple(step for step in steps if any(_matches(step, pattern) for pattern in patterns))


def find_step(name: str) -> Step:
    """Raises LookupError for an unknown name."""
    for step in all_steps():
        if step.name == name:
            return step
    raise LookupError(f"no step is named {name!r}: see `gpu_check list`")


def _matches(step: Step, pattern: str) -> bool:
    return fnmatchcase(step.name, pattern) or step.name.startswith(f"{pattern}:")


def _in_order() -> Iterator[Step]:
    yield Step("device")
    for precision in ("fp32", "fp16"):
        yield from _prove(TINY, precision)
    yield Step("tests")
    for precision in ("fp16", "fp32"):
        for name in _ORDER:
            yield from _prove(SUBJECTS[name], precision)
        yield Step("ceiling")
    yield from _prove(SUBJECTS[_BUNDLED], "int8")
    yield Step("tests", "damage")
    yield Step("damage")
    for name in (*_ORDER, _BUNDLED):
        subject = SUBJECTS[name]
        if subject.photos:
            yield from _prove(subject, "fp16")
            yield Step("photos", name, "fp16")
    for way in WAYS:
        yield from (Step("peers", name, way) for name in (*_ORDER, _BUNDLED))
    yield Step("sweep", _ORDER[0], "fp16")
    for subject in SUBJECTS.values():
        for precision in subject.precisions():
            yield from _prove(subject, precision)
    yield Step("photos", _BUNDLED, "int8")
    yield from (Step("sweep", name, "fp16") for name in (_ORDER[2], _BUNDLED))
    # not part of the order above: to try the commands out
    yield Step("photos", TINY.name, "fp16")
    yield Step("sweep", TINY.name, "fp16")
    yield from (Step("peers", TINY.name, way) for way in WAYS)


def _prove(subject: Subject, precision: str) -> Iterator[Step]:
    """All that one network in one precision must show."""
    name = subject.name
    yield Step("prepare", name, "fp32")
    if precision != "fp32":
        yield Step("prepare", name, precision)
    for stage in ("build", "verify", "speed", "layers"):
        yield Step(stage, name, precision)
