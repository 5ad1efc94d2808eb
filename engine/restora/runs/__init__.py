"""Runs over many files that can be ended at any moment and resumed."""

from restora.runs.lock import output_lock
from restora.runs.manifest import Manifest, Past, Result, stamp_of
from restora.runs.names import Extras, FaceNames, name_outputs
from restora.runs.recipe import recipe_hash, writing_settings
from restora.runs.resume import Decision, Wanted, decide

__all__ = [
    "Decision",
    "Extras",
    "FaceNames",
    "Manifest",
    "Past",
    "Result",
    "Wanted",
    "decide",
    "name_outputs",
    "output_lock",
    "recipe_hash",
    "stamp_of",
    "writing_settings",
]
