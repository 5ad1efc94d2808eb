"""Facts about photos in the flow: batches are shared, memory is bounded, errors have one owner."""

from __future__ import annotations

import threading
import time
import tracemalloc
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from faces_fakes import ASTRONAUT, FaceSession, FixedDetector
from fakes import BatchingSession, restorer_of, tiny_artifact
from processes import run_measured
from restora.backends import SharedSession
from restora.backends.base import Batch
from restora.errors import DeviceMemoryError, NonFiniteOutputError, OptionError
from restora.faces import FaceRestorer
from restora.faces.pipeline import FaceStage
from restora.image import Photo, PhotoHeader, PhotoLimits, read_photo, write_photo
from restora.jobs.memory import PhotoMemory
from restora.jobs.outcome import Outcome
from restora.jobs.output import WriteOptions
from restora.jobs.photo_flow import PhotoFlow, Stages
from restora.jobs.sizes import bytes_of_photo
from restora.networks import max_in_flight, slots_for
from restora.options import RestoreOptions
from restora.pipeline import Restorer
from restora.restoration import Restoration
from restora.tile_memory import bytes_of_network


@dataclass(frozen=True)
class Job:
    source: Path
    target: Path
    alone: bool = False


class Sixes(BatchingSession):
    """A picture of sixes comes out as NaN."""

    def run(self, batch: Batch) -> Batch:
        result = super().run(batch)
        if (batch == 66).all(axis=(1, 2, 3)).any():
            raise NonFiniteOutputError("sixes")
        return result


@pytest.fixture
def session() -> Sixes:
    return Sixes()


@pytest.fixture
def restorer(session: Sixes) -> Iterator[Restorer]:
    with restorer_of(session) as opened:
        yield opened


def make_jobs(folder: Path, count: int, size: tuple[int, int] = (16, 16)) -> list[Job]:
    jobs = []
    for index in range(count):
        source = folder / f"{index:03}.png"
        shape = (size[1], size[0], 3)
        pixels = np.random.default_rng(index).integers(0, 256, shape, np.uint8)
        write_photo(Photo(pixels), source)
        jobs.append(Job(source, folder / "out" / source.name))
    return jobs


def run(
    restorer: Restorer, jobs: list[Job], *, limit: int | None = None
) -> tuple[dict[str, Outcome], PhotoFlow[Job]]:
    flow: PhotoFlow[Job] = PhotoFlow(
        restorer, Stages.around(restorer), WriteOptions(), PhotoMemory(restorer, limit)
    )
    outcomes = {job.source.name: outcome for job, outcome in flow.iter_outcomes(jobs)}
    return outcomes, flow


