"""The published networks in plain PyTorch, by their published state-dict keys."""

from restora_export.reference.rrdb import RRDBNet
from restora_export.reference.srvgg import SRVGGNetCompact

__all__ = ["RRDBNet", "SRVGGNetCompact"]
