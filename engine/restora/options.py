"""How a Restorer works."""

from dataclasses import dataclass, replace

from restora.artifact import ArtifactInfo
from restora.errors import OptionError
from restora.sessions import CpuOptions, PlanOptions, Session, SessionOptions
from restora.sessions.options import BackendChoice, PrecisionChoice
from restora.tiling import Blend, Tiling
from restora.upsample import AlphaMethod, ResizeMethod

AUTO_TILES = (256, 512)  # least and most
_TILES_PER_OVERLAP = 48
_AUTO_ELEMENTS = 2**25  # of a tile's largest tensor: 128 MiB, of which a network holds a few
DEFAULT_MAX_OUTPUT_PIXELS = 400_000_000


@dataclass(frozen=True, slots=True)
class RestoreOptions:
    """How a Restorer works. Lengths in input pixels.

    tile        "auto", 0 for the whole photo at once, or the largest side of a tile
    overlap     that neighbouring tiles share; None: as measured when the artefact was made
    batch       tiles per call of the network; None: what the session runs fastest
    blend       how tiles are joined; "crop" is the published hard cut
    published_tiles  the published script's grid: `tile` is a tile's core, overlap / 2 its padding
    alpha       how transparency is enlarged
    resize      how an outscale other than the network's is reached
    pre_pad     mirrored onto the right and lower side before the network
    threads     of the CPU; 0 = all cores that this process may use
    backend     "auto", or what the networks that make pictures must run on
    precision   "auto": FP16 on a GPU where an artefact for it is here, else FP32
    gpu         which GPU; a number rules the CPU out
    max_output_pixels  larger results are refused before any work is done
    """

    tile: int | str = "auto"
    overlap: int | None = None
    batch: int | None = None
    blend: Blend = "cosine"
    published_tiles: bool = False
    alpha: AlphaMethod = "network"
    resize: ResizeMethod = "area-lanczos"
    pre_pad: int = 0
    threads: int = 0
    backend: BackendChoice = "auto"
    precision: PrecisionChoice = "auto"
    gpu: int | None = None
    max_output_pixels: int = DEFAULT_MAX_OUTPUT_PIXELS

    def __post_init__(self) -> None:
        if isinstance(self.tile, str) and self.tile != "auto":
            raise OptionError(f"tile must be 'auto' or a number of pixels, got {self.tile!r}")

    def tiling_for(self, session: Session) -> Tiling:
        """Tiles of the size and number that the session runs fastest, unless told."""
        limits, info = session.limits, session.info
        automatic = limits.best_tile or choose_tile(info)
        return Tiling(
            size=automatic if self.tile == "auto" else int(self.tile),
            overlap=info.overlap_px if self.overlap is None else self.overlap,
            batch=limits.best_batch if self.batch is None else self.batch,
            blend=self.blend,
            fixed=limits.best_tile is not None,
            published_grid=self.published_tiles,
        )

    def session_options(self) -> SessionOptions:
        plans = PlanOptions(any_built=self.tile == "auto" and self.batch is None)
        if isinstance(self.tile, int) and self.tile:
            plans = replace(plans, tile=self.tile)
        if self.batch is not None:
            plans = replace(plans, batches=tuple(sorted({1, self.batch})))
        return SessionOptions(
            self.backend, self.precision, self.gpu, CpuOptions(threads=self.threads), plans
        )


def choose_tile(info: ArtifactInfo) -> int:
    """The side of automatic tiles: 256, or more until overlaps waste no more than a twentieth of
    the work, as far as memory allows."""
    least, most = AUTO_TILES
    if info.elements_per_pixel is not None:
        fitting = int((_AUTO_ELEMENTS / info.elements_per_pixel) ** 0.5) // 64 * 64
        most = min(most, max(least, fitting))
    return min(most, max(least, _TILES_PER_OVERLAP * info.overlap_px))
