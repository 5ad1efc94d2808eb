"""Facts about runs on a real local Ray: poisoned photos, killed workers, resuming."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from fakes import tiny_artifact
from processes import run_process as run
from restora.cluster.attempts import WorkerJournal
from restora.cluster.batch import BatchRecipe, RestoreBatch
from restora.cluster.options import ClusterOptions
from restora.cluster.restore import restore_on_cluster
from restora.cluster.rows import Row
from restora.errors import MissingBackendError, OptionError, SessionError
from restora.image import Photo, read_photo, write_photo
from restora.jobs.disk import fingerprint
from restora.jobs.recipe import recipe_hash, writing_settings
from restora.options import RestoreOptions
from restora.pipeline import Restorer

ray = pytest.importorskip("ray")

from restora.cluster.pool import WorkerPool  # noqa: E402
from restora.cluster.rounds import Item, run_cluster  # noqa: E402

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # of Ray's own


RECIPES = dict.fromkeys(("jpg", "png", "webp", "tiff"), "r")


class Dangerous(RestoreBatch):
    """Ends its process at a photo called poison, and once at one called unlucky; ends Ray's worker
    once at one called boss."""

    def begin(self, source: str) -> None:
        path = Path(source)
        if "poison" in path.name:
            os.kill(os.getpid(), signal.SIGKILL)
        mark = path.with_suffix(".tried")
        if not mark.exists() and ("unlucky" in path.name or "boss" in path.name):
            mark.touch()
            os.kill(os.getppid() if "boss" in path.name else os.getpid(), signal.SIGKILL)


@pytest.fixture(autouse=True)
def no_longer_than_three_minutes() -> Iterator[None]:
    """Ray waits for ever where it cannot go on."""

    def end(*_: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, end)
    signal.alarm(180)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="module")
def local_ray() -> Iterator[None]:
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


@pytest.fixture
def recipe(tmp_path: Path) -> BatchRecipe:
    (tmp_path / "tiny.onnx").write_bytes(tiny_artifact(scale=2, io="uint8").onnx)
    return BatchRecipe(
        str(tmp_path / "tiny.onnx"), RestoreOptions(backend="cpu"), root=str(tmp_path / "out")
    )


def make_photos(folder: Path, names: list[str]) -> list[Item]:
    folder.mkdir(exist_ok=True)
    items = []
    for index, name in enumerate(names):
        pixels = np.random.default_rng(index).integers(0, 256, (12, 20, 3), np.uint8)
        write_photo(Photo(pixels), folder / name)
        items.append(Item(str(folder / name), str(folder.parent / "out" / name)))
    return items


@pytest.mark.usefixtures("local_ray")
def test_workers_that_die_lose_nothing_but_what_killed_them(
    recipe: BatchRecipe, tmp_path: Path
) -> None:
    names = [f"{index:02}.png" for index in range(20)]
    names[3], names[7], names[12] = "03-poison.png", "07-unlucky.png", "12-boss.png"
    items = make_photos(tmp_path / "in", names)
    (tmp_path / "in" / "05.png").write_bytes(b"")
    rows = list(
        run_cluster(
            items,
            recipe,
            WorkerPool(workers=2, photos_per_task=4),
            journals=tmp_path / "out" / ".restora" / "attempts",
            recipes=RECIPES,
            report=lambda _words: None,
            worker=Dangerous,
        )
    )
    assert sorted(row["input"] for row in rows) == sorted(item.input for item in items)
    assert Counter(row["status"] for row in rows) == {"restored": 18, "failed": 2}
    failed = {Path(row["input"]).name: row["error_type"] for row in rows if row["error_type"]}
    assert failed["03-poison.png"] == "Quarantined"
    assert set(failed) == {"03-poison.png", "05.png"}
    assert (tmp_path / "in" / "12-boss.tried").exists()
    for row in rows:
        if row["status"] == "restored":
            assert read_photo(Path(row["output"])).width == 40


class Murderous(RestoreBatch):
    """Ends Ray's worker whenever it is opened."""

    def iter_rows(self, _pairs: object) -> Iterator[tuple[int, Row]]:
        os.kill(os.getppid(), signal.SIGKILL)
        raise AssertionError


