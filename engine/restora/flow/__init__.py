"""Many files through the networks at once, bounded in number and memory, none lost."""

from restora.byte_size import parse_size
from restora.flow.memory import PhotoMemory
from restora.flow.outcome import Outcome
from restora.flow.photos import PhotoFlow, PhotoJob, Stages
from restora.flow.run import Bounds, run_flow
from restora.flow.stage import Stage, StageUse
from restora.flow.write import WriteOptions

__all__ = [
    "Bounds",
    "Outcome",
    "PhotoFlow",
    "PhotoJob",
    "PhotoMemory",
    "Stage",
    "StageUse",
    "Stages",
    "WriteOptions",
    "parse_size",
    "run_flow",
]
