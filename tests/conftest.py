"""Shared by all tests: tiny artefacts, made once a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fakes import tiny_artifact

if TYPE_CHECKING:
    from restora.artifact import Artifact


@pytest.fixture(scope="session")
def tiny_x2() -> Artifact:
    """A random 2x network on uint8 pictures, sides multiples of 2."""
    return tiny_artifact(scale=2, io="uint8")


@pytest.fixture(scope="session")
def tiny_x2_float() -> Artifact:
    return tiny_artifact(scale=2, io="float32")
