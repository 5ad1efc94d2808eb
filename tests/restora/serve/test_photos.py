"""Facts about the work on one photo: its stages are bounded, and so are its decoders."""

from __future__ import annotations

from pathlib import Path

import pytest

from fakes import NearestSession
from restora import PhotoLimits
from restora.backends.base import Batch
from restora.errors import DeadlineExceededError, ImageTooLargeError, MemoryLimitError
from restora.pipeline import Restorer
from restora.serve.parameters import PhotoParameters
from restora.serve.photos import PhotoStages, PhotoWork, probe_upload
from restora.serve.tickets import Ticket
from restora.serve.tokens import ANONYMOUS
from serve_rig import picture, restorer_on


class FullSession(NearestSession):
    def run(self, batch: Batch) -> Batch:
        raise MemoryError


def work_on(restorer: Restorer, folder: Path, memory: int | None = None) -> PhotoWork:
    stages = PhotoStages.around(restorer, memory=memory)
    return PhotoWork(stages, PhotoLimits(), folder, memory_bytes=10_000)


def test_with_a_memory_limit_one_decoder_reads_headers_and_photos() -> None:
    restorer = restorer_on(NearestSession())
    stages = PhotoStages.around(restorer, memory=1 << 30)
    assert stages.probes is stages.decoders
    assert stages.decoders.capacity == 1
    free = PhotoStages.around(restorer, memory=None)
    assert free.probes is not free.decoders
    assert free.probes.capacity > 1


def test_small_photos_always_have_room_beside_long_ones() -> None:
    stages = PhotoStages.around(restorer_on(NearestSession()), memory=None)
    assert stages.large.capacity <= stages.long.capacity < stages.restore.slots.capacity


def test_a_header_with_too_many_pixels_is_refused() -> None:
    with pytest.raises(ImageTooLargeError, match="the photo has 24 x 16"):
        probe_upload(picture(), PhotoLimits(max_pixels=383))
    assert probe_upload(picture(), PhotoLimits(max_pixels=384)).width == 24


@pytest.mark.parametrize("keep", [True, False])
def test_a_kept_result_is_a_file_and_another_small_one_is_not(tmp_path: Path, keep: bool) -> None:
    restorer = restorer_on(NearestSession())
    made = work_on(restorer, tmp_path).restore(
        Ticket("1", ANONYMOUS), picture(), restorer, PhotoParameters(), weight="small", keep=keep
    )
    assert isinstance(made.blob.finish(), Path) == keep
    assert len(list(tmp_path.iterdir())) == keep
    made.blob.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("weight", ["small", "long", "large"])
def test_stages_are_free_again_after_work_that_fails(tmp_path: Path, weight: str) -> None:
    full, good = restorer_on(FullSession()), restorer_on(NearestSession())
    work = work_on(good, tmp_path)
    for _ in range(10):
        with pytest.raises(MemoryLimitError, match="more memory than there is"):
            work.restore(
                Ticket("1", ANONYMOUS), picture(), full, PhotoParameters(),
                weight=weight,  # type: ignore[arg-type]
            )  # fmt: skip
    made = work.restore(
        Ticket("2", ANONYMOUS), picture(), good, PhotoParameters(),
        weight=weight,  # type: ignore[arg-type]
    )  # fmt: skip
    assert made.size == (48, 32)
    assert list(tmp_path.iterdir()) == []


def test_work_that_nobody_waits_for_is_not_begun(tmp_path: Path) -> None:
    session = NearestSession()
    restorer = restorer_on(session)
    ticket = Ticket("1", ANONYMOUS, deadline_s=0.0)
    with pytest.raises(DeadlineExceededError):
        work_on(restorer, tmp_path).restore(
            ticket, picture(), restorer, PhotoParameters(), weight="small"
        )
    assert session.shapes == []
    assert ticket.state == "uploading"
