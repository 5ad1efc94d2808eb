"""Facts about who may use a service, and how often."""

from __future__ import annotations

from pathlib import Path

import pytest

from restora.errors import OptionError, RateLimitError, UnauthorizedError
from restora.serve.options import ServeOptions, is_loopback, parse_rate
from restora.serve.rates import Rates
from restora.serve.tokens import ANONYMOUS, Client, Tokens, read_tokens
from serve_rig import tokens_file

TOKEN, OTHER = "0123456789abcdef", "fedcba9876543210"


def test_a_token_names_its_client(tmp_path: Path) -> None:
    tokens = read_tokens(tokens_file(tmp_path, "# who", "", f"ann {TOKEN}", f"bob {OTHER} 6/min"))
    assert tokens.required
    assert tokens.authenticate(f"Bearer {TOKEN}") == Client("ann")
    assert tokens.authenticate(f"bearer  {OTHER}") == Client("bob", 0.1)


@pytest.mark.parametrize(
    "header",
    [None, "", "Bearer", f"Basic {TOKEN}", f"Bearer {TOKEN}x", TOKEN, f"Bearer {TOKEN} {TOKEN}",
     "Bearer \udc80\udcff"],
)  # fmt: skip
def test_no_other_header_is_let_in(header: str | None) -> None:
    with pytest.raises(UnauthorizedError):
        Tokens([(TOKEN, Client("ann"))]).authenticate(header)


def test_without_tokens_everybody_is_anonymous() -> None:
    assert Tokens().authenticate(None) is ANONYMOUS


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["ann"], "line 1: a line must be NAME TOKEN"),
        (["ann short"], "a token of at least 16"),
        ([f"ann {TOKEN}", f"ann {OTHER}"], "line 2: ann has a token already"),
        ([f"ann {TOKEN}", f"bob {TOKEN}"], "line 2: bob and ann have the same token"),
        ([f"ann {TOKEN}\u00e9"], "letters, digits and"),  # no header could name it
        ([f"ann {TOKEN} often"], "a rate is written like"),
        (["# nobody"], "holds no token"),
    ],
)
def test_a_file_of_something_else_is_refused_without_showing_it(
    tmp_path: Path, lines: list[str], message: str
) -> None:
    with pytest.raises(OptionError, match=message) as caught:
        read_tokens(tokens_file(tmp_path, *lines))
    assert TOKEN not in str(caught.value)


def test_a_file_may_begin_with_the_mark_of_an_editor(tmp_path: Path) -> None:
    tokens = read_tokens(tokens_file(tmp_path, f"\ufeffann {TOKEN}"))
    assert tokens.authenticate(f"Bearer {TOKEN}") == Client("ann")


def test_a_file_that_is_not_there_is_an_option_error(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="the tokens cannot be read"):
        read_tokens(tmp_path / "absent")


def test_a_client_catches_up_with_ten_seconds_of_its_rate_and_then_waits() -> None:
    now = [100.0]
    rates = Rates(2.0, clock=lambda: now[0])
    for _ in range(20):
        rates.check("ann")
    with pytest.raises(RateLimitError) as caught:
        rates.check("ann")
    assert caught.value.retry_after_s == pytest.approx(0.5)
    rates.check("bob")
    now[0] += 0.5
    rates.check("ann")
    with pytest.raises(RateLimitError):
        rates.check("ann")


def test_a_rate_of_its_own_counts_before_that_of_the_service() -> None:
    rates = Rates(None, clock=lambda: 0.0)
    for _ in range(1000):
        rates.check("ann")
    rates.check("bob", 0.01)
    with pytest.raises(RateLimitError, match=r"more than 0\.01 requests per second"):
        rates.check("bob", 0.01)


def test_buckets_of_clients_that_do_not_come_again_are_forgotten() -> None:
    rates = Rates(0.001, clock=lambda: 0.0)
    rates.check("first")
    for number in range(10_000):
        rates.check(str(number))
    rates.check("first")


@pytest.mark.parametrize(("text", "rate"), [("10/s", 10), ("30/min", 0.5), ("7200/h", 2)])
def test_rates_are_written_with_their_unit(text: str, rate: float) -> None:
    assert parse_rate(text) == rate


@pytest.mark.parametrize("text", ["", "10", "0/s", "-1/s", "inf/s", "nan/s", "10/day", "/s"])
def test_other_rates_are_refused(text: str) -> None:
    with pytest.raises(OptionError, match="a rate is written like"):
        parse_rate(text)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "[::1]", "localhost"])
def test_addresses_of_this_machine_need_no_tokens(host: str) -> None:
    assert is_loopback(host)
    ServeOptions(host=host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "example.org", "", "localhost.evil"])
def test_any_other_address_needs_tokens(host: str, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="give a file of bearer tokens"):
        ServeOptions(host=host)
    ServeOptions(host=host, tokens=tmp_path)
