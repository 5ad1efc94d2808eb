"""The page about training lists every key of a recipe."""

import re
from pathlib import Path

from pydantic import BaseModel

from restora_training import Recipe

PAGE = Path(__file__).parents[2] / "docs" / "training.md"


def keys_of_page(part: str) -> set[str]:
    table = PAGE.read_text(encoding="utf-8").split(f"| `[{part}]` |")[1].split("\n\n")[0]
    first_cells = [line.split("|")[1] for line in table.splitlines()[2:]]
    return set(re.findall(r"`(\w+)`", " ".join(first_cells)))


def test_the_page_lists_the_keys_of_each_part() -> None:
    for part, field in Recipe.model_fields.items():
        model = field.annotation
        assert isinstance(model, type)
        assert issubclass(model, BaseModel)
        names = {entry.alias or name for name, entry in model.model_fields.items()}
        assert keys_of_page(part) == names, part
