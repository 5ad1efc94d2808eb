"""Options of several commands: the backend, and limits of memory and input size."""

from typing import Annotated

from restora.backends.options import BackendChoice, PrecisionChoice
from restora.byte_size import parse_size
from restora.cli.panels import backend, limits
from restora.errors import OptionError
from restora.image.limits import PhotoLimits
from restora.jobs.devices import Devices, check_devices

Backend = Annotated[
    BackendChoice,
    backend(
        "--backend",
        envvar="RESTORA_BACKEND",
        help="Inference backend. auto takes the fastest that starts here (-v logs why nothing "
        "faster); any other fails if it is not available.",
    ),
]
Precision = Annotated[
    PrecisionChoice,
    backend(
        "--precision",
        help="Compute precision. auto: fp16 on a GPU if there is an artifact for it, bf16 with "
        "OpenVINO if the CPU has it and it is accurate enough, else fp32.",
    ),
]
Fp32 = Annotated[bool, backend("--fp32", help="The same as --precision fp32.")]
GpuId = Annotated[
    int | None,
    backend(
        "--gpu-id",
        "-g",
        min=0,
        help="Number of the GPU to use. The run then fails rather than use the CPU.",
    ),
]
Gpus = Annotated[
    str | None,
    backend(
        "--gpu",
        metavar="all|N,N",
        help="Spread a folder over several GPUs, such as 0,2, with a process for each.",
    ),
]
Threads = Annotated[
    int,
    backend(
        "--threads", min=0, envvar="RESTORA_THREADS", help="CPU threads; 0: all allowed cores."
    ),
]

Memory = Annotated[
    str | None,
    limits(
        "--memory",
        envvar="RESTORA_MEMORY",
        help="Limit of main memory for the whole process, such as 2G. Tiles take a third of it, "
        "photos in flight share the rest, and a photo that would not fit alone fails. "
        "Default: at most 6 GiB for a tile and half of what is free for photos.",
    ),
]
MaxPixels = Annotated[int, limits(min=1, help="Refuse larger inputs before decoding them.")]
MaxFileSize = Annotated[str, limits(help="Refuse larger files, such as 4G, before reading them.")]
DecodeTimeout = Annotated[
    float, limits(help="Seconds after which the decoding of a photo is stopped.")
]
MAX_PIXELS = PhotoLimits().max_pixels
MAX_FILE_SIZE = "2G"
DECODE_TIMEOUT = PhotoLimits().max_decode_s


def photo_limits(max_pixels: int, max_file_size: str, decode_timeout: float) -> PhotoLimits:
    """Raises OptionError for a value that cannot work."""
    return PhotoLimits(max_pixels, parse_size(max_file_size), decode_timeout)


def parse_gpus(gpus: str | None, gpu_id: int | None) -> Devices | None:
    """The devices of --gpu; None if it is not given. Raises OptionError, also beside --gpu-id."""
    if gpus is None:
        return None
    if gpu_id is not None:
        raise OptionError("--gpu and --gpu-id contradict each other: give one of them")
    if gpus == "all":
        return "all"
    numbers = [number.strip() for number in gpus.split(",")]
    if not all(number.isascii() and number.isdigit() for number in numbers):
        raise OptionError(f"--gpu must be all, or numbers of GPUs such as 0,2, got {gpus!r}")
    return check_devices([f"gpu:{number}" for number in numbers])


def choose_precision(precision: PrecisionChoice, *, fp32: bool) -> PrecisionChoice:
    """Raises OptionError if both options are given and differ."""
    if fp32 and precision not in ("auto", "fp32"):
        raise OptionError(f"--fp32 and --precision {precision} contradict each other")
    return "fp32" if fp32 else precision
