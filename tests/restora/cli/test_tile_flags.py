"""The value of --tile."""

import pytest

from restora.cli.tile_flags import parse_tile
from restora.errors import OptionError


@pytest.mark.parametrize(("text", "tile"), [("auto", "auto"), ("0", 0), ("256", 256)])
def test_a_tile_is_auto_or_a_number_of_pixels(text: str, tile: int | str) -> None:
    assert parse_tile(text) == tile


@pytest.mark.parametrize("text", ["", "-1", "1.5", "Auto", "\u0663", "9" * 5000, "1e3", " 8"])
def test_anything_else_is_wrong_usage(text: str) -> None:
    with pytest.raises(OptionError, match="--tile must be auto, 0 or a number") as caught:
        parse_tile(text)
    assert len(str(caught.value)) < 200
