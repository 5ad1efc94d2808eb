"""`restora sample`: the pictures that travel with restora, to try things on."""

from importlib.resources import files
from pathlib import Path
from typing import Annotated

import typer

from restora.cli.console import print_note
from restora.cli.exits import reports_errors
from restora.files import write_file


@reports_errors
def sample(
    output: Annotated[Path, typer.Option("--output", "-o", help="Where to write it.")] = Path(
        "sample.jpg"
    ),
    print_: Annotated[
        bool, typer.Option("--print", help="An old print, scratched and faded, instead.")
    ] = False,
) -> None:
    """Write the bundled sample photo, which is small and noisy, to try restora on."""
    name = "print.jpg" if print_ else "sample.jpg"
    write_file(output, (files("restora") / "data" / name).read_bytes())
    print_note(f"wrote {output}")
