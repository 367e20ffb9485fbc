"""The dials of a simulated market: its size, its habits, and what can be switched off in it.

Takes values, gives a checked `World`; never draws anything.
"""

import math
from dataclasses import dataclass, fields
from typing import Any

from graphsvc.errors import WorldError
from graphsvc.events import LATEST_TIME

#: What can be switched off, and by it a benchmarked effect: the dial of each switch.
NULLS = {
    "offsite": "offsite_informative",
    "interactions": "interactions",
    "kge": "kge_informative",
}
DAY = 86_400
#: A person has at most so many needs.
MOST_NEEDS = 8
_MOST_ENTITIES = 50_000_000
_MOST_DAYS = 36_500.0
_KINDS: dict[Any, str] = {int: "a whole number", float: "a number", bool: "true or false"}


@dataclass(frozen=True, kw_only=True, slots=True)
class World:
    """A market of people and ads. The same dials give the same events, one by one."""

    #: Every draw follows from it.
    seed: int = 0
    #: The first second, since 1970; by default 2025-01-01.
    start: int = 1_735_689_600

    #: People who are there at any one time; each has about `turnover_days`, then another comes.
    people: int = 20_000
    ads: int = 4_000
    products: int = 2_000
    #: Share of the products that have ads.
    advertised_share: float = 0.7
    advertisers: int = 200
    campaigns: int = 800
    categories: int = 40

    #: Page views a day on average; a page shows `slots` ads.
    pages_per_day: float = 20_000.0
    slots: int = 4
    #: The ad at place k, from 0, is looked at with chance (k + 1)^-examination.
    examination: float = 0.8
    #: Offsite acts of people's own accord, per page view.
    organic: float = 1.0
    #: Share of the ads that are shown for what is known onsite of a person; others are popular.
    targeting: float = 0.4
    #: Share of the pages whose ads are in the order of how likely a click is, nearly.
    sorting: float = 0.5
    #: How much more the active act and the popular is shown: rank = number * U^popularity.
    popularity: float = 1.7

    #: Things that a person is after.
    needs: int = 3
    #: Share of needs that show offsite; the others show onsite.
    offsite_needs: float = 0.5
    #: How far needs take turns: 0 never, 1 each is silent once in `drift_days`.
    drift: float = 0.5
    drift_days: float = 120.0
    #: By how much a category swings within a year.
    season: float = 0.3

    #: Mean hours from a click to its purchase; none takes longer than 14 days.
    delay_hours: float = 20.0
    #: Share of people who let offsite events be used, from the beginning.
    consent: float = 0.8
    #: Share of those who take it back while they are there.
    opt_outs: float = 0.1
    turnover_days: float = 365.0
    #: Share of page views that are of programs, not people.
    bots: float = 0.02

    #: False: offsite acts are those of somebody else's needs, and purchases follow clicks by chance
    #: alone, so offsite events hold nothing that clicks do not.
    offsite_informative: bool = True
    #: False: log odds are a sum of what country and format are worth, so there is nothing to match.
    interactions: bool = True
    #: False: who likes what is a table of country and format, so edges add nothing to attributes.
    kge_informative: bool = True

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not _fits(field.type, value):
                raise WorldError(_should(field.name, _KINDS[field.type], value))
        counts = ("people", "ads", "products", "advertisers", "campaigns", "categories", "slots")
        for name in counts:
            self._within(name, 1, _MOST_ENTITIES)
        self._within("seed", 0, 2**32 - 1)
        self._within("start", 0, LATEST_TIME - round(_MOST_DAYS * DAY))
        self._within("needs", 1, MOST_NEEDS)
        self._within("slots", 1, 100)
        for name in ("offsite_needs", "targeting", "sorting", "drift", "consent", "opt_outs"):
            self._within(name, 0.0, 1.0)
        self._within("advertised_share", 0.01, 1.0)
        self._within("season", 0.0, 0.9)
        self._within("bots", 0.0, 0.9)
        self._within("organic", 0.0, 100.0)
        self._within("examination", 0.0, 10.0)
        self._within("popularity", 1.0, 10.0)
        self._within("pages_per_day", 1.0, 1e9)
        self._within("delay_hours", 0.01, 10_000.0)
        self._within("drift_days", 1.0, _MOST_DAYS)
        self._within("turnover_days", 1.0, _MOST_DAYS)
        self._relations()

    @property
    def advertised(self) -> int:
        """Products that have ads: those of the lowest numbers."""
        return max(1, round(self.products * self.advertised_share))

    @property
    def lifetime(self) -> int:
        """How long a person is there, in seconds."""
        return round(self.turnover_days * DAY)

    @property
    def bot_count(self) -> int:
        """Programs that look at pages: few, and each of them often."""
        return max(1, self.people // 500)

    @property
    def campaigns_each(self) -> int:
        """Campaigns of one advertiser."""
        return max(1, self.campaigns // self.advertisers)

    @property
    def pages_per_block(self) -> int:
        """Pages that are drawn together: ten minutes of them, and not too few."""
        return max(2048, round(self.pages_per_day / 144))

    def _relations(self) -> None:
        if self.categories > self.advertised:
            least = f"at most {self.advertised}, the number of products with ads"
            raise WorldError(_should("categories", least, self.categories))
        if self.ads < max(self.advertised, self.slots):
            least = f"at least {max(self.advertised, self.slots)}: an ad for each product with ads"
            raise WorldError(_should("ads", f"{least}, and one for each slot", self.ads))

    def _within(self, name: str, least: float, most: float) -> None:
        value = getattr(self, name)
        if not least <= value <= most:
            raise WorldError(_should(name, f"{least:,} to {most:,}", value))


def _should(name: str, what: str, value: Any) -> str:
    return f"{name} should be {what}, received {value!r}"


def _fits(kind: Any, value: Any) -> bool:
    if kind is bool or isinstance(value, bool):
        return kind is bool and isinstance(value, bool)
    if kind is int:
        return isinstance(value, int)
    return isinstance(value, int | float) and math.isfinite(value)
