"""What a dial may be, said with its name and what was received.

Takes values, raises `ConfigError`; holds no dial.
"""

from typing import Any

from ranking.errors import ConfigError


def check(ok: bool, name: str, should: str, received: Any) -> None:
    """Raise `ConfigError` unless the value is as it should be."""
    if not ok:
        raise ConfigError(f"{name} should be {should}, received {received!r}")


def check_positive(name: str, value: int) -> None:
    """A whole number from 1 on."""
    check(isinstance(value, int) and value >= 1, name, "a whole number of at least 1", value)


def check_one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    """One of some names."""
    check(value in known, name, f"one of {', '.join(known)}", value)


def check_share(name: str, value: float) -> None:
    """A share of which something is left."""
    check(0.0 <= value < 1.0, name, "at least 0 and below 1", value)
