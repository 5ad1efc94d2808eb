"""Shared by all tests: tiny artifacts, made once a run."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from fakes import tiny_artifact

if TYPE_CHECKING:
    from restora.artifact import Artifact

# A shell that starts the tests in the background has them, and what they start, ignore Ctrl-C.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def tiny_x2() -> Artifact:
    """A random 2x network on uint8 pictures, sides multiples of 2."""
    return tiny_artifact(scale=2, io="uint8")


@pytest.fixture(scope="session")
def tiny_x2_float() -> Artifact:
    return tiny_artifact(scale=2, io="float32")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out, with a word, what needs a GPU where there is none."""
    from restora.backends.tensorrt.cuda import require_driver_library
    from restora.errors import MissingBackendError

    try:
        require_driver_library()
    except MissingBackendError as error:
        skip = pytest.mark.skip(reason=str(error))
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(skip)
