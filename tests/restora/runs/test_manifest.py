"""Facts about manifests: what they remember, whatever ended the process."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from restora.errors import OptionError, OutputError
from restora.runs import Manifest, Past, decide
from restora.runs.resume import MOST_KILLS, digest_of_file

STAMP = (100, 5)


OPENED: list[Manifest] = []


def opened(path: Path) -> Manifest:
    OPENED.append(Manifest(path))
    return OPENED[-1]


def abandon(manifest: Manifest) -> None:
    """As a process that was killed leaves it: nothing is written at the end."""
    manifest._stream.close()
    manifest._lock.release()


def reopen(manifest: Manifest) -> Manifest:
    abandon(manifest)
    return opened(manifest.path)


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    while OPENED:
        abandon(OPENED.pop())


def begin(manifest: Manifest, name: str = "a.png", recipe: str = "r") -> None:
    manifest.begin(name, recipe=recipe, stamp=STAMP)


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    return opened(tmp_path / "out" / "manifest.jsonl")


def test_what_was_done_is_remembered(manifest: Manifest) -> None:
    begin(manifest)
    manifest.end("a.png", "restored", output="out/a.png", sha256="00", ms=12)
    past = reopen(manifest).past("a.png")
    assert past == Past("r", STAMP, "restored", attempts=1, output="out/a.png", sha256="00")
    assert manifest.past("b.png") is None


def test_a_killer_that_comes_first_every_time_is_found(manifest: Manifest) -> None:
    """The others that the first run was at are never begun again, and must not hide it."""
    for name in ("a.png", "b.png", "c.png"):
        begin(manifest, name)
    for _ in range(MOST_KILLS):
        manifest = reopen(manifest)
        begin(manifest, "a.png")
    past = reopen(manifest).past("a.png")
    assert past is not None
    assert past.kills == MOST_KILLS
    beside = OPENED[-1].past("b.png")
    assert beside is not None
    assert (beside.kills, beside.suspect) == (0, True)


def test_what_failed_is_remembered_with_its_code(manifest: Manifest) -> None:
    begin(manifest)
    manifest.end("a.png", "failed", error_type="ImageError", reason="bad", exit_code=4)
    past = reopen(manifest).past("a.png")
    assert past is not None
    assert (past.status, past.error_type, past.exit_code) == ("failed", "ImageError", 4)


def test_a_process_that_ends_without_a_word_counts_against_what_it_had_begun(
    manifest: Manifest,
) -> None:
    begin(manifest, "done.png")
    manifest.end("done.png", "restored", output="x", sha256="1")
    for kills in (1, 2, 3):
        begin(manifest)
        manifest = reopen(manifest)
        past = manifest.past("a.png")
        assert past is not None
        assert (past.kills, past.attempts, past.status) == (kills, kills, None)
    done = manifest.past("done.png")
    assert done is not None
    assert done.kills == 0
    begin(manifest)
    manifest.end("a.png", "restored", output="x", sha256="1")
    past = reopen(manifest).past("a.png")
    assert past is not None
    assert past.kills == 0


def test_of_several_that_were_begun_each_is_suspected_and_none_blamed(manifest: Manifest) -> None:
    begin(manifest, "a.png")
    begin(manifest, "b.png")
    manifest = reopen(manifest)
    for name in ("a.png", "b.png"):
        past = manifest.past(name)
        assert past is not None
        assert (past.kills, past.suspect) == (0, True)


def test_an_orderly_end_counts_against_nothing(manifest: Manifest) -> None:
    begin(manifest)
    manifest.close()
    past = opened(manifest.path).past("a.png")
    assert past is not None
    assert (past.kills, past.status, past.attempts) == (0, None, 1)


def test_a_torn_last_line_is_left_out_and_the_next_one_is_whole(manifest: Manifest) -> None:
    begin(manifest)
    manifest.end("a.png", "restored", output="x", sha256="1")
    with manifest.path.open("ab") as stream:
        stream.write(b'{"event": "begin", "inp')
    again = reopen(manifest)
    begin(again, "b.png")
    again.end("b.png", "restored", output="y", sha256="2")
    last = reopen(again)
    for name in ("a.png", "b.png"):
        past = last.past(name)
        assert past is not None
        assert past.status == "restored"


def test_another_recipe_or_another_input_begins_anew_and_knows_the_old_result(
    manifest: Manifest,
) -> None:
    begin(manifest)
    manifest.end("a.png", "restored", output="out/a.png", sha256="77")
    begin(manifest, recipe="other")
    past = reopen(manifest).past("a.png")
    assert past is not None
    assert (past.recipe, past.status, past.attempts, past.sha256) == ("other", None, 1, "77")


def test_two_runs_cannot_share_a_manifest(manifest: Manifest) -> None:
    with pytest.raises(OptionError, match="another run"):
        Manifest(manifest.path)
    manifest.close()
    Manifest(manifest.path).close()


def test_a_manifest_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        Manifest(tmp_path / "file" / "manifest.jsonl")


def test_rows_can_be_read_by_anything_that_reads_json(manifest: Manifest) -> None:
    begin(manifest, "ordner/ü \n.png")
    manifest.end("ordner/ü \n.png", "failed", reason='"quoted"\n', error_type="E", exit_code=4)
    rows = [json.loads(line) for line in manifest.path.read_text().splitlines()]
    assert [row["event"] for row in rows] == ["begin", "end"]
    assert rows[0]["input"] == "ordner/ü \n.png"


@given(
    st.lists(st.sampled_from(["begin", "restored", "failed", "interrupted", "kill"]), max_size=12)
)
def test_whatever_happens_the_file_says_the_same_as_the_process(
    tmp_path_factory: pytest.TempPathFactory, events: list[str]
) -> None:
    manifest = opened(tmp_path_factory.mktemp("runs") / "m")
    kills = 0
    for event in events:
        if event == "begin":
            if not manifest.is_open("a"):
                begin(manifest, "a")
        elif event == "kill":
            kills += manifest.is_open("a")
            manifest = reopen(manifest)
        elif manifest.is_open("a"):
            manifest.end("a", event)
            kills = 0 if event == "restored" else kills
        past = manifest.past("a")
        assert (0 if past is None else past.kills) == kills
    known = manifest.past("a")
    is_open = manifest.is_open("a")
    again = reopen(manifest).past("a")
    if not is_open:
        assert again == known


def target_with(folder: Path, data: bytes) -> tuple[Path, str]:
    path = folder / "a.png"
    path.write_bytes(data)
    return path, digest_of_file(path)


def test_what_is_done_under_the_same_recipe_is_left_alone(tmp_path: Path) -> None:
    target, digest = target_with(tmp_path, b"made")
    past = Past("r", STAMP, "restored", 1, sha256=digest, output="a.png")
    assert decide(past, target, recipe="r", stamp=STAMP).action == "leave"
    assert decide(past, target, recipe="r", stamp=STAMP, overwrite=True).action == "do"
    target.unlink()
    assert decide(past, target, recipe="r", stamp=STAMP).action == "do"


def test_a_result_of_another_recipe_or_input_is_made_anew_unless_it_was_changed(
    tmp_path: Path,
) -> None:
    target, digest = target_with(tmp_path, b"made")
    past = Past("r", STAMP, "restored", 1, sha256=digest, output="a.png")
    assert decide(past, target, recipe="other", stamp=STAMP).action == "redo"
    assert decide(past, target, recipe="r", stamp=(1, 1)).action == "redo"
    target.write_bytes(b"touched up by hand")
    changed = decide(past, target, recipe="other", stamp=STAMP)
    assert changed.action == "leave"
    assert "--overwrite" in changed.why
    assert decide(None, target, recipe="r", stamp=STAMP).action == "leave"


def test_a_result_that_was_written_as_the_process_was_killed_counts(tmp_path: Path) -> None:
    target, _ = target_with(tmp_path, b"new")
    first = Past("r", STAMP, None, 1, kills=1)
    assert decide(first, target, recipe="r", stamp=STAMP).action == "leave"
    again = Past("r", STAMP, None, 1, kills=1, output="a.png", sha256="of the older one")
    assert decide(again, target, recipe="r", stamp=STAMP).action == "leave"


def test_failures_are_not_tried_again_until_asked_or_the_input_changes(tmp_path: Path) -> None:
    past = Past("r", STAMP, "failed", 1, reason="bad", exit_code=4)
    target = tmp_path / "a.png"
    assert decide(past, target, recipe="r", stamp=STAMP).action == "failed"
    assert decide(past, target, recipe="r", stamp=STAMP, retry_failed=True).action == "do"
    assert decide(past, target, recipe="r", stamp=STAMP, overwrite=True).action == "do"
    assert decide(past, target, recipe="r", stamp=(9, 9)).action == "do"
    assert decide(past, target, recipe="other", stamp=STAMP).action == "do"


def test_what_killed_runs_is_tried_alone_and_at_last_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "a.png"
    for kills in range(1, MOST_KILLS):
        suspect = Past("r", STAMP, kills=kills, suspect=True)
        decision = decide(suspect, target, recipe="r", stamp=STAMP)
        assert (decision.action, decision.alone) == ("do", True)
    most = Past("r", STAMP, kills=MOST_KILLS, suspect=True)
    assert decide(most, target, recipe="r", stamp=STAMP).action == "quarantined"
    retried = decide(most, target, recipe="r", stamp=STAMP, retry_failed=True)
    assert (retried.action, retried.alone) == ("do", True)
