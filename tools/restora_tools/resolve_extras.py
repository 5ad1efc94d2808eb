"""Which versions the GPU extras get, without installing: `python -m restora_tools.resolve_extras`.

uv resolves each extra of pyproject.toml for each Python and machine, from the metadata of the
packages alone. PyCUDA and NVIDIA's libs packages are source packages without static metadata, whose
needs are stated here. A minute, and the network.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from restora_tools.results import write_results

RESULTS = Path("benchmarks/results/extras.json")
EXTRAS = ("gpu-cu12", "gpu-cu13", "jetson-cu12", "jetson-cu13")
PYTHONS = ("3.10", "3.11", "3.12", "3.13")
MACHINES = ("x86_64", "aarch64")
GLIBC = "manylinux_2_35"  # Ubuntu 22.04, JetPack 6
SHOWN = ("cuda-bindings", "nvidia-cuda-nvrtc", "onnxruntime-gpu", "pycuda", "tensorrt-cu")
NEVER = ("torch", "torchvision")
# pycuda: from its PKG-INFO. tensorrt-cu12-libs: known only after downloading gigabytes from NVIDIA
METADATA = """
[[dependency-metadata]]
name = "pycuda"
requires-dist = ["mako", "platformdirs>=2.2.0", "pytools>=2011.2"]
[[dependency-metadata]]
name = "tensorrt-cu12-libs"
requires-dist = []
"""


@dataclass(frozen=True, slots=True)
class Resolution:
    """What one extra gets. packages: versions by name; problem: why it gets nothing."""

    extra: str
    python: str
    machine: str
    packages: dict[str, str] = field(default_factory=dict)
    problem: str = ""

    @property
    def shown(self) -> dict[str, str]:
        """The packages that depend on the CUDA version."""
        return {name: v for name, v in self.packages.items() if name.startswith(SHOWN)}


def iter_resolutions(project: Path) -> Iterator[Resolution]:
    for extra in EXTRAS:
        for machine in MACHINES:
            for python in PYTHONS:
                yield resolve(project, extra, python, machine)


def resolve(project: Path, extra: str, python: str, machine: str) -> Resolution:
    """Resolve one extra of a pyproject.toml."""
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder, "uv.toml")
        config.write_text(METADATA)
        words = f"""-m uv pip compile --quiet --no-header --no-annotate --extra {extra}
            --python-version {python} --python-platform {machine}-{GLIBC}""".split()
        result = subprocess.run(  # noqa: S603
            [sys.executable, *words, "--config-file", str(config), str(project)],
            env=os.environ | {"UV_PYTHON_DOWNLOADS": "never"},
            capture_output=True,
            text=True,
            check=False,
        )
    if result.returncode:
        return Resolution(extra, python, machine, problem=" ".join(result.stderr.split()))
    return Resolution(extra, python, machine, read_packages(result.stdout))


def read_packages(text: str) -> dict[str, str]:
    """Versions by name from lines like "name==1.0 ; marker"."""
    pairs = (line.split(";")[0].split("==") for line in text.splitlines() if "==" in line)
    return {name.strip(): version.strip() for name, version in pairs}


def find_faults(resolutions: list[Resolution]) -> list[str]:
    """Extras that do not resolve, that mix CUDA versions, or that would replace PyTorch."""
    faults = []
    for found in resolutions:
        where = f"{found.extra}, Python {found.python}, {found.machine}"
        if found.problem:
            faults.append(f"{where}: {found.problem}")
        faults += [f"{where}: {name} is installed" for name in NEVER if name in found.packages]
        other = {"12": "13", "13": "12"}[found.extra[-2:]]
        faults += [
            f"{where}: {name} {version} is for CUDA {other}"
            for name, version in found.packages.items()
            if f"-cu{other}" in name or (name == "cuda-bindings" and version.startswith(other))
        ]
    return faults


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    resolutions = []
    for found in iter_resolutions(Path("pyproject.toml")):
        resolutions.append(found)
        listed = ", ".join(f"{name} {version}" for name, version in found.shown.items())
        print(f"{found.extra} {found.machine} {found.python}: {found.problem or listed}")
    rows = [asdict(found) | {"packages": found.shown} for found in resolutions]
    write_results(arguments.json, glibc=GLIBC, rows=rows)
    faults = find_faults(resolutions)
    print("\n".join(faults) or f"all resolve; wrote {arguments.json}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