def test_tiles_of_different_photos_share_batches(
    restorer: Restorer, session: Sixes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = make_jobs(tmp_path, 24)
    begun, plain, plain_run = threading.Semaphore(0), restorer.restore, session.run

    def restore(photo: Photo, **options: Any) -> Restoration:
        begun.release()
        return plain(photo, **options)

    def run_first(batch: Batch) -> Batch:
        if not session.shapes:
            for _ in range(5):  # of 8 in flight; this call is of one of them
                begun.acquire(timeout=60)
            time.sleep(0.05)  # in which they reach the network
        return plain_run(batch)

    monkeypatch.setattr(restorer, "restore", restore)
    monkeypatch.setattr(session, "run", run_first)
    outcomes, _ = run(restorer, jobs)
    assert {outcome.status for outcome in outcomes.values()} == {"restored"}
    counts = [shape[0] for shape in session.shapes]
    assert sum(counts) == 24
    assert max(counts) > 1
    for job in jobs:
        expected = read_photo(job.source).pixels.repeat(2, axis=0).repeat(2, axis=1)
        assert np.array_equal(read_photo(job.target).pixels, expected)


def test_one_photo_that_makes_the_network_fail_costs_no_other(
    restorer: Restorer, tmp_path: Path
) -> None:
    jobs = make_jobs(tmp_path, 12)
    write_photo(Photo(np.full((16, 16, 3), 66, np.uint8)), jobs[5].source)
    outcomes, _ = run(restorer, jobs)
    failed = {name: outcome.error_type for name, outcome in outcomes.items() if outcome.error_type}
    assert failed == {"005.png": "NonFiniteOutputError"}


def test_a_fault_of_a_library_is_an_outcome_too(
    restorer: Restorer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = make_jobs(tmp_path, 3)
    real = restorer.restore

    def restore(photo: Photo, **options: object) -> object:
        if np.array_equal(photo.pixels, read_photo(jobs[1].source).pixels):
            raise RuntimeError("a fault")
        return real(photo, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(restorer, "restore", restore)
    outcomes, _ = run(restorer, jobs)
    assert outcomes["001.png"].error_type == "RuntimeError"
    assert outcomes["000.png"].status == outcomes["002.png"].status == "restored"


def test_when_it_stops_what_is_only_decoded_is_not_restored(
    restorer: Restorer, session: Sixes, tmp_path: Path
) -> None:
    jobs = make_jobs(tmp_path, 30, (200, 200))  # more tiles than a call takes: two at a time
    stop = threading.Event()
    flow: PhotoFlow[Job] = PhotoFlow(
        restorer, Stages.around(restorer), WriteOptions(), PhotoMemory(restorer)
    )
    done = []
    for job, outcome in flow.iter_outcomes(jobs, stop=stop.is_set):
        assert outcome.status == "restored"
        done.append(job)
        stop.set()
    assert 1 <= len(done) <= 5
    assert flow.stages.decode.use.items > len(done)
    assert len(list((tmp_path / "out").iterdir())) == len(done)
    assert sum(shape[0] for shape in session.shapes) == len(done) * 24**2  # tiles of a photo


def test_more_small_photos_than_large_ones_are_in_flight(restorer: Restorer) -> None:
    assert max_in_flight(restorer.networks) == 8
    assert slots_for(restorer.networks, 16, 16) == 1
    assert slots_for(restorer.networks, 400, 400) == 4


def test_faces_of_different_photos_share_batches() -> None:
    session = FaceSession(lambda x: 1 - x, side=64)
    shared = SharedSession(session, batch=4)
    asked, plain, plain_shared = threading.Semaphore(0), session.run, shared.run

    def ask(batch: Batch) -> Batch:
        asked.release()
        return plain_shared(batch)

    def run_first(batch: Batch) -> Batch:
        if not session.batches:
            for _ in photos:
                asked.acquire(timeout=60)
            time.sleep(0.05)  # in which they wait for the network
        return plain(batch)

    shared.run = ask  # type: ignore[method-assign]
    session.run = run_first  # type: ignore[method-assign]
    faces = FaceRestorer(shared, batch=4)
    stage = FaceStage(FixedDetector([ASTRONAUT]), lambda _io: faces)
    photos = [Photo(np.full((300, 300, 3), 20 * value, np.uint8)) for value in range(8)]
    results = [Photo(photo.pixels.copy()) for photo in photos]
    threads = [
        threading.Thread(target=stage.restore_faces, args=pair, kwargs={"upscale": 1})
        for pair in zip(photos, results, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(session.batches) == 8
    assert max(session.batches) > 1
    for value, result in enumerate(results):
        middle = result.pixels[130, 225]
        assert np.array_equal(middle, np.full(3, 255 - 20 * value))


def test_memory_bounds_how_many_are_under_way(restorer: Restorer, tmp_path: Path) -> None:
    jobs = make_jobs(tmp_path, 12, (64, 64))
    memory = PhotoMemory(restorer)
    flow: PhotoFlow[Job] = PhotoFlow(restorer, Stages.around(restorer), WriteOptions(), memory)
    assert flow.stages.max_items > 4
    costs = {memory.bytes_of_file(job.source, None, PhotoLimits()) for job in jobs}
    each = max(costs)
    assert max(costs) - min(costs) < each // 4
    flow.memory.budget.capacity = 2 * each + each // 2
    assert len(list(flow.iter_outcomes(jobs))) == 12
    assert 2 * min(costs) <= flow.memory.budget.peak_held <= 2 * each


def test_a_limit_counts_what_the_networks_take() -> None:
    limit = 8 << 30
    with restorer_of(BatchingSession(tile=512)) as restorer:
        (network,) = restorer.networks
        needed = bytes_of_network(network.info, network.limits, network.call_px)
        assert needed > 1 << 30  # far more than this process holds
        assert PhotoMemory(restorer, limit).budget.capacity < limit - needed


def test_a_photo_that_would_pass_the_limit_alone_fails_before_it_is_decoded(
    restorer: Restorer, tmp_path: Path
) -> None:
    jobs = make_jobs(tmp_path, 2)
    large = tmp_path / "large.png"
    write_photo(Photo(np.zeros((3000, 3000, 3), np.uint8)), large)
    jobs.append(Job(large, tmp_path / "out" / "large.png"))
    memory = PhotoMemory(restorer)
    limit = 8 << 30
    flow: PhotoFlow[Job] = PhotoFlow(
        restorer, Stages.around(restorer), WriteOptions(), PhotoMemory(restorer, limit)
    )
    flow.memory.budget.capacity = 16 << 20
    outcomes = {job.source.name: outcome for job, outcome in flow.iter_outcomes(jobs)}
    assert outcomes["large.png"].error_type == "MemoryLimitError"
    assert "--memory" in str(outcomes["large.png"].reason)
    assert outcomes["000.png"].status == "restored"
    assert memory.limit is None


def test_a_limit_that_the_networks_fill_is_refused_with_a_figure(restorer: Restorer) -> None:
    with pytest.raises(OptionError, match=r"they take \d+ MB, got 1 MB; give \d+M or more"):
        PhotoMemory(restorer, 1 << 20)


@pytest.mark.parametrize("gray", [False, True])
def test_alpha_depth_and_enlargement_count(gray: bool) -> None:
    channels = 1 if gray else 3
    plain = PhotoHeader(100, 100, "PNG", channels)
    base = bytes_of_photo(plain, scale=2, outscale=None)
    assert bytes_of_photo(replace(plain, channels=channels + 1), scale=2, outscale=None) > base
    assert bytes_of_photo(replace(plain, bits=16), scale=2, outscale=None) > 2 * base
    assert bytes_of_photo(plain, scale=2, outscale=4) > 2 * base
    assert bytes_of_photo(plain, scale=4, outscale=None) > 2 * base


@pytest.mark.parametrize(("scale", "pre_pad"), [(2, 0), (4, 0), (2, 256)])
@pytest.mark.parametrize("outscale", [None, 1.5])
@pytest.mark.parametrize(
    ("shape", "dtype"),
    [
        ((700, 900, 3), np.uint8),
        ((700, 900), np.uint8),
        ((500, 600, 3), np.uint16),
        ((500, 600), np.uint16),
    ],
)
def test_a_photo_takes_no_more_than_is_estimated(
    shape: tuple[int, ...],
    dtype: type,
    scale: int,
    pre_pad: int,
    outscale: float | None,
    tmp_path: Path,
) -> None:
    io = "uint8" if dtype is np.uint8 else "float32"
    (tmp_path / "tiny.onnx").write_bytes(tiny_artifact(scale=scale, io="uint8").onnx)
    (tmp_path / "tiny.float32.onnx").write_bytes(tiny_artifact(scale=scale, io="float32").onnx)
    options = RestoreOptions(tile=64, overlap=8, backend="cpu", pre_pad=pre_pad)
    pixels = np.random.default_rng(0).integers(0, 255, shape).astype(dtype)
    channels = 3 if len(shape) == 3 else 1
    header = PhotoHeader(shape[1], shape[0], "PNG", channels, 8 * np.dtype(dtype).itemsize)
    estimated = bytes_of_photo(header, scale=scale, outscale=outscale, pre_pad=pre_pad)
    with Restorer(tmp_path / "tiny.onnx", options=options) as restorer:
        # the first photo of a kind opens its network
        restorer.restore(Photo(pixels[:300, :300].copy()), outscale=outscale)
        tracemalloc.start()
        photo = Photo(pixels.copy())
        result = restorer.restore(photo, outscale=outscale)
        write_photo(result.photo, tmp_path / "out.png")
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    # gray photos of 8 bits go through the network for float32 pictures, one channel of bytes
    least = 0.15 if dtype is np.uint8 and channels == 1 else 0.3
    assert least * estimated < peak < estimated, io


def test_full_memory_is_the_photos_own_error(
    restorer: Restorer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = make_jobs(tmp_path, 2)
    full = {jobs[0].source.name: MemoryError(), jobs[1].source.name: DeviceMemoryError("full")}
    levels = {int(read_photo(job.source).pixels.flat[0]): job.source.name for job in jobs}

    def restore(photo: Photo, **options: object) -> object:
        raise full[levels[int(photo.pixels.flat[0])]]

    monkeypatch.setattr(restorer, "restore", restore)
    outcomes, _ = run(restorer, jobs)
    assert outcomes["000.png"].error_type == "MemoryLimitError"
    assert "--tile" in str(outcomes["000.png"].reason)
    # a GPU's full memory is no fault of the photo, and must keep its own type
    assert outcomes["001.png"].error_type == "DeviceMemoryError"


@pytest.mark.slow
def test_the_command_keeps_to_its_memory(tmp_path: Path) -> None:
    (tmp_path / "tiny.onnx").write_bytes(tiny_artifact(scale=4, io="uint8").onnx)
    make_jobs(tmp_path, 8, (1400, 1000))
    words = ["restore", "-i", ".", "-o", "out", "-n", "tiny.onnx", "--backend", "cpu"]

    def peak_of(*more: str) -> int:
        done, peak = run_measured(tmp_path, *words, *more)
        assert done.returncode == 0, done.stderr
        return peak

    limit = 520
    assert peak_of("--memory", f"{limit}M", "--overwrite") < limit << 20
    assert peak_of("--overwrite") > limit << 20  # else the limit would have bounded nothing
