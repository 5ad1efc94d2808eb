"""Many items under way at once: bounded in number and in memory, none lost, none done twice."""

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
    """What may be under way at once.

    items: how many
    memory: bytes; None: no bound
    bytes_of what an item takes until its result has been taken
    alone: whether nothing else may be under way beside an item
    """

    items: int
    memory: Budget | None = None
    bytes_of: Callable[[Item], int] = _nothing
    alone: Callable[[Item], bool] = _beside_others


@dataclass(frozen=True, slots=True)
class _Entry(Generic[Item, Result]):
    """An item under way, with what it holds."""

    item: Item
    places: int
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
    """Yield every item with its result, as they are finished, or in order.

    items: read ahead in a thread of its own, as far as the bounds allow
    work: called in threads, for as many items at once as the bounds allow
    in_order: results come in the order of items
    stop: looked at before each item; what is begun is finished, the rest is not begun

    An item holds its share of the bounds until the caller asks for the next result. What `items`
    or `work` raise is raised here, after what came before it if in order. If the caller leaves
    early, what is begun is finished first, unless it leaves by KeyboardInterrupt or the like.
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
        self._places = Budget(bounds.items)
        self._memory = bounds.memory or Budget(0)
        self._begun, self._taken, self._fed = 0, 0, False
        self._finished: SimpleQueue[_Entry[Item, Result] | None] = SimpleQueue()
        self._workers = ThreadPoolExecutor(bounds.items, thread_name_prefix="restora-flow")
        self._feeder = threading.Thread(target=self._feed, name="restora-feed", daemon=True)
        self._feeder.start()

    def iter_entries(self) -> Iterator[_Entry[Item, Result]]:
        """Of those that are begun and were not taken yet; in order or as they are finished."""
        while not (self._fed and self._taken == self._begun):
            entry = self._finished.get()
            if entry is None:
                self._fed = True
                continue
            self._taken += 1
            yield entry

    def release(self, entry: _Entry[Item, Result]) -> None:
        self._memory.release(entry.held)
        self._places.release(entry.places)

    def end(self) -> None:
        """Begin nothing more, and wait for what is begun."""
        self._ending = True
        for entry in self.iter_entries():  # what they hold is what the feeder may wait for
            wait([entry.future])
            self.release(entry)
        self._workers.shutdown()

    def abandon(self) -> None:
        """Begin nothing more, and leave what is begun alone."""
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
        """Wait until there is room for it; False if nothing more is to be begun by then."""
        if self._ending or self._stop():
            return False
        places = self._bounds.items if self._bounds.alone(item) else 1
        held = 0 if self._bounds.memory is None else self._bounds.bytes_of(item)
        self._places.acquire(places)
        self._memory.acquire(held)
        if self._ending or self._stop():
            self._memory.release(held)
            self._places.release(places)
            return False
        entry = _Entry(item, places, held, self._workers.submit(self._work, item))
        self._begun += 1
        if self._in_order:
            self._finished.put(entry)
        else:
            entry.future.add_done_callback(lambda _: self._finished.put(entry))
        return True
