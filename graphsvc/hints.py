"""Which known name somebody meant who wrote another one.

Takes names, gives parts of a sentence, bounded however many names there are; never decides whether
a name is wrong.
"""

from collections.abc import Iterable
from difflib import get_close_matches
from functools import lru_cache

#: So many names are listed; of more, how many there are.
MOST_LISTED = 20
#: No name is longer, and who wrote a longer text meant none.
_LONGEST = 64


def meant(name: str, known: Iterable[str]) -> str:
    """`; did you mean x?` where a known name is close, else nothing."""
    return _closest(name, frozenset(known)) if len(name) <= _LONGEST else ""


def one_of(known: Iterable[str]) -> str:
    """`one of x, y, z`, where a name is expected."""
    names = list(known)
    return f"one of {listed(names)}" if names else "absent, as there are none"


def listed(known: Iterable[str]) -> str:
    """`x, y, z`, or the first twenty and how many more there are."""
    names = list(dict.fromkeys(known))
    more = len(names) - MOST_LISTED
    return f"{', '.join(names[:MOST_LISTED])}{f' and {more} more' if more > 0 else ''}" or "none"


# A stream may hold the same wrong name a million times, and comparing costs most of a rejection.
@lru_cache(maxsize=1024)
def _closest(name: str, known: frozenset[str]) -> str:
    close = get_close_matches(name, sorted(known), n=1)
    return f"; did you mean {close[0]}?" if close else ""
