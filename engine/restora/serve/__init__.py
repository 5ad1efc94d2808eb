"""A service over HTTP: photos restored for many clients by shared networks, and long jobs.

Needs the extra `serve`. `Service` is what all routes work with, `create_app` the ASGI application,
`run_service` both in a server that ends as a container should.
"""

from restora.serve.app import create_app
from restora.serve.options import ServeOptions
from restora.serve.run import run_service
from restora.serve.service import Service

__all__ = ["ServeOptions", "Service", "create_app", "run_service"]
