"""Facts about a service that is told to serve gRPC and cannot: it ends, and says why."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest

from processes import run


def test_a_port_that_is_in_use_ends_the_service(tmp_path: Path) -> None:
    pytest.importorskip("grpc")
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        done = run(tmp_path, "serve", "--port", 0, "--grpc-port", port, "--no-faces")
    assert done.returncode == 2
    assert f"cannot listen at 127.0.0.1:{port} for gRPC" in done.stderr
    assert "Traceback" not in done.stderr


def test_without_its_packages_the_service_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.startswith("restora.serve.v2.grpc_")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "grpc", None)
    done = run(tmp_path, "serve", "--port", 0, "--grpc-port", 0, "--no-faces")
    assert done.returncode == 6
    assert "pip install 'restora[serve-grpc]'" in done.stderr
    assert "Traceback" not in done.stderr
