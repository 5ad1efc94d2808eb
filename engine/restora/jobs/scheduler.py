"""Work on many items at once, bounded in number and in memory; none is lost or done twice."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Generic, TypeVar

from restora.jobs.budget import Budget

Item = TypeVar("Item")
Result = TypeVar("Result")


def _nothing(_item: object) -> int:
    return 0


def _beside_others(_item: object) -> bool:
    return False


def _never() -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Bounds(Generic[Item]):
    """Bounds of the items in flight.

    items: the number of items
    memory: budget of bytes; None: no bound
    bytes_of: the memory of an item, until the caller takes the next result
    alone: whether nothing else may be in flight with an item
    """

    items: int
    memory: Budget | None = None
    bytes_of: Callable[[Item], int] = _nothing
    alone: Callable[[Item], bool] = _beside_others


@dataclass(frozen=True, slots=True)
class _Entry(Generic[Item, Result]):
    """An item in flight, and its share of the bounds."""

    item: Item
    slots: int
    held: int
    future: Future[Result]


def run_flow(
    items: Iterable[Item],
    work: Callable[[Item], Result],
    bounds: Bounds[Item],
    *,
    in_order: bool = False,
    stop: Callable[[], bool] = _never,
) -> Generator[tuple[Item, Result], None, None]:
    """Yield every item with its result, in the order in which they finish, or in order of items.

    items: read ahead by a thread, as far as the bounds allow
    work: called in threads, for as many items at once as the bounds allow
    in_order: yield results in the order of items
    stop: checked before each item; items in flight are finished, the rest is not begun

    An item holds its share of the bounds until the caller asks for the next result. Exceptions of
    `items` and `work` are raised here; with in_order, after the results before them. If the caller
    leaves early, items in flight are finished first, unless it leaves by KeyboardInterrupt or
    another exception that is no Exception.
    """
    flow = _Flow(items, work, bounds, in_order=in_order, stop=stop)
    try:
        for entry in flow.iter_entries():
            try:
                yield entry.item, entry.future.result()
            finally:
                flow.release(entry)
    except (Exception, GeneratorExit):
        flow.end()
        raise
    except BaseException:
        flow.abandon()
        raise
    flow.end()
    if flow.failure is not None:
        raise flow.failure


class _Flow(Generic[Item, Result]):
    def __init__(
        self,
        items: Iterable[Item],
        work: Callable[[Item], Result],
        bounds: Bounds[Item],
        *,
        in_order: bool,
        stop: Callable[[], bool],
    ) -> None:
        self._items = items
        self._work = work
        self._bounds = bounds
        self._in_order = in_order
        self._stop = stop
        self._ending = False
        self.failure: BaseException | None = None
        self._slots = Budget(bounds.items)
        self._memory = bounds.memory or Budget(0)
        self._begun, self._taken, self._fed = 0, 0, False
        self._finished: SimpleQueue[_Entry[Item, Result] | None] = SimpleQueue()
        self._workers = ThreadPoolExecutor(bounds.items, thread_name_prefix="restora-flow")
        self._feeder = threading.Thread(target=self._feed, name="restora-feed", daemon=True)
        self._feeder.start()

    def iter_entries(self) -> Iterator[_Entry[Item, Result]]:
        """Yield entries that were begun and not taken yet."""
        while not (self._fed and self._taken == self._begun):
            entry = self._finished.get()
            if entry is None:
                self._fed = True
                continue
            self._taken += 1
            yield entry

    def release(self, entry: _Entry[Item, Result]) -> None:
        self._memory.release(entry.held)
        self._slots.release(entry.slots)

    def end(self) -> None:
        """Begin nothing more, and wait for the items in flight."""
        self._ending = True
        for entry in self.iter_entries():  # the feeder may be waiting for their share of the bounds
            wait([entry.future])
            self.release(entry)
        self._workers.shutdown()

    def abandon(self) -> None:
        """Begin nothing more, and do not wait for the items in flight."""
        self._ending = True
        self._workers.shutdown(wait=False, cancel_futures=True)

    def _feed(self) -> None:
        try:
            for item in self._items:
                if not self._begin(item):
                    break
        except BaseException as error:  # noqa: BLE001  raised where results are taken
            self.failure = error
        finally:
            self._finished.put(None)

    def _begin(self, item: Item) -> bool:
        """Wait for room and begin an item; False if nothing more is to be begun."""
        if self._ending or self._stop():
            return False
        slots = self._bounds.items if self._bounds.alone(item) else 1
        held = 0 if self._bounds.memory is None else self._bounds.bytes_of(item)
        self._slots.acquire(slots)
        self._memory.acquire(held)
        if self._ending or self._stop():
            self._memory.release(held)
            self._slots.release(slots)
            return False
        entry = _Entry(item, slots, held, self._workers.submit(self._work, item))
        self._begun += 1
        if self._in_order:
            self._finished.put(entry)
        else:
            entry.future.add_done_callback(lambda _: self._finished.put(entry))
        return True
