"""Facts about the queue: it refuses at once, small work passes large, dropped work is not done."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from contextlib import ExitStack

import pytest

from restora.errors import (
    AbandonedError,
    ClientGoneError,
    DeadlineExceededError,
    DrainingError,
    MemoryLimitError,
    QueueFullError,
)
from restora.serve.queue import QueueLimits, RequestQueue
from restora.serve.tickets import Ticket
from restora.serve.tokens import ANONYMOUS


class Meter:
    def __init__(self) -> None:
        self.seen: list[str] = []

    def refused(self, code: str) -> None:
        self.seen.append(f"refused {code}")

    def dropped(self, code: str) -> None:
        self.seen.append(f"dropped {code}")

    def waited(self, seconds: float) -> None:
        assert seconds >= 0


class Rig:
    """A queue of one worker that is held until `open`; what ran, in order."""

    def __init__(self, *, waiting: int = 10, workers: int = 1, memory: int = 1000) -> None:
        self.meter = Meter()
        limits = QueueLimits(waiting, workers, memory, small_px=10, large_px=100, for_small=1)
        self.queue = RequestQueue(limits, self.meter)
        self.gate = threading.Event()
        self.ran: list[str] = []
        self.stack = ExitStack()

    def admit(self, name: str, deadline_s: float | None = None) -> Ticket:
        admitted = self.queue.admit(ANONYMOUS, request_id=name, deadline_s=deadline_s)
        return self.stack.enter_context(admitted)

    def begin(
        self, ticket: Ticket, *, pixels: int = 1, memory: int = 0, held: bool = True
    ) -> asyncio.Task[str]:
        def work() -> str:
            self.ran.append(ticket.request_id)
            assert not held or self.gate.wait(60)
            return ticket.request_id

        return asyncio.ensure_future(
            self.queue.run(ticket, work, pixels=pixels, memory_bytes=memory)
        )

    async def begun(self, *names: str) -> None:
        while self.ran != list(names):
            await asyncio.sleep(0.001)

    async def close(self) -> None:
        self.gate.set()
        self.stack.close()
        await self.queue.close()


def with_rig(test: Callable[[Rig], Awaitable[None]], **options: int) -> None:
    async def run() -> None:
        rig = Rig(**options)
        try:
            await asyncio.wait_for(test(rig), 60)
        finally:
            await rig.close()

    asyncio.run(run())


def test_a_full_queue_refuses_at_once_and_counts_it() -> None:
    async def test(rig: Rig) -> None:
        running = rig.admit("running")
        task = rig.begin(running)
        await rig.begun("running")
        rig.admit("one")
        rig.admit("two")
        assert rig.queue.waiting == 2
        with pytest.raises(QueueFullError, match="2 requests wait, the limit") as caught:
            rig.admit("three")
        assert caught.value.retry_after_s >= 1
        assert rig.meter.seen == ["refused queue-full"]
        rig.gate.set()
        assert await task == "running"

    with_rig(test, waiting=2)


def test_a_request_whose_work_is_done_does_not_wait_again_for_its_answer() -> None:
    async def test(rig: Rig) -> None:
        ticket = rig.admit("one")  # which counts until its block ends
        rig.gate.set()
        assert await rig.begin(ticket) == "one"
        assert rig.queue.waiting == 0
        rig.gate.clear()
        other = rig.begin(rig.admit("two"))
        await rig.begun("one", "two")
        again = rig.begin(ticket)  # a second step of the same request waits as any
        await asyncio.sleep(0)
        assert rig.queue.waiting == 1
        rig.gate.set()
        await asyncio.gather(other, again)

    with_rig(test)


def test_a_request_that_has_ended_makes_room() -> None:
    async def test(rig: Rig) -> None:
        with rig.queue.admit(ANONYMOUS, request_id="one"), pytest.raises(QueueFullError):
            rig.admit("two")
        rig.admit("three")

    with_rig(test, waiting=1)


def test_much_shorter_work_that_comes_later_runs_first() -> None:
    async def test(rig: Rig) -> None:
        tasks = [rig.begin(rig.admit("running"))]
        await rig.begun("running")
        tasks += [rig.begin(rig.admit("long"), pixels=90_000_000)]
        tasks += [rig.begin(rig.admit(name)) for name in ("first", "second")]
        rig.gate.set()
        await asyncio.gather(*tasks)
        assert rig.ran == ["running", "first", "second", "long"]

    with_rig(test)


def test_long_work_is_not_passed_for_ever() -> None:
    """Its turn comes after ten times its own duration, whatever comes later."""

    async def test(rig: Rig) -> None:
        tasks = [rig.begin(rig.admit("running"))]
        await rig.begun("running")
        late = rig.admit("late")
        late.arrived += 1000
        tasks += [rig.begin(late), rig.begin(rig.admit("long"), pixels=90_000_000)]
        rig.gate.set()
        await asyncio.gather(*tasks)
        assert rig.ran == ["running", "long", "late"]

    with_rig(test)


def test_work_that_fits_into_memory_passes_work_that_does_not() -> None:
    async def test(rig: Rig) -> None:
        tasks = [rig.begin(rig.admit("half"), memory=500)]
        await rig.begun("half")
        tasks += [rig.begin(rig.admit("large"), memory=600)]
        tasks += [rig.begin(rig.admit("small"), memory=400)]
        await rig.begun("half", "small")
        assert rig.queue.held_bytes == 900
        rig.gate.set()
        await asyncio.gather(*tasks)
        assert rig.ran == ["half", "small", "large"]

    with_rig(test, workers=3)


def test_work_that_has_waited_long_for_memory_is_not_passed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("restora.serve.queue._HELD_BACK_S", -1.0)

    async def test(rig: Rig) -> None:
        tasks = [rig.begin(rig.admit("half"), memory=500)]
        await rig.begun("half")
        tasks += [rig.begin(rig.admit("large"), memory=600)]
        tasks += [rig.begin(rig.admit("small"), memory=400)]
        rig.gate.set()
        await asyncio.gather(*tasks)
        assert rig.ran == ["half", "large", "small"]

    with_rig(test, workers=3)


def test_small_work_passes_long_work_that_waits_for_its_share_of_the_workers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """However long that has waited: it may not have the worker anyway."""
    monkeypatch.setattr("restora.serve.queue._HELD_BACK_S", -1.0)

    async def test(rig: Rig) -> None:
        tasks = [rig.begin(rig.admit("running"), pixels=11)]
        await rig.begun("running")
        tasks += [rig.begin(rig.admit("long"), pixels=11)]
        late = rig.admit("small")
        late.arrived += 1000
        tasks += [rig.begin(late)]
        await rig.begun("running", "small")
        rig.gate.set()
        await asyncio.gather(*tasks)
        assert rig.ran == ["running", "small", "long"]

    with_rig(test, workers=2)


def test_work_whose_caller_is_canceled_ends_at_its_next_step() -> None:
    async def test(rig: Rig) -> None:
        entered: list[Ticket] = []
        ended: list[BaseException] = []

        async def call() -> None:
            with rig.queue.admit(ANONYMOUS, request_id="one") as ticket:

                def work() -> None:
                    entered.append(ticket)
                    assert rig.gate.wait(60)
                    try:
                        ticket.check()
                    except AbandonedError as error:
                        ended.append(error)

                await rig.queue.run(ticket, work, pixels=1)

        task = asyncio.ensure_future(call())
        while not entered:
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        rig.gate.set()
        while rig.queue.running:
            await asyncio.sleep(0.001)
        assert [type(error) for error in ended] == [ClientGoneError]

    with_rig(test)


def test_work_that_needs_more_memory_than_there_is_is_refused() -> None:
    async def test(rig: Rig) -> None:
        with pytest.raises(MemoryLimitError, match="the photo needs 2 MB"):
            await rig.begin(rig.admit("huge"), memory=2 << 20)

    with_rig(test)


def test_large_work_leaves_workers_to_small_work() -> None:
    async def test(rig: Rig) -> None:
        tasks = [rig.begin(rig.admit(name), pixels=101) for name in ("a", "b", "c")]
        await rig.begun("a", "b")
        tasks += [rig.begin(rig.admit("small"))]
        await rig.begun("a", "b", "small")
        rig.gate.set()
        await asyncio.gather(*tasks)

    with_rig(test, workers=4)


def test_a_worker_is_left_to_requests_of_one_tile() -> None:
    async def test(rig: Rig) -> None:
        tasks = [rig.begin(rig.admit(name), pixels=11) for name in ("a", "b", "c")]
        await rig.begun("a", "b")
        tasks += [rig.begin(rig.admit("small"), pixels=10)]
        await rig.begun("a", "b", "small")
        rig.gate.set()
        await asyncio.gather(*tasks)

    with_rig(test, workers=3)


def test_a_request_whose_deadline_passes_while_it_waits_fails_then_and_never_runs() -> None:
    async def test(rig: Rig) -> None:
        task = rig.begin(rig.admit("running"))
        await rig.begun("running")
        late = rig.admit("late", deadline_s=0.02)
        with pytest.raises(DeadlineExceededError, match=r"wanted within 0\.02 s"):
            await rig.begin(late)
        rig.gate.set()
        await task
        await rig.begin(rig.admit("next"))
        assert rig.ran == ["running", "next"]

    with_rig(test)


def test_a_request_whose_client_goes_while_it_waits_never_runs() -> None:
    async def test(rig: Rig) -> None:
        task = rig.begin(rig.admit("running"))
        await rig.begun("running")
        gone = rig.admit("gone")
        waiting = rig.begin(gone)
        await asyncio.sleep(0)
        gone.cancel(ClientGoneError("gone"))
        with pytest.raises(ClientGoneError):
            await waiting
        rig.gate.set()
        await task
        await rig.begin(rig.admit("next"))
        assert rig.ran == ["running", "next"]

    with_rig(test)


def test_a_result_that_comes_too_late_is_discarded() -> None:
    async def test(rig: Rig) -> None:
        ticket = rig.admit("late", deadline_s=0.02)
        discarded: list[str] = []

        def work() -> str:
            assert rig.gate.wait(60)
            return "result"

        with pytest.raises(DeadlineExceededError):
            await rig.queue.run(ticket, work, pixels=1, discard=discarded.append)
        assert rig.queue.running == 1
        rig.gate.set()
        while not discarded:
            await asyncio.sleep(0.001)
        assert discarded == ["result"]

    with_rig(test)


def test_what_is_abandoned_is_counted_by_its_reason() -> None:
    async def test(rig: Rig) -> None:
        for error in (ClientGoneError("gone"), DeadlineExceededError("late")):
            with pytest.raises(type(error)), rig.queue.admit(ANONYMOUS, request_id="x"):
                raise error
        assert rig.meter.seen == ["dropped client-gone", "dropped deadline-exceeded"]

    with_rig(test)


def test_draining_admits_nothing_and_waits_for_what_was_admitted() -> None:
    async def test(rig: Rig) -> None:
        task = rig.begin(rig.admit("running"))
        await rig.begun("running")
        assert not await rig.queue.drain(0.01)
        with pytest.raises(DrainingError):
            rig.admit("late")
        draining = asyncio.ensure_future(rig.queue.drain(60))
        rig.gate.set()
        await task
        rig.stack.close()
        assert await draining
        assert rig.meter.seen == ["refused draining"]

    with_rig(test)


def test_errors_of_the_work_are_those_of_the_request() -> None:
    async def test(rig: Rig) -> None:
        def work() -> None:
            raise KeyError("a bug")

        with pytest.raises(KeyError, match="a bug"):
            await rig.queue.run(rig.admit("one"), work, pixels=1)
        assert rig.queue.running == 0

    with_rig(test)
