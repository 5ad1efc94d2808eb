"""Nothing lost, nothing done twice: `python -m restora_tools.endurance.run`.

1,000 photos, 40 of them broken, through `restora restore` and `restora cluster`, left alone and
killed twice on the way; as many killed a hundred times; 1,000 files with more than 100 made to hurt
in 1 GB of memory, beside as many ordinary ones. Twenty minutes on two cores.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import Counter
from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from typing import Any

from rich.console import Console

from restora_tools.endurance.check import check_manifest, check_outputs, expect
from restora_tools.endurance.hostile import make_hostile
from restora_tools.endurance.pictures import PictureFile, make_broken, make_good, write_all
from restora_tools.endurance.runs import (
    Run,
    run_killed_at,
    run_killed_at_random,
    run_measured,
)
from restora_tools.results import write_results

RESULTS = Path("benchmarks/results/endurance.json")
SOME_FAILED = 3
_PHOTOS_PER_KILL = 10
_BOUNDS = ("--memory", "1G")
_PEAK_MB = 1100
_LONGEST_S = 1200.0
_WAYS = {"restora restore": ("restore",), "restora cluster": ("cluster", "--workers", "2")}
_EXACT = ("--backend", "cpu", "--json")  # the same bytes whoever makes them
Row = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, default=RESULTS)
    parser.add_argument("--photos", type=int, default=1000)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--hostile", action="store_true", help="only the files made to hurt")
    arguments = parser.parse_args()
    console = Console(soft_wrap=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows: list[Row] = []
        if not arguments.hostile:
            rows += check_thousand(folder, arguments.photos, console)
            rows.append(check_kills(folder, arguments.kills, console))
        rows += check_hostile(folder, arguments.photos, console)
    write_results(arguments.json, rows=rows)
    console.print(f"wrote {arguments.json}")


def check_thousand(folder: Path, count: int, console: Console) -> list[Row]:
    """Both ways, left alone and killed: the same results to the byte."""
    broken = make_broken()
    good = make_good(count - len(broken))
    files = write_all(chain(good, broken), folder / "in")
    rows: list[Row] = []
    first: dict[str, str] | None = None
    for way, words in _WAYS.items():
        for marks in ((), (count // 3, 2 * count // 3)):
            output = folder / f"out-{len(rows)}"
            run = run_killed_at(
                [*words, "-i", str(folder / "in"), "-o", str(output), *_EXACT], output, marks
            )
            expect(run.kills == len(marks), f"{way} is killed {len(marks)} times", run.kills)
            digests = check_run(run, files, output)
            first = first or digests
            expect(digests == first, f"{way} makes the same bytes", "others")
            rows.append(_row(way, files, run))
            console.print(rows[-1])
    return rows


def check_kills(folder: Path, kills: int, console: Console) -> Row:
    """Killed at random, each time after it has begun to work."""
    broken = make_broken()
    files = write_all(chain(make_good(_PHOTOS_PER_KILL * kills), broken), folder / "kills")
    output = folder / "killed"
    words = ["restore", "-i", str(folder / "kills"), "-o", str(output), *_EXACT]
    run = run_killed_at_random(words, kills=kills, seconds=(0.6, 1.2), seed=0)
    expect(run.kills == kills, f"there is work for {kills} kills", run.kills)
    check_run(run, files, output)
    row = _row("restora restore, killed at random", files, run)
    console.print(row)
    return row


def check_hostile(folder: Path, count: int, console: Console) -> list[Row]:
    """In bounded memory: ordinary files, then as many with those made to hurt among them."""
    rows = []
    for way, bad in (("ordinary files", make_broken()), ("hostile files", make_hostile())):
        good = make_good(max(0, count - len(bad)))
        rows.append(check_bounded(folder / way.replace(" ", "-"), way, chain(good, bad)))
        console.print(rows[-1])
    return rows


def check_bounded(folder: Path, way: str, made: Iterable[PictureFile]) -> Row:
    """Links to folders lie among the files; they are no inputs, and get no rows."""
    source, output = folder / "in", folder / "out"
    files = write_all(iter(made), source)
    for name, target in (("to-a-folder.png", "."), ("to-the-root", "/"), ("to-all", "..")):
        (source / name).symlink_to(target)
    words = ["restore", "-i", str(source), "-o", str(output), *_EXACT, *_BOUNDS]
    run = run_measured(words, limit_s=_LONGEST_S)
    check_run(run, files, output)
    assert run.peak_mb is not None
    expect(run.peak_mb <= _PEAK_MB, f"at most {_PEAK_MB} MB are used", run.peak_mb)
    return _row(f"restora restore --memory 1G, {way}", files, run)


def check_run(run: Run, files: dict[str, PictureFile], output: Path) -> dict[str, str]:
    expect(run.code == SOME_FAILED, f"the exit code is {SOME_FAILED}", (run.code, run.words))
    check_manifest(output / ".restora" / "manifest.jsonl", files)
    return check_outputs(run.rows, files, output)


def _row(way: str, files: dict[str, PictureFile], run: Run) -> Row:
    errors = Counter(file.error for file in files.values() if file.error is not None)
    return {
        "way": way,
        "photos": len(files),
        "outputs": len(files) - errors.total(),
        "errors": dict(errors),
        "kills": run.kills,
        "exit_code": run.code,
        "seconds": round(run.seconds, 1),
        **({} if run.peak_mb is None else {"peak_mb": round(run.peak_mb)}),
    }


if __name__ == "__main__":
    main()
