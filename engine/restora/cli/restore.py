"""`restora restore`: one photo or a folder of them."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from restora.byte_size import parse_size
from restora.cli import face_flags, runtime_flags
from restora.cli.exits import reports_errors
from restora.cli.photo_run import PhotoRun
from restora.cli.report import report_plan
from restora.errors import OptionError
from restora.faces.choose import EYE_DISTANCE_PX
from restora.faces.options import FaceOptions
from restora.jobs.files import prepare_folder
from restora.jobs.output import WriteOptions
from restora.jobs.plan import Ext, Naming, is_file_name, is_folder, plan_jobs, require_free
from restora.jobs.run_journal import FILE, known_results
from restora.models import DEFAULT_MODEL
from restora.options import DEFAULT_MAX_OUTPUT_PIXELS, RestoreOptions
from restora.pipeline import Restorer
from restora.upsample import check_outscale


@reports_errors
def restore(
    input_: Annotated[Path, typer.Option("--input", "-i", help="A photo, or a folder of photos.")],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="A folder; or a file, if the input is one."),
    ] = Path("results"),
    model: Annotated[
        str,
        typer.Option(
            "--model",
            "--model-name",
            "-n",
            envvar="RESTORA_MODEL",
            help="A name listed by `restora models`, or the path of an .onnx artifact or of a "
            ".pth or .safetensors checkpoint; none to enlarge by interpolation, for faces only.",
        ),
    ] = DEFAULT_MODEL,
    outscale: Annotated[
        float | None,
        typer.Option("--outscale", "-s", help="Final enlargement. Default: the model's own."),
    ] = None,
    tile: Annotated[
        str,
        typer.Option(
            "--tile",
            "-t",
            envvar="RESTORA_TILE",
            help="Largest side of a tile in pixels, 0 for no tiles, or auto.",
        ),
    ] = "auto",
    tile_pad: Annotated[
        int | None,
        typer.Option(
            help="Half of what neighboring tiles share. Default: as measured for the model."
        ),
    ] = None,
    batch: Annotated[
        int | None,
        typer.Option(min=1, help="Tiles per call of the network. Default: what runs fastest."),
    ] = None,
    blend: Annotated[
        Literal["cosine", "linear", "crop"],
        typer.Option(help="How tiles are joined; crop is the published hard cut."),
    ] = "cosine",
    pre_pad: Annotated[
        int, typer.Option(min=0, help="Pixels mirrored onto the right and lower side.")
    ] = 0,
    denoise_strength: Annotated[
        float | None,
        typer.Option(
            "--denoise-strength",
            "-dn",
            help="0 keeps noise, 1 removes it; realesr-general-x4v3 only. Default: 1.",
        ),
    ] = None,
    alpha_upsampler: Annotated[
        Literal["network", "realesrgan", "bilinear", "bicubic"],
        typer.Option(
            help="How transparency is enlarged: through the network (realesrgan is another name "
            "of it) or bilinear (bicubic is the published, misleading name of that)."
        ),
    ] = "network",
    ext: Annotated[
        Ext, typer.Option(help="Format of results; auto: as the input, png if it is not writable.")
    ] = "auto",
    suffix: Annotated[
        str, typer.Option(help="Added to names as NAME_SUFFIX. Default: nothing.")
    ] = "",
    quality: Annotated[int, typer.Option(min=1, max=100, help="Of jpg and webp.")] = 95,
    strip_metadata: Annotated[
        bool, typer.Option("--strip-metadata", help="Drop ICC, EXIF and XMP.")
    ] = False,
    recursive: Annotated[
        bool, typer.Option("--recursive", "-r", help="Go into subfolders.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Restore again what is already done.")
    ] = False,
    on_error: Annotated[
        Literal["skip", "stop"], typer.Option(help="What a failed photo does to the rest.")
    ] = "skip",
    retry_failed: Annotated[
        bool,
        typer.Option("--retry-failed", help="Try again what failed in an earlier run."),
    ] = False,
    manifest: Annotated[
        Path | None,
        typer.Option(help="JSON lines of a folder's run. Default: .restora in the output folder."),
    ] = None,
    compare: Annotated[
        bool, typer.Option("--compare", help="Also write a before | after picture.")
    ] = False,
    json_lines: Annotated[
        bool, typer.Option("--json", help="One JSON object per file on stdout.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")
    ] = False,
    threads: Annotated[
        int,
        typer.Option(min=0, envvar="RESTORA_THREADS", help="CPU threads; 0: all allowed cores."),
    ] = 0,
    memory: runtime_flags.Memory = None,
    max_pixels: runtime_flags.MaxPixels = runtime_flags.MAX_PIXELS,
    max_file_size: runtime_flags.MaxFileSize = runtime_flags.MAX_FILE_SIZE,
    decode_timeout: runtime_flags.DecodeTimeout = runtime_flags.DECODE_TIMEOUT,
    max_output_pixels: Annotated[
        int, typer.Option(min=1, help="Larger results are refused before any work is done.")
    ] = DEFAULT_MAX_OUTPUT_PIXELS,
    backend: runtime_flags.Backend = "auto",
    precision: runtime_flags.Precision = "auto",
    fp32: runtime_flags.Fp32 = False,
    faces: face_flags.Faces = None,
    face_enhance: face_flags.FaceEnhance = False,
    face_model: face_flags.FaceModel = None,
    face_strength: face_flags.FaceStrength = 1.0,
    face_detector: face_flags.FaceDetector = "auto",
    face_batch: face_flags.FaceBatch = 8,
    parse: face_flags.Parse = False,
    eye_dist_threshold: face_flags.EyeDistance = EYE_DISTANCE_PX,
    only_center_face: face_flags.OnlyCenter = False,
    aligned: face_flags.Aligned = False,
    save_faces: face_flags.SaveFaces = False,
    gpu_id: runtime_flags.GpuId = None,
) -> None:
    """Restore and enlarge photos, and the faces in them.

    An interrupted run over a folder goes on where it was: what is done with these settings is left
    alone, what failed stays failed until --retry-failed.
    Options without a value are off unless given.

    Exit codes: 0 all done, 2 wrong usage, 3 some photos or faces failed, 4 all photos failed,
    5 model, 6 machine.
    """
    options = RestoreOptions(
        tile=_parse_tile(tile),
        overlap=None if tile_pad is None else 2 * tile_pad,
        batch=batch,
        blend=blend,
        alpha="network" if alpha_upsampler in ("network", "realesrgan") else "bilinear",
        pre_pad=pre_pad,
        threads=threads,
        backend=backend,
        precision=runtime_flags.choose_precision(precision, fp32=fp32),
        device="auto" if gpu_id is None else f"gpu:{gpu_id}",
        max_output_pixels=max_output_pixels,
        denoise_strength=denoise_strength,
    )
    if outscale is not None:
        check_outscale(outscale)
    face_options = FaceOptions(
        model=face_model,
        detector=face_detector,
        strength=face_strength,
        parse=parse,
        eye_dist_threshold=eye_dist_threshold,
        only_center_face=only_center_face,
        batch=face_batch,
    )
    asked = True if face_enhance or aligned else faces
    writes_file = is_file_name(output) and not is_folder(input_)
    root = output.parent if writes_file else output
    keeps_manifest = is_folder(input_) or manifest is not None
    rows = (manifest or root / FILE) if keeps_manifest else None
    limits = runtime_flags.photo_limits(max_pixels, max_file_size, decode_timeout)
    jobs = plan_jobs(
        input_,
        output,
        Naming(ext, suffix, compare, save_faces),
        recursive=recursive,
        limits=limits,
        known=known_results(rows, input_, output),
    )
    if dry_run:
        report_plan(jobs, json_lines)
        return
    if rows is None and not overwrite:
        require_free(jobs)
    prepare_folder(root / "any", None)
    run = PhotoRun(
        jobs,
        root=input_ if is_folder(input_) else input_.parent,
        manifest=rows,
        writing=WriteOptions(
            root, quality, strip_metadata, {job.target: job.extras for job in jobs}
        ),
        outscale=outscale,
        aligned=aligned,
        limits=limits,
        memory=None if memory is None else parse_size(memory),
        overwrite=overwrite,
        retry_failed=retry_failed,
        stop_at_error=on_error == "stop",
        json_lines=json_lines,
    )
    raise typer.Exit(
        run.run(
            lambda: Restorer(
                None if model == "none" else model,
                options=options,
                faces=face_flags.face_options_or_none(asked, face_options),
            )
        )
    )


def _parse_tile(tile: str) -> int | str:
    if tile == "auto" or tile.isdecimal():
        return tile if tile == "auto" else int(tile)
    raise OptionError(f"--tile must be auto, 0 or a number of pixels, got {tile!r}")
