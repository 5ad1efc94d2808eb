"""A recipe of a training run: one TOML file, checked before anything is loaded."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from pydantic import ValidationError, model_validator

from restora.errors import OptionError
from restora_training.recipe_parts import (
    DataPart,
    DegradationPart,
    LossPart,
    NetworkPart,
    OptimizerPart,
    Part,
    RunPart,
)

if sys.version_info >= (3, 11):
    import tomllib
else:  # the same parser under its earlier name
    import tomli as tomllib

_MOST_BYTES = 1 << 20


class Recipe(Part):
    """Everything that decides a run."""

    network: NetworkPart
    run: RunPart
    data: DataPart = DataPart()
    degradation: DegradationPart = DegradationPart()
    losses: LossPart = LossPart()
    optimizer: OptimizerPart = OptimizerPart()

    @model_validator(mode="after")
    def _fits(self) -> Recipe:
        if self.data.pairs is not None and self.data.photos is not None:
            raise ValueError("data: give photos or pairs, not both")
        if self.losses.truth and self.data.pairs is None:
            raise ValueError("losses.truth is for data.pairs: photos have no other target")
        return self


def read_recipe(path: Path) -> Recipe:
    """Read a recipe. Paths in it are relative to its folder.

    Raises OptionError that names each wrong key and what it may be.
    """
    try:
        with path.open("rb") as stream:
            data = stream.read(_MOST_BYTES + 1)
    except OSError as error:
        raise OptionError(f"{path} cannot be read: {error.strerror}") from error
    if len(data) > _MOST_BYTES:
        raise OptionError(f"a recipe must have at most {_MOST_BYTES} bytes: {path}")
    try:
        values = tomllib.loads(data.decode())
    except (ValueError, RecursionError) as error:  # TOML, UTF-8 and brackets without end
        raise OptionError(f"{path} is not TOML: {error}") from error
    return make_recipe(values, folder=path.parent, name=str(path))


def make_recipe(values: dict[str, Any], *, folder: Path, name: str = "the recipe") -> Recipe:
    """Check the values of a recipe. Raises OptionError."""
    try:
        recipe = Recipe.model_validate(values)
    except ValidationError as error:
        lines = [_describe(detail) for detail in error.errors()]
        raise OptionError(f"{name}: {'; '.join(lines)}") from error
    return _resolve_paths(recipe, folder)


def _describe(detail: Any) -> str:
    place = ".".join(str(part) for part in detail["loc"])
    if detail["type"] == "extra_forbidden":
        return f"there is no key {place}"
    message = str(detail["msg"]).removeprefix("Value error, ")
    return f"{place}: {message[:1].lower()}{message[1:]}" if place else message


def _resolve_paths(recipe: Recipe, folder: Path) -> Recipe:
    parts: dict[str, Any] = {}
    for name, part in recipe:
        changed = {key: folder / value for key, value in part if isinstance(value, Path)}
        parts[name] = part.model_copy(update=changed)
    return recipe.model_copy(update=parts)
