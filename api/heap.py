"""The C library's heap in a server: one for all threads, and what is free of it goes back.

Takes nothing, sets a dial of this process; frees nothing that somebody has. Other C libraries than
glibc have no such dials, and are not asked.
"""

import ctypes
import logging

_log = logging.getLogger("graphsvc.heap")
#: `M_ARENA_MAX` of glibc's malloc.h: heaps at most.
_HEAPS = -8


def share() -> None:
    """Let all threads have one heap. For a server, before there are many threads.

    glibc gives threads heaps of their own, up to eight a core, and each keeps in pieces what its
    largest crowd of requests so far has needed. Few threads ask at the same moment: those of
    requests under Python's lock, libraries for arrays that are mapped apart when they are large.
    """
    set_dial = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_dial is not None and not set_dial(_HEAPS, 1):
        _log.warning("the C library refuses one heap for all threads: memory may grow")


def give_back() -> None:
    """Let the system have the pages that nobody has any more: for every now and then, 1 to 3 ms."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
