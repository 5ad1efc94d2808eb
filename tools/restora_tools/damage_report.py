"""Measure how damage is found and repaired, and the cost:
`python -m restora_tools.damage_report build/photos/held-out --marked build/photos/damaged`.

The photos are those that `restora_tools.training_photos` collects. Writes
benchmarks/results/damage.json; about 11 minutes on a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import json
import statistics
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np

from restora import DamageOptions, Photo, RestoreOptions, Restorer, write_photo
from restora_benchmarks.command import Command, run_command
from restora_benchmarks.evaluate.damage import evaluate_damage
from restora_benchmarks.evaluate.damage_pairs import DamagePair, iter_pairs
from restora_benchmarks.evaluate.damage_report import DamageReport
from restora_benchmarks.evaluate.damage_tables import (
    clean_table,
    found_table,
    kind_table,
    marked_table,
    photo_table,
    repair_table,
)
from restora_calibration.folders import list_photos
from restora_calibration.photos import HELD_OUT, read_free_photo
from restora_tools.page_tables import heads_of, row_of
from restora_tools.results import write_results

RESULTS = Path("benchmarks/results/damage.json")
UPSAMPLERS = ("restora-lite-x2", "restora-fast-x4")
SIZE = (1200, 840)  # of the photo whose repair is timed, in pixels
SCAN = (6, 7)  # a large scan has so many columns and rows of this photo
_STAGES = {
    "damage_find": "finding damage",
    "damage_repair": "repairing it",
    "color": "correcting the color",
}


def damage_tables(result: dict[str, Any]) -> dict[str, str]:
    """The tables of docs/damage.md, by name."""
    report = DamageReport.from_dict(result["evaluation"])
    return {
        "damage-found": f"{found_table(report)}\n\n{_found_words(report)}",
        "damage-repair-scratches": repair_table(report.scratch_repair),
        "damage-repair": repair_table(report.repair),
        "damage-kinds": kind_table(report),
        "damage-clean": clean_table(report),
        "damage-photos": photo_table(report),
        "damage-marked": marked_table(report),
        "damage-cost": _cost_table(result),
    }


def measure_cost(repeats: int, size: tuple[int, int] = SIZE) -> dict[str, Any]:
    """Seconds of each stage, medians of interleaved runs, with each bundled upsampler.

    size: width and height of the photo
    """
    pair = _damaged_photo(size)
    options = RestoreOptions(color="unfade")
    restorers = {n: Restorer(n, options=options, damage=DamageOptions()) for n in UPSAMPLERS}
    rows: dict[str, list[dict[str, float]]] = {name: [] for name in restorers}
    try:
        for turn in range(repeats + 1):
            for name, restorer in restorers.items():
                seconds = restorer.restore(pair.picture).seconds
                if turn:  # the first runs prepare the networks
                    rows[name].append(seconds)
        runs = [network.describe() for r in restorers.values() for network in r.networks]
    finally:
        for restorer in restorers.values():
            restorer.close()
    return {
        "megapixels": size[0] * size[1] / 1e6,
        "damaged_share": float(pair.mask.mean()),
        "repeats": repeats,
        "networks": runs,
        "seconds": {name: _medians(measured) for name, measured in rows.items()},
    }


def measure_scan(size: tuple[int, int] = SIZE, times: tuple[int, int] = SCAN) -> dict[str, Any]:
    """Seconds and memory of the whole command for a large scan at its own size, with and without
    the repair of damage.

    size: width and height of the damaged photo of which the scan consists; times: columns and rows
    """
    columns, rows = times
    scan = np.tile(_damaged_photo(size).picture, (rows, columns, 1))
    measured = {"megapixels": scan.shape[0] * scan.shape[1] / 1e6}
    with TemporaryDirectory() as folder:
        source, target = Path(folder, "scan.png"), Path(folder, "out.png")
        write_photo(Photo(scan), source)
        for name, more in (("plain", ()), ("repaired", ("--damage", "all"))):
            words = ("--model", "none", "--outscale", "1", *more)
            usage = run_command(Command(source, target, None, 0, more=words))
            measured |= {f"{name}_{key}": value for key, value in asdict(usage).items()}
    return measured


def measure_quality(
    photos: Path, draws: int, marked: Path | None = None
) -> tuple[dict[str, Any], list[str]]:
    """The evaluation of the bundled networks on a folder of photos, and what they ran on.

    marked: photos with real damage, and masks of it
    """
    with Restorer(None, damage=DamageOptions()) as restorer:
        assert restorer.damage is not None
        report = evaluate_damage(restorer.damage, photos, draws=draws, marked=marked, report=print)
        return report.as_dict(), [network.describe() for network in restorer.networks]


def _damaged_photo(size: tuple[int, int]) -> DamagePair:
    photo = np.asarray(cv2.resize(read_free_photo(HELD_OUT[0]), size), np.uint8)
    return list(iter_pairs(photo, 2))[1]


def _medians(rows: list[dict[str, float]]) -> dict[str, float]:
    return {stage: statistics.median(row[stage] for row in rows) for stage in rows[0]}


def _found_words(report: DamageReport) -> str:
    return (
        f"{report.photos} held-out photos, {report.pairs} damaged pictures of each kind. Repaired "
        f"undamaged photos\nreach {report.clean_psnr:.1f} dB or more to themselves."
    )


def _cost_table(result: dict[str, Any]) -> str:
    cost, machine = result["cost"], result["machine"]
    pixels = cost["megapixels"]
    lines = heads_of(["stage", "s/MP", "MP/s"])
    first = cost["seconds"][UPSAMPLERS[0]]
    cells = [(words, first[stage]) for stage, words in _STAGES.items()]
    cells += [(f"enlarging with {n}", cost["seconds"][n]["upsample"]) for n in UPSAMPLERS]
    lines += [row_of([w, f"{s / pixels:.2f}", f"{pixels / s:.2f}"]) for w, s in cells]
    words = (
        f"A photo of {pixels:.1f} MP, {cost['damaged_share']:.0%} of it damaged. {machine['cpu']}, "
        f"{machine['cores_allowed']} cores; medians of {cost['repeats']} interleaved runs."
    )
    return "\n".join([*lines, "", words, "", _scan_words(result["scan"])])


def _scan_words(scan: dict[str, Any]) -> str:
    gb = {name: scan[f"{name}_peak_bytes"] / 1e9 for name in ("plain", "repaired")}
    seconds, pixels = scan["repaired_elapsed_s"], scan["megapixels"]
    return (
        f"`restora restore -n none --outscale 1 --damage all` takes {seconds:.0f} s and "
        f"{gb['repaired']:.2f} GB of memory\nfor a scan of {pixels:.0f} MP, and "
        f"{gb['plain']:.2f} GB without `--damage`."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path, help="folder of photos that no training saw")
    parser.add_argument("--marked", type=Path, help="photos with real damage, and masks of it")
    parser.add_argument("--json", type=Path, default=RESULTS)
    parser.add_argument("--draws", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    cost, scan = measure_cost(arguments.repeats), measure_scan()
    evaluation, networks = measure_quality(arguments.photos, arguments.draws, arguments.marked)
    names = [path.stem for path in list_photos(arguments.photos)]
    write_results(
        arguments.json, cost=cost, scan=scan, evaluation=evaluation, networks=networks, photos=names
    )
    for name, table in damage_tables(json.loads(arguments.json.read_text())).items():
        print(f"{name}\n{table}\n")


if __name__ == "__main__":
    main()
