"""How often a key may ask, scope by scope: a bucket of tokens for each.

Takes who asks and for what, gives the seconds until that may be asked again; never waits, and never
holds more buckets than it may.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic

from api.errors import RateInvalid

#: Seconds of requests that may come at once.
BURST_SECONDS = 5.0
#: Keys that do not exist, of one address.
UNKNOWN = "unknown"
#: More buckets than that, and those that are full by now are let go.
_MOST = 10_000


@dataclass(frozen=True, kw_only=True, slots=True)
class RateConfig:
    """Requests a second of one key, of all server processes together; 0: as many as come."""

    #: For events and what people and things are: `POST /v1/events` and its kind.
    ingest: float = 2000.0
    read: float = 1000.0
    score: float = 2000.0
    train: float = 5.0
    admin: float = 5.0
    #: Of one address, with keys that do not exist.
    unknown: float = 20.0

    def __post_init__(self) -> None:
        for name in ("ingest", "read", "score", "train", "admin", "unknown"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise RateInvalid(f"{name} should be at least 0 and finite, received {value}")


@dataclass(slots=True)
class Rates:
    """The buckets of one server process; asked in its event loop, so by one at a time."""

    config: RateConfig
    #: Among how many processes connections are dealt out.
    processes: int = 1
    clock: Callable[[], float] = monotonic
    #: (who, scope) -> tokens that were there, and when.
    _buckets: dict[tuple[str, str], tuple[float, float]] = field(default_factory=dict, repr=False)

    def wait(self, who: str, scope: str) -> float:
        """Take a token and give 0, or the seconds until there is one.

        Our design: a bucket holds what five seconds bring, at least one token.
        """
        rate, tokens = self._found(who, scope)
        if not rate:
            return 0.0
        if tokens < 1.0:
            return (1.0 - tokens) / rate
        self._keep((who, scope), tokens - 1.0)
        return 0.0

    def refused(self, address: str) -> float:
        """The seconds until an address may try a key that does not exist; nothing is taken."""
        rate, tokens = self._found(address, UNKNOWN)
        return max(0.0, 1.0 - tokens) / rate if rate else 0.0

    def _found(self, who: str, scope: str) -> tuple[float, float]:
        """Tokens a second, and those that are there."""
        rate = getattr(self.config, scope) / self.processes
        most = max(1.0, rate * BURST_SECONDS)
        now = self.clock()
        tokens, since = self._buckets.get((who, scope), (most, now))
        return rate, min(most, tokens + (now - since) * rate)

    def _keep(self, bucket: tuple[str, str], tokens: float) -> None:
        now = self.clock()
        if bucket not in self._buckets and len(self._buckets) >= _MOST:
            # Whoever has not asked for as long as a bucket takes to fill has a full one.
            self._buckets = {
                one: held for one, held in self._buckets.items() if now - held[1] < BURST_SECONDS
            }
            if len(self._buckets) >= _MOST:
                self._buckets = {}
        self._buckets[bucket] = (tokens, now)
