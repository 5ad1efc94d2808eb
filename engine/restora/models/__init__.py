"""Which models there are, and where their files lie on this machine.

Downloads are in restora.models.fetch, which is imported only for them.
"""

from restora.models.available import ModelSummary, available_models
from restora.models.entry import ModelEntry
from restora.models.store import (
    FindArtifact,
    ModelFiles,
    artifact_path,
    checkpoint_path,
    find_artifact,
    find_model,
    find_model_folder,
    find_own_checkpoint,
    model_folder,
    own_models,
    verify_checkpoint,
)
from restora.models.table import DEFAULT_MODEL, MODELS, find_entry

__all__ = [
    "DEFAULT_MODEL",
    "MODELS",
    "FindArtifact",
    "ModelEntry",
    "ModelFiles",
    "ModelSummary",
    "artifact_path",
    "available_models",
    "checkpoint_path",
    "find_artifact",
    "find_entry",
    "find_model",
    "find_model_folder",
    "find_own_checkpoint",
    "model_folder",
    "own_models",
    "verify_checkpoint",
]
