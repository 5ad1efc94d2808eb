"""What an interrupted video leaves on disk is taken up again, or thrown away."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from random import Random

from fuzz.mutate import MAX_BYTES, mutate_bytes
from fuzz.target import Input, Target
from restora.jobs.disk import digest_of_file
from restora.jobs.journal import Journal
from restora.video.segment_file import Encoded
from restora.video.segments import JOURNAL, SegmentStore

_RECIPE = {"encoder": "x264", "frames": 24}
_FRAMES = 24
_DIGEST = hashlib.sha256().digest_size


def make_seeds() -> dict[str, Input]:
    """The files of two finished segments."""
    found = {}
    with tempfile.TemporaryDirectory() as name, _open(Path(name) / "seeds") as store:
        for number, count in enumerate((1, 3)):
            store.begin()
            store.append([_packet(index) for index in range(count)], frames=count)
            found[f"segment-{number}"] = Input(".segment", _newest(store.folder).read_bytes())
    return found


def mutate(one: Input, rng: Random, others: Sequence[Input]) -> Input:
    """Mostly with a digest that fits."""
    body = mutate_bytes(one.data[_DIGEST:], rng, [other.data[_DIGEST:] for other in others])
    digest = hashlib.sha256(body).digest() if rng.random() < 0.9 else one.data[:_DIGEST]
    data = digest + body
    return Input(one.ending, (mutate_bytes(data, rng) if rng.random() < 0.05 else data)[:MAX_BYTES])


def check(path: Path) -> str:
    folder = path.parent / "segments"
    shutil.rmtree(folder, ignore_errors=True)
    with _open(folder) as store:
        store.begin()
        store.append([_packet(0)], frames=1)
    segment = _newest(folder)
    shutil.copyfile(path, segment)
    with contextlib.closing(Journal(folder / JOURNAL)) as journal:
        past = journal.record(segment.name)
        assert past is not None
        journal.begin(segment.name, recipe=past.recipe, stamp=past.stamp)
        digest = digest_of_file(segment)
        journal.end(segment.name, "restored", output=segment.name, sha256=digest)
    with _open(folder) as again:
        packets = list(again.packets())
        assert 0 <= again.frames <= _FRAMES * again.finished, "frames"
        return f"{again.finished} segments" + (" with packets" if packets else "")


def _open(folder: Path) -> SegmentStore:
    return SegmentStore(folder, _RECIPE, stamp=(1, 1), max_frames=_FRAMES)


def _newest(folder: Path) -> Path:
    return max(folder.glob("segment-*"))


def _packet(index: int) -> Encoded:
    return Encoded(bytes(range(40)), index * 512, index * 512, 512, index == 0)


TARGET = Target(make_seeds, mutate, check, cpu_s=2.0, memory_mb=128, weight=0.5)
