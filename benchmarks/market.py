"""A market of people and ads, as events: what the benchmarks of ingestion post.

Takes a seed, gives events as an application would post them: people come in sessions, several
hundred of which run beside each other; popularity of ads follows a power law; ids of events are
random (UUID 4), the worst case for an index; time goes on by itself. Nothing in it is tuned to how
graphsvc stores things, but for one choice that is stated here: in a session the same person acts
again and again, as people do.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

#: Share of the events of a session; an onsite click follows an impression.
_NAMES = ("impression", "click", "save", "closeup", "add_to_cart", "checkout")
_SHARES = (0.78, 0.12, 0.03, 0.04, 0.02, 0.01)
_OFFSITE = ("add_to_cart", "checkout")


@dataclass(frozen=True, kw_only=True)
class Market:
    """Its size. Sessions have a geometric length."""

    seed: int = 0
    people: int = 300_000
    ads: int = 50_000
    sessions_at_once: int = 500
    events_per_session: int = 20
    events_per_second: float = 50.0

    def events(self, number: int, *, start: int, first: int = 0) -> Iterator[list[dict[str, Any]]]:
        """`number` events in batches of 1000, `start` = time of the first one (seconds).

        `first` is the number of the first batch: the same batch is the same wherever one begins.
        """
        for batch in range(first, first + number // 1000):
            yield self.batch(batch, start=start)

    def batch(self, batch: int, *, start: int) -> list[dict[str, Any]]:
        """One thousand events."""
        rng = np.random.default_rng((self.seed, batch))
        size = 1000
        # A session lives for so many batches; who is in one of its places follows from both.
        lifetime = max(1, self.sessions_at_once * self.events_per_session // size)
        place = rng.integers(0, self.sessions_at_once, size)
        round_ = (batch + place % lifetime) // lifetime
        mixed = (place.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)) ^ (
            round_.astype(np.uint64) * np.uint64(0xC2B2AE3D27D4EB4F)
        )
        person = (mixed >> np.uint64(11)) % np.uint64(self.people)
        ad = (self.ads * rng.random(size) ** 3).astype(int)
        name = rng.choice(len(_NAMES), size, p=_SHARES)
        time = start + ((batch * size + np.arange(size)) / self.events_per_second).astype(int)
        ids = rng.bytes(16 * size).hex()
        made = []
        for n in range(size):
            event_name = _NAMES[name[n]]
            offsite = event_name in _OFFSITE
            event = {
                "event_id": ids[32 * n : 32 * n + 32],
                "event_name": event_name,
                "event_time": int(time[n]),
                "action_source": "offsite" if offsite else "onsite",
                "actor": {"type": "user", "id": f"u{person[n]}"},
                "object": {"type": "product" if offsite else "ad", "id": f"a{ad[n]}"},
            }
            if offsite:
                event |= {"consent": True, "value": 9.99, "currency": "EUR"}
            made.append(event)
        return made
