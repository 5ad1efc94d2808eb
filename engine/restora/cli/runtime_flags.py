"""Options of several commands: what networks run on, and with how much memory."""

from typing import Annotated

import typer

from restora.backends.options import BackendChoice, PrecisionChoice
from restora.backends.tensorrt.cuda import require_driver_library
from restora.byte_size import parse_size
from restora.errors import MissingBackendError, OptionError
from restora.image.limits import PhotoLimits
from restora.options import RestoreOptions

Backend = Annotated[
    BackendChoice,
    typer.Option(
        "--backend",
        envvar="RESTORA_BACKEND",
        help="Inference backend. auto takes the fastest that starts here (-v logs why nothing "
        "faster); any other fails if it is not available.",
    ),
]
Precision = Annotated[
    PrecisionChoice,
    typer.Option(
        "--precision",
        help="Compute precision. auto: fp16 on a GPU if there is an artifact for it, bf16 with "
        "OpenVINO if the CPU has it and it is accurate enough, else fp32.",
    ),
]
Fp32 = Annotated[bool, typer.Option("--fp32", help="The same as --precision fp32.")]
GpuId = Annotated[
    int | None,
    typer.Option(
        "--gpu-id",
        "-g",
        min=0,
        help="Number of the GPU to use. The run then fails rather than use the CPU.",
    ),
]

Memory = Annotated[
    str | None,
    typer.Option(
        "--memory",
        envvar="RESTORA_MEMORY",
        help="Limit of main memory for the whole process, such as 2G: fewer photos are in flight "
        "at once, and a photo that would not fit alone fails. Default: half of what is free, for "
        "photos.",
    ),
]

MaxPixels = Annotated[
    int, typer.Option(min=1, help="Larger inputs are refused before they are decoded.")
]
MaxFileSize = Annotated[
    str, typer.Option(help="Larger files, such as 4G, are refused before they are read.")
]
DecodeTimeout = Annotated[
    float, typer.Option(help="Seconds after which the decoding of a photo is ended.")
]
MAX_PIXELS = PhotoLimits().max_pixels
MAX_FILE_SIZE = "2G"
DECODE_TIMEOUT = PhotoLimits().max_decode_s


def photo_limits(max_pixels: int, max_file_size: str, decode_timeout: float) -> PhotoLimits:
    """Raises OptionError for a value that cannot work."""
    return PhotoLimits(max_pixels, parse_size(max_file_size), decode_timeout)


def choose_precision(precision: PrecisionChoice, *, fp32: bool) -> PrecisionChoice:
    """Raises OptionError if both options are given and differ."""
    if fp32 and precision not in ("auto", "fp32"):
        raise OptionError(f"--fp32 and --precision {precision} contradict each other")
    return "fp32" if fp32 else precision


def needs_fp16(options: RestoreOptions) -> bool:
    """Whether FP16 artifacts are of use: a GPU may be used, and is there."""
    if options.backend == "cpu" or options.precision not in ("auto", "fp16"):
        return False
    try:
        require_driver_library()
    except MissingBackendError:
        return False
    return True
