"""The flags of the command that trains a damage network."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from restora_training.damage import train
from restora_training.damage.plan import PLANS, Plan
from restora_training.damage.start import BUNDLED, find_start


def call(monkeypatch: pytest.MonkeyPatch, *flags: str) -> tuple[Plan, Path | None]:
    """The plan and the start that the command trains with."""
    calls: list[tuple[Plan, Path | None]] = []

    def record(plan: Plan, *_: Any, start: Path | None, **__: Any) -> None:
        calls.append((plan, start))

    monkeypatch.setattr(train, "train", record)
    monkeypatch.setattr(sys, "argv", ["train", *flags, "-o", "run"])
    train.main()
    return calls[0]


def test_without_flags_a_network_is_trained_as_planned(monkeypatch: pytest.MonkeyPatch) -> None:
    assert call(monkeypatch, "repairer") == (PLANS["repairer"], None)


def test_flags_change_the_plan_and_bundled_stands_for_the_bundled_network(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plan, start = call(
        monkeypatch, "detector", "--start", "bundled", "--rate", "5e-4", "--steps", "70",
        "--echo", "2",
    )  # fmt: skip
    assert (plan.rate, plan.steps, plan.echo) == (5e-4, 70, 2)
    assert start == find_start("detector", BUNDLED)


@pytest.mark.parametrize(("flag", "value"), [("--echo", "0"), ("--rate", "0"), ("--rate", "2")])
def test_impossible_values_are_refused(
    flag: str, value: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        call(monkeypatch, "detector", flag, value)
    assert f"{flag} must be" in capsys.readouterr().err
