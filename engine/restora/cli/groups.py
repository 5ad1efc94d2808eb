"""Options that belong together, as one argument of a command."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable
from typing import Any


def takes_group(name: str, group: type[Any]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Let a command take the fields of a dataclass as options of its own.

    name: the parameter of the command that gets them, as one object of the dataclass
    group: a dataclass whose fields are annotated as parameters of commands are, with defaults
    """
    fields = dataclasses.fields(group)

    def add(command: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(command)
        def wrapped(**given: Any) -> Any:
            values = {field.name: given.pop(field.name) for field in fields}
            return command(**given, **{name: group(**values)})

        added = [
            inspect.Parameter(
                field.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=field.default,
                annotation=field.type,
            )
            for field in fields
        ]
        parameters: list[inspect.Parameter] = []
        for own in inspect.signature(command).parameters.values():
            plain = own.replace(kind=inspect.Parameter.KEYWORD_ONLY)
            parameters += added if own.name == name else [plain]
        wrapped.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        wrapped.__annotations__ = {p.name: p.annotation for p in parameters}
        return wrapped

    return add
