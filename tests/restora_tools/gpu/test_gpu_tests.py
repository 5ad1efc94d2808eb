"""Facts about running the tests that need a GPU."""

from __future__ import annotations

from pathlib import Path

import pytest

from restora_tools.gpu.gpu_tests import TESTS, run_tests
from restora_tools.gpu.places import Places
from restora_tools.gpu.steps import Step, all_steps

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("body", "state"),
    [
        ("assert True", "done"),
        ("assert False", "failed"),
        ("pytest.skip('no GPU')", "failed"),  # a skipped test proves nothing
    ],
)
def test_the_stage_passes_only_if_every_test_ran_and_passed(
    tmp_path: Path, body: str, state: str
) -> None:
    file = tmp_path / "test_it.py"
    tests = f"def test_first():\n    pass\n\ndef test_it():\n    {body}\n"
    file.write_text(f"import pytest\n\npytestmark = pytest.mark.gpu\n\n{tests}")
    places = Places(tmp_path / "out")
    assert run_tests(places, print, file=str(file)) == state
    (row,) = places.rows("tests")
    assert row["passed"] is (state == "done")


def test_the_files_of_the_tests_are_there_and_each_has_a_step() -> None:
    for subject, file in TESTS.items():
        assert (ROOT / file).is_file()
        assert Step("tests", subject) in all_steps()
