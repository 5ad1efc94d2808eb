"""Counts of what a session did, so that a measurement can state how it was taken."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RunStats:
    """How batches and photos were run since the session was opened.

    graphs_captured: CUDA graphs that were captured
    graphs_launched: batches that ran as a graph
    plain_runs: batches that ran without a graph
    computed_pixels: input pixels of all batches, with overlap and padding
    blended_on_gpu, blended_on_cpu: photos whose tiles were blended there
    results_pinned: results that the GPU wrote to the array that was returned
    results_copied: results that were copied once more, because the pool of pinned memory was full
    graphs_error: why there are no graphs; None if they are used
    blend_error: why tiles are not blended on the GPU; None if they are
    """

    graphs_captured: int = 0
    graphs_launched: int = 0
    plain_runs: int = 0
    computed_pixels: int = 0
    blended_on_gpu: int = 0
    blended_on_cpu: int = 0
    results_pinned: int = 0
    results_copied: int = 0
    graphs_error: str | None = None
    blend_error: str | None = None
