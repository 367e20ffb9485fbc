"""A second retrain over HTTP: what happens between the two, and how one is asked for."""

from typing import Any

import httpx
from planted import START, click


def later_events() -> list[dict[str, Any]]:
    """Everybody looks at another film a day later, and somebody new comes."""
    events = []
    for user in range(61):
        film = f"{'dc'[user % 2]}{(user * 7) % 20}"
        time = START + 90_000 + user
        seen = click(f"u{user}", film, time, f"later-{user}")
        events += [seen | {"event_name": "impression"}, seen | {"event_time": time + 5}]
        other = f"{'cd'[user % 2]}{user % 20}"
        events.append(click(f"u{user}", other, time, f"not-{user}") | {"event_name": "impression"})
    return events


def ask(http: httpx.Client, **body: Any) -> str:
    answer = http.post("/v1/retrains", json=body)
    assert answer.status_code == 202, answer.text
    return answer.json()["job"]
