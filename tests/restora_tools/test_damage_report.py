"""The tables of docs/damage.md follow from the file of results."""

from __future__ import annotations

import json

from restora_benchmarks.evaluate.damage_figures import (
    Detection,
    KindFigures,
    PhotoFigures,
    Repair,
)
from restora_benchmarks.evaluate.damage_report import DamageReport
from restora_tools.damage_report import UPSAMPLERS, damage_tables, measure_scan


def test_tables_show_what_was_measured() -> None:
    report = DamageReport(
        photos=3,
        pairs=12,
        detection={"scratches": Detection(100, 80, 50, 40, 30, 120)},
        repair={"restora, true mask": Repair(10, 65.025, 9.0, 5, 3.25125, 0)},
        scratch_repair={"restora, found mask": Repair(10, 6502.5, 8.0, 5, 3.25125, 0)},
        false_share={"photos": 0.00125},
        find_mp_per_s=1.0,
        repair_mp_per_s=1.0,
        kinds={"dust": KindFigures(4, 25, 20, 8.0, 2.0), "stain": KindFigures(1, 75, 15, 4.0, 4.0)},
        by_photo={"a.png": PhotoFigures(Detection(), 0.00125, 51.25)},
    )
    seconds = {"damage_find": 0.5, "damage_repair": 0.25, "color": 0.1, "upsample": 4.0}
    result = {
        "machine": {"cpu": "a CPU", "cores_allowed": 2},
        "evaluation": report.as_dict(),
        "cost": {
            "megapixels": 2.0,
            "damaged_share": 0.02,
            "repeats": 5,
            "seconds": dict.fromkeys(UPSAMPLERS, seconds),
        },
        "scan": {
            "megapixels": 42.3,
            "plain_elapsed_s": 9.0,
            "plain_peak_bytes": 610_000_000,
            "repaired_elapsed_s": 80.4,
            "repaired_peak_bytes": 814_000_000,
        },
    }
    tables = damage_tables(json.loads(json.dumps(result)))
    assert "| scratches | 0.800 | 0.800 | 0.800 | 0.400 | 0.250 |" in tables["damage-found"]
    assert "reach 51.2 dB" in tables["damage-found"]
    assert "| restora, true mask | 40.00 dB | 50.00 dB | 0.900 | 0 |" in tables["damage-repair"]
    scratches = tables["damage-repair-scratches"]
    assert "| restora, found mask | 20.00 dB | 50.00 dB | 0.800 | 0 |" in scratches
    first, second = tables["damage-kinds"].splitlines()[2:]  # the largest share first
    assert first == "| stains | 1 | 75.0% | 20% | +0.0 dB |"
    assert second == "| dust | 4 | 25.0% | 80% | +6.0 dB |"
    assert "| photos | 0.12% |" in tables["damage-clean"]
    assert "| finding damage | 0.25 | 4.00 |" in tables["damage-cost"]
    assert f"| enlarging with {UPSAMPLERS[1]} | 2.00 | 0.50 |" in tables["damage-cost"]
    assert "2.0 MP, 2% of it damaged. a CPU, 2 cores" in tables["damage-cost"]
    assert "80 s and 0.81 GB of memory\nfor a scan of 42 MP" in tables["damage-cost"]
    assert "0.61 GB without" in tables["damage-cost"]
    assert "| a.png | 1.000 | 1.000 | 1.000 | 0.12% | 51.2 dB |" in tables["damage-photos"]


def test_a_scan_is_run_by_the_whole_command_with_and_without_repair() -> None:
    measured = measure_scan((96, 64), (2, 3))
    assert measured["megapixels"] == 96 * 2 * 64 * 3 / 1e6
    # only the repair opens networks, which take about 110 MB
    assert measured["repaired_peak_bytes"] > measured["plain_peak_bytes"] + 40e6
    assert {"plain_elapsed_s", "repaired_elapsed_s"} < set(measured)
