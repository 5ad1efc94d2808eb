"""Long work on the server's own disk: folders and videos, recorded so that a restart goes on."""

from restora.serve.jobs.job import Job, JobRequest, parse_job
from restora.serve.jobs.jobs import JOBS_SHARE, Jobs

__all__ = ["JOBS_SHARE", "Job", "JobRequest", "Jobs", "parse_job"]
