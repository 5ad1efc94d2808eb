"""Runs over many files that can be ended at any moment and gone on with."""

from restora.runs.manifest import Manifest, Past, stamp_of
from restora.runs.recipe import recipe_hash
from restora.runs.resume import Decision, decide

__all__ = ["Decision", "Manifest", "Past", "decide", "recipe_hash", "stamp_of"]
