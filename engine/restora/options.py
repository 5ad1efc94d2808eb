"""Options of a Restorer."""

from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from restora.backends import CpuOptions, PlanOptions, Session, SessionOptions
from restora.backends.batching import Sharing
from restora.backends.options import BackendChoice, PrecisionChoice, gpu_of_device
from restora.checks import check_choice, check_flag, check_number, check_whole, set_checked
from restora.color import ColorMode
from restora.errors import OptionError
from restora.tile_memory import choose_max_pixels
from restora.tiling import Blend, Tiling
from restora.upsample import MAX_PRE_PAD, AlphaMethod, ResizeMethod

_LARGE_PHOTO = (3000, 4000)
AUTO_SIDE = 4096  # of automatic tiles, whose area is limited too
PUBLISHED_TILE = 256  # on the published grid, unless told
UPSTREAM_OVERLAP = 20  # twice the padding of the published scripts
MAX_SIDE = 1 << 20  # of a tile, in pixels: longer than any picture that is decoded
MAX_BATCH = 1024
DEFAULT_MAX_OUTPUT_PIXELS = 400_000_000
PINNED_SHARE = 8  # of a memory limit, which results in pinned memory may keep

Compat = Literal["upstream"]


@dataclass(frozen=True, slots=True)
class RestoreOptions:
    """Options of a Restorer. Lengths in input pixels. Raises OptionError for a value that cannot
    work, when the options are made.

    tile: "auto" for tiles of the least computed area that memory allows, 0 for the whole photo at
        once, or the largest side of a tile
    overlap: shared by neighboring tiles; None: as measured when the artifact was made
    batch: tiles per call of the network, 1..1024; None: what the session runs fastest
    blend: how tiles are joined: "cosine", "linear", or "crop", the published hard cut
    published_tiles: the published script's grid: `tile` is a tile's core, overlap / 2 its padding
    compat: "upstream" for the arithmetic of the published scripts: their grid, a padding of 10 and
        hard cuts, Lanczos for every resize, gray and transparency rounded once, and their way of
        pasting faces. Of these options, those with another value than their default are kept
    alpha: how transparency is enlarged: "network" or "bilinear"
    resize: how an outscale other than the network's is reached: "area-lanczos" or "lanczos4"
    pre_pad: mirrored onto the right and lower side before the network, 0..256
    threads: CPU threads; 0: all cores that this process may use
    backend: what the networks that make pictures run on: "auto", "tensorrt", "cuda", "openvino",
        "cpu", "ncnn" or "ncnn-vulkan"
    precision: "auto", "fp32", "fp16", "mixed", "bf16", "int8" or "fp8"; see SessionOptions
    device: "auto", "cpu", "gpu" or "gpu:1"; see SessionOptions
    denoise_strength: 0..1, for realesr-general-x4v3 only: 1 is the model itself, 0 its partner that
        keeps noise; None: the model itself
    color: "off"; "balance": remove a color cast; "unfade": restore the contrast of a faded print
        too
    max_output_pixels: larger results are refused before any work is done
    sharing: how photos that are restored at the same time share a network: "oldest" computes the
        tiles of the oldest photo first, "fair" gives each photo the same number of pixels
    memory: limit of main memory of the whole process in bytes, of which automatic tiles take at
        most a third; None: they take at most 6 GiB, or a quarter of the machine's memory
    """

    tile: int | str = "auto"
    overlap: int | None = None
    batch: int | None = None
    blend: Blend = "cosine"
    published_tiles: bool = False
    compat: Compat | None = None
    alpha: AlphaMethod = "network"
    resize: ResizeMethod = "area-lanczos"
    pre_pad: int = 0
    threads: int = 0
    backend: BackendChoice = "auto"
    precision: PrecisionChoice = "auto"
    device: str = "auto"
    denoise_strength: float | None = None
    color: ColorMode = "off"
    max_output_pixels: int = DEFAULT_MAX_OUTPUT_PIXELS
    sharing: Sharing = "oldest"
    memory: int | None = None

    def __post_init__(self) -> None:
        overlap, batch, memory = self.overlap, self.batch, self.memory
        set_checked(
            self,
            tile=_check_tile(self.tile),
            overlap=overlap
            if overlap is None
            else check_whole("overlap", overlap, minimum=0, maximum=MAX_SIDE),
            batch=batch
            if batch is None
            else check_whole("batch", batch, minimum=1, maximum=MAX_BATCH),
            blend=check_choice("blend", self.blend, get_args(Blend)),
            published_tiles=check_flag("published_tiles", self.published_tiles),
            color=check_choice("color", self.color, get_args(ColorMode)),
            alpha=check_choice("alpha", self.alpha, get_args(AlphaMethod)),
            resize=check_choice("resize", self.resize, get_args(ResizeMethod)),
            pre_pad=check_whole("pre_pad", self.pre_pad, minimum=0, maximum=MAX_PRE_PAD),
            max_output_pixels=check_whole("max_output_pixels", self.max_output_pixels, minimum=1),
            sharing=check_choice("sharing", self.sharing, get_args(Sharing)),
            memory=memory if memory is None else check_whole("memory", memory, minimum=1),
        )
        if self.compat is not None:
            check_choice("compat", self.compat, get_args(Compat))
            set_checked(
                self,
                overlap=UPSTREAM_OVERLAP if self.overlap is None else self.overlap,
                published_tiles=True,
                blend="crop" if self.blend == "cosine" else self.blend,
                resize="lanczos4" if self.resize == "area-lanczos" else self.resize,
            )
        session = self.session_options()  # which checks threads, backend, precision and device
        set_checked(self, threads=session.cpu.threads, device=session.device)
        if self.denoise_strength is not None:
            strength = check_number("denoise_strength", self.denoise_strength, minimum=0, maximum=1)
            set_checked(self, denoise_strength=strength)
        tile = 0 if self.tile == "auto" or self.published_tiles else int(self.tile)
        if self.overlap is not None and 0 < tile <= self.overlap:
            raise OptionError(
                f"a tile must be larger than its overlap, got tile {tile} and "
                f"overlap {self.overlap}"
            )

    @property
    def gpu(self) -> int | None:
        """The number of the GPU that is asked for; None if none is."""
        return gpu_of_device(self.device)

    def tiling_for(self, session: Session) -> Tiling:
        """The limits of tiles for this session, unless told."""
        limits, info = session.limits, session.info
        overlap = info.overlap_px if self.overlap is None else self.overlap
        tiling = Tiling(
            size=PUBLISHED_TILE if self.tile == "auto" else int(self.tile),
            overlap=overlap,
            batch=limits.best_batch if self.batch is None else self.batch,
            blend=self.blend,
            published_grid=self.published_tiles,
        )
        if self.published_tiles or self.tile == 0:
            return tiling
        shapes, cost = limits.best_tiles, limits.other_tiles_cost
        if self.tile != "auto":
            fitting = tuple(shape for shape in shapes if max(shape) <= tiling.size)
            return replace(tiling, shapes=fitting, other_cost=cost)
        # a session that limits the sides of tiles limits its memory by them
        bounded = limits.max_tile is not None
        return replace(
            tiling,
            size=AUTO_SIDE if limits.max_tile is None else limits.max_tile,
            max_pixels=None
            if bounded
            else choose_max_pixels(info, limits, overlap=overlap, memory=self.memory),
            shapes=shapes,
            other_cost=cost,
        )

    def session_options(self) -> SessionOptions:
        plans = PlanOptions(any_built=self.tile == "auto" and self.batch is None)
        if isinstance(self.tile, int) and self.tile:
            plans = replace(plans, tile=self.tile)
        if self.batch is not None:
            plans = replace(plans, batches=tuple(sorted({1, self.batch})))
        return SessionOptions(
            backend=self.backend,
            precision=self.precision,
            device=self.device,
            pinned_bytes=None if self.memory is None else self.memory // PINNED_SHARE,
            cpu=CpuOptions(threads=self.threads),
            plans=plans,
        )


