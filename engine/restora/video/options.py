"""Options of restore_video and restore_pipe."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from restora.checks import check_choice, check_flag, check_whole, set_checked
from restora.errors import OptionError
from restora.upsample import check_outscale

ENCODERS = (
    "auto", "libx264", "libx265", "libsvtav1", "libvpx-vp9",
    "h264_nvenc", "hevc_nvenc", "av1_nvenc",
)  # fmt: skip
MAX_CRF = 63


@dataclass(frozen=True, slots=True)
class VideoOptions:
    """How a video is restored. Raises OptionError for a value that cannot work, when the options
    are made.

    encoder: an FFmpeg encoder; "auto": H.264 for 8 bits, H.265 for 10, VP9 in WebM
    crf: constant quality as that encoder counts it, 0..63, lower is better; with H.264, 18 can
        hardly be told from the frames themselves
    preset: how much time the encoder takes, by the encoder's names; None: its default
    outscale: final enlargement; None: the model's own
    skip_duplicates: reuse the result for identical consecutive frames
    hardware: FFmpeg's name of a device that decodes ("cuda", "vaapi"); None: the CPU decodes
    memory: limit of the whole process in bytes; None: half of what is free is for frames
    segment_frames: frames of a segment, which is what an interrupted run loses at most
    overwrite: replace an existing result
    """

    encoder: str = "auto"
    crf: int = 18
    preset: str | None = None
    outscale: float | None = None
    skip_duplicates: bool = False
    hardware: str | None = None
    memory: int | None = None
    segment_frames: int = 240
    overwrite: bool = False

    def __post_init__(self) -> None:
        set_checked(
            self,
            encoder=check_choice("encoder", self.encoder, ENCODERS),
            crf=check_whole("crf", self.crf, minimum=0, maximum=MAX_CRF),
            preset=_check_text("preset", self.preset),
            outscale=None if self.outscale is None else check_outscale(self.outscale),
            skip_duplicates=check_flag("skip_duplicates", self.skip_duplicates),
            hardware=_check_text("hardware", self.hardware),
            memory=None if self.memory is None else check_whole("memory", self.memory, minimum=1),
            segment_frames=check_whole("segment_frames", self.segment_frames, minimum=1),
            overwrite=check_flag("overwrite", self.overwrite),
        )


@dataclass(frozen=True, slots=True)
class PipeOptions:
    """How a stream is restored. Raises OptionError for a value that cannot work, when the options
    are made.

    outscale: final enlargement; None: the model's own
    skip_duplicates: reuse the result for identical consecutive frames
    memory: limit of the whole process in bytes; None: half of what is free is for frames
    """

    outscale: float | None = None
    skip_duplicates: bool = False
    memory: int | None = None

    def __post_init__(self) -> None:
        set_checked(
            self,
            outscale=None if self.outscale is None else check_outscale(self.outscale),
            skip_duplicates=check_flag("skip_duplicates", self.skip_duplicates),
            memory=None if self.memory is None else check_whole("memory", self.memory, minimum=1),
        )


class FrameProgress(Protocol):
    """Called after each frame that was restored."""

    def __call__(self, done: int, total: int | None, /) -> None:
        """done: frames of the result so far; total: of the source, None if it does not say"""


def _check_text(name: str, value: str | None) -> str | None:
    if value is not None and (not isinstance(value, str) or not value):
        raise OptionError(f"{name} must be a name or None, got {value!r}")
    return value
