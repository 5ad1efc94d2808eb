"""Options of several commands: the size of results, and how pictures are cut into tiles."""

from typing import Annotated

from restora.cli import panels
from restora.errors import OptionError

Outscale = Annotated[
    float | None,
    panels.tiles("--outscale", "-s", help="Final enlargement. Default: the model's own."),
]
Tile = Annotated[
    str,
    panels.tiles(
        "--tile",
        "-t",
        envvar="RESTORA_TILE",
        help="Largest side of a tile in pixels, 0 for no tiles, or auto.",
    ),
]
Batch = Annotated[
    int | None,
    panels.tiles("--batch", min=1, help="Tiles per call of the network. Default: the fastest."),
]

_MAX_DIGITS = 9


def parse_tile(tile: str) -> int | str:
    """RestoreOptions.tile. Raises OptionError."""
    if tile == "auto":
        return tile
    if tile.isascii() and tile.isdecimal() and len(tile) <= _MAX_DIGITS:
        return int(tile)
    raise OptionError(f"--tile must be auto, 0 or a number of pixels, got {tile[:40]!r}")
