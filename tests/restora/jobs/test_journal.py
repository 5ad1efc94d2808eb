"""Facts about manifests: what they remember, whatever ended the process."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from restora.errors import DiskFullError, OptionError, OutputError, UnsafePathError
from restora.jobs.blame import MAX_CRASHES
from restora.jobs.disk import digest_of_file, fingerprint
from restora.jobs.journal import Journal
from restora.jobs.records import InputRecord, Result
from restora.jobs.resume import Asked, Decision, Wanted, decide

STAMP = (100, 5)


OPENED: list[Journal] = []


def opened(path: Path) -> Journal:
    OPENED.append(Journal(path))
    return OPENED[-1]


def abandon(manifest: Journal) -> None:
    """As a process that was killed leaves it: nothing is written at the end."""
    manifest._held.close()


def reopen(manifest: Journal) -> Journal:
    abandon(manifest)
    return opened(manifest.path)


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    while OPENED:
        abandon(OPENED.pop())


def begin(manifest: Journal, name: str = "a.png", recipe: str = "r") -> None:
    manifest.begin(name, recipe=recipe, stamp=STAMP)


@pytest.fixture
def manifest(tmp_path: Path) -> Journal:
    return opened(tmp_path / "out" / "manifest.jsonl")


def test_what_was_done_is_remembered(manifest: Journal) -> None:
    begin(manifest)
    manifest.end("a.png", "restored", output="out/a.png", sha256="00", ms=12)
    past = reopen(manifest).record("a.png")
    result = Result("out/a.png", "00")
    assert past == InputRecord("r", STAMP, "restored", attempts=1, result=result)
    assert manifest.record("b.png") is None


def test_a_killer_that_comes_first_every_time_is_found(manifest: Journal) -> None:
    """The others that the first run was at are never begun again, and must not hide it."""
    for name in ("a.png", "b.png", "c.png"):
        begin(manifest, name)
    for _ in range(MAX_CRASHES):
        manifest = reopen(manifest)
        begin(manifest, "a.png")
    past = reopen(manifest).record("a.png")
    assert past is not None
    assert past.crashes == MAX_CRASHES
    beside = OPENED[-1].record("b.png")
    assert beside is not None
    assert (beside.crashes, beside.crash_suspect) == (0, True)


def test_what_failed_is_remembered_with_its_code(manifest: Journal) -> None:
    begin(manifest)
    manifest.end("a.png", "failed", error_type="ImageError", reason="bad", exit_code=4)
    past = reopen(manifest).record("a.png")
    assert past is not None
    assert (past.status, past.error_type, past.exit_code) == ("failed", "ImageError", 4)


def test_a_process_that_ends_without_a_word_counts_against_what_it_had_begun(
    manifest: Journal,
) -> None:
    begin(manifest, "done.png")
    manifest.end("done.png", "restored", output="x", sha256="1")
    for kills in (1, 2, 3):
        begin(manifest)
        manifest = reopen(manifest)
        past = manifest.record("a.png")
        assert past is not None
        assert (past.crashes, past.attempts, past.status) == (kills, kills, None)
    done = manifest.record("done.png")
    assert done is not None
    assert done.crashes == 0
    begin(manifest)
    manifest.end("a.png", "restored", output="x", sha256="1")
    past = reopen(manifest).record("a.png")
    assert past is not None
    assert past.crashes == 0


@pytest.mark.parametrize("change", [{"recipe": "other"}, {"stamp": (7, 7)}])
def test_crashes_do_not_count_against_another_input_or_other_settings(
    change: dict[str, Any], manifest: Journal
) -> None:
    for _ in range(MAX_CRASHES):
        begin(manifest)
        manifest = reopen(manifest)
    manifest.begin("a.png", **{"recipe": "r", "stamp": STAMP, **change})
    manifest.end("a.png", "failed", error_type="ImageError", reason="bad", exit_code=4)
    past = reopen(manifest).record("a.png")
    assert past is not None
    assert (past.crashes, past.crash_suspect) == (0, False)


def test_of_several_that_were_begun_each_is_suspected_and_none_blamed(manifest: Journal) -> None:
    begin(manifest, "a.png")
    begin(manifest, "b.png")
    manifest = reopen(manifest)
    for name in ("a.png", "b.png"):
        past = manifest.record(name)
        assert past is not None
        assert (past.crashes, past.crash_suspect) == (0, True)


def test_a_worker_process_that_dies_counts_against_its_own_inputs_alone(
    manifest: Journal,
) -> None:
    for name in ("a.png", "b.png", "c.png"):
        begin(manifest, name)
    manifest.crashed(["b.png"])
    assert manifest.is_open("a.png")
    assert not manifest.is_open("b.png")
    begin(manifest, "b.png")
    manifest.crashed(["b.png", "another run's.png"])  # not alone, though the other is not known
    manifest.crashed(["c.png"])
    manifest.close()
    again = opened(manifest.path)
    found = {name: again.record(name) for name in ("a.png", "b.png", "c.png")}
    assert {name: (r.crashes, r.crash_suspect) for name, r in found.items() if r} == {
        "a.png": (0, False), "b.png": (1, True), "c.png": (1, True),
    }  # fmt: skip


def test_an_orderly_end_counts_against_nothing(manifest: Journal) -> None:
    begin(manifest)
    manifest.close()
    past = opened(manifest.path).record("a.png")
    assert past is not None
    assert (past.crashes, past.status, past.attempts) == (0, None, 1)


def test_a_torn_last_line_is_left_out_and_the_next_one_is_whole(manifest: Journal) -> None:
    begin(manifest)
    manifest.end("a.png", "restored", output="x", sha256="1")
    with manifest.path.open("ab") as stream:
        stream.write(b'{"event": "begin", "inp')
    again = reopen(manifest)
    begin(again, "b.png")
    again.end("b.png", "restored", output="y", sha256="2")
    last = reopen(again)
    for name in ("a.png", "b.png"):
        past = last.record(name)
        assert past is not None
        assert past.status == "restored"


def test_another_recipe_or_another_input_begins_anew_and_knows_the_old_result(
    manifest: Journal,
) -> None:
    begin(manifest)
    manifest.end("a.png", "restored", output="out/a.png", sha256="77")
    begin(manifest, recipe="other")
    past = reopen(manifest).record("a.png")
    assert past is not None
    assert (past.recipe, past.status, past.attempts) == ("other", None, 1)
    assert past.result == Result("out/a.png", "77")


def test_two_runs_cannot_share_a_manifest(manifest: Journal) -> None:
    with pytest.raises(OptionError, match="another run"):
        Journal(manifest.path)
    manifest.close()
    Journal(manifest.path).close()


def test_a_manifest_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be made"):
        Journal(tmp_path / "file" / "manifest.jsonl")


@pytest.mark.parametrize("path", ["/proc/m.jsonl", "a\0b/m", "a\0b", "."])
def test_a_manifest_that_has_no_place_is_an_output_error(path: str) -> None:
    with pytest.raises(OutputError):
        Journal(Path(path))


def test_rows_can_be_read_by_anything_that_reads_json(manifest: Journal) -> None:
    begin(manifest, "ordner/ü \n.png")
    manifest.end("ordner/ü \n.png", "failed", reason='"quoted"\n', error_type="E", exit_code=4)
    rows = [json.loads(line) for line in manifest.path.read_text().splitlines()]
    assert [row["event"] for row in rows] == ["begin", "end"]
    assert rows[0]["input"] == "ordner/ü \n.png"


@settings(deadline=None)
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
        past = manifest.record("a")
        assert (0 if past is None else past.crashes) == kills
    known = manifest.record("a")
    is_open = manifest.is_open("a")
    again = reopen(manifest).record("a")
    if not is_open:
        assert again == known


def target_with(folder: Path, data: bytes) -> tuple[Path, Result]:
    path = folder / "a.png"
    path.write_bytes(data)
    return path, Result("out/a.png", digest_of_file(path), fingerprint(path))


def decided(
    past: InputRecord | None,
    target: Path,
    *,
    recipe: str = "r",
    stamp: tuple[int, int] = STAMP,
    source: str | None = None,
    **flags: bool,
) -> Decision:
    return decide(past, Wanted(target, recipe, stamp, source), **flags)


def test_what_is_done_under_the_same_recipe_is_left_alone(tmp_path: Path) -> None:
    target, result = target_with(tmp_path, b"made")
    past = InputRecord("r", STAMP, "restored", 1, result=result)
    assert decided(past, target) == Decision("leave", "already done")
    assert decided(past, target, overwrite=True).action == "do"
    target.unlink()
    assert decided(past, target).action == "do"


def test_a_result_of_another_recipe_or_a_changed_input_is_made_again_unless_it_was_changed(
    tmp_path: Path,
) -> None:
    target, result = target_with(tmp_path, b"made")
    past = InputRecord("r", STAMP, "restored", 1, result=result)
    assert decided(past, target, recipe="other").action == "redo"
    assert decided(past, target, stamp=(1, 1)).action == "redo"
    target.write_bytes(b"touched up by hand")
    for recipe in ("r", "other"):
        changed = decided(past, target, recipe=recipe)
        assert changed.action == "leave"
        assert "--overwrite" in changed.why
    # not the picture that was asked for, so it cannot count as done
    assert decided(past, target, stamp=(1, 1)).action == "refuse"


def test_what_the_manifest_does_not_know_is_refused_and_never_called_done(tmp_path: Path) -> None:
    target, result = target_with(tmp_path, b"of somebody else")
    refused = decided(None, target)
    assert refused.action == "refuse"
    assert "a.png exists already" in refused.why
    other_name = replace(result, output="out/a.jpg.png")
    assert (
        decided(InputRecord("r", STAMP, "restored", 1, result=other_name), target).action
        == "refuse"
    )
    assert decided(InputRecord("r", STAMP, "failed", 1, error_type="E"), target).action == "failed"
    assert decided(InputRecord("r", (9, 9), "failed", 1), target).action == "refuse"
    assert decided(None, target, overwrite=True).action == "do"


def test_a_folder_or_a_link_in_the_place_of_a_result_is_refused(tmp_path: Path) -> None:
    target, result = target_with(tmp_path, b"made")
    past = InputRecord("r", STAMP, "restored", 1, result=result)
    target.rename(tmp_path / "real.png")
    target.mkdir()
    assert decided(past, target).action == "refuse"
    target.rmdir()
    target.symlink_to(tmp_path / "real.png")
    assert decided(past, target).action == "refuse"
    target.unlink()
    target.symlink_to("nowhere")
    assert decided(past, target).action == "refuse"


def test_a_photo_of_another_folder_is_never_already_done(tmp_path: Path) -> None:
    target, result = target_with(tmp_path, b"made")
    source = tmp_path / "in1" / "a.png"
    source.parent.mkdir()
    source.write_bytes(b"the photo")
    result = replace(result, source=str(source), source_sha256=digest_of_file(source))
    past = InputRecord("r", STAMP, "restored", 1, source=str(source), result=result)
    other = tmp_path / "in2" / "a.png"
    other.parent.mkdir()
    other.write_bytes(b"another one")
    for stamp in (STAMP, (9, 9)):
        refused = decided(past, target, source=str(other), stamp=stamp)
        assert refused.action == "refuse"
        assert str(source) in refused.why
    # the same photo in a folder that was moved or copied
    other.write_bytes(b"the photo")
    assert decided(past, target, source=str(other)).action == "leave"


def test_another_photo_with_the_size_and_the_time_of_the_one_before_is_made(tmp_path: Path) -> None:
    target, result = target_with(tmp_path, b"made")
    source = tmp_path / "in.png"
    source.write_bytes(b"the photo")
    result = replace(result, source=str(source), source_sha256=digest_of_file(source))
    past = InputRecord("r", STAMP, "restored", 1, source=str(source), changed_ns=7, result=result)
    wanted = Wanted(target, "r", STAMP, str(source), changed_ns=7)
    assert decide(past, wanted).action == "leave"
    touched = replace(wanted, changed_ns=8)  # renamed there and back, or made readable
    assert decide(past, touched).action == "leave"
    source.write_bytes(b"another!!")
    assert decide(past, touched).action == "redo"


def test_a_result_that_was_written_as_the_process_was_killed_counts(tmp_path: Path) -> None:
    target, result = target_with(tmp_path, b"new")
    first = InputRecord("r", STAMP, None, 1, crashes=1, known=True, open=True)
    assert decided(first, target) == Decision("leave", "already done", finished=True)
    older = replace(result, sha256="of the older one", stamp=(1, 1))
    again = replace(first, result=older, found=(1, 1))
    assert decided(again, target).finished


def test_what_lay_there_before_the_process_was_killed_does_not_count(tmp_path: Path) -> None:
    target, _ = target_with(tmp_path, b"of somebody else")
    killed = InputRecord(
        "r", STAMP, None, 1, crashes=1, known=True, open=True, found=fingerprint(target)
    )
    assert decided(killed, target).action == "refuse"
    failed = InputRecord("r", STAMP, None, 1, known=True, open=False)
    assert decided(failed, target).action == "refuse"


def test_failures_are_not_tried_again_until_asked_or_the_input_changes(tmp_path: Path) -> None:
    past = InputRecord("r", STAMP, "failed", 1, reason="bad", exit_code=4)
    target = tmp_path / "a.png"
    assert decided(past, target).action == "failed"
    assert decided(past, target, retry_failed=True).action == "do"
    assert decided(past, target, overwrite=True).action == "do"
    assert decided(past, target, stamp=(9, 9)).action == "do"
    assert decided(past, target, recipe="other").action == "do"


@pytest.mark.parametrize(
    "kind", ["ImageTooLargeError", "FileTooLargeError", "MemoryLimitError", "DecodeTimeoutError"]
)
def test_what_was_over_a_limit_is_looked_at_again(kind: str, tmp_path: Path) -> None:
    """The limit may be another one now, and no recipe holds it."""
    past = InputRecord("r", STAMP, "failed", 1, error_type=kind)
    assert decided(past, tmp_path / "a.png").action == "do"


def test_what_killed_runs_is_tried_alone_and_at_last_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "a.png"
    for kills in range(1, MAX_CRASHES):
        suspect = InputRecord("r", STAMP, crashes=kills, crash_suspect=True)
        decision = decided(suspect, target)
        assert (decision.action, decision.alone) == ("do", True)
    most = InputRecord("r", STAMP, crashes=MAX_CRASHES, crash_suspect=True)
    assert decided(most, target).action == "quarantined"
    retried = decided(most, target, retry_failed=True)
    assert (retried.action, retried.alone) == ("do", True)


def extra_of(target: Path, data: bytes) -> tuple[Path, Result]:
    path = target.with_name("a_compare.jpg")
    path.write_bytes(data)
    result = Result("out/a.png", digest_of_file(target), fingerprint(target))
    known = (("a_compare.jpg", digest_of_file(path)),)
    return path, replace(result, extras=known, asked=frozenset({"compare"}))


def test_a_comparison_that_is_not_ours_is_never_replaced(tmp_path: Path) -> None:
    target, _ = target_with(tmp_path, b"made")
    extra, result = extra_of(target, b"comparison")
    past = InputRecord("old", STAMP, "restored", 1, result=result)
    asked: frozenset[Asked] = frozenset({"compare"})
    wanted = Wanted(target, "r", STAMP, asked=asked, extras=(extra,))
    assert decide(past, wanted).action == "redo"
    extra.write_bytes(b"a source photo")
    for known in (past, None):
        target.unlink(missing_ok=True)
        refused = decide(known, wanted)
        assert refused.action == "refuse"
        assert "a_compare.jpg" in refused.why
    assert decide(past, wanted, overwrite=True).action == "do"


def test_a_comparison_that_is_asked_for_later_is_made(tmp_path: Path) -> None:
    target, result = target_with(tmp_path, b"made")
    past = InputRecord("r", STAMP, "restored", 1, result=result)
    asked: frozenset[Asked] = frozenset({"compare"})
    assert decide(past, Wanted(target, "r", STAMP, asked=asked, missing=True)).action == "redo"
    assert decide(past, Wanted(target, "r", STAMP, asked=asked)).action == "redo"
    done = replace(past, result=replace(result, asked=asked))
    assert decide(done, Wanted(target, "r", STAMP, asked=asked)).action == "leave"
    assert decide(done, Wanted(target, "r", STAMP)).action == "leave"


GOOD = {"event": "begin", "input": "a.png", "recipe": "r", "stamp": [100, 5]}


@pytest.mark.parametrize(
    "line",
    [
        json.dumps({**GOOD, "stamp": []}),
        json.dumps({**GOOD, "stamp": [1, 2, 3]}),
        json.dumps({**GOOD, "stamp": ["1", 2]}),
        json.dumps({**GOOD, "stamp": {"0": 1, "1": 2}}),
        json.dumps({**GOOD, "stamp": [True, 2]}),
        json.dumps({**GOOD, "stamp": [float("nan"), 2]}),
        '{"event": "begin", "input": "a.png", "recipe": "r", "stamp": [1e999, 5]}',
        '{"event": "begin", "input": "a.png", "recipe": "r", "stamp": [%s, 5]}' % ("9" * 5000),
        json.dumps({**GOOD, "recipe": None}),
        json.dumps({**GOOD, "input": ["a.png"]}),
        json.dumps({**GOOD, "source": 5}),
        json.dumps({**GOOD, "found": "now"}),
        json.dumps({**GOOD, "event": ["begin"]}),
        json.dumps({**GOOD, "event": "something else"}),
        json.dumps({"event": "end", "input": "good.png", "status": "eaten"}),
        json.dumps({"event": "end", "input": "good.png", "status": []}),
        json.dumps({"event": "end", "input": "good.png"}),
        json.dumps({"event": "end", "input": "good.png", "status": "failed", "exit_code": "x"}),
        json.dumps({"event": "end", "input": "good.png", "status": "failed", "reason": {}}),
        json.dumps({"event": "end", "input": "good.png", "status": "failed", "extras": []}),
        json.dumps({"event": "end", "input": "good.png", "status": "failed", "extras": {"a": 1}}),
        json.dumps({"event": "end", "input": "good.png", "status": "failed", "asked": "faces"}),
        json.dumps({"event": "end", "input": "good.png", "status": "failed", "made": [1]}),
        json.dumps({"event": "end", "input": "never begun", "status": "failed"}),
        "[" * 100_000,
        "[]", "null", "5", '"event"', "{", "not JSON", "\xff\xfe", "{}",
        json.dumps({**GOOD, "padding": "x" * (2 << 20)}),
    ],
)  # fmt: skip
def test_a_row_that_was_edited_by_hand_is_ignored_with_one_warning(
    line: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "manifest.jsonl"
    manifest = opened(path)
    begin(manifest, "good.png")
    manifest.end("good.png", "restored", output="x", sha256="1")
    abandon(manifest)
    with path.open("ab") as stream:
        stream.write(line.encode("latin-1") + b"\n" + line.encode("latin-1") + b"\n")
    again = opened(path)
    past = again.record("good.png")
    assert past is not None
    assert past.status == "restored"
    assert again.record("a.png") is None
    assert [record.message for record in caplog.records] == [
        f"{path}: 2 rows are damaged and ignored"
    ]


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_whatever_a_manifest_holds_besides_rows_it_can_be_opened(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    path = tmp_path_factory.mktemp("runs") / "m"
    path.write_bytes(json.dumps(GOOD).encode() + b"\n" + data)
    manifest = opened(path)
    begin(manifest)
    assert reopen(manifest).record("a.png") is not None


def test_a_file_that_is_no_manifest_is_not_written_to(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(b"\xff\xd8a photo\nof two lines")
    with pytest.raises(OptionError, match="is no manifest"):
        Journal(path)
    assert path.read_bytes() == b"\xff\xd8a photo\nof two lines"


def test_a_planted_link_is_not_written_through(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    path = tmp_path / "out" / ".restora" / "manifest.jsonl"
    path.parent.mkdir(parents=True)
    for plant in (path.symlink_to, path.hardlink_to):
        plant(victim)
        with pytest.raises(UnsafePathError, match=r"manifest\.jsonl"):
            Journal(path)
        path.unlink()
    os.mkfifo(path)
    with pytest.raises(UnsafePathError, match="plain file"):
        Journal(path)
    assert victim.read_text() == "precious"


def test_a_hidden_folder_that_is_a_link_is_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".restora").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UnsafePathError, match="it is a link"):
        Journal(tmp_path / "out" / ".restora" / "manifest.jsonl")
    assert not list((tmp_path / "elsewhere").iterdir())


def test_a_full_disk_is_a_typed_error_and_closing_raises_nothing(
    manifest: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(manifest, "a.png")
    before = manifest.path.read_bytes()
    write = os.write

    def full(descriptor: int, data: bytes) -> int:
        write(descriptor, bytes(data[:5]))
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(DiskFullError, match="No space left"):
            manifest.end("a.png", "restored", output="x", sha256="1")
        assert manifest.path.read_bytes() == before  # no half row
        manifest.close()
    past = opened(manifest.path).record("a.png")
    assert past is not None
    assert past.status is None


def test_a_manifest_that_cannot_be_opened_leaves_it_unlocked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "manifest.jsonl"
    begin(opened(path))
    abandon(OPENED.pop())
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(errno.EIO, "broken")))
        with pytest.raises(OutputError, match="broken"):
            Journal(path)
    opened(path)
