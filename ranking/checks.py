"""What a dial may be. Takes a name and a value, gives nothing or a sentence; never a default."""

from typing import Any

from ranking.errors import ConfigError


def check(ok: bool, name: str, should: str, received: Any) -> None:
    """Raise `ConfigError` unless `ok`."""
    if not ok:
        raise ConfigError(f"{name} should be {should}, received {received!r}")


def positive_int(name: str, value: int) -> None:
    """A count of which there is at least one. Raises `ConfigError`."""
    whole(name, value, 1)


def one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    """A word that is known. Raises `ConfigError`."""
    check(value in known, name, f"one of {', '.join(known)}", value)


def share(name: str, value: float) -> None:
    """A part of a whole, and not all of it. Raises `ConfigError`."""
    check(0.0 <= value < 1.0, name, "at least 0 and below 1", value)


def whole(name: str, value: int, least: int) -> None:
    """A count of at least so many. Raises `ConfigError`."""
    ok = isinstance(value, int) and value >= least
    check(ok, name, f"a whole number of at least {least}", value)
