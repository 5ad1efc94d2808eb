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
        bool,
        typer.Option(
            "--print",
            help="An old print instead, scratched and faded, and beside it a mask of its damage, "
            "NAME_mask.png.",
        ),
    ] = False,
) -> None:
    """Write the bundled sample photo, which is small and noisy, to try restora on."""
    found = {output: "print.jpg" if print_ else "sample.jpg"}
    if print_:
        found[output.with_name(f"{output.stem}_mask.png")] = "print_mask.png"
    for path, name in found.items():
        write_file(path, (files("restora") / "data" / name).read_bytes())
        print_note(f"wrote {path}")
