"""Learning rates by step."""

import pytest

from restora_training.recipe_parts import OptimizerPart
from restora_training.run.objective import make_factor
from restora_training.schedule import cosine_factor


def test_a_cosine_rises_to_the_whole_rate_and_falls_to_its_last_share() -> None:
    factors = [cosine_factor(step, 1000, warmup=100, last=0.02) for step in range(1000)]
    assert max(factors) == pytest.approx(1)
    assert factors.index(max(factors)) in (99, 100)
    assert factors[0] == pytest.approx(0.01)
    assert factors[-1] == pytest.approx(0.02, abs=1e-4)
    assert cosine_factor(5000, 1000, last=0.02) == pytest.approx(0.02)


def test_a_recipe_says_what_a_cosine_ends_with() -> None:
    assert make_factor(OptimizerPart(schedule="cosine"), 100)(100) == 0
    assert make_factor(OptimizerPart(schedule="cosine", last=0.1), 100)(100) == pytest.approx(0.1)
