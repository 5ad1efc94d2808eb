"""Long work on the server's own disk: folders and videos, recorded so that a restart goes on."""

from restora.serve.jobs.job import Job, JobRequest, parse_job
from restora.serve.jobs.jobs import JOBS_SHARE, Jobs
from restora.serve.jobs.store import MOST_ROWS

__all__ = ["JOBS_SHARE", "MOST_ROWS", "Job", "JobRequest", "Jobs", "parse_job"]
