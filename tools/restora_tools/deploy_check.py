"""Check deploy/ without Docker: `python -m restora_tools.deploy_check TOOLS`; make deploy-check.

TOOLS is a folder of programs: hadolint, kubernetes-validate, check-jsonschema, which has the schema
of compose files, and a Python with promql-parser. With --image, what the Dockerfile of the service
does is done in a folder: its copies, the wheel, the environment with its extras. The command of the
image runs there, its health check passes, it restores a photo, and SIGTERM ends it with 0.
"""

from __future__ import annotations

import argparse
import json
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

DEPLOY = Path("deploy")
KUBERNETES = "1.31"
PORT = 18_080
START_S = 180.0
# pip and apt take the newest versions on purpose: the image is built again for a release
HADOLINT_IGNORED = ("DL3008", "DL3013")
_INTERVAL = {"$__rate_interval": "5m", "$instance": ".*"}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tools", type=Path)
    parser.add_argument("--image", action="store_true", help="also build the image by hand")
    arguments = parser.parse_args()
    for name, problem in iter_problems(arguments.tools):
        print(f"{name}: {problem or 'ok'}")
        if problem:
            return 1
    if arguments.image:
        with tempfile.TemporaryDirectory() as folder:
            run_service_image(Path(folder))
    return 0


def iter_problems(tools: Path) -> Iterator[tuple[str, str]]:
    """Each file with what a tool says against it; "" if it says nothing."""
    ignored = [word for rule in HADOLINT_IGNORED for word in ("--ignore", rule)]
    for path in sorted(DEPLOY.glob("*.Dockerfile")):
        yield str(path), _run([tools / "hadolint", *ignored, path])
    for path in sorted((DEPLOY / "kubernetes").glob("*.yaml")):
        words = ["--strict", "-k", KUBERNETES, str(path)]
        yield str(path), _run([tools / "kubernetes-validate", *words])
    compose = DEPLOY / "compose.yaml"
    words = ["--builtin-schema", "vendor.compose-spec", str(compose)]
    yield str(compose), _run([tools / "check-jsonschema", *words])
    dashboard = DEPLOY / "grafana" / "restora.json"
    yield str(dashboard), _run([tools / "python", "-c", _PARSE, *expressions_of(dashboard)])


_PARSE = "import sys, promql_parser; [promql_parser.parse(text) for text in sys.argv[1:]]"


def expressions_of(dashboard: Path) -> list[str]:
    """The queries of a dashboard, with Grafana's variables replaced."""
    found = []
    for panel in json.loads(dashboard.read_text())["panels"]:
        for target in panel.get("targets", ()):
            text = target["expr"]
            for variable, value in _INTERVAL.items():
                text = text.replace(variable, value)
            found.append(text)
    return found


def run_service_image(folder: Path) -> None:
    """Do what deploy/service.Dockerfile does. Raises CalledProcessError or AssertionError."""
    dockerfile = (DEPLOY / "service.Dockerfile").read_text()
    source = folder / "source"
    source.mkdir()
    for copied in re.findall(r"^COPY (.*) \S+$", dockerfile, re.MULTILINE):
        for name in copied.split():
            (shutil.copytree if Path(name).is_dir() else shutil.copy2)(name, source / name)
    (extras,) = re.findall(r"^ARG EXTRAS=(\S+)$", dockerfile, re.MULTILINE)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    _do([*pip, "wheel", "--no-deps", "-w", folder, source])
    (wheel,) = folder.glob("restora-*.whl")
    _do([sys.executable, "-m", "venv", folder / "restora"])
    bin_ = folder / "restora" / "bin"
    _do([bin_ / "pip", "install", "--quiet", f"{wheel}[{extras}]"])
    token = secrets.token_hex(16)
    (folder / "tokens").write_text(f"check {token}\n")
    (command,) = re.findall(r"^CMD (\[.*\])$", dockerfile, re.MULTILINE)
    (check,) = re.findall(
        r'^HEALTHCHECK .* CMD \["python3", "-c", *\\\n *"(.*)"\]$', dockerfile, re.M
    )
    words = [
        {"8000": str(PORT), "/run/secrets/restora-tokens": str(folder / "tokens")}.get(word, word)
        for word in json.loads(command)
    ]
    # a home of its own, as in the image: nothing on this machine helps
    environment = {"PATH": f"{bin_}:/usr/bin:/bin", "HOME": str(folder), "TMPDIR": str(folder)}
    process = subprocess.Popen(  # noqa: S603
        [bin_ / "restora", *words], env=environment, cwd=folder
    )
    try:
        _wait_until_ready(process)
        _do([bin_ / "python3", "-c", check.replace("8000", str(PORT))], environment)
        _do([bin_ / "restora", "sample", "--output", folder / "old.jpg"], environment)
        size = len(_restore((folder / "old.jpg").read_bytes(), token))
        print(f"deploy/service.Dockerfile: ready, healthy, restored a photo into {size} bytes")
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0, f"SIGTERM ended it with {process.returncode}"
        print("deploy/service.Dockerfile: SIGTERM ended it with 0")
    finally:
        process.kill()


def _wait_until_ready(process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + START_S
    while time.monotonic() < until:
        assert process.poll() is None, "the service ended"
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{PORT}/health/ready", timeout=2):
                return
        except OSError:
            time.sleep(0.5)
    raise AssertionError(f"not ready within {START_S:g} s")


def _restore(photo: bytes, token: str) -> bytes:
    request = urllib.request.Request(
        f"http://127.0.0.1:{PORT}/v1/restore",
        photo,
        {
            "Authorization": f"Bearer {token}",
            "Accept": "image/png",
            "Content-Type": "image/jpeg",
        },
    )
    with urllib.request.urlopen(request, timeout=120) as answer:  # noqa: S310
        data: bytes = answer.read()
    assert data.startswith(b"\x89PNG"), "the answer is no PNG"
    return data


def _do(words: Sequence[str | Path], environment: Mapping[str, str] | None = None) -> None:
    subprocess.run(list(map(str, words)), env=environment, check=True)  # noqa: S603


def _run(words: Sequence[str | Path]) -> str:
    """What a program says if it fails; "" if it does not."""
    done = subprocess.run(  # noqa: S603
        list(map(str, words)), capture_output=True, text=True, check=False
    )
    return "" if done.returncode == 0 else done.stdout + done.stderr or f"exit {done.returncode}"


if __name__ == "__main__":
    sys.exit(main())
