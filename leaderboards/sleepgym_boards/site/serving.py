"""A server for looking at the site on this machine."""

from __future__ import annotations

from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from sleepgym.core.errors import SleepGymError
from sleepgym_boards.site.building import MARKER

HOST = "127.0.0.1"


class _Quiet(SimpleHTTPRequestHandler):
    """Serves files and logs nothing."""

    def log_message(self, format: str, *args: object) -> None:
        pass


def make_server(folder: Path, port: int = 0) -> ThreadingHTTPServer:
    """A server of a built site, reachable from this machine only.

    Args:
        folder: The site.
        port: Port; 0 takes a free one.

    Raises:
        SleepGymError: If there is no site in the folder, or the port is taken.
    """
    if not (folder / MARKER).exists():
        raise SleepGymError(f"{folder} is no site: sleepgym site --out {folder}")
    try:
        return ThreadingHTTPServer((HOST, port), partial(_Quiet, directory=str(folder)))
    except OSError as error:
        raise SleepGymError(f"port {port} cannot be used: {error.strerror}; give --port") from error
