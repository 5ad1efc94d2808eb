"""Facts about the steps of the GPU check and their order."""

from __future__ import annotations

import pytest

from restora_tools.gpu.steps import all_steps, choose_steps, find_step
from restora_tools.gpu.subjects import SUBJECTS, TINY, find_subject

NAMES = [step.name for step in all_steps()]


def test_what_decides_most_comes_first() -> None:
    first = [
        "device",
        "verify:tiny:fp16",
        "tests",
        "verify:RealESRGAN_x4plus:fp16",
        "verify:GFPGANv1.4:fp16",
        "verify:realesr-general-x4v3:fp16",
        "verify:RealESRGAN_x4plus:fp32",
        "verify:GFPGANv1.4:fp32",
        "verify:realesr-general-x4v3:fp32",
        "verify:restora-lite-x2:int8",
        "photos:RealESRGAN_x4plus:fp16",
        "peers:RealESRGAN_x4plus:eager",
        "sweep:RealESRGAN_x4plus:fp16",
    ]
    assert [name for name in NAMES if name in first] == first


def test_every_network_is_proved_in_every_precision_that_it_has() -> None:
    for subject in SUBJECTS.values():
        for precision in subject.precisions():
            for stage in ("prepare", "build", "verify", "speed", "layers"):
                assert f"{stage}:{subject.name}:{precision}" in NAMES


def test_a_step_comes_after_those_that_it_needs() -> None:
    for step in all_steps():
        for need in step.needs():
            assert NAMES.index(need) < NAMES.index(step.name)


def test_no_step_stands_twice() -> None:
    assert len(NAMES) == len(set(NAMES))


def test_steps_are_chosen_by_pattern_or_by_stage() -> None:
    assert {step.stage for step in choose_steps(["build"])} == {"build"}
    chosen = choose_steps(["speed:*:fp16", "device"])
    assert {step.kind for step in chosen} == {"fp16", ""}
    assert choose_steps([]) == all_steps()
    with pytest.raises(LookupError, match="no step is named 'nothing'"):
        choose_steps(["device", "nothing"])
    with pytest.raises(LookupError, match="no step is named 'build'"):
        find_step("build")


def test_steps_run_in_the_interpreter_that_has_their_packages() -> None:
    assert find_step("peers:tiny:eager").interpreter == "torch"
    assert find_step("prepare:tiny:fp32").interpreter == "export"
    assert find_step("build:tiny:fp32").interpreter == "tensorrt"


def test_networks_are_found_by_name() -> None:
    assert find_subject("tiny") is TINY
    with pytest.raises(LookupError, match="unknown network 'x'"):
        find_subject("x")
