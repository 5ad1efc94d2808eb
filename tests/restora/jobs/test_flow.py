"""Facts about the flow: bounded, in order where asked, nothing lost and nothing done twice."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from restora.byte_size import parse_size
from restora.errors import OptionError, VideoError
from restora.jobs.budget import Budget
from restora.jobs.scheduler import Bounds, run_flow
from restora.jobs.stage import Stage


class Watch:
    """Counts what is under way.

    seconds: that an item takes, in which a flow that begins too many shows itself
    together: items wait until so many were under way at once
    alone: those that do not
    """

    def __init__(
        self, seconds: float = 0.003, *, together: int = 1, alone: Collection[int] = ()
    ) -> None:
        self.seconds = seconds
        self.together = together
        self.alone = alone
        self.changed = threading.Condition()
        self.inside: list[int] = []
        self.most = 0
        self.begun: list[int] = []
        self.beside: dict[int, int] = {}

    def work(self, item: int) -> int:
        with self.changed:
            self.inside.append(item)
            self.begun.append(item)
            self.most = max(self.most, len(self.inside))
            self.changed.notify_all()
            if item not in self.alone:
                assert self.changed.wait_for(lambda: self.most >= self.together, timeout=60)
        time.sleep(self.seconds)
        with self.changed:
            self.beside[item] = len(self.inside) - 1
            self.inside.remove(item)
        return item * item


def take_all(flow: Iterator[tuple[int, int]], into: list[int]) -> None:
    for item, _ in flow:
        into.append(item)


@given(
    count=st.integers(0, 40),
    places=st.integers(1, 8),
    in_order=st.booleans(),
    memory=st.integers(1, 100),
)
@settings(max_examples=40, deadline=None)
def test_every_item_comes_out_once(count: int, places: int, in_order: bool, memory: int) -> None:
    watch = Watch(0)
    budget = Budget(memory)
    bounds: Bounds[int] = Bounds(places, budget, bytes_of=lambda item: item % 13)
    results = list(run_flow(range(count), watch.work, bounds, in_order=in_order))
    assert sorted(results) == [(item, item * item) for item in range(count)]
    assert sorted(watch.begun) == list(range(count))
    assert watch.most <= places
    assert budget.peak_held <= max(memory, 12)
    if in_order:
        assert results == sorted(results)


def test_as_many_are_under_way_as_are_allowed_and_no_more() -> None:
    watch = Watch(0.01, together=4)
    list(run_flow(range(30), watch.work, Bounds(4)))
    assert watch.most == 4


def test_what_needs_more_memory_than_there_is_goes_alone() -> None:
    watch = Watch(0.005, together=2, alone=(5,))
    sizes = {5: 1000}
    bounds: Bounds[int] = Bounds(6, Budget(10), bytes_of=lambda item: sizes.get(item, 2))
    list(run_flow(range(20), watch.work, bounds))
    assert watch.beside[5] == 0
    assert 1 < watch.most <= 5


def test_what_must_be_alone_is_alone() -> None:
    alone = (0, 7, 8, 19)
    watch = Watch(0.005, together=4, alone=alone)
    list(run_flow(range(20), watch.work, Bounds(4, alone=lambda item: item in alone)))
    assert watch.begun.index(7) == 7
    assert [watch.beside[item] for item in alone] == [0, 0, 0, 0]
    assert watch.most == 4


def test_a_slow_caller_holds_the_flow_back() -> None:
    watch = Watch(0)
    flow = run_flow(range(100), watch.work, Bounds(3), in_order=True)
    next(flow)
    time.sleep(0.05)  # a flow that is not held back begins more
    assert len(watch.begun) <= 3
    next(flow)
    time.sleep(0.05)
    assert len(watch.begun) <= 4
    flow.close()


def test_items_are_read_ahead_only_as_far_as_they_are_needed() -> None:
    read: list[int] = []

    def items() -> Iterator[int]:
        for item in range(100):
            read.append(item)
            yield item

    flow = run_flow(items(), Watch(0).work, Bounds(3), in_order=True)
    next(flow)
    time.sleep(0.05)  # a flow that is not held back reads more
    assert len(read) <= 5
    flow.close()


def test_stopping_finishes_what_is_begun() -> None:
    watch = Watch(0.01)
    stop = threading.Event()
    done = []
    for item, _ in run_flow(range(100), watch.work, Bounds(3), stop=stop.is_set):
        done.append(item)
        if len(done) == 10:
            stop.set()
    assert sorted(done) == sorted(watch.begun)
    assert len(done) < 20


def test_what_work_raises_is_raised_in_its_turn_and_ends_the_flow() -> None:
    def work(item: int) -> int:
        if item == 5:
            raise ValueError("five")
        return item

    done: list[int] = []
    with pytest.raises(ValueError, match="five"):
        take_all(run_flow(range(100), work, Bounds(3), in_order=True), done)
    assert done == [0, 1, 2, 3, 4]


def test_what_items_raise_is_raised_after_what_came_before() -> None:
    def items() -> Iterator[int]:
        yield from range(6)
        raise VideoError("the end")

    done: list[int] = []
    with pytest.raises(VideoError, match="the end"):
        take_all(run_flow(items(), Watch().work, Bounds(3), in_order=True), done)
    assert done == list(range(6))


def test_a_caller_that_leaves_early_leaves_nothing_running() -> None:
    watch = Watch(0.02)
    flow = run_flow(range(100), watch.work, Bounds(4))
    next(flow)
    flow.close()
    assert not watch.inside
    begun = len(watch.begun)
    time.sleep(0.05)  # what still runs begins more
    assert len(watch.begun) == begun < 12


def test_an_interrupt_waits_for_nothing() -> None:
    gate = threading.Event()
    ended: list[int] = []

    def work(item: int) -> int:
        if item:
            gate.wait(60)
            ended.append(item)
        return item

    flow = run_flow(range(100), work, Bounds(4))
    next(flow)
    with pytest.raises(KeyboardInterrupt):
        flow.throw(KeyboardInterrupt)
    assert not ended
    gate.set()


def test_a_stage_says_how_busy_it_was() -> None:
    stage = Stage("decode", 2)
    pair = threading.Barrier(2)

    def work(_item: int) -> None:
        with stage.running():
            pair.wait(60)

    list(run_flow(range(6), work, Bounds(6)))
    use = stage.use
    assert use.items == 6
    assert 0 < use.busy_s < use.work_s  # two at a time
    assert stage.slots.peak_held == 2


def test_a_budget_serves_in_order_so_that_the_large_are_not_starved() -> None:
    budget = Budget(4)
    order: list[str] = []
    budget.acquire(3)

    def take(name: str, amount: int) -> None:
        budget.acquire(amount)
        order.append(name)
        budget.release(amount)

    threads = []
    for name, amount in (("large", 4), ("small", 1)):
        threads.append(threading.Thread(target=take, args=(name, amount)))
        threads[-1].start()
        while len(budget._queue) < len(threads):
            time.sleep(0.001)
    assert not order
    budget.release(3)
    for thread in threads:
        thread.join()
    assert order == ["large", "small"]


@pytest.mark.parametrize(
    ("text", "size"),
    [("2G", 2 << 30), ("512M", 512 << 20), ("1.5GiB", 3 << 29), ("64kb", 65536), ("1000", 1000)],
)
def test_sizes_are_read_as_people_write_them(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "much", "2 gigs", "-1G", "G"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(OptionError, match="512M or 2G"):
        parse_size(text)
