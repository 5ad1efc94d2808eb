"""Take the picture of the page of the service: `python -m restora_tools.page_picture`.

Needs the extra `browser` and Chromium ($CHROMIUM, or chromium in PATH). Starts a service with
restora-lite-x2, restores the bundled sample and writes docs/pictures/page.webp.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image

PICTURE = Path("docs/pictures/page.webp")
SIZE = {"width": 1200, "height": 800}
QUALITY = 80
MAX_BYTES = 120_000
_START_S = 120.0


def main() -> int:
    with tempfile.TemporaryDirectory() as name, _service() as base:
        photo = Path(name) / "portrait.jpg"
        _restora("sample", "--output", str(photo))
        with _browser() as browser:
            shot = picture_of(browser, base, photo)
    return write_picture(shot)


def write_picture(shot: bytes) -> int:
    """The exit code: 1 if the picture is larger than it may be."""
    data = BytesIO()
    Image.open(BytesIO(shot)).convert("RGB").save(data, "WEBP", quality=QUALITY, method=6)
    if len(data.getvalue()) > MAX_BYTES:
        print(f"the picture has {len(data.getvalue())} bytes, more than {MAX_BYTES}")
        return 1
    PICTURE.write_bytes(data.getvalue())
    print(f"{PICTURE}: {len(data.getvalue())} bytes")
    return 0


def picture_of(browser: Any, base: str, photo: Path, **settings: Any) -> bytes:
    """A PNG of the page with one photo restored.

    settings: of Playwright's new_context, such as color_scheme and viewport
    """
    context = browser.new_context(**{"viewport": SIZE, **settings})
    page = context.new_page()
    page.goto(base)
    page.locator("#server", has_text="Ready").wait_for()
    page.locator("#files").set_input_files(str(photo))
    page.locator("#photos li.done").wait_for()
    page.locator("#after").evaluate("image => image.decode()")
    page.locator("#before").evaluate("image => image.decode()")
    shot: bytes = page.screenshot()
    context.close()
    return shot


@contextmanager
def _service() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    words = [sys.executable, "-m", "restora", "serve", "--port", str(port)]
    process = subprocess.Popen(words)  # noqa: S603  our own command
    base = f"http://127.0.0.1:{port}"
    try:
        until = time.monotonic() + _START_S
        while not _is_ready(base):
            assert process.poll() is None, "the service ended"
            assert time.monotonic() < until, "the service did not start"
            time.sleep(0.2)
        yield base
    finally:
        process.terminate()
        process.wait()


def _is_ready(base: str) -> bool:
    try:
        with urllib.request.urlopen(f"{base}/health/ready", timeout=2):  # noqa: S310  our own
            return True
    except OSError:
        return False


@contextmanager
def _browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    path = os.environ.get("CHROMIUM") or shutil.which("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


def _restora(*words: str) -> None:
    subprocess.run([sys.executable, "-m", "restora", *words], check=True)  # noqa: S603


if __name__ == "__main__":
    sys.exit(main())