def computed_area(session: Session, options: RestoreOptions | None = None) -> float:
    """How many pixels a session computes for each pixel of a large photo, because tiles overlap."""
    tiling = (options or RestoreOptions()).tiling_for(session)
    height, width = (side - side % session.limits.multiple for side in _LARGE_PHOTO)
    rows, columns = tiling.split(height, width, session.limits.multiple)
    tall, wide = (sum(span.stop - span.start for span in spans) for spans in (rows, columns))
    return tall * wide / (height * width)


def combine_options(options: RestoreOptions | None, **shorthand: str | int) -> RestoreOptions:
    """`options` with the values of `shorthand` that are not "auto".

    Raises OptionError if both set the same field, to different values.
    """
    given: dict[str, Any] = {name: value for name, value in shorthand.items() if value != "auto"}
    if options is None:
        return RestoreOptions(**given)
    if not isinstance(options, RestoreOptions):
        raise OptionError(f"options must be RestoreOptions, got {options!r}")
    combined = replace(options, **given)
    for name in given:
        ours, theirs = getattr(combined, name), getattr(options, name)
        if theirs not in ("auto", ours):
            raise OptionError(
                f"{name} is given twice, as {ours!r} and in options as {theirs!r}: leave one out"
            )
    return combined


def _check_tile(tile: object) -> int | str:
    if isinstance(tile, str):
        if tile != "auto":
            raise OptionError(
                f"tile must be 'auto', 0 for the whole photo or a number of pixels, got {tile!r}"
            )
        return tile
    return check_whole("tile", tile, minimum=0, maximum=MAX_SIDE)
