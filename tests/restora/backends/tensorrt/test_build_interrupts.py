"""Facts about Ctrl-C during a build: TensorRT's binding forgets what a logger raises."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from types import FrameType

import pytest

from fakes import tiny_artifact
from plans_fakes import HOT
from restora.backends.tensorrt.build import build_plan
from restora.backends.tensorrt.build_options import BuildOptions
from restora.backends.tensorrt.interrupts import hold_interrupts
from restora.errors import BuildCanceledError
from tensorrt_double import VERSIONS, FakeTensorRT


@pytest.fixture(params=VERSIONS)
def trt(request: pytest.FixtureRequest) -> FakeTensorRT:
    return FakeTensorRT(request.param)


@pytest.fixture(autouse=True)
def _handler() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    signal.signal(signal.SIGINT, before)


def build(trt: FakeTensorRT) -> None:
    build_plan(trt, tiny_artifact(), HOT, BuildOptions())


def deliver(number: int) -> None:
    """Call the handler as the interpreter does between two instructions. Real signals are sent to
    real commands in the tests of `restora build`."""
    handler = signal.getsignal(number)
    assert callable(handler)
    handler(number, None)


def press_once(trt: FakeTensorRT, number: int = signal.SIGINT) -> None:
    pressed: list[int] = []

    def press() -> None:
        if not pressed:
            pressed.append(number)
            deliver(number)

    trt.world.while_logging = press


def test_ctrl_c_in_a_log_message_is_raised_after_the_build(trt: FakeTensorRT) -> None:
    press_once(trt)
    with pytest.raises(KeyboardInterrupt):
        build(trt)
    assert trt.world.swallowed == []


@pytest.mark.parametrize("version", ["10.16", "11.4"])
def test_ctrl_c_cancels_a_build_that_can_be_canceled(version: str) -> None:
    """Also without anybody who watches its progress."""
    trt = FakeTensorRT(version)
    trt.world.while_building = lambda: deliver(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        build(trt)
    assert trt.world.steps == 1


def test_a_handler_that_only_notes_the_signal_lets_the_build_finish(trt: FakeTensorRT) -> None:
    noted: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        noted.append(number)

    signal.signal(signal.SIGINT, note)
    press_once(trt)
    build(trt)
    assert noted == [signal.SIGINT]
    assert signal.signal(signal.SIGINT, signal.default_int_handler) is note


def test_a_handler_that_replaces_itself_stays_replaced(trt: FakeTensorRT) -> None:
    """As that of a run over a folder: the second signal ends the run at once."""

    def ask(_number: int, _frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    signal.signal(signal.SIGINT, ask)
    press_once(trt)
    build(trt)
    assert signal.signal(signal.SIGINT, signal.default_int_handler) is signal.SIG_IGN


def test_what_the_handler_of_sigterm_raises_is_kept_too(trt: FakeTensorRT) -> None:
    def leave(_number: int, _frame: FrameType | None) -> None:
        raise SystemExit(3)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        press_once(trt, signal.SIGTERM)
        with pytest.raises(SystemExit):
            build(trt)
    finally:
        assert signal.signal(signal.SIGTERM, before) is leave


def test_in_another_thread_nothing_is_held() -> None:
    seen: list[object] = []

    def work() -> None:
        with hold_interrupts() as held:
            seen.extend((held.cause, signal.getsignal(signal.SIGINT)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [None, signal.default_int_handler]


def test_an_interrupt_comes_before_the_error_of_the_build_that_it_ended() -> None:
    def fail() -> None:
        with hold_interrupts():
            deliver(signal.SIGINT)
            raise RuntimeError("the builder returned no plan")

    with pytest.raises(KeyboardInterrupt):
        fail()


def test_what_a_log_handler_raises_is_not_lost(
    trt: FakeTensorRT, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError("the pipe is closed")

    monkeypatch.setattr("restora.backends.tensorrt.log.logger.log", fail)
    with pytest.raises(BuildCanceledError) as caught:
        build(trt)
    assert isinstance(caught.value.__cause__, OSError)
    assert trt.world.swallowed == []
