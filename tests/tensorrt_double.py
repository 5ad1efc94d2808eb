"""A stand-in for the `tensorrt` module, made from the lists of what each version really has.

An attribute that a version lacks raises AttributeError, a call with arguments that its signature
does not take raises TypeError, and every access is recorded. It proves that a call exists; it
proves nothing about results.
"""

from __future__ import annotations

import enum
import inspect
import json
import lzma
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import tensorrt_builder_double
import tensorrt_runtime_double
from tensorrt_world import BuiltPlan, World

__all__ = ["BEHAVIORS", "VERSIONS", "BuiltPlan", "FakeTensorRT", "World", "read_api"]

BEHAVIORS = {**tensorrt_builder_double.BEHAVIORS, **tensorrt_runtime_double.BEHAVIORS}
VERSIONS = ("8.6", "10.16", "11.4")
_DATA = Path(__file__).parent / "data" / "tensorrt"


@cache
def read_api(version: str) -> dict[str, Any]:
    text = lzma.decompress((_DATA / f"{version}.json.xz").read_bytes())
    api: dict[str, Any] = json.loads(text)
    return api


class FakeTensorRT:
    """The module. `used` collects what was touched, as "Class.member"."""

    def __init__(self, version: str) -> None:
        self._api = read_api(version)
        self.__version__ = self._api["_meta"]["version"]
        self.used: set[str] = set()
        self.world = World()
        self._made: dict[str, Any] = {}

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name not in self._api:
            raise AttributeError(f"tensorrt {self.__version__} has no {name}")
        if name not in self._made:
            entry = self._api[name]
            make = self._make_enum if entry["kind"] == "enum" else self._make_class
            self._made[name] = make(name, entry["members"])
        return self._made[name]

    def _make_enum(self, name: str, members: dict[str, int]) -> Any:
        made = enum.IntEnum(name, members)  # type: ignore[misc]
        used = self.used

        class Recorded:
            def __getattr__(self, member: str) -> Any:
                if member not in members:
                    raise AttributeError(f"{name} has no {member}")
                used.add(f"{name}.{member}")
                return made[member]

        return Recorded()

    def _make_class(self, name: str, members: dict[str, Any]) -> type:
        module = self

        def _init(this: Any, *args: Any) -> None:
            object.__setattr__(this, "_args", args)
            object.__setattr__(this, "_set", {})
            if name in ("Builder", "Runtime", "Refitter"):
                object.__setattr__(this, "_gpu", module.world.gpu)

        def _getattr(this: Any, member: str) -> Any:
            if member.startswith("_") or member not in members:
                raise AttributeError(f"{name} of tensorrt {module.__version__} has no {member}")
            module.used.add(f"{name}.{member}")
            behavior = BEHAVIORS.get((name, member))
            if members[member]["kind"] == "method":
                _, call = members[member], behavior or (lambda *_a, **_k: None)
                return _checked(module, this, name, member, members[member].get("sig"), call)
            if member in this._set:
                return this._set[member]
            return behavior(module, this) if behavior else None

        def _setattr(this: Any, member: str, value: Any) -> None:
            if member.startswith("_"):
                object.__setattr__(this, member, value)
                return
            if member not in members:
                if type(this).__name__ != name:  # a subclass of ours keeps its own fields
                    object.__setattr__(this, member, value)
                    return
                raise AttributeError(f"{name} of tensorrt {module.__version__} has no {member}")
            assert members[member].get("writable"), f"{name}.{member} cannot be set"
            module.used.add(f"{name}.{member}")
            this._set[member] = value

        body = {"__init__": _init, "__getattr__": _getattr, "__setattr__": _setattr}
        if name == "IHostMemory":
            body["__bytes__"] = lambda this: this._data  # type: ignore[dict-item]
        if "__len__" in members:
            body["__len__"] = lambda this: len(this._items)  # type: ignore[dict-item]
            body["__getitem__"] = lambda this, index: this._items[index]  # type: ignore[dict-item]
        return type(name, (), body)


def _checked(
    module: FakeTensorRT, this: Any, name: str, member: str, sig: str | None, call: Any
) -> Callable[..., Any]:
    def method(*args: Any, **kwargs: Any) -> Any:
        if sig and "*args" not in sig:
            _bind(sig, member, (this, *args), kwargs)
        return call(module, this, *args, **kwargs)

    return method


def _bind(sig: str, member: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """TypeError unless the arguments fit a pybind11 signature line (its first overload)."""
    inside = sig[sig.index("(") + 1 : sig.rindex(")")]
    parameters = []
    for part in re.split(r",\s*(?![^\[\(]*[\]\)])", inside):
        match = re.match(r"\s*(\w+)\s*(?::[^=]*)?(=.*)?$", part)
        if match:
            default = inspect.Parameter.empty if match[2] is None else None
            kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
            parameters.append(inspect.Parameter(match[1], kind, default=default))
    try:
        inspect.Signature(parameters).bind(*args, **kwargs)
    except TypeError as error:
        raise TypeError(f"{member}: {error}; its signature is {sig}") from error