@pytest.mark.usefixtures("local_ray")
def test_workers_that_keep_dying_end_the_run(recipe: BatchRecipe, tmp_path: Path) -> None:
    items = make_photos(tmp_path / "in", ["a.png", "b.png"])
    rows = run_cluster(
        items,
        recipe,
        WorkerPool(workers=1, restarts=1),
        journals=tmp_path / "attempts",
        recipes=RECIPES,
        report=lambda _words: None,
        worker=Murderous,
    )
    with pytest.raises(SessionError, match="2 workers were started, and they keep dying"):
        next(rows)


def test_the_command_resumes(recipe: BatchRecipe, tmp_path: Path) -> None:
    make_photos(tmp_path / "in", [f"{index}.png" for index in range(5)])
    (tmp_path / "in" / "bad.png").write_bytes(b"")
    words = ["cluster", "-i", "in", "-o", "out", "-n", recipe.model, "--json", "--backend", "cpu"]
    words += ["--workers", "1"]
    first = run(tmp_path, *words)
    assert first.returncode == 3, first.stderr
    statuses = Counter(json.loads(line)["status"] for line in first.stdout.splitlines())
    assert statuses == {"restored": 5, "failed": 1}
    second = run(tmp_path, *words)
    assert second.returncode == 3
    statuses = Counter(json.loads(line)["status"] for line in second.stdout.splitlines())
    assert statuses == {"skipped": 5, "failed": 1}
    # the same manifest serves `restore`
    plain = ["restore", *words[1:-2]]
    third = run(tmp_path, *plain)
    assert "failed before" in third.stderr


@pytest.mark.parametrize("version", ["this one", "0.1"])
def test_the_next_run_records_what_a_killed_run_finished(
    version: str, recipe: BatchRecipe, tmp_path: Path
) -> None:
    items = make_photos(tmp_path / "in", ["a.png", "b.png", "c.png"])
    (tmp_path / "in" / "b.png").write_bytes(b"")
    with Restorer(recipe.model, options=recipe.options) as restorer:
        recipes = {
            format_: recipe_hash(restorer, writing_settings(restorer, format_))
            for format_ in ("jpg", "png", "webp", "tiff")
        }
        name = recipe_hash(restorer, recipes)
    attempts = tmp_path / "out" / ".restora" / "attempts"
    pairs = [(item.input, item.output) for item in items[:2]]
    rows = [row for _, row in RestoreBatch(recipe).iter_rows(pairs)]
    (tmp_path / "out").mkdir(exist_ok=True)
    if version == "0.1":
        write_old_log(attempts / name, rows)
    else:
        log = WorkerJournal(attempts, recipes)
        for item in items:
            log.begin(item.input, item.output)
        for row in rows:
            log.end(row)
    words = ["cluster", "-i", "in", "-o", "out", "-n", recipe.model, "--json", "--backend", "cpu"]
    done = run(tmp_path, *words, "--workers", "1")
    assert done.returncode == 3, done.stderr
    found = {Path(row["input"]).name: row for row in map(json.loads, done.stdout.splitlines())}
    assert [found[name]["status"] for name in ("a.png", "b.png", "c.png")] == [
        "skipped", "failed", "restored",
    ]  # fmt: skip
    assert found["b.png"]["error_type"] == "UnknownFormatError"
    assert not list(attempts.glob("*"))
    lines = (tmp_path / "out" / ".restora" / "manifest.jsonl").read_text().splitlines()
    ends = {row["input"]: row["status"] for row in map(json.loads, lines) if row["event"] == "end"}
    assert ends == {"a.png": "restored", "b.png": "failed", "c.png": "restored"}


def write_old_log(folder: Path, rows: list[Row]) -> None:
    """As version 0.1 wrote it."""
    folder.mkdir(parents=True)
    with (folder / "1.jsonl").open("w") as stream:
        for row in rows:
            stamp = fingerprint(Path(row["input"]))
            begin = {"event": "begin", "input": row["input"], "stamp": stamp}
            stream.write(json.dumps(begin) + "\n" + json.dumps({"event": "end", **row}) + "\n")


