"""One job: what was asked for, how far it is, how it ended."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, Literal, get_args

from restora.checks import check_choice
from restora.errors import OptionError, RequestError
from restora.jobs.options import RunOptions
from restora.serve.parameters import SCHEMA, PhotoParameters, parse_flag, parse_parameters
from restora.serve.problems import Problem

JobKind = Literal["folder", "video"]
JobState = Literal["queued", "running", "done", "failed", "canceled"]

_ID_BYTES = 12
_FOLDER_FLAGS = ("recursive", "overwrite", "retry_failed")
_VIDEO_PARAMETERS = ("model", "outscale", "faces")
_MEMBERS = {"kind", "input", "output", "parameters"}
ENDED: tuple[JobState, ...] = ("done", "failed", "canceled")


@dataclass(frozen=True, slots=True)
class JobRequest:
    """What was asked for. Raises OptionError for parameters that cannot work.

    input, output: ROOT/relative/path
    parameters: of photos, see PhotoParameters; and of the run: for folders recursive, overwrite,
        retry_failed and suffix; for videos overwrite, crf, encoder, preset and skip_duplicates
    """

    kind: JobKind
    input: str
    output: str
    parameters: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_choice("kind", self.kind, get_args(JobKind))
        if self.kind == "folder":
            self.run_options()
        else:
            self.video_options()
        self.photo_parameters()

    def photo_parameters(self) -> PhotoParameters:
        own = {key: value for key, value in self._normal() if key in SCHEMA}
        if self.kind == "video":
            others = sorted(set(own) - set(_VIDEO_PARAMETERS))
            if others:
                raise OptionError(f"videos take no {', '.join(others)}")
        return parse_parameters(own.items())

    def run_options(self, **more: Any) -> RunOptions:
        """For folders. more: values that the service sets"""
        photo = self.photo_parameters()
        left = self._others((*_FOLDER_FLAGS, "suffix"))
        flags: dict[str, Any] = {
            name: parse_flag(name, left[name]) for name in _FOLDER_FLAGS if name in left
        }
        return RunOptions(
            ext=photo.ext, quality=photo.quality, strip_metadata=photo.strip_metadata,
            outscale=photo.outscale, aligned=photo.aligned, suffix=left.get("suffix", ""),
            **flags, **more,
        )  # fmt: skip

    def video_options(self, **more: Any) -> Any:
        """VideoOptions, for videos. more: values that the service sets"""
        from restora.video.options import VideoOptions

        left = self._others(("overwrite", "crf", "encoder", "preset", "skip_duplicates"))
        for name in ("overwrite", "skip_duplicates"):
            if name in left:
                left[name] = parse_flag(name, left[name])
        return VideoOptions(outscale=self.photo_parameters().outscale, **left, **more)

    def _normal(self) -> list[tuple[str, Any]]:
        return [(name.replace("-", "_"), value) for name, value in self.parameters.items()]

    def _others(self, known: tuple[str, ...]) -> dict[str, Any]:
        """Parameters that are not those of photos. Raises OptionError for unknown ones."""
        left = {name: value for name, value in self._normal() if name not in SCHEMA}
        unknown = [name[:40] for name in left if name not in known]
        if unknown:
            raise OptionError(
                f"a {self.kind} job has no parameter {unknown[0]!r}; beside those of photos there "
                f"are {', '.join(known)}"
            )
        return left


@dataclass(slots=True)
class Job:
    """A job. Its fields are set by the thread that runs it, and read by others.

    client: name of the token that it belongs to
    resumed: how often a server that started went on with it
    killed, killed_at: how often in a row the server ended by force while the job ran, without more
        progress from one time to the next; and the fraction that was done then
    stop: whether it is to end early; pause: it is to be continued by the next server
    """

    request: JobRequest
    client: str
    id: str = field(default_factory=lambda: secrets.token_hex(_ID_BYTES))
    state: JobState = "queued"
    created: str = field(default_factory=lambda: now())
    started: str | None = None
    ended: str | None = None
    resumed: int = 0
    killed: int = 0
    killed_at: float = -1.0
    done: int = 0
    failed: int = 0
    skipped: int = 0
    total: int | None = None
    fraction: float = 0.0
    problem: dict[str, Any] | None = None
    stop: bool = False
    pause: bool = False

    @property
    def has_ended(self) -> bool:
        return self.state in ENDED

    def end(self, state: JobState, problem: Problem | None = None) -> None:
        self.state, self.ended = state, now()
        self.problem = None if problem is None else problem.document(self.id)

    def document(self) -> dict[str, Any]:
        """As clients see it."""
        request = self.request
        return {
            "id": self.id,
            "kind": request.kind,
            "input": request.input,
            "output": request.output,
            "parameters": dict(request.parameters),
            "state": self.state,
            "created": self.created,
            "started": self.started,
            "ended": self.ended,
            "resumed": self.resumed,
            "progress": {
                "done": self.done,
                "failed": self.failed,
                "skipped": self.skipped,
                "total": self.total,
                "fraction": round(self.fraction, 4),
            },
            "problem": self.problem,
        }


def parse_job(found: Mapping[str, Any]) -> JobRequest:
    """A job as a client writes it. Raises RequestError or OptionError."""
    unknown = sorted(set(found) - _MEMBERS)
    if unknown:
        raise RequestError(f"a job has no member {unknown[0][:40]!r}; it has {sorted(_MEMBERS)}")
    for name in ("kind", "input", "output"):
        if not isinstance(found.get(name), str):
            raise RequestError(f"a job needs {name}, as text")
    parameters = found.get("parameters", {})
    if not isinstance(parameters, dict):
        raise RequestError("the parameters of a job must be an object")
    return JobRequest(found["kind"], found["input"], found["output"], parameters)


def now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
