"""Learning rates by step."""

import pytest

from restora_training.schedule import cosine_factor


def test_a_cosine_rises_to_the_whole_rate_and_falls_to_its_last_share() -> None:
    factors = [cosine_factor(step, 1000, warmup=100) for step in range(1000)]
    assert max(factors) == pytest.approx(1)
    assert factors.index(max(factors)) in (99, 100)
    assert factors[0] == pytest.approx(0.01)
    assert factors[-1] == pytest.approx(0.02, abs=1e-4)
    assert cosine_factor(5000, 1000) == pytest.approx(0.02)
