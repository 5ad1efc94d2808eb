"""Options of `restora triton export` about the server."""

from typing import Annotated, Literal

from restora.cli import panels

_server = panels.in_panel("Server")

Precision = Annotated[
    Literal["fp32", "fp16", "both"],
    panels.backend(
        "--precision",
        help="fp16 needs FP16 artifacts that met their accuracy threshold; both writes NAME and "
        "NAME.fp16.",
    ),
]
Plans = Annotated[
    bool,
    panels.backend(
        "--plans",
        help="Write TensorRT plans of `restora build` where there are some. The server needs the "
        "same GPU and the same TensorRT.",
    ),
]
EngineCache = Annotated[
    str,
    panels.backend(
        help="Folder on the server that keeps the engines which TensorRT builds; none to build "
        "them at every start."
    ),
]
Threads = Annotated[
    int, panels.backend("--threads", min=0, help="CPU threads of a network; 0: all cores.")
]
EqualTiles = Annotated[
    bool,
    panels.tiles(
        "--equal-tiles",
        help="Full-size tiles only, so that photos of different sizes share batches.",
    ),
]
MaxBatch = Annotated[
    int, _server("--max-batch", min=1, help="Tiles or faces in one execution of a network.")
]
BatchDelay = Annotated[
    float, _server(min=0, help="Milliseconds that a tile waits for others of its size.")
]
QueueSize = Annotated[
    int, _server(min=1, help="Requests that may wait for a model; more are refused at once.")
]
QueueTimeout = Annotated[float, _server(help="Seconds after which a waiting request is refused.")]
Instances = Annotated[
    int, _server(min=1, help="Copies of each network, on each GPU or on the CPU.")
]
Photos = Annotated[
    int, _server(min=1, help="Photos at the same time, each in a process of its own.")
]
Warmup = Annotated[
    bool,
    _server("--warmup/--no-warmup", help="Run each network before the server is ready."),
]


def parse_precisions(precision: str) -> tuple[Literal["fp32", "fp16"], ...]:
    if precision == "both":
        return ("fp32", "fp16")
    return ("fp16",) if precision == "fp16" else ("fp32",)
