"""A small world with a known truth: two groups of people, two genres, each group clicks its own.

Users u0, u2, ... like drama (films d0..), users u1, u3, ... like comedy (films c0..). Everybody is
shown both genres; everybody clicks what is of their genre and nothing else. User u0 is never shown
`d0`: that is the withheld edge, which a model has to put before every comedy.
"""

from collections.abc import Iterator
from typing import Any

START = 1_700_000_000
USERS, FILMS, SHOWN = 60, 20, 40
WITHHELD_USER, WITHHELD_FILM = "u0", "d0"
COMEDIES = [f"c{film}" for film in range(FILMS)]


def planted_events() -> list[dict[str, Any]]:
    """Attributes and genres first, then exposures and clicks as time goes by."""
    return [*_catalog(), *_history()]


def click(user: str, film: str, time: int, event_id: str | None = None) -> dict[str, Any]:
    """A click, as an application posts it."""
    return _event("click", event_id or f"click-{user}-{film}", time, user, film)


def _catalog() -> Iterator[dict[str, Any]]:
    for genre, letter in (("drama", "d"), ("comedy", "c")):
        for film in range(FILMS):
            yield {
                "event_id": f"title-{letter}{film}",
                "event_name": "set_attributes",
                "event_time": START,
                "action_source": "structure",
                "actor": {"type": "film", "id": f"{letter}{film}"},
                "properties": {"title": f"{genre} {film}", "year": 1980 + film},
            }
            yield {
                "event_id": f"genre-{letter}{film}",
                "event_name": "genre",
                "event_time": START,
                "action_source": "structure",
                "actor": {"type": "film", "id": f"{letter}{film}"},
                "object": {"type": "thing", "id": genre},
            }


def _history() -> Iterator[dict[str, Any]]:
    for step in range(SHOWN):
        for user in range(USERS):
            time = START + 1000 + step * 600 + user
            letter = "dc"[(step + user) % 2]
            # A walk that meets each film once per user and differs between users.
            film = f"{letter}{(step // 2 * 7 + user * 3) % FILMS}"
            if (f"u{user}", film) == (WITHHELD_USER, WITHHELD_FILM):
                continue
            yield _event("impression", f"shown-{user}-{step}", time, f"u{user}", film)
            if letter == "dc"[user % 2]:
                yield click(f"u{user}", film, time + 5)


def _event(name: str, event_id: str, time: int, user: str, film: str) -> dict[str, Any]:
    return {
        "event_id": event_id,
        "event_name": name,
        "event_time": time,
        "action_source": "onsite",
        "actor": {"type": "user", "id": user},
        "object": {"type": "film", "id": film},
    }
