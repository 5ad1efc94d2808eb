"""The command line. `main` answers --version itself, so that it costs nothing."""

import sys

from restora.cli.streams import guard_streams
from restora.version import __version__


def main() -> None:
    """Entry point of the `restora` command; ends the process with its exit code."""
    arguments = sys.argv[1:]
    with guard_streams():
        if arguments in (["--version"], ["-V"]):
            sys.stdout.write(f"restora {__version__}\n")
            return
        from restora.cli.app import run

        run(arguments)
