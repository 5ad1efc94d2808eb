"""Choose the optimization profiles of a model, and check their sizes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from restora.artifact import ArtifactInfo
from restora.errors import OptionError

MAX_ELEMENTS = 2**31 - 1  # per tensor, in all versions of TensorRT
SMALLEST_SIDE = 8

Shape = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Profile:
    """The smallest, best and largest input of a profile, (batch, height, width, channels)
    each."""

    smallest: Shape
    best: Shape
    largest: Shape

    @property
    def is_static(self) -> bool:
        """Whether the profile has exactly one shape."""
        return self.smallest == self.largest

    def holds(self, shape: Sequence[int]) -> bool:
        bounds = zip(self.smallest, shape, self.largest, strict=True)
        return all(low <= side <= high for low, side, high in bounds)

    def halves(self, multiple: int) -> Iterator[Profile]:
        """Profiles whose largest side is a half, a quarter and so on, down to the best side.

        multiple: sides are multiples of this
        """
        batch, side, _, channels = self.largest
        best = max(self.best[1:3])
        while side > best:
            side = max(best, side // 2 // multiple * multiple)
            yield replace(self, largest=(batch, side, side, channels))


def plan_profiles(
    info: ArtifactInfo, *, tile: int, batches: Sequence[int], max_tile: int
) -> tuple[Profile, ...]:
    """Choose one static profile per batch size of full tiles, and a dynamic one for other sizes.

    tile: side of full tiles, in pixels
    batches: batch sizes of full tiles
    max_tile: the largest side of any tile, in pixels

    Each profile becomes a separate engine, because profiles in one engine slow each other down. A
    network with a fixed side uses that side, and its dynamic profile accepts any batch.
    Raises OptionError, with the largest possible side, if a tensor would exceed 2**31 elements.
    """
    if not batches or min(batches) < 1:
        raise OptionError(f"batches must be numbers of at least 1, got {list(batches)}")
    multiple = info.size_multiple
    if info.side is not None:
        tile = max_tile = info.side
        low = info.side
    else:
        low = max(multiple, -(-SMALLEST_SIDE // multiple) * multiple)
    if not low <= tile <= max_tile or tile % multiple or max_tile % multiple:
        raise OptionError(
            f"tile and max-tile must be multiples of {multiple}, at least {low} and in order, "
            f"got {tile} and {max_tile}"
        )
    most = max(batches)
    channels, largest = info.input_channels, most if info.side else 1
    static = [_profile(channels, (n, tile), (n, tile), (n, tile)) for n in sorted(set(batches))]
    dynamic = _profile(channels, (1, low), (largest, tile), (largest, max_tile))
    profiles = (*static, dynamic) if dynamic not in static else tuple(static)
    for profile in profiles:
        check_elements(info, profile)
    return profiles


def check_elements(info: ArtifactInfo, profile: Profile) -> None:
    """Raise OptionError if a tensor of the network would have 2**31 elements or more."""
    if info.elements_per_pixel is None:
        return
    batch, height, width, _ = profile.largest
    elements = info.elements_per_pixel * batch * height * width
    if elements > MAX_ELEMENTS:
        multiple = info.size_multiple
        fits = int((MAX_ELEMENTS / info.elements_per_pixel / batch) ** 0.5) // multiple * multiple
        raise OptionError(
            f"{info.model} on {batch} tiles of {height} x {width} needs a tensor of {elements} "
            f"elements, TensorRT supports {MAX_ELEMENTS}: use tiles of at most {fits}"
        )


def _profile(
    channels: int, smallest: tuple[int, int], best: tuple[int, int], largest: tuple[int, int]
) -> Profile:
    def shape(batch_and_side: tuple[int, int]) -> Shape:
        batch, side = batch_and_side
        return (batch, side, side, channels)

    return Profile(shape(smallest), shape(best), shape(largest))
