"""Tests do not wait for idle cores: their figures do not matter."""

from collections.abc import Iterator

import pytest

from restora_calibration import timing


@pytest.fixture(scope="session", autouse=True)
def short_pauses() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(timing, "PAUSE_S", 0.005)
        yield
