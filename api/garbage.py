"""How often Python looks for objects that only hold each other, and what goes back to the system.

Takes nothing, sets two dials of this process; frees nothing that somebody has. Nearly everything
that a request makes goes when its last reference does. The collector would pause every thread,
again and again, to look through what the libraries made at the start, which stays anyway
(measured: 150 ms for every 25,000 events of a bulk stream).
"""

import ctypes
import gc

#: Containers made and not yet freed until the youngest are looked through; Python's default is 700,
#: and a batch of a thousand events holds some ten thousand while it is checked.
_YOUNG = 50_000
_MIDDLE, _OLD = 20, 20


def settle() -> None:
    """Leave what exists now out of every later look. For a process that is ready to serve."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, _MIDDLE, _OLD)


def give_back() -> None:
    """Let the system have the room that nobody has any more. For every now and then.

    The C library keeps what the largest crowd of requests so far has needed, in pieces between what
    is needed still, and every crowd leaves its pieces elsewhere (measured: 1 to 3 MiB a minute at
    twice the capacity, without end in ten minutes). Others than glibc do not, and are not asked.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
