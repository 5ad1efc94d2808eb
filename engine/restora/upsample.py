"""Enlarge a photo: color, gray and transparency, 8 and 16 bits, any size."""

import logging
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from restora.backends.base import Batch, Session, SizeLimits, TilingSession
from restora.backends.gray import GRAY_WEIGHTS, GraySession
from restora.checks import check_choice, check_whole
from restora.errors import DeviceMemoryError, OptionError, ShapeError
from restora.image.photo import Photo, Pixels
from restora.tiling import Progress, Tiling, run_tiles

logger = logging.getLogger(__name__)

AlphaMethod = Literal["network", "bilinear"]
ResizeMethod = Literal["area-lanczos", "lanczos4"]

MAX_PRE_PAD = 256  # more is context that no network of the table sees
MAX_OUTSCALE = 1e6  # a photo of one pixel would fill any limit
_SMALLEST_TILE = 32  # of those that a full memory leads to


class Upsampler:
    """Enlarges photos with one session.

    session: of an upsampler artifact; with io "uint8" it takes 8-bit photos only
    tiling: how photos are cut; when a GPU's memory is full, tiles become smaller and stay so
    alpha: how transparency is enlarged: through the network, or bilinear
    resize: how an `outscale` other than the network's is reached. "area-lanczos": area to shrink,
        Lanczos to enlarge; "lanczos4": Lanczos for both, as the published script
    pre_pad: pixels mirrored onto the right and lower side before the network, and cut off again,
        0..256
    find_fine: finds a session of the same network for float32 pictures, for gray pictures and
        transparency of 8 bits; None: they go through `session`, and up to a quarter of their values
        differ by one level from a result that is rounded once
    """

    def __init__(
        self,
        session: Session,
        *,
        tiling: Tiling | None = None,
        alpha: AlphaMethod = "network",
        resize: ResizeMethod = "area-lanczos",
        pre_pad: int = 0,
        find_fine: Callable[[], Session | None] | None = None,
    ) -> None:
        if session.info.kind != "upsampler":
            raise OptionError(f"{session.info.model} is a {session.info.kind}, not an upsampler")
        self.session = session
        self.tiling = tiling or Tiling(overlap=session.info.overlap_px)
        self.alpha: AlphaMethod = check_choice("alpha", alpha, get_args(AlphaMethod))
        self.resize: ResizeMethod = check_choice("resize", resize, get_args(ResizeMethod))
        self.pre_pad = check_whole("pre_pad", pre_pad, minimum=0, maximum=MAX_PRE_PAD)
        self._find_fine = find_fine
        self._shrinking = threading.Lock()

    @property
    def scale(self) -> int:
        return self.session.info.scale

    def upsample(
        self, photo: Photo, *, outscale: float | None = None, progress: Progress | None = None
    ) -> Photo:
        """Enlarge `photo` by `outscale` (default: the network's own scale).

        progress: called with (output pixels done, output pixels in all), before any resize

        Returns a photo of int(outscale * side), same depth, gray if gray, with alpha if it had
        one, metadata carried over. An alpha that is the same everywhere stays exactly as it is.
        Raises ShapeError for a 16-bit photo in an 8-bit session, and what the session raises.
        """
        self._check_depth(photo)
        scale = self.scale if outscale is None else check_outscale(outscale)
        size = None if scale == self.scale else _scaled_size(photo, scale)
        shades = photo.alpha is not None and bool((photo.alpha != photo.alpha.flat[0]).any())
        through_network = shades and self.alpha == "network"
        report = _share_progress(progress, passes=2 if through_network else 1)
        pixels = self._enlarge(photo.pixels, report(0))
        alpha = photo.alpha
        if alpha is not None:
            height, width = pixels.shape[:2]
            if through_network:
                alpha = self._enlarge(alpha, report(1))
            elif shades:
                alpha = _resize_bilinear(alpha, height, width)
            else:
                alpha = np.full((height, width), alpha.flat[0], alpha.dtype)
        if size is not None:
            pixels = self._resize(pixels, size)
            alpha = None if alpha is None else self._resize(alpha, size)
        return replace(photo, pixels=pixels, alpha=alpha)

    def _check_depth(self, photo: Photo) -> None:
        if photo.pixels.dtype == np.uint16 and self.session.info.io == "uint8":
            raise ShapeError(
                f"{self.session.info.model} is loaded as an 8-bit artifact and the photo has 16 "
                "bits: use the float32 artifact (`restora export --io float32`)"
            )

    def _enlarge(self, pixels: Pixels, progress: Progress | None) -> Pixels:
        """One pass of the network over (h, w) or (h, w, 3), same dtype out."""
        gray = pixels.ndim == 2
        fine = self._find_fine() if gray and self._find_fine and pixels.itemsize == 1 else None
        if fine is not None:
            channel = np.asarray(pixels[..., None], np.uint8)
            return np.asarray(self._run(channel, progress, GraySession(fine))[..., 0], np.uint8)
        image = cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB) if gray else pixels
        if self.session.info.io == "float32":
            image = image.astype(np.float32) / np.float32(np.iinfo(pixels.dtype).max)
        restored = self._run(np.asarray(image), progress, self.session)
        if self.session.info.io == "float32":
            white = np.float32(np.iinfo(pixels.dtype).max)
            level = np.asarray(restored @ GRAY_WEIGHTS if gray else restored, np.float32)
            return _to_integers(level, white, pixels.dtype)
        color = np.asarray(restored, np.uint8)
        return np.asarray(cv2.cvtColor(color, cv2.COLOR_RGB2GRAY), np.uint8) if gray else color

    def _run(self, image: Batch, progress: Progress | None, session: Session) -> Batch:
        limits = session.limits
        height, width = image.shape[:2]
        image = _mirror(image, self.pre_pad, self.pre_pad)
        short = [max(0, limits.min_tile - side) for side in image.shape[:2]]
        image = _mirror(image, *short)
        image = _mirror(image, -image.shape[0] % limits.multiple, -image.shape[1] % limits.multiple)
        restored = self._run_smaller_if_full(image, progress, session)
        return restored[: height * self.scale, : width * self.scale]

    def _run_smaller_if_full(
        self, image: Batch, progress: Progress | None, session: Session
    ) -> Batch:
        """Run in tiles. When the device's memory is full, halve them, for later photos too."""
        while True:
            tiling = self.tiling
            try:
                return self._run_tiles(image, tiling, progress, session)
            except DeviceMemoryError as error:
                with self._shrinking:
                    if self.tiling is tiling:
                        self.tiling = _halve(tiling, image, error, session.limits)
                        logger.warning(
                            "%s; continuing with tiles of %d", str(error), self.tiling.size
                        )

    def _run_tiles(
        self, image: Batch, tiling: Tiling, progress: Progress | None, session: Session
    ) -> Batch:
        if isinstance(session, TilingSession):
            return session.run_tiles(image, tiling=tiling, progress=progress)
        return run_tiles(
            image,
            session.run,
            scale=self.scale,
            tiling=tiling,
            multiple=session.limits.multiple,
            progress=progress,
        )

    def _resize(self, pixels: Pixels, size: tuple[int, int]) -> Pixels:
        """Resize to size = (width, height), chosen by self.resize."""
        shrinks = size[0] * size[1] < pixels.shape[0] * pixels.shape[1]
        area = shrinks and self.resize == "area-lanczos"
        method = cv2.INTER_AREA if area else cv2.INTER_LANCZOS4
        return np.asarray(cv2.resize(pixels, size, interpolation=method), pixels.dtype)


