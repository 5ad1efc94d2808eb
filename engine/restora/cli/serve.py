"""`restora serve`: photos and jobs over HTTP."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import TYPE_CHECKING

from restora.byte_size import parse_size
from restora.cli import face_flags, photo_flags, runtime_flags, serve_flags, tile_flags
from restora.cli.console import print_note
from restora.cli.exits import leave, reports_errors
from restora.errors import MissingBackendError
from restora.exit_codes import ExitCode
from restora.faces.options import FaceOptions
from restora.models import DEFAULT_MODEL
from restora.options import DEFAULT_MAX_OUTPUT_PIXELS, RestoreOptions

if TYPE_CHECKING:
    from restora.serve.options import ServeOptions


@reports_errors
def serve(
    model: serve_flags.Models = DEFAULT_MODEL,
    host: serve_flags.Host = "127.0.0.1",
    port: serve_flags.Port = 8000,
    grpc_port: serve_flags.GrpcPort = None,
    page: serve_flags.Page = True,
    tokens: serve_flags.Tokens = None,
    allowed_host: serve_flags.AllowedHosts = None,
    cors: serve_flags.Cors = None,
    rate_limit: serve_flags.RateLimit = None,
    queue: serve_flags.Queue = 64,
    deadline: serve_flags.Deadline = None,
    upload_timeout: serve_flags.UploadTimeout = 60.0,
    keep: serve_flags.Keep = 600.0,
    keep_size: serve_flags.KeepSize = "1G",
    drain_delay: serve_flags.DrainDelay = 0.0,
    drain_timeout: serve_flags.DrainTimeout = 30.0,
    root: serve_flags.Root = None,
    state: serve_flags.State = None,
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
            roots=serve_flags.parse_roots(root), state=state, drain_delay_s=drain_delay,
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
    if not run_service(options, report=print_note):
        leave(ExitCode.OK)
