"""Models for NVIDIA Triton Inference Server: a repository that a stock server loads."""

from restora.triton.options import ServerOptions
from restora.triton.repository import WrittenModel, export_repository

__all__ = ["ServerOptions", "WrittenModel", "export_repository"]
