"""`restora bench`: measure this machine, compare two results, make a report."""

from pathlib import Path
from typing import Annotated

import typer

from restora.cli.console import print_note, stdout_console
from restora.cli.exits import reports_errors
from restora.cli.files import make_folder, write_file
from restora.errors import MissingBackendError, OptionError

bench_app = typer.Typer(
    help="Measure models, runtimes and peers on this machine, accuracy beside speed.",
    no_args_is_help=True,
    add_completion=False,
)
WIDE = 120  # columns of a terminal from which on tables show everything
SUITES = ("tiles", "photo", "size", "stages")


@bench_app.command("run")
@reports_errors
def run(
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The JSON file; a .html report lies beside it.")
    ] = Path("bench.json"),
    models: Annotated[
        str, typer.Option("--models", "-m", help="Names or .onnx files, separated by commas.")
    ] = "restora-lite-x2",
    suites: Annotated[str, typer.Option(help="Which of tiles, photo, size and stages.")] = ",".join(
        SUITES
    ),
    ways: Annotated[
        str,
        typer.Option(
            help="Backends to measure on tiles: all, ours, or names such as 'restora cpu/fp32'."
        ),
    ] = "all",
    tiles: Annotated[
        str, typer.Option(help="Sides of tiles in pixels, separated by commas.")
    ] = "128,256",
    batches: Annotated[
        str, typer.Option(help="Tiles per call, numbers separated by commas.")
    ] = "1,4",
    megapixels: Annotated[float, typer.Option(help="Size of the photo.")] = 2.0,
    sizes: Annotated[
        str, typer.Option(help="Sizes of results in megapixels.")
    ] = "0.25,1,4,12,24,50",
    repeats: Annotated[int, typer.Option(min=1, help="Runs of each tile.")] = 5,
    photo_repeats: Annotated[int, typer.Option(min=1, help="Runs of each photo.")] = 3,
    threads: Annotated[
        str, typer.Option(help="CPU threads, separated by commas; 0: all allowed cores.")
    ] = "0",
    probes: Annotated[
        bool,
        typer.Option("--probes/--no-probes", help="Measure start-up and memory of each backend."),
    ] = True,
    peers_in_photos: Annotated[
        bool,
        typer.Option(
            "--published/--no-published",
            help="Measure upstream inference_realesrgan.py on whole photos too.",
        ),
    ] = True,
) -> None:
    """Measure this machine: JSON, a table, and one HTML file with plots.

    What is compared takes turns in one run. What is not installed is skipped with a message; peers
    need pip install 'restora[bench-peers]'.
    """
    try:
        from restora_benchmarks.bench import run as bench
        from restora_benchmarks.bench.report import make_report
        from restora_benchmarks.bench.schema import write_result
        from restora_benchmarks.bench.tables import photo_tables, tile_tables
        from restora_benchmarks.bench.ways import OURS, PEERS, find_way
    except ImportError as error:
        raise MissingBackendError(
            f"measuring needs pip install 'restora[bench,cpu]' ({error})"
        ) from error
    chosen = {"all": (*OURS, *PEERS), "ours": OURS}.get(ways) or tuple(
        find_way(key) for key in ways.split(",")
    )
    plan = bench.Plan(
        models=tuple(models.split(",")),
        suites=_parse_suites(suites),
        ways=chosen,
        sides=_parse_numbers(tiles, int),
        batches=_parse_numbers(batches, int),
        megapixels=megapixels,
        output_mps=_parse_numbers(sizes, float),
        repeats=repeats,
        photo_repeats=photo_repeats,
        threads=_parse_numbers(threads, int, zero=True),
        probes=probes,
        peers_in_photos=peers_in_photos,
    )
    make_folder(output.parent)  # before minutes of measuring
    result = bench.run_plan(plan, print_note)
    write_result(output, result)
    page = output.with_suffix(".html")
    write_file(page, make_report(result))
    rows = result["rows"]
    console = stdout_console()
    tiled = [row for row in rows if row["suite"] == "tiles"]
    whole = [row for row in rows if row["suite"] in ("photo", "size")]
    for table in (*tile_tables(tiled, wide=console.width >= WIDE), *photo_tables(whole)):
        console.print(table)
    print_note(f"wrote {output} and {page}")


@bench_app.command("compare")
@reports_errors
def compare(
    old: Annotated[Path, typer.Argument(help="A result of `restora bench run`.")],
    new: Annotated[Path, typer.Argument(help="Another one.")],
) -> None:
    """Ratios of two results, with the range that their spreads allow."""
    from restora_benchmarks.bench.compare import compare_results, comparison_table
    from restora_benchmarks.bench.schema import read_result

    rows = compare_results(read_result(old), read_result(new))
    if not rows:
        raise OptionError(f"{old} and {new} have no measurement in common")
    stdout_console().print(comparison_table(rows))


@bench_app.command("report")
@reports_errors
def report(
    result: Annotated[Path, typer.Argument(help="A result of `restora bench run`.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The HTML file. Default: beside it.")
    ] = None,
) -> None:
    """Make the HTML report of a result again."""
    from restora_benchmarks.bench.report import make_report
    from restora_benchmarks.bench.schema import read_result

    page = output or result.with_suffix(".html")
    write_file(page, make_report(read_result(result)))
    print_note(f"wrote {page}")


def _parse_suites(text: str) -> tuple[str, ...]:
    names = tuple(text.split(","))
    unknown = [name for name in names if name not in SUITES]
    if unknown:
        raise OptionError(f"--suites are of {', '.join(SUITES)}, got {', '.join(unknown)}")
    return names


def _parse_numbers(text: str, kind: type, *, zero: bool = False) -> tuple[int, ...]:
    try:
        numbers = tuple(kind(part) for part in text.split(","))
    except ValueError as error:
        raise OptionError(f"expected numbers between commas, got {text!r}") from error
    if not all(number > 0 or (zero and number == 0) for number in numbers):
        raise OptionError(f"expected numbers over 0, got {text!r}")
    return numbers
