"""One port for several server processes, each of which listens by itself.

Takes an address, gives a socket to pass on: a process that gets it binds one of its own to the same
port, and the kernel deals connections out by their addresses. From one socket for all, whichever
process wakes first takes every connection that waits, and may keep them all.
Linux only; elsewhere the processes share a socket.
"""

import socket
import sys
from typing import Any

import uvicorn
from uvicorn.supervisors import Multiprocess


class OwnListener(socket.socket):
    """Bound, never listening: it holds the port for those that it is passed on to."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__(socket.AF_INET6 if ":" in host else socket.AF_INET)
        self.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self.bind((host, port))
        self.set_inheritable(False)

    def __reduce__(self) -> tuple[Any, ...]:
        return OwnListener, self.getsockname()[:2]


def serve_by_several(config: uvicorn.Config) -> None:
    """Run `config.workers` server processes until told to stop."""
    own = OwnListener(config.host, config.port) if sys.platform == "linux" else config.bind_socket()
    with own:
        Multiprocess(config, sockets=[own]).run()
