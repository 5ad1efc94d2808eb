"""`restora bench`: measure this machine, compare two results, make a report."""

from pathlib import Path
from types import ModuleType
from typing import Annotated

import typer

from restora.cli.console import print_note, stdout_console
from restora.cli.exits import reports_errors
from restora.cli.panels import in_panel
from restora.errors import MissingBackendError, OptionError
from restora.files import make_folder
from restora.models import DEFAULT_MODEL

bench_app = typer.Typer(
    help="Measure the speed and accuracy of models and backends on this machine.",
    no_args_is_help=True,
    add_completion=False,
)
WIDE = 120  # columns of a terminal from which on tables show everything
_tiles, _photos = in_panel("Suite tiles"), in_panel("Suites photo, size and stages")


@bench_app.command("run")
@reports_errors
def run(
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The JSON file; the .html report is next to it.")
    ] = Path("bench.json"),
    models: Annotated[
        str, typer.Option("--models", "-m", help="Names or .onnx files, separated by commas.")
    ] = DEFAULT_MODEL,
    suites: Annotated[
        str, typer.Option(help="Some of tiles, photo, size and stages, separated by commas.")
    ] = "tiles,photo,size,stages",
    threads: Annotated[
        str, typer.Option(help="CPU threads, numbers separated by commas; 0: all allowed cores.")
    ] = "0",
    backends: Annotated[
        str,
        _tiles(help="Backends to measure: all, ours, or names such as 'restora cpu/fp32'."),
    ] = "all",
    tiles: Annotated[str, _tiles(help="Sides in pixels, separated by commas.")] = "128,256",
    batches: Annotated[str, _tiles(help="Tiles per call, numbers separated by commas.")] = "1,4",
    repeats: Annotated[int, _tiles(min=1, help="Runs of each tile.")] = 5,
    probes: Annotated[
        bool, _tiles("--probes/--no-probes", help="Measure start-up and memory of each backend.")
    ] = True,
    megapixels: Annotated[float, _photos(help="Size of the input photo.")] = 2.0,
    sizes: Annotated[
        str, _photos(help="Sizes of results in megapixels, separated by commas.")
    ] = "0.25,1,4,12,24,50",
    photo_repeats: Annotated[int, _photos(min=1, help="Runs of each photo.")] = 3,
    photo_ways: Annotated[
        str,
        _photos(
            help="What is measured on the photo: session, Upsampler, command, and the published "
            "tiling in PyTorch (published) and in ncnn (ncnn)."
        ),
    ] = "session,Upsampler,command,published,ncnn",
) -> None:
    """Measure this machine: JSON, a table, and one HTML file with plots.

    Backends are measured in turns, in one run. What is not installed is skipped with a message;
    the backends of other projects need pip install 'restora[bench-peers]'.
    """
    bench = _import_bench()
    plan = bench.run.Plan(
        models=tuple(models.split(",")),
        suites=tuple(suites.split(",")),
        ways=bench.ways.find_ways(backends),
        sides=_parse_numbers(tiles, int),
        batches=_parse_numbers(batches, int),
        megapixels=megapixels,
        output_mps=_parse_numbers(sizes, float),
        repeats=repeats,
        photo_repeats=photo_repeats,
        threads=_parse_numbers(threads, int),
        probes=probes,
        photo_ways=tuple(photo_ways.split(",")),
    )
    make_folder(output.parent)  # before minutes of measuring
    result = bench.run.run_plan(plan, print_note)
    bench.schema.write_result(output, result)
    page = output.with_suffix(".html")
    bench.report.write_report(page, result)
    console = stdout_console()
    for table in bench.tables.result_tables(result, wide=console.width >= WIDE):
        console.print(table)
    print_note(f"wrote {output} and {page}")


@bench_app.command("compare")
@reports_errors
def compare(
    old: Annotated[Path, typer.Argument(help="A result of `restora bench run`.")],
    new: Annotated[Path, typer.Argument(help="Another result.")],
) -> None:
    """Show the ratios of two results, with the range that their spreads allow."""
    bench = _import_bench()
    read = bench.schema.read_result
    rows = bench.compare.compare_results(read(old), read(new))
    if not rows:
        raise OptionError(f"{old} and {new} have no measurement in common")
    stdout_console().print(bench.compare.comparison_table(rows))


@bench_app.command("report")
@reports_errors
def report(
    result: Annotated[Path, typer.Argument(help="A result of `restora bench run`.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The HTML file. Default: next to the result."),
    ] = None,
) -> None:
    """Make the HTML report of a result again."""
    bench = _import_bench()
    content = bench.schema.read_result(result)
    page = output or result.with_suffix(".html")
    make_folder(page.parent)
    bench.report.write_report(page, content)
    print_note(f"wrote {page}")


def _import_bench() -> ModuleType:
    """The package with its modules. Raises MissingBackendError, saying what to install."""
    try:
        import restora_benchmarks.bench as bench
        from restora_benchmarks.bench import compare, report, run, schema, tables, ways  # noqa: F401
    except ImportError as error:
        raise MissingBackendError(
            f"measuring needs pip install 'restora[bench,cpu]' ({error})"
        ) from error
    return bench


def _parse_numbers(text: str, kind: type) -> tuple[int, ...]:
    """Raises OptionError."""
    try:
        return tuple(kind(part) for part in text.split(","))
    except ValueError as error:
        raise OptionError(f"expected numbers separated by commas, got {text!r}") from error
