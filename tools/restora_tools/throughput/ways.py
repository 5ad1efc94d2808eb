"""A folder of photos restored in every way: through the flow, one after another, as published; and
each stage of the flow alone."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from restora import Photo, Restorer, read_photo, write_photo
from restora.jobs.memory import PhotoMemory
from restora.jobs.output import WriteOptions, write_result
from restora.jobs.photo_flow import PhotoFlow, Stages
from restora.networks import max_in_flight, slots_for

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class PhotoFile:
    """A photo, and where its result goes."""

    source: Path
    target: Path
    alone: bool = False


def through_the_flow(restorer: Restorer, files: list[PhotoFile]) -> Stages:
    """As `restora restore` does it. Returns what each stage has done."""
    stages = Stages.around(restorer)
    flow: PhotoFlow[PhotoFile] = PhotoFlow(restorer, stages, WriteOptions(), PhotoMemory(restorer))
    outcomes = [outcome for _, outcome in flow.iter_outcomes(files)]
    assert all(outcome.status == "restored" for outcome in outcomes), outcomes
    return stages


def one_after_another(restorer: Restorer, files: list[PhotoFile]) -> None:
    """The same networks, codecs and files, in a plain loop."""
    for file in files:
        write_photo(restorer.restore(read_photo(file.source)).photo, file.target)


def stages_alone(restorer: Restorer, files: list[PhotoFile]) -> dict[str, Callable[[], object]]:
    """Each stage on all photos, with as many threads as the flow gives it, and nothing else at the
    same time."""
    stages = Stages.around(restorer)
    photos = [read_photo(file.source) for file in files]
    results = [restorer.restore(photo) for photo in photos]

    def restore(photo: Photo) -> None:
        with stages.restore.running(slots_for(restorer.networks, photo.width, photo.height)):
            restorer.restore(photo)

    def encode(index: int) -> None:
        write_result(files[index].target, photos[index], results[index], WriteOptions())

    coders = stages.decode.slots.capacity
    return {
        "decode": lambda: _in_threads(coders, read_photo, [file.source for file in files]),
        "restore": lambda: _in_threads(max_in_flight(restorer.networks), restore, photos),
        "encode": lambda: _in_threads(coders, encode, list(range(len(files)))),
    }


def _in_threads(count: int, work: Callable[[T], R], items: list[T]) -> None:
    with ThreadPoolExecutor(count) as threads:
        for _ in threads.map(work, items):
            pass
