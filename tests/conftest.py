"""Shared by all tests: tiny artifacts, made once a run."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from fakes import tiny_artifact

if TYPE_CHECKING:
    from restora.artifact import Artifact

# A shell that starts the tests in the background has them, and what they start, ignore Ctrl-C.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# A machine that is busy elsewhere makes no test fail.
settings.register_profile(
    "restora", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("restora")

# What the developer has measured on this machine decides nothing in a test.
os.environ["RESTORA_TRIALS"] = os.devnull
os.environ["RESTORA_CHECKS"] = os.devnull

# Workers of pytest-xdist share the cores: threads of many pools that wait for each other's cores
# take several times as long. Before PyTorch and others are imported, which count the cores.
_WORKER = os.environ.get("PYTEST_XDIST_WORKER")
if _WORKER and hasattr(os, "sched_setaffinity"):
    _CORES = sorted(os.sched_getaffinity(0))
    _MINE = _CORES[int(_WORKER.removeprefix("gw")) :: int(os.environ["PYTEST_XDIST_WORKER_COUNT"])]
    os.sched_setaffinity(0, _MINE or _CORES)


@pytest.fixture(scope="session")
def tiny_x2() -> Artifact:
    """A random 2x network on uint8 pictures, sides multiples of 2."""
    return tiny_artifact(scale=2, io="uint8")


@pytest.fixture(scope="session")
def tiny_x2_float() -> Artifact:
    return tiny_artifact(scale=2, io="float32")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip tests that need a GPU where there is none, with a reason."""
    from restora.backends.driver import require_driver
    from restora.errors import MissingBackendError

    try:
        require_driver()
    except MissingBackendError as error:
        skip = pytest.mark.skip(reason=str(error))
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(skip)
