"""The networks in plain PyTorch; the published ones with their published state dict keys."""

from restora_export.reference.damage_detector import DamageDetector
from restora_export.reference.gfpgan import GFPGAN, GFPGANBilinear, GFPGANv1, GFPGANv1Clean
from restora_export.reference.parsenet import ParseNet
from restora_export.reference.repairer import Repairer
from restora_export.reference.retinaface import RetinaFace
from restora_export.reference.rrdb import RRDBNet
from restora_export.reference.srvgg import SRVGGNetCompact

__all__ = [
    "GFPGAN",
    "DamageDetector",
    "GFPGANBilinear",
    "GFPGANv1",
    "GFPGANv1Clean",
    "ParseNet",
    "RRDBNet",
    "Repairer",
    "RetinaFace",
    "SRVGGNetCompact",
]
