"""Facts about the table of published networks in 8 bits."""

from __future__ import annotations

from typing import Any

from restora_tools.int8_tables import published_table

TRIED = {
    "ranges by max": 30.0,
    "equalized channels": 41.0,
    "ranges by mse, equalized": 41.5,
    "the best of them with rounded weights": 44.0,
}
REFUSED: dict[str, Any] = {
    "model": "wild",
    "passed": False,
    "judged": None,
    "best": {"layers": 8, "products": 0.5, "psnr_mean": 39.0, "psnr_min": 30.04},
    "kept": ["conv_first", "conv_last"],
    "whole_network_in_8_bits": TRIED,
}
PASSED: dict[str, Any] = {
    **REFUSED,
    "model": "tame",
    "passed": True,
    "judged": {"mean": 45.0, "least": 36.0},
    "held_out_int8": {"mean": 44.0, "least": 37.0},
    "held_out_bf16": {"mean": 52.0, "least": 50.0},
    "seconds": {"fp32": {"median": 2.0}, "bf16": {"median": 1.2}, "int8": {"median": 0.8}},
    "times_bf16": 1.5,
    "fast_enough": True,
    "size_mb": {"fp32": 3.0, "int8": 1.0},
    "timed_side": 128,
    "turns": 7,
}
MACHINE = {"cpu": "a CPU", "cores_allowed": 1, "openvino": "1.0"}


def table(*rows: dict[str, Any]) -> str:
    return published_table({"machine": MACHINE, "rows": list(rows)})


def test_what_passes_is_bold_only_if_it_is_faster_than_bf16() -> None:
    assert "| **tame** | 8 of 10 | 50% | 45.0 / 36.0 dB | 44.0 / 37.0 dB |" in table(PASSED)
    assert "| 1.50 | 2.50 |" in table(PASSED)
    assert "| tame | 8 of 10 |" in table({**PASSED, "fast_enough": False})


def test_what_is_refused_has_its_closest_figures() -> None:
    assert "| wild | 8 of 10 | 50% | 39.0 / 30.0 dB | refused |" in table(REFUSED)


def test_each_step_says_what_it_gains() -> None:
    tuned = {**PASSED, "fine_tuning": {"after": {"mean": 44.75, "least": 36.0}}}
    assert "| wild | 30.0 dB | 41.0 dB | 41.5 dB | 44.0 dB |  |" in table(REFUSED, tuned)
    assert "| tame | 30.0 dB | 41.0 dB | 41.5 dB | 44.0 dB | 44.8 dB |" in table(REFUSED, tuned)
    assert "on tiles of 128 (tame) pixels" in table(REFUSED, PASSED)
