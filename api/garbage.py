"""How often Python looks for objects that only hold each other.

Takes nothing, sets two dials of this process; frees nothing by itself. Nearly everything that a
request makes goes when its last reference does. The collector would pause every thread, again and
again, to look through what the libraries made at the start, which stays anyway (measured: 150 ms,
for every 25,000 events of a bulk stream).
"""

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
