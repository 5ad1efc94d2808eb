"""The resolution of the GPU extras is read right, and the stored one fits pyproject.toml."""

import json
import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from restora_tools.resolve_extras import (
    EXTRAS,
    MACHINES,
    PYTHONS,
    Resolution,
    find_faults,
    read_packages,
)

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
DECLARED = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
STORED = json.loads((ROOT / "benchmarks" / "results" / "extras.json").read_text())["rows"]
GOOD = Resolution("gpu-cu12", "3.12", "x86_64", {"cuda-bindings": "12.9.4", "pycuda": "2026.1"})


def needs_of(extra: str) -> list[Requirement]:
    """The requirements of an extra, with those of the extras that it names."""
    found = []
    for requirement in map(Requirement, DECLARED[extra]):
        inner = requirement.extras if requirement.name == "restora" else ()
        found += [need for name in inner for need in needs_of(name)] if inner else [requirement]
    return found


def test_versions_are_read_from_lines_with_and_without_markers() -> None:
    text = "# note\npycuda==2026.1\nnumpy==2.2.6 ; python_version < '3.11'\n    # via pycuda\n"
    assert read_packages(text) == {"pycuda": "2026.1", "numpy": "2.2.6"}


def test_what_resolves_to_one_cuda_version_has_no_fault() -> None:
    assert find_faults([GOOD]) == []


@pytest.mark.parametrize(
    ("packages", "fault"),
    [
        ({"torch": "2.13.0"}, "gpu-cu12, Python 3.12, x86_64: torch is installed"),
        ({"tensorrt-cu13-libs": "11.4.0"}, "tensorrt-cu13-libs 11.4.0 is for CUDA 13"),
        ({"cuda-bindings": "13.0.1"}, "cuda-bindings 13.0.1 is for CUDA 13"),
    ],
)
def test_pytorch_and_packages_of_another_cuda_version_are_faults(
    packages: dict[str, str], fault: str
) -> None:
    (found,) = find_faults([replace(GOOD, packages=packages)])
    assert found.endswith(fault)


def test_an_extra_that_does_not_resolve_is_a_fault_with_its_reason() -> None:
    assert find_faults([replace(GOOD, problem="no wheels")])[0].endswith("x86_64: no wheels")


@pytest.mark.parametrize("extra", EXTRAS)
def test_an_extra_admits_no_package_of_the_other_cuda_version(extra: str) -> None:
    other = {"12": "13", "13": "12"}[extra[-2:]]
    needs = {need.name: need for need in needs_of(extra)}
    assert not [name for name in needs if name.endswith(f"-cu{other}")]
    assert f"{other}.9.4" not in needs["cuda-bindings"].specifier
    assert f"{extra[-2:]}.9.4" in needs["cuda-bindings"].specifier
    if extra.startswith("jetson"):
        assert set(needs) == {"cuda-bindings", "nvidia-ml-py", "pycuda"}
    else:  # ONNX Runtime 1.26 of PyPI is the last for CUDA 12, 1.28 the first sound one for CUDA 13
        fits = {"12": ("1.26.0", "1.28.0"), "13": ("1.28.0", "1.26.0")}[extra[-2:]]
        admitted = needs["onnxruntime-gpu"].specifier
        assert fits[0] in admitted
        assert fits[1] not in admitted


def test_the_short_extras_are_those_of_cuda_12() -> None:
    assert needs_of("gpu") == needs_of("gpu-cu12")
    assert needs_of("jetson") == needs_of("jetson-cu12")


def test_the_stored_resolution_covers_each_extra_python_and_machine_and_fits() -> None:
    keys = [(row["extra"], row["machine"], row["python"]) for row in STORED]
    assert keys == [(e, m, p) for e in EXTRAS for m in MACHINES for p in PYTHONS]
    assert find_faults([Resolution(**row) for row in STORED]) == []
    for row in STORED:
        for need in needs_of(row["extra"]):
            place = {"platform_machine": row["machine"], "python_version": row["python"]}
            if need.name in row["packages"] and (not need.marker or need.marker.evaluate(place)):
                assert row["packages"][need.name] in need.specifier, (row["extra"], need)


def test_each_extra_that_code_or_a_page_tells_to_install_exists() -> None:
    places = [
        ROOT / "README.md",
        *ROOT.glob("docs/*.md"),
        *(path for path in ROOT.glob("deploy/**/*") if path.is_file()),
    ]
    places += ROOT.glob("engine/**/*.py")
    named = {
        (extra, path.name)
        for path in places
        for extras in re.findall(r"['\" ](?:restora|\.)\[([a-z0-9,-]+)\]", path.read_text())
        for extra in extras.split(",")
    }
    assert {name for name in named if name[0] not in DECLARED} == set()
    assert {"gpu-cu12", "cpu"} <= {extra for extra, _ in named}


def test_an_image_has_one_cuda_version() -> None:
    datacenter = (ROOT / "deploy" / "datacenter.Dockerfile").read_text()
    given = dict(re.findall(r"^ARG (\w+)=(\S+)$", datacenter, re.MULTILINE))
    assert given["EXTRA"] == f"gpu-cu{given['CUDA'].split('.')[0]}"
    jetson = (ROOT / "deploy" / "jetson.Dockerfile").read_text()
    assert re.findall(r"^ARG EXTRA=(\S+)$", jetson, re.MULTILINE) == ["jetson-cu12"]