def test_a_parquet_file_names_the_photos(recipe: BatchRecipe, tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    items = make_photos(tmp_path / "in", ["a.png", "b.png", "c.png"])
    (tmp_path / "in" / "link.png").symlink_to(tmp_path / "in" / "a.png")  # a photo of its own
    paths = [items[0].input, items[1].input, str(tmp_path / "in" / "link.png"), items[0].input]
    table = pyarrow.table({"path": paths})
    parquet.write_table(table, tmp_path / "photos.parquet")
    words = ["cluster", "-i", "photos.parquet", "-o", "out", "-n", recipe.model]
    done = run(tmp_path, *words, "--backend", "cpu", "--workers", "1")
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in (tmp_path / "out").glob("*.png")) == [
        "a.png",
        "b.png",
        "link.png",
    ]
    assert "1 rows of photos.parquet name a photo again" in done.stderr


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["-i", "in", "-o", "/proc/foo"], 6, "/proc/foo cannot be made"),
        (["-i", "in", "-o", "in/a.png/out"], 6, "cannot be made"),
        (["-i", "in", "-o", "planted"], 6, "it is a link"),
        (["-i", "x" * 300, "-o", "out"], 2, "must be a folder or a Parquet file"),
        (["-i", "in", "-o", "out", "-s", "inf"], 2, "outscale must be a number above 0"),
        (["-i", "in", "-o", "out", "--max-file-size", "10"], 4, "--max-file-size"),
        (["-i", "bad.parquet", "-o", "out"], 2, "bad.parquet is not"),
        (["-i", "gone.parquet", "-o", "out"], 2, "gone.parquet is not"),
        (["-i", "numbers.parquet", "-o", "out"], 2, "must hold text, it holds 5"),
        (["-i", "other.parquet", "-o", "out"], 2, "with a column `path`"),
    ],
)
def test_what_cannot_be_used_is_one_line_and_its_exit_code(
    words: list[str], code: int, message: str, recipe: BatchRecipe, tmp_path: Path
) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    make_photos(tmp_path / "in", ["a.png"])
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 not one")
    parquet.write_table(pyarrow.table({"path": [5]}), tmp_path / "numbers.parquet")
    parquet.write_table(pyarrow.table({"name": ["a"]}), tmp_path / "other.parquet")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "planted" / ".restora").mkdir(parents=True)
    (tmp_path / "planted" / ".restora" / "attempts").symlink_to(tmp_path / "elsewhere")
    done = run(tmp_path, "cluster", *words, "-n", recipe.model, "--backend", "cpu")
    assert done.returncode == code, done.stderr
    assert message in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert not list((tmp_path / "elsewhere").iterdir())


def test_a_cluster_that_cannot_be_reached_is_an_error_of_the_machine(
    recipe: BatchRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(**_: object) -> None:
        raise ConnectionError("Could not find any running Ray instance")

    monkeypatch.setattr("ray.is_initialized", lambda: False)
    monkeypatch.setattr("ray.init", fail)
    make_photos(tmp_path / "in", ["a.png"])
    with pytest.raises(MissingBackendError, match="no Ray cluster can be used at auto"):
        restore_on_cluster(
            tmp_path / "in",
            tmp_path / "out",
            model=recipe.model,
            restore_options=recipe.options,
            options=ClusterOptions(address="auto"),
        )


@pytest.mark.usefixtures("local_ray")
def test_an_address_beside_a_connection_that_is_open_is_refused(
    recipe: BatchRecipe, tmp_path: Path
) -> None:
    make_photos(tmp_path / "in", ["a.png"])
    with pytest.raises(OptionError, match="leave out address auto"):
        restore_on_cluster(
            tmp_path / "in",
            tmp_path / "out",
            model=recipe.model,
            restore_options=recipe.options,
            options=ClusterOptions(address="auto"),
        )


@pytest.mark.usefixtures("local_ray")
def test_the_library_restores_over_a_connection_and_leaves_it_open(
    recipe: BatchRecipe, tmp_path: Path
) -> None:
    make_photos(tmp_path / "in", ["a.png", "b.png"])
    result = restore_on_cluster(
        tmp_path / "in",
        str(tmp_path / "out"),
        model=recipe.model,
        restore_options=recipe.options,
        options=ClusterOptions(workers=1, ext="jpg"),
    )
    assert {Path(outcome.output).name for outcome in result.outcomes} == {"a.jpg", "b.jpg"}
    assert result.counts == {"restored": 2}
    assert read_photo(tmp_path / "out" / "a.jpg").width == 40
    assert ray.is_initialized()
