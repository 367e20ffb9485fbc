"""Rows of a market as an application would post them: JSON values, or a table of Arrow.

Takes a market and rows, gives events or tables; writes no file. The truth has a table of its own,
whose `event_id` is that of the impression.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from graphsvc.builtin import OPT_OUT
from graphsvc.simulate.goods import FORMATS
from graphsvc.simulate.people import (
    COUNTRIES,
    GENDERS,
    ages,
    consent_ends,
    countries,
    genders,
)
from graphsvc.simulate.rows import (
    AD,
    CHECKOUT,
    IMPRESSION,
    KINDS,
    PREFIXES,
    PRODUCT,
    TRUTH,
    USER,
    Rows,
)
from graphsvc.simulate.stream import Market

CURRENCY = "EUR"
#: How the columns of `as_table` become events: the mapping for `graphsvc ingest --mapping`.
MAPPING = """[[events]]
event_id = "{event_id}"
event_name = "{event_name}"
event_time = { column = "event_time" }
action_source = "{action_source}"
actor = { type = "{actor_type}", id = "{actor_id}" }
object = { type = "{object_type}", id = "{object_id}" }
value = { column = "value" }
currency = "{currency}"
position = { column = "position" }
consent = { column = "consent" }

[events.properties]
country = "{country}"
gender = "{gender}"
age = { column = "age" }
format = "{format}"
price = { column = "price" }
"""


def as_events(market: Market, rows: Rows) -> Iterator[dict[str, Any]]:
    """Raw events, in their order."""
    mark = _mark(market)
    properties = _properties(market, rows)
    prices = iter(market.goods.prices(rows["tail"][rows["kind"] == CHECKOUT]).tolist())
    names = ("time", "kind", "head", "tail", "origin", "position")
    columns = (rows[name].tolist() for name in names)
    numbered = zip(*columns, _agreed(market, rows).tolist(), strict=True)
    for time, code, head, tail, origin, position, agreed in numbered:
        kind = KINDS[code]
        event: dict[str, Any] = {
            "event_id": f"{mark}{_LETTERS[code]}{origin}",
            "event_name": kind.name,
            "event_time": time,
            "action_source": kind.source,
            "actor": {"type": kind.head, "id": f"{PREFIXES[kind.head]}{head}"},
        }
        if kind.tail is not None:
            event["object"] = {"type": kind.tail, "id": f"{PREFIXES[kind.tail]}{tail}"}
        if agreed:
            event["consent"] = True
        if code == IMPRESSION:
            event["position"] = position
        elif code == CHECKOUT:
            event |= {"value": next(prices), "currency": CURRENCY}
        elif code in properties:
            event["properties"] = next(properties[code])
        yield event


def as_table(market: Market, rows: Rows) -> pa.Table:
    """The same as columns, one row per event; `MAPPING` says how they are read."""
    kind, head, tail, origin, time, position = (
        np.ascontiguousarray(rows[name])
        for name in ("kind", "head", "tail", "origin", "time", "position")
    )
    codes = pa.array(kind)
    agreed = _agreed(market, rows)
    bought, world = kind == CHECKOUT, market.world
    price = np.zeros(len(rows))
    price[bought] = market.goods.prices(tail[bought])
    level = np.zeros(len(rows))
    level[kind == PRODUCT] = market.goods.prices(head[kind == PRODUCT])
    person, ad = kind == USER, kind == AD
    forms = market.goods.format[np.where(ad, head, 0)]
    return pa.table(
        {
            "event_id": _joined(
                _of_kind([_mark(market) + one for one in _LETTERS]).take(codes), origin
            ),
            "event_name": _of_kind([one.name for one in KINDS]).take(codes),
            "event_time": pa.array(time),
            "action_source": _of_kind([one.source for one in KINDS]).take(codes),
            "actor_type": _of_kind([one.head for one in KINDS]).take(codes),
            "actor_id": _joined(_of_kind([PREFIXES[one.head] for one in KINDS]).take(codes), head),
            "object_type": _of_kind([one.tail for one in KINDS]).take(codes),
            "object_id": _joined(_of_kind(_TAIL_PREFIXES).take(codes), tail),
            "value": pa.array(price, mask=~bought),
            "currency": _of_kind([CURRENCY]).take(_places(np.zeros(len(rows)), bought)),
            "position": pa.array(position, mask=kind != IMPRESSION),
            "consent": pa.array(agreed, mask=~agreed),
            "country": _of_kind(list(COUNTRIES)).take(_places(countries(world, head), person)),
            "gender": _of_kind(list(GENDERS)).take(_places(genders(world, head), person)),
            "age": pa.array(ages(world, head), mask=~person),
            "format": _of_kind(list(FORMATS)).take(_places(forms, ad)),
            "price": pa.array(level, mask=kind != PRODUCT),
        }
    )


def truth_table(market: Market, truth: Rows) -> pa.Table:
    """The truth about impressions: probabilities, and what came of them."""
    known = {name: np.ascontiguousarray(truth[name]) for name in TRUTH.names or ()}
    columns = {
        "event_id": _joined(_mark(market), known["origin"]),
        "event_time": pa.array(known["time"]),
        "user": _joined(PREFIXES["user"], known["user"]),
        "ad": _joined(PREFIXES["ad"], known["ad"]),
        "purchase": pa.array(known["purchase"], mask=np.isnan(known["purchase"])),
    }
    plain = ("position", "looked_at", "click", "consent_ends", "bot")
    done = ("was_looked_at", "was_clicked", "was_bought")
    return pa.table(columns | {name: pa.array(known[name]) for name in (*plain, *done)})


#: Attributes of the three types come under one name, so their ids need a letter.
_LETTERS = [PREFIXES[one.head] if one.name == "set_attributes" else "" for one in KINDS]
_TAIL_PREFIXES = [None if one.tail is None else PREFIXES[one.tail] for one in KINDS]


def _agreed(market: Market, rows: Rows) -> NDArray[np.bool_]:
    """Whether an act says that the person agrees to offsite events; the others do not say."""
    acts = np.array([one.source != "structure" and one.name != OPT_OUT for one in KINDS])
    # Acts are people's.
    return acts[rows["kind"]] & (consent_ends(market.world, rows["head"]) > rows["time"])


def _mark(market: Market) -> str:
    """What ids of events begin with, so that two worlds can be in one log."""
    return f"s{market.world.seed}-"


def _properties(market: Market, rows: Rows) -> dict[int, Iterator[dict[str, Any]]]:
    """By code, the attributes of each entity that is introduced, in the order of the rows."""
    world = market.world
    who, ad, product = (rows["head"][rows["kind"] == code] for code in (USER, AD, PRODUCT))
    people = zip(
        countries(world, who).tolist(),
        genders(world, who).tolist(),
        ages(world, who).tolist(),
        strict=True,
    )
    return {
        USER: (
            {"country": COUNTRIES[country], "gender": GENDERS[gender], "age": age}
            for country, gender, age in people
        ),
        AD: ({"format": FORMATS[form]} for form in market.goods.format[ad].tolist()),
        PRODUCT: ({"price": price} for price in market.goods.prices(product).tolist()),
    }


def _of_kind(values: list[str | None] | list[str]) -> Any:
    return pa.array(values, type=pa.string())


def _places(values: NDArray[Any], there: NDArray[np.bool_]) -> Any:
    """Places to take from a list; nothing is taken where there is nothing."""
    return pa.array(values.astype(np.int64), mask=~there)


def _joined(prefix: Any, numbers: NDArray[np.int64]) -> Any:
    """Text before numbers."""
    return pc.binary_join_element_wise(prefix, pa.array(numbers).cast(pa.string()), "")
