"""Videos: every frame restored, its time kept, everything else copied."""

from restora.video.encoder import EncoderOptions
from restora.video.restore import VideoResult, restore_video
from restora.video.source import VideoFacts, open_video
from restora.video.target import require_target

__all__ = [
    "EncoderOptions",
    "VideoFacts",
    "VideoResult",
    "open_video",
    "require_target",
    "restore_video",
]
