"""How the page writes ages, digests and numbers. Takes values, gives text."""

from time import time

from graphsvc.report import Row

_STEPS = ((86_400, "d"), (3600, "h"), (60, "min"))
_SHORT = 8


def age(seconds: int | None) -> str:
    """How long ago that was."""
    if seconds is None:
        return "never"
    past = max(0.0, time() - seconds)
    for size, unit in _STEPS:
        if past >= size:
            return f"{past / size:.0f} {unit} ago"
    return f"{past:.0f} s ago"


def short(digest: str | None) -> str:
    """A digest as people compare it."""
    return (digest or "")[:_SHORT]


def number(value: float) -> str:
    """Five digits that count, whole numbers whole."""
    return f"{value:,}" if isinstance(value, int) else f"{value:,.5g}"


def interval(row: Row) -> str:
    """The bounds of a figure's 95 % interval; nothing where it has none."""
    if row.lo is None or row.hi is None:
        return ""
    return f"{number(row.lo)} to {number(row.hi)}"
