"""Plans of the stage `build`, as loaded plans and as sessions. Nothing is built here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from restora.artifact import Artifact
from restora.backends.tensorrt.build_options import BuildOptions
from restora.backends.tensorrt.cache import CachedPlan, PlanCache, plan_key
from restora.backends.tensorrt.candidates import plan_candidates
from restora.backends.tensorrt.check import PrecisionCandidate
from restora.backends.tensorrt.memory_limits import profiles_on
from restora.backends.tensorrt.open import load_plans
from restora.backends.tensorrt.profiles import Profile
from restora.backends.tensorrt.session import TensorRTSession
from restora.errors import MissingModelError, OptionError, PlanError
from restora_tools.gpu.job import Job


class Plans:
    """The plans of one subject in one precision on one device; no other precision takes over.

    candidate: the precision and the artifact that the plans are built from
    """

    def __init__(self, job: Job) -> None:
        self.subject, self.precision = job.subject, job.precision
        family = job.places.family(job.subject)
        self.info = family[0].info
        self.master = family[0]
        self.candidate = _candidate(job, family)
        self.cache = PlanCache(job.places.plans)
        self.device = job.modules.open_device()
        self._facts = self.device.facts(str(job.modules.trt.__version__))

    def profiles(self) -> list[Profile]:
        """Those of a session: the one for all sizes first, which the others are checked with."""
        subject = self.subject
        wanted = profiles_on(
            self.device,
            self.info,
            self.candidate.options.precision,
            tile=subject.side,
            batches=(subject.batch,),
            max_tile=subject.max_tile,
        )
        return sorted(wanted, key=lambda profile: profile.is_static)

    def sweep_profiles(self) -> list[Profile]:
        shapes = [(batch, side, side, 3) for batch, side in self.subject.sweep]
        return [Profile(shape, shape, shape) for shape in shapes]

    def built(self) -> list[Profile]:
        """Those that are built, the one that runs the subject's shape best last.

        Raises PlanError if none runs it.
        """
        profiles = self.profiles()
        built = [profile for profile in profiles if self.find(profile) is not None]
        if not any(profile.holds(self.subject.shape) for profile in built):
            self.get(profiles)
        return built

    def find(self, profile: Profile) -> CachedPlan | None:
        """The plan, if it is built."""
        return self.cache.load(self._key(profile))

    def refusal(self, profile: Profile) -> str | None:
        """Why the plan was refused, if it was."""
        found = self.cache.load_refusal(self._key(profile))
        return None if found is None else found.reason

    def get(self, profiles: Sequence[Profile]) -> list[tuple[CachedPlan, PrecisionCandidate]]:
        """The plans of all profiles. Raises PlanError if one is not built."""
        found = []
        for profile in profiles:
            plan = self.find(profile)
            if plan is None:
                raise PlanError(
                    f"the plan of {self.subject.name} in {self.precision} for {profile.best} is "
                    f"not built: run build:{self.subject.name}:{self.precision}"
                )
            found.append((plan, self.candidate))
        return found

    def _key(self, profile: Profile) -> str:
        return plan_key(
            self.candidate.artifact.sha256, self._facts, self.candidate.options, profile
        )


def _candidate(job: Job, family: Sequence[Artifact]) -> PrecisionCandidate:
    try:
        return plan_candidates(job.modules.trt, BuildOptions(precision=job.precision), family)[0]
    except OptionError as error:  # this TensorRT needs an artifact that is not there
        raise MissingModelError(str(error)) from error


@contextmanager
def open_session(
    job: Job, *, graphs: bool = True, profiles: Sequence[Profile] | None = None
) -> Iterator[TensorRTSession]:
    """A session on the plans of a subject, or on some of them. Raises PlanError if one is not
    built."""
    plans, modules = Plans(job), job.modules
    chosen = plans.profiles() if profiles is None else profiles
    session = TensorRTSession(
        plans.device,
        load_plans(modules.trt, plans.device, plans.get(chosen)),
        driver=(lambda: modules.driver) if graphs and modules.driver is not None else None,
        nvrtc=(lambda: modules.nvrtc) if modules.nvrtc is not None else None,
    )
    try:
        yield session
    finally:
        session.close()
