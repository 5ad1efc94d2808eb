"""`restora serve`: photos and jobs over HTTP."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from restora.byte_size import parse_size
from restora.cli import face_flags, panels, photo_flags, runtime_flags, tile_flags
from restora.cli.console import print_note
from restora.cli.exits import reports_errors
from restora.errors import MissingBackendError, OptionError
from restora.faces.options import FaceOptions
from restora.models import DEFAULT_MODEL
from restora.options import DEFAULT_MAX_OUTPUT_PIXELS, RestoreOptions

if TYPE_CHECKING:
    from restora.serve.options import ServeOptions

_network = panels.in_panel("Network")
_requests = panels.in_panel("Requests")
_jobs = panels.in_panel("Jobs")


@reports_errors
def serve(
    model: Annotated[
        str,
        typer.Option(
            "--model",
            "-n",
            envvar="RESTORA_MODEL",
            help="See `restora restore`. Several are separated by commas; the first is the "
            "default of requests.",
        ),
    ] = DEFAULT_MODEL,
    host: Annotated[
        str, _network(help="Address to listen at; any but 127.0.0.1 needs --tokens.")
    ] = "127.0.0.1",
    port: Annotated[int, _network(min=0, max=65535, help="0: a free one.")] = 8000,
    grpc_port: Annotated[
        int | None, _network(min=0, max=65535, help="Open Inference Protocol over gRPC, too.")
    ] = None,
    page: Annotated[bool, _network("--page/--no-page", help="A page for browsers at /.")] = True,
    tokens: Annotated[
        Path | None,
        _network(help="A file of bearer tokens: a line NAME TOKEN, or NAME TOKEN RATE, for each."),
    ] = None,
    allowed_host: Annotated[
        list[str] | None,
        _network(metavar="NAME", help="A name of this server in requests; * for any name."),
    ] = None,
    cors: Annotated[
        list[str] | None,
        _network(metavar="ORIGIN", help="An origin whose pages may use the service."),
    ] = None,
    rate_limit: Annotated[
        str | None, _requests(metavar="N/s|N/min|N/h", help="Requests of each token or address.")
    ] = None,
    queue: Annotated[int, _requests(min=1, help="Requests that may wait.")] = 64,
    deadline: Annotated[
        float | None, _requests(help="Seconds after which a request fails. Default: never.")
    ] = None,
    upload_timeout: Annotated[float, _requests(help="Seconds for the body of a request.")] = 60.0,
    keep: Annotated[float, _requests(help="Seconds that linked results are kept.")] = 600.0,
    keep_size: Annotated[str, _requests(help="Bytes of all linked results.")] = "1G",
    drain_delay: Annotated[
        float, _requests(help="Seconds between a signal and the end of new requests.")
    ] = 0.0,
    drain_timeout: Annotated[
        float, _requests(help="Seconds for requests to end after a signal.")
    ] = 30.0,
    root: Annotated[
        list[str] | None,
        _jobs(metavar="NAME=DIR", help="A folder inside which jobs may read and write."),
    ] = None,
    state: Annotated[Path | None, _jobs(help="The folder that jobs are recorded in.")] = None,
    faces: face_flags.Faces = None,
    face_model: face_flags.FaceModel = None,
    face_detector: face_flags.FaceDetector = "auto",
    tile: tile_flags.Tile = "auto",
    batch: tile_flags.Batch = None,
    threads: runtime_flags.Threads = 0,
    backend: runtime_flags.Backend = "auto",
    precision: runtime_flags.Precision = "auto",
    fp32: runtime_flags.Fp32 = False,
    gpu_id: runtime_flags.GpuId = None,
    memory: runtime_flags.Memory = None,
    max_pixels: runtime_flags.MaxPixels = runtime_flags.MAX_PIXELS,
    max_file_size: runtime_flags.MaxFileSize = "256M",
    decode_timeout: runtime_flags.DecodeTimeout = runtime_flags.DECODE_TIMEOUT,
    max_output_pixels: photo_flags.MaxOutputPixels = DEFAULT_MAX_OUTPUT_PIXELS,
) -> None:
    """Serve photos over HTTP: a bounded queue, deadlines, tokens, metrics, a page, and jobs.

    SIGTERM and Ctrl-C end it with exit code 0, once the requests in progress are answered.
    """
    options = RestoreOptions(
        tile=tile_flags.parse_tile(tile), batch=batch, threads=threads, backend=backend,
        precision=runtime_flags.choose_precision(precision, fp32=fp32),
        device="auto" if gpu_id is None else f"gpu:{gpu_id}", max_output_pixels=max_output_pixels,
        memory=None if memory is None else parse_size(memory),
    )  # fmt: skip
    limits = runtime_flags.photo_limits(max_pixels, max_file_size, decode_timeout)
    face_options = FaceOptions(model=face_model, detector=face_detector)

    def make_options() -> ServeOptions:
        from restora.serve.options import ServeOptions, parse_rate

        return ServeOptions(
            host=host, port=port, grpc_port=grpc_port, page=page, tokens=tokens,
            models=tuple(name for name in model.split(",") if name), restore=options,
            faces=face_flags.face_options_or_none(faces, face_options), limits=limits,
            allowed_hosts=tuple(allowed_host or ()), cors=tuple(cors or ()), queue=queue,
            rate=None if rate_limit is None else parse_rate(rate_limit), deadline_s=deadline,
            upload_timeout_s=upload_timeout, keep_s=keep, keep_bytes=parse_size(keep_size),
            roots=_parse_roots(root or []), state=state, drain_delay_s=drain_delay,
            drain_timeout_s=drain_timeout,
        )  # fmt: skip

    _run(make_options)


def _run(make_options: Callable[[], ServeOptions]) -> None:
    for package in ("starlette", "uvicorn", "prometheus_client", "python_multipart"):
        if find_spec(package) is None:
            raise MissingBackendError(f"serving needs {package}: pip install 'restora[serve]'")
    from restora.malloc import return_freed_memory
    from restora.serve.run import run_service

    options = make_options()
    return_freed_memory()
    run_service(options, report=print_note)


def _parse_roots(entries: list[str]) -> dict[str, Path]:
    roots: dict[str, Path] = {}
    for entry in entries:
        name, mark, folder = entry.partition("=")
        if not mark or not folder:
            raise OptionError(f"--root is written NAME=DIR, got {entry!r}")
        if name in roots:
            raise OptionError(f"--root {name} is given twice")
        roots[name] = Path(folder)
    return roots
