"""Facts about restore_many: results in order, bounded work, and what a failed photo does."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fakes import BatchingSession, NearestSession
from restora import RestoraError, Restoration, Restorer, encode_photo
from restora.backends.base import Batch
from restora.errors import (
    DeviceLostError,
    ImageError,
    MemoryLimitError,
    NonFiniteOutputError,
    OptionError,
    SessionError,
)
from restora.image import Photo


def photo_of(value: int, width: int = 8) -> Photo:
    return Photo(np.full((8, width, 3), value, np.uint8))


def value_of(result: Restoration | RestoraError) -> int:
    assert isinstance(result, Restoration), result
    return int(result.photo.pixels[0, 0, 0])


class Moody(NearestSession):
    """Raises `error` for pictures of one value."""

    def __init__(self, value: int, error: BaseException) -> None:
        super().__init__()
        self.value, self.error = value, error

    def run(self, batch: Batch) -> Batch:
        if batch[0, 0, 0, 0] == self.value:
            raise self.error
        return super().run(batch)


class First(NearestSession):
    """Holds the photo of value 0 back until one of value 1 is done."""

    def __init__(self) -> None:
        super().__init__()
        self.limits = type(self.limits)(best_calls=2)
        self.done = threading.Event()

    def run(self, batch: Batch) -> Batch:
        if batch[0, 0, 0, 0] == 0:
            assert self.done.wait(10)
        else:
            self.done.set()
        return super().run(batch)


def test_results_come_in_the_order_of_the_photos() -> None:
    """The second photo is done before the first."""
    with Restorer.from_session(First()) as restorer:
        results = restorer.restore_many([photo_of(0), photo_of(1), photo_of(2)])
        assert [value_of(result) for result in results] == [0, 1, 2]


def test_every_kind_of_photo_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(encode_photo(photo_of(1), format="png"))
    gray = Photo(photo_of(4).pixels[..., 0], alpha=photo_of(4).pixels[..., 0])
    with Restorer.from_session(NearestSession()) as restorer, path.open("rb") as stream:
        items = [path, str(path), path.read_bytes(), photo_of(2).pixels, photo_of(3), gray, stream]
        results = list(restorer.restore_many(items, outscale=3))
    found = [int(result.photo.pixels[0, 0, ...].flat[0]) for result in results]
    assert found == [1, 1, 1, 2, 3, 4, 1]
    assert {result.photo.width for result in results} == {24}


def test_photos_that_are_under_way_together_share_batches() -> None:
    session = BatchingSession(seconds=0.02)
    with Restorer.from_session(session) as restorer:
        assert len(list(restorer.restore_many([photo_of(v, 16) for v in range(16)]))) == 16
        (network,) = restorer.networks
    assert network.stats is not None
    assert network.stats.calls < network.stats.pictures == 16


def test_an_endless_generator_is_read_only_as_far_as_there_is_work() -> None:
    taken: list[int] = []

    def endless() -> Iterator[Photo]:
        while True:
            taken.append(len(taken))
            yield photo_of(len(taken) % 256)

    with Restorer.from_session(NearestSession()) as restorer:
        results = restorer.restore_many(endless())
        for _ in range(5):
            next(results)
        # 2 in the network, 2 decoded ahead, one that waits for room
        assert len(taken) <= 5 + 2 + 2 + 1
        results.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", ["array", "photo", "bytes", "path"])
def test_photos_that_do_not_fit_into_memory_together_are_restored_one_by_one(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("restora.many.count_free_bytes", lambda: 2)
    running = [0, 0]
    lock = threading.Lock()

    class Counts(NearestSession):
        def run(self, batch: Batch) -> Batch:
            with lock:
                running[0] += 1
                running[1] = max(running)
            result = super().run(batch)
            with lock:
                running[0] -= 1
            return result

    session = Counts()
    session.limits = type(session.limits)(best_calls=4)
    data = encode_photo(photo_of(1), format="png")
    (tmp_path / "a.png").write_bytes(data)
    item: Any = {
        "array": photo_of(1).pixels, "photo": photo_of(1), "bytes": data, "path": tmp_path / "a.png"
    }[kind]  # fmt: skip
    with Restorer.from_session(session) as restorer:
        results = restorer.restore_many([item] * 6)
        next(results)
        # the first holds all memory until the second is asked for
        assert len(session.shapes) == 1
        assert len(list(results)) == 5
    assert running[1] == 1


def test_a_photo_that_fails_raises_in_its_turn() -> None:
    session = Moody(1, NonFiniteOutputError("NaN"))
    with Restorer.from_session(session) as restorer:
        results = restorer.restore_many([photo_of(0), photo_of(1), photo_of(2)])
        assert value_of(next(results)) == 0
        with pytest.raises(NonFiniteOutputError):
            next(results)
        assert list(results) == []


def test_a_failed_photo_is_returned_in_its_place_if_asked_for(tmp_path: Path) -> None:
    session = Moody(9, SessionError("the server did not answer"))
    items = [photo_of(0), tmp_path / "none.png", b"no picture", photo_of(9), None, photo_of(3)]
    with Restorer.from_session(session) as restorer:
        results = list(restorer.restore_many(items, on_error="return"))  # type: ignore[arg-type]
    assert [value_of(results[index]) for index in (0, 5)] == [0, 3]
    assert isinstance(results[1], ImageError)
    assert isinstance(results[2], ImageError)
    assert isinstance(results[3], SessionError)
    assert isinstance(results[4], RestoraError)


@pytest.mark.parametrize("on_error", ["raise", "return"])
def test_full_memory_is_a_typed_error(on_error: Any) -> None:
    with Restorer.from_session(Moody(1, MemoryError())) as restorer:
        results = restorer.restore_many([photo_of(1)], on_error=on_error)
        if on_error == "raise":
            with pytest.raises(MemoryLimitError):
                next(results)
        else:
            assert isinstance(next(results), MemoryLimitError)


def test_a_lost_gpu_and_faults_of_code_are_always_raised() -> None:
    for error in (DeviceLostError("off the bus"), ZeroDivisionError("a fault")):
        with (
            Restorer.from_session(Moody(1, error)) as restorer,
            pytest.raises(type(error)),
        ):
            list(restorer.restore_many([photo_of(1)] * 3, on_error="return"))


def test_what_the_iterable_raises_is_raised_after_the_results_before_it() -> None:
    def breaks() -> Iterator[Photo]:
        yield photo_of(5)
        raise LookupError("the queue is gone")

    with Restorer.from_session(NearestSession()) as restorer:
        results = restorer.restore_many(breaks(), on_error="return")
        assert value_of(next(results)) == 5
        with pytest.raises(LookupError, match="the queue is gone"):
            next(results)


def test_options_are_checked_before_the_first_photo_is_taken() -> None:
    restorer = Restorer.from_session(NearestSession())
    with pytest.raises(OptionError, match="on_error must be one of 'raise', 'return', got 'skip'"):
        restorer.restore_many([], on_error="skip")  # type: ignore[call-overload]
    with pytest.raises(OptionError, match="outscale"):
        restorer.restore_many([], outscale=-1)
    restorer.close()
    with pytest.raises(SessionError, match="closed"):
        restorer.restore_many([])


def test_closing_in_between_ends_the_iteration_whatever_on_error_is() -> None:
    restorer = Restorer.from_session(NearestSession())
    results = restorer.restore_many((photo_of(v % 256) for v in range(10**6)), on_error="return")
    next(results)
    restorer.close()
    with pytest.raises(SessionError, match="closed"):
        list(islice(results, 20))


def test_no_photos_give_no_results() -> None:
    with Restorer.from_session(NearestSession()) as restorer:
        assert list(restorer.restore_many([])) == []
