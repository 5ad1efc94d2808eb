"""Options of `restora serve`, in the groups that its help shows."""

from pathlib import Path
from typing import Annotated

import typer

from restora.cli import panels
from restora.errors import OptionError

_network = panels.in_panel("Network")
_requests = panels.in_panel("Requests")
_jobs = panels.in_panel("Jobs")
_MOST_PORT = 65535

Models = Annotated[
    str,
    typer.Option(
        "--model",
        "-n",
        envvar="RESTORA_MODEL",
        help="See `restora restore`. Several are separated by commas; the first is the default of "
        "requests.",
    ),
]
Host = Annotated[str, _network(help="Address to listen at; any but 127.0.0.1 needs --tokens.")]
Port = Annotated[int, _network(min=0, max=_MOST_PORT, help="TCP port; 0: a free one.")]
GrpcPort = Annotated[
    int | None,
    _network(min=0, max=_MOST_PORT, help="Also serve the Open Inference Protocol over gRPC here."),
]
Page = Annotated[bool, _network("--page/--no-page", help="A page for browsers at /.")]
Tokens = Annotated[
    Path | None,
    _network(help="A file of bearer tokens: a line NAME TOKEN, or NAME TOKEN RATE, for each."),
]
AllowedHosts = Annotated[
    list[str] | None,
    _network("--allowed-host", metavar="NAME", help="A name of this server; * for any."),
]
Cors = Annotated[
    list[str] | None,
    _network(metavar="ORIGIN", help="An origin whose pages may use the service."),
]
RateLimit = Annotated[
    str | None, _requests(metavar="N/s|N/min|N/h", help="Requests of each token or address.")
]
Queue = Annotated[int, _requests(min=1, help="Requests that may wait; more are refused.")]
Deadline = Annotated[
    float | None, _requests(help="Seconds after which a request fails. Default: never.")
]
UploadTimeout = Annotated[float, _requests(help="Seconds for the body of a request.")]
Keep = Annotated[float, _requests(help="Seconds that linked results are kept.")]
KeepSize = Annotated[str, _requests(help="Bytes of all kept results.")]
DrainDelay = Annotated[
    float, _requests(help="Seconds for which requests are still taken after a signal.")
]
DrainTimeout = Annotated[float, _requests(help="Seconds for requests to end after that.")]
Root = Annotated[
    list[str] | None,
    _jobs(metavar="NAME=DIR", help="A folder inside which jobs may read and write."),
]
State = Annotated[Path | None, _jobs(help="The folder that jobs are recorded in.")]


def parse_roots(entries: list[str] | None) -> dict[str, Path]:
    """Folders by name. Raises OptionError for an entry that is not NAME=DIR, or a second one of a
    name."""
    roots: dict[str, Path] = {}
    for entry in entries or ():
        name, mark, folder = entry.partition("=")
        if not mark or not folder:
            raise OptionError(f"--root is written NAME=DIR, got {entry!r}")
        if name in roots:
            raise OptionError(f"--root {name} is given twice")
        roots[name] = Path(folder)
    return roots
