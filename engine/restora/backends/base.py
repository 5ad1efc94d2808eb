"""The interface of all backends, and the checks of their inputs and outputs."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from restora.artifact import ArtifactInfo
from restora.errors import NonFiniteOutputError, SessionError, ShapeError
from restora.tiling import Progress, Tiling

Batch = NDArray[np.uint8 | np.float32]


@dataclass(frozen=True, slots=True)
class SizeLimits:
    """The input sizes that a session accepts, and those that it prefers.

    multiple: height and width must be multiples of this
    fixed_tile: the only accepted height and width; None accepts any
    max_batch: the largest batch; None means no limit
    min_tile: the smallest height and width
    max_tile: the largest height and width; None means no limit
    best_tiles: heights and widths of tiles that the session is prepared for
    other_tiles_cost: the time of a pixel in tiles of other shapes, relative to `best_tiles`
    best_batch: the fastest batch of tiles
    best_calls: how many concurrent calls make the session faster
    bytes_per_pixel: main memory that a call takes for each input pixel; None: unknown
    bytes_per_call: main memory that a call takes in addition
    """

    multiple: int = 1
    fixed_tile: int | None = None
    max_batch: int | None = None
    min_tile: int = 1
    max_tile: int | None = None
    best_tiles: tuple[tuple[int, int], ...] = ()
    other_tiles_cost: float = 1.0
    best_batch: int = 1
    best_calls: int = 1
    bytes_per_pixel: float | None = None
    bytes_per_call: int = 0


def limits_of(info: ArtifactInfo) -> SizeLimits:
    """The limits of the artifact itself. A backend may narrow them."""
    return SizeLimits(multiple=info.size_multiple, fixed_tile=info.side)


class Session(Protocol):
    """A loaded model. Its methods can be called from several threads at once."""

    @property
    def info(self) -> ArtifactInfo: ...

    @property
    def limits(self) -> SizeLimits: ...

    def run(self, batch: Batch) -> Batch:
        """Run the network on a batch of images.

        batch: (batch, height, width, 3) RGB in the artifact's io dtype; a repairer takes a fourth
            channel, its mask

        An upsampler or a face network returns (batch, scale * height, scale * width, 3) of the same
        dtype; ArtifactInfo describes the output of other kinds.
        Raises ShapeError for a batch that the session does not accept, NonFiniteOutputError if the
        network returns NaN or Inf, and SessionError if the runtime fails.
        """
        ...

    def close(self) -> None:
        """Free all resources of the session, which cannot run afterwards."""
        ...


@runtime_checkable
class TilingSession(Session, Protocol):
    """A session that splits and blends tiles itself, for example on the GPU."""

    def run_tiles(self, image: Batch, *, tiling: Tiling, progress: Progress | None = None) -> Batch:
        """Compute the same result as restora.tiling.run_tiles with `run`.

        image: (height, width, 3) in the artifact's io dtype, sides multiples of limits.multiple
        """
        ...


def check_batch(batch: Batch, info: ArtifactInfo, limits: SizeLimits) -> None:
    """Raise ShapeError unless a session with these limits accepts `batch`."""
    if batch.dtype != np.dtype(info.io):
        raise ShapeError(f"{info.model} takes {info.io} pictures, got {batch.dtype}")
    channels = info.input_channels
    if batch.ndim != 4 or batch.shape[3] != channels or 0 in batch.shape:
        raise ShapeError(
            f"a batch must have shape (batch, height, width, {channels}) with no empty side, "
            f"got {batch.shape}"
        )
    height, width = batch.shape[1:3]
    if height % limits.multiple or width % limits.multiple:
        raise ShapeError(
            f"{info.model} takes sides that are multiples of {limits.multiple}, "
            f"got {height} x {width}"
        )
    if limits.fixed_tile is not None and (height, width) != (limits.fixed_tile,) * 2:
        raise ShapeError(
            f"this session takes tiles of {limits.fixed_tile} x {limits.fixed_tile}, "
            f"got {height} x {width}"
        )
    if min(height, width) < limits.min_tile:
        raise ShapeError(
            f"this session takes sides of at least {limits.min_tile}, got {height} x {width}"
        )
    if limits.max_tile is not None and max(height, width) > limits.max_tile:
        raise ShapeError(
            f"this session takes tiles of at most {limits.max_tile} x {limits.max_tile}, got "
            f"{height} x {width}: use a smaller --tile, or `restora build --max-tile`"
        )
    if limits.max_batch is not None and len(batch) > limits.max_batch:
        raise ShapeError(f"this session takes at most {limits.max_batch} tiles, got {len(batch)}")


def check_result(result: Batch, batch: Batch, info: ArtifactInfo) -> None:
    """Raise SessionError unless a result has the shape and dtype that the metadata promises."""
    count, height, width, _ = batch.shape
    pictures = (count, info.scale * height, info.scale * width, info.output_channels)
    anchors = result.shape[1] if result.ndim > 1 else 0
    expected = {
        "detector": ((count, anchors, 16), "float32"),
        "parser": ((count, height, width, 1), "uint8"),
    }.get(info.kind, (pictures, info.io))
    if (result.shape, str(result.dtype)) != expected:
        raise SessionError(
            f"{info.model} must give {expected[1]} of shape {expected[0]}, it gives {result.dtype} "
            f"of shape {result.shape}: its metadata is of another network, export it again"
        )


def check_finite(channel_means: NDArray[np.float32], info: ArtifactInfo) -> None:
    """Raise NonFiniteOutputError unless the channel means of the unclipped output are finite.

    One NaN or Inf makes the mean NaN or Inf, so they are detected although the output is rounded
    to uint8.
    """
    if not np.isfinite(channel_means).all():
        raise NonFiniteOutputError(
            f"{info.model} ({info.precision}) returned NaN or Inf: the weights or the precision "
            "do not suit this image; try an fp32 artifact"
        )
