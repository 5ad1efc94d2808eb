"""Facts about the folders that restora keeps files in."""

import os
from pathlib import Path

import pytest

from restora.cache_folder import cache_folder, check_own_folder
from restora.errors import OptionError, UnsafePathError


@pytest.fixture(autouse=True)
def plain_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)


def remove_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user as in many containers: no HOME, and a number that /etc/passwd does not list."""
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("os.getuid", lambda: 2_000_000)


def test_the_folder_lies_in_the_users_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    assert cache_folder("plans") == Path("/home/someone/.cache/restora/plans")
    monkeypatch.setenv("XDG_CACHE_HOME", "/var/cache/someone")
    assert cache_folder("plans") == Path("/var/cache/someone/restora/plans")


def test_a_relative_cache_home_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "somewhere")
    assert cache_folder("plans") == Path("/home/someone/.cache/restora/plans")


def test_a_variable_moves_one_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESTORA_TEST", "~/here")
    assert cache_folder("plans", variable="RESTORA_TEST") == Path("/home/someone/here")
    assert cache_folder("plans") == Path("/home/someone/.cache/restora/plans")
    monkeypatch.setenv("RESTORA_TEST", "")
    assert cache_folder("plans", variable="RESTORA_TEST") == cache_folder("plans")


def test_a_relative_variable_means_the_folder_it_named_at_the_start(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("RESTORA_TEST", "here")
    monkeypatch.chdir(tmp_path)
    assert cache_folder("plans", variable="RESTORA_TEST") == tmp_path / "here"


def test_without_a_home_directory_there_is_no_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    remove_home(monkeypatch)
    assert cache_folder("plans") is None
    monkeypatch.setenv("RESTORA_TEST", "/somewhere")
    assert cache_folder("plans", variable="RESTORA_TEST") == Path("/somewhere")


@pytest.mark.parametrize("value", ["~nobody_of_this_name/x", "~/x"])
def test_a_variable_that_needs_a_home_that_is_not_there_is_refused(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    remove_home(monkeypatch)
    monkeypatch.setenv("RESTORA_TEST", value)
    with pytest.raises(OptionError, match="RESTORA_TEST must be the path of a folder, got '~"):
        cache_folder("plans", variable="RESTORA_TEST")


def test_a_folder_of_code_is_the_users_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "plans"
    check_own_folder(folder, purpose="the plan cache")
    folder.mkdir(mode=0o700)
    check_own_folder(folder, purpose="the plan cache")
    folder.chmod(0o770)
    with pytest.raises(UnsafePathError, match=r"others may write into the plan cache .* chmod 700"):
        check_own_folder(folder, purpose="the plan cache")
    folder.chmod(0o700)
    (tmp_path / "link").symlink_to(folder)
    with pytest.raises(UnsafePathError, match="the plan cache must be a folder"):
        check_own_folder(tmp_path / "link", purpose="the plan cache")
    own = os.getuid()
    monkeypatch.setattr("os.getuid", lambda: own + 1)
    with pytest.raises(UnsafePathError, match="belongs to another user"):
        check_own_folder(folder, purpose="the plan cache")
