"""An inventory of a million ads, and people who click some of them: what `recommend.py` asks about.

Takes a number of ads, gives a log as `ladder_worlds.open_world` reads one, and the truth about who
may be shown what, kept apart from the service; never measures anything.

Every ad has a format, an advertiser and a product of a category, every advertiser a topic, and
everybody two topics that they mostly click. Few ads of an advertiser have most of its clicks, and
many have none or few, as in an inventory that changes.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from ladder_worlds import Event
from numpy.typing import NDArray

from graphsvc.schema import Schema, load_schema

FORMATS, FORMAT_SHARES = ("image", "video", "carousel", "text"), (0.4, 0.3, 0.2, 0.1)
COUNTRIES = ("DE", "FR", "IT", "PL")
#: Ads per advertiser and per person; clicks of before anything was shown, and exposures, of each.
ADS_EACH, ADS_PER_PERSON, HISTORY, EXPOSURES = 50, 10, 40, 5
#: Ads of one product.
ADS_PER_PRODUCT = 5
#: Most topics; at least so many advertisers are of one.
TOPICS, ADVERTISERS_EACH = 400, 5
#: Share of early clicks and of exposures that follow a taste: what is shown is less to it.
CLICKED_OF_TASTE, SHOWN_OF_TASTE = 0.8, 0.5
#: Chance of a click of what is to somebody's taste, and of anything else.
LIKED, OTHERWISE = 0.4, 0.05
#: Fewer people than these give a ranker nothing to learn from.
_LEAST_PEOPLE = 150
_START, _MONTH = 1_750_000_000, 30 * 86_400
_SEED = 3


class Shown(NamedTuple):
    """Exposures in order of time: who saw what, when, and whether it was clicked."""

    who: NDArray[np.int64]
    item: NDArray[np.int64]
    time: NDArray[np.int64]
    clicked: NDArray[np.bool_]


@dataclass(frozen=True)
class Inventory:
    """A log of so many ads, the same each time."""

    items: int
    name: str = "inventory"
    tasks: tuple[str, ...] = ("ctr",)
    ends_early: bool = False
    days: float = 7.0

    def key(self, task: str) -> Any:
        return [self.items, task, dials()]

    def schema(self, task: str) -> Schema:  # noqa: ARG002  there is one task
        return load_schema("ads")

    def counted(self, task: str) -> tuple[str, ...]:  # noqa: ARG002
        return ()

    @property
    def people(self) -> int:
        return max(self.items // ADS_PER_PERSON, _LEAST_PEOPLE)

    @property
    def advertisers(self) -> int:
        return -(-self.items // ADS_EACH)

    @cached_property
    def format(self) -> NDArray[np.int64]:
        """Which of `FORMATS` each ad has."""
        return _draw(1).choice(len(FORMATS), self.items, p=FORMAT_SHARES)

    @cached_property
    def advertiser(self) -> NDArray[np.int64]:
        """Whose each ad is; those of one lie together."""
        return np.arange(self.items) // ADS_EACH

    @cached_property
    def topic(self) -> NDArray[np.int64]:
        """Of each advertiser; those of one lie together, too."""
        topics = max(1, min(TOPICS, self.advertisers // ADVERTISERS_EACH))
        return np.arange(self.advertisers) * topics // self.advertisers

    @cached_property
    def taste(self) -> NDArray[np.int64]:
        """[people, 2] topics."""
        return _draw(2).integers(int(self.topic[-1]) + 1, size=(self.people, 2))

    @cached_property
    def history(self) -> NDArray[np.int64]:
        """[people, HISTORY] ads that each has clicked before anything was shown; some twice."""
        return self._chosen(_draw(3), HISTORY, CLICKED_OF_TASTE)

    @cached_property
    def shown(self) -> Shown:
        draw = _draw(4)
        item = self._chosen(draw, EXPOSURES, SHOWN_OF_TASTE).ravel()
        who = np.repeat(np.arange(self.people), EXPOSURES)
        liked = (self.topic[self.advertiser[item]][:, None] == self.taste[who]).any(axis=1)
        clicked = draw.random(len(item)) < np.where(liked, LIKED, OTHERWISE)
        time = _START + _MONTH + draw.integers(_MONTH, size=len(item))
        order = np.argsort(time, kind="stable")
        return Shown(who[order], item[order], time[order], clicked[order])

    def clicked_by(self, person: int) -> NDArray[np.int64]:
        """Ads that somebody has clicked at any time."""
        shown = self.shown
        later = shown.item[(shown.who == person) & shown.clicked]
        return np.union1d(self.history[person], later)

    def events(self, task: str) -> Iterator[Event]:  # noqa: ARG002
        """What is so, then what was clicked, then what was shown."""
        yield from self._structure()
        times = _draw(5).integers(_START, _START + _MONTH, size=self.history.shape)
        for person, items in enumerate(self.history.tolist()):
            for n, item in enumerate(items):
                yield _act("click", f"h-{person}-{n}", int(times[person, n]), (person, item))
        columns = [column.tolist() for column in self.shown]
        for n, (who, item, time, clicked) in enumerate(zip(*columns, strict=True)):
            yield _act("impression", f"i-{n}", time, (who, item))
            if clicked:
                yield _act("click", f"c-{n}", time + 30, (who, item))

    def _structure(self) -> Iterator[Event]:
        for item, (owner, code) in enumerate(
            zip(self.advertiser.tolist(), self.format.tolist(), strict=True)
        ):
            said = {"event_name": "ad_of_advertiser", "event_id": f"o-{item}"}
            yield {**said, **_of("ad", ad(item)), "object": _ref("advertiser", advertiser(owner))}
            said = {"event_name": "ad_of_product", "event_id": f"q-{item}"}
            about = _ref("product", product(item // ADS_PER_PRODUCT))
            yield {**said, **_of("ad", ad(item)), "object": about}
            said = {"event_name": "set_attributes", "event_id": f"f-{item}"}
            yield {**said, **_of("ad", ad(item)), "properties": {"format": FORMATS[code]}}
        for number in range(-(-self.items // ADS_PER_PRODUCT)):
            topic = self.topic[self.advertiser[number * ADS_PER_PRODUCT]]
            said = {"event_name": "product_in_category", "event_id": f"t-{number}"}
            about = _ref("category", f"t{topic:03d}")
            yield {**said, **_of("product", product(number)), "object": about}
        for who in range(self.people):
            told = {"country": COUNTRIES[who % len(COUNTRIES)], "age": 18 + who % 60}
            said = {"event_name": "set_attributes", "event_id": f"p-{who}"}
            yield {**said, **_of("user", person(who)), "properties": told}

    def _chosen(self, draw: np.random.Generator, each: int, of_taste: float) -> NDArray[np.int64]:
        """[people, each] ads, so many of them of a topic of their taste."""
        size = (self.people, each)
        wanted = self.taste[np.arange(self.people)[:, None], draw.integers(2, size=size)]
        topics = np.arange(self.topic[-1] + 2)
        starts = np.minimum(np.searchsorted(self.topic, topics) * ADS_EACH, self.items)
        place = draw.random(size) * (starts[wanted + 1] - starts[wanted])
        chosen = starts[wanted] + place.astype(np.int64)
        anything = draw.random(size) > of_taste
        chosen[anything] = draw.integers(self.items, size=int(anything.sum()))
        # Of an advertiser's ads few are seen by most: the cube of a uniform number.
        own = np.minimum(ADS_EACH, self.items - chosen // ADS_EACH * ADS_EACH)
        return chosen // ADS_EACH * ADS_EACH + (draw.random(size) ** 3 * own).astype(np.int64)


def dials() -> dict[str, Any]:
    """What an inventory depends on beside its size."""
    return {
        "seed": _SEED,
        "ads_each": ADS_EACH,
        "ads_per_person": ADS_PER_PERSON,
        "ads_per_product": ADS_PER_PRODUCT,
        "history": HISTORY,
        "exposures": EXPOSURES,
        "topics": [TOPICS, ADVERTISERS_EACH],
        "chances": [CLICKED_OF_TASTE, SHOWN_OF_TASTE, LIKED, OTHERWISE],
        "formats": dict(zip(FORMATS, FORMAT_SHARES, strict=True)),
    }


def ad(number: int) -> str:
    """The id of an ad."""
    return f"a{number:07d}"


def number_of(id_: str) -> int:
    """Which ad has an id."""
    return int(id_[1:])


def advertiser(number: int) -> str:
    """The id of an advertiser."""
    return f"v{number:06d}"


def product(number: int) -> str:
    """The id of a product."""
    return f"p{number:07d}"


def person(number: int) -> str:
    """The id of somebody."""
    return f"u{number:06d}"


def _act(name: str, id_: str, time: int, pair: tuple[int, int]) -> Event:
    return {
        "event_name": name,
        "event_id": id_,
        "event_time": time,
        "action_source": "onsite",
        "actor": _ref("user", person(pair[0])),
        "object": _ref("ad", ad(pair[1])),
    }


def _of(type_: str, id_: str) -> dict[str, Any]:
    """What events that say how things are have in common."""
    return {"event_time": _START, "action_source": "structure", "actor": _ref(type_, id_)}


def _ref(type_: str, id_: str) -> Mapping[str, str]:
    return {"type": type_, "id": id_}


def _draw(part: int) -> np.random.Generator:
    return np.random.default_rng((_SEED, part))
