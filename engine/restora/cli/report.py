"""What commands print about photos: the plan, the beginning, each outcome, the end."""

import contextlib
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from types import TracebackType

from restora.cli.console import print_error, print_json, print_note
from restora.cli.progress import PhotoProgress, photo_progress
from restora.cli.stopping import ShutdownRequest, graceful_shutdown
from restora.jobs.outcome import Outcome, Status
from restora.jobs.plan import Job
from restora.jobs.result import RunResult
from restora.jobs.stage import StageStats
from restora.networks import OpenNetwork

_MOST_NAMED = 10


class RunReport:
    """Prints a run while it works, and how many files ended how when it is left, also by an error.
    While photos are restored, the first Ctrl-C or SIGTERM sets `stopping`.

    json_lines: one object for each file on stdout
    """

    def __init__(self, *, json_lines: bool = False) -> None:
        self.outcomes: list[Outcome] = []
        self._json_lines = json_lines
        self._single = False
        self._bar: PhotoProgress | None = None
        self._shutdown = ShutdownRequest()
        self._restoring = contextlib.ExitStack()
        self._started = time.perf_counter()

    def begin(self, networks: Sequence[OpenNetwork], jobs: Sequence[Job]) -> None:
        report_beginning(networks, jobs)
        self._single = len(jobs) == 1
        left = [job for job in jobs if job.is_left]
        if len(left) > 1:
            self._shutdown = self._restoring.enter_context(graceful_shutdown())
        self._bar = self._restoring.enter_context(photo_progress(left))

    def update(self, job: Job, done: int, total: int) -> None:
        if self._bar is not None:
            self._bar.update(job, done, total)

    def end(self, job: Job, outcome: Outcome) -> None:
        if self._bar is not None and job.is_left:
            self._bar.end(job)
        self.outcomes.append(outcome)
        report_outcome(outcome, self._json_lines, single=self._single)

    def stopping(self) -> bool:
        return bool(self._shutdown)

    def finish(self, result: RunResult) -> None:
        """Print how fast it was. Raises what a signal during the run would have raised."""
        self._restoring.close()
        if not self._json_lines:
            report_speed(result.networks, result.stages, result.restoring_s)
            report_devices(result.outcomes)
        self._shutdown.end()

    def __enter__(self) -> "RunReport":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._restoring.close()
        # also of a run that ends early: what is done is done
        summarize(self.outcomes, time.perf_counter() - self._started, self._json_lines)


def report_plan(jobs: list[Job], json_lines: bool) -> None:
    for job in jobs:
        status: Status = "skipped" if job.skip else "failed" if job.failure else "planned"
        reason = job.failure.reason if job.failure else job.skip
        if reason is None and job.found is not None:
            reason = "a file with this name exists"
        outcome = Outcome(str(job.source), str(job.target), status, reason)
        if json_lines:
            print_json(outcome.as_row())
        else:
            print_note(f"{job.source} -> {job.target}" + (f"  ({reason})" if reason else ""))


def report_beginning(networks: Sequence[OpenNetwork], jobs: Sequence[Job]) -> None:
    """What the networks run on, and how many results are replaced, and why."""
    for line in dict.fromkeys(network.describe() for network in networks):
        print_note(line)
    for words, count in Counter(job.note for job in jobs if job.note).items():
        print_note(f"{count} made again: {words}")


def report_outcome(outcome: Outcome, json_lines: bool, *, single: bool) -> None:
    if json_lines:
        print_json(outcome.as_row())
    if outcome.status == "failed":
        reason = outcome.reason or ""
        print_error(reason if outcome.input in reason else f"{outcome.input}: {reason}")
    elif outcome.status == "skipped":
        print_note(f"{outcome.input}: skipped, {outcome.reason}")
    elif single and outcome.output_size:
        width, height = outcome.output_size
        faces = "" if outcome.faces is None else f", {_count_faces(outcome)}"
        repairs = _describe_repairs(outcome)
        size = f"{width} x {height}"
        print_note(f"{outcome.output}: {size}{repairs}{faces}, {outcome.seconds:.1f} s")
    if outcome.damage is not None and outcome.damage["status"] == "refused":
        print_error(f"{outcome.input}: nothing was repaired: {outcome.damage['reason']}")
    if outcome.status == "restored" and outcome.has_failed_faces:
        print_error(f"{outcome.input}: {_describe_face_failures(outcome)}")


def _describe_repairs(outcome: Outcome) -> str:
    damage, color = outcome.damage, outcome.color
    words = ""
    if damage is not None and damage["status"] != "refused":
        words += f", damage: {damage['share']:.2%} in {damage['regions']} places repaired"
        if damage["status"] == "clean":
            words = ", no damage found"
    if color is not None:
        words += ", color corrected" if color["changed"] else ", color left as it is"
    return words


def _count_faces(outcome: Outcome) -> str:
    counts = Counter(str(face["status"]) for face in outcome.faces or ())
    parts = [f"{counts[s]} {s}" for s in ("restored", "skipped", "failed") if counts[s]]
    return f"faces: {', '.join(parts) or 'none found'}"


def _describe_face_failures(outcome: Outcome) -> str:
    if outcome.face_error is not None:
        return f"no face was restored: {outcome.face_error}"
    failed = [str(face["reason"]) for face in outcome.faces or () if face["status"] == "failed"]
    return f"{len(failed)} faces are left as the upsampler made them: {'; '.join(failed)}"


def summarize(outcomes: list[Outcome], elapsed_s: float, json_lines: bool) -> None:
    """How many files ended how, and which failed: above they may have scrolled away."""
    if len(outcomes) < 2 or json_lines:
        return
    failures = sorted(outcome.input for outcome in outcomes if outcome.status == "failed")
    if failures:
        print_note("failed:")
    for name in failures[:_MOST_NAMED]:
        print_note(f"  {name}")
    if len(failures) > _MOST_NAMED:
        print_note(f"  and {len(failures) - _MOST_NAMED} more")
    counts = Counter(outcome.status for outcome in outcomes)
    parts = [f"{counts[s]} {s}" for s in ("restored", "skipped", "failed") if counts[s]]
    print_note(f"{', '.join(parts)} in {elapsed_s:.1f} s")


def report_speed(
    networks: Sequence[OpenNetwork],
    stages: Mapping[str, StageStats],
    elapsed_s: float,
    things: str = "photos",
) -> None:
    """Photos or frames per second, the share of the time in which each stage worked, and how full
    the batches were; nothing for fewer than two."""
    count = stages["encode"].items if stages else 0
    if count < 2:
        return
    shares = [f"{name} {stats.busy_s / elapsed_s:.0%}" for name, stats in stages.items()]
    print_note(f"{count / elapsed_s:.2f} {things}/s; at work: {', '.join(shares)}")
    pictures: Counter[tuple[str, str]] = Counter()
    calls: Counter[tuple[str, str]] = Counter()
    for network in networks:  # the same one on several devices is counted together
        if network.stats is not None:
            noun = "faces" if network.info.kind == "face" else "tiles"
            pictures[network.info.model, noun] += network.stats.pictures
            calls[network.info.model, noun] += network.stats.calls
    for (model, noun), number in pictures.items():
        if number > calls[model, noun]:
            print_note(f"{model}: {number / calls[model, noun]:.1f} {noun} a call")


def report_devices(outcomes: Sequence[Outcome]) -> None:
    """How many photos each device restored, of a run over several."""
    counts = Counter(o.device for o in outcomes if o.device and o.status == "restored")
    if counts:
        print_note(", ".join(f"{device}: {counts[device]}" for device in sorted(counts)))