def resize_lanczos(photo: Photo, outscale: float) -> Photo:
    """Resize by Lanczos interpolation, without a network. An outscale of 1 changes nothing."""
    size = _scaled_size(photo, check_outscale(outscale))

    def resize(pixels: Pixels) -> Pixels:
        return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_LANCZOS4), pixels.dtype)

    alpha = None if photo.alpha is None else resize(photo.alpha)
    return replace(photo, pixels=resize(photo.pixels), alpha=alpha)


def check_outscale(outscale: float) -> float:
    """As a float. Raises OptionError unless it is a finite number above 0."""
    number = isinstance(outscale, int | float | np.integer | np.floating)
    if not number or isinstance(outscale, bool) or not 0 < outscale < MAX_OUTSCALE:
        raise OptionError(
            f"outscale must be a number above 0 and below {MAX_OUTSCALE:g}, got {outscale!r}"
        )
    return float(outscale)


def _scaled_size(photo: Photo, outscale: float) -> tuple[int, int]:
    """(width, height), cut to whole pixels as the published script does."""
    if int(min(photo.width, photo.height) * outscale) < 1:
        raise OptionError(
            f"outscale must leave at least one pixel of {photo.width} x {photo.height}, "
            f"got {outscale}"
        )
    return int(photo.width * outscale), int(photo.height * outscale)


def _halve(tiling: Tiling, image: Batch, error: DeviceMemoryError, limits: SizeLimits) -> Tiling:
    """Tiles of half the side. Raises the error if they would be too small to be of use."""
    height, width, _ = image.shape
    rows, columns = tiling.split(height, width, limits.multiple)
    side = max(span.stop - span.start for span in (*rows, *columns))
    half = side // 2 // limits.multiple * limits.multiple
    if limits.fixed_tile is not None or half < max(_SMALLEST_TILE, 2 * tiling.overlap):
        raise error
    shapes = tuple(shape for shape in tiling.shapes if max(shape) <= half)
    return replace(tiling, size=half, batch=1, fixed=False, shapes=shapes)


def _mirror(image: Batch, bottom: int, right: int) -> Batch:
    """Reflect below and to the right without repeating the edge; any amount, any size."""
    if not bottom and not right:
        return image
    return np.pad(image, ((0, bottom), (0, right), (0, 0)), mode="reflect")


def _resize_bilinear(alpha: Pixels, height: int, width: int) -> Pixels:
    white = np.float32(np.iinfo(alpha.dtype).max)
    level = alpha.astype(np.float32) / white
    level = np.asarray(cv2.resize(level, (width, height), interpolation=cv2.INTER_LINEAR))
    return _to_integers(level, white, alpha.dtype)


def _to_integers(level: NDArray[np.float32], white: np.float32, dtype: np.dtype[Any]) -> Pixels:
    """0..1 to 0..white, rounded half to even, row band by row band to keep memory flat."""
    result = np.empty(level.shape, dtype)
    for top in range(0, len(level), 256):
        band = level[top : top + 256]
        result[top : top + 256] = np.rint(np.clip(band, 0, 1) * white)
    return result


def _share_progress(progress: Progress | None, *, passes: int) -> Callable[[int], Progress | None]:
    """Spread several passes over one count."""

    def of_pass(index: int) -> Progress | None:
        if progress is None:
            return None
        return lambda done, total: progress(index * total + done, passes * total)

    return of_pass
