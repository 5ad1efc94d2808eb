"""`restora sample`: the photo that travels with restora, to try things on."""

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
) -> None:
    """Write the bundled sample photo, which is small and noisy, to try restora on."""
    write_file(output, (files("restora") / "data" / "sample.jpg").read_bytes())
    print_note(f"wrote {output}")
