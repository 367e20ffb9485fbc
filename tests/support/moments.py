"""Random streams of events that do everything the log knows, in any order of arrival."""

from random import Random
from typing import Any

from hypothesis import strategies as st
from semantics import NOW, SMALL_SCHEMA, event

from graphsvc.db import Database
from graphsvc.ingest import Rules, ingest
from graphsvc.schema import Schema, parse_schema, to_document

_DOCUMENT = to_document(SMALL_SCHEMA)
#: Every kind of relation, and a label with a negative.
WORLD = parse_schema(
    _DOCUMENT
    | {
        "observations": _DOCUMENT["observations"]
        | {"hide": {"head": "user", "tail": "item", "source": "onsite"}},
        "label": _DOCUMENT["label"] | {"negative": "hide"},
    }
)

_SHOWN = ["shown"] * 8 + ["click"] * 4 + ["hide"]
_OTHER = [*["buy"] * 4, "told", "part_of", "part_of", "friend", "friend"]
_NAMES = [*_SHOWN, *_OTHER, *["retract"] * 5, *["set_attributes"] * 3, "retire", "restore", "merge"]


@st.composite
def streams(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Events as they arrive, late ones among them; nothing has happened after NOW.

    A seed is drawn and not each value: so there are always enough exposures to be cut.
    """
    seed = draw(st.integers(0, 2**32))  # replayable: hypothesis prints what it drew
    return stream(seed, draw(st.integers(60, 110)))


def stream(seed: int, size: int) -> list[dict[str, Any]]:
    """One of them."""
    dice = Random(seed)
    return [_event(n, dice.choice(_NAMES), dice) for n in range(size)]


@st.composite
def streams_with_words(draw: st.DrawFn) -> list[dict[str, Any]]:
    """The same, behind what one person says of offsite events.

    All of it comes first, so that it holds for every event, whatever ids become that person's. What
    an opt-out has taken does not come back, so later words would depend on when they came.
    """
    dice = Random(draw(st.integers(0, 2**32)))
    user, words = dice.randrange(4), []
    for n in range(dice.randrange(1, 5)):
        name, ago = dice.choice(["opt_out", "opt_in"]), dice.randrange(20 * 86_400)
        word = event(name, f"w{n}", f"user/{user}", event_time=NOW - ago)
        words.append(word | {"action_source": "onsite"})
    return [*words, *draw(streams())]


def _event(n: int, name: str, dice: Random) -> dict[str, Any]:
    # Two busy times, of which the second is so long past that all its windows are over.
    ago = 600 * dice.randrange(13) + dice.choice([0, 0, 9 * 86_400])
    ago = dice.choice([ago, dice.randrange(40 * 86_400)])
    a, b, which = dice.randrange(4), dice.randrange(4), dice.randrange(4)
    more: dict[str, Any] = {"event_time": NOW - ago}
    if name == "retract":
        more["relation"] = ["click", "friend", "part_of", "buy"][which]
    kind = more.get("relation", name)
    if name == "hide":
        more["action_source"] = "onsite"
    if name in _SHOWN and not dice.randrange(3):
        more["consent"] = True
    if name == "shown" and which:
        more |= {"position": b, "sampling_rate": [0.5, 0.25, 1.0][which - 1]}
    if name == "set_attributes":
        more["properties"] = [{"country": "DE", "age": a}, {"age": None}, {"age": b}][which % 3]
        return event(name, f"e{n}", f"user/{a}", **more)
    if name in ("retire", "restore"):
        return event(name, f"e{n}", f"item/{a}", **more)
    if name == "merge":
        side = ["item", "user"][which % 2]
        return event(name, f"e{n}", f"{side}/{a}", f"{side}/{b}", **more)
    head, tail = {
        "part_of": ("item", "item"),
        "friend": ("user", "user"),
        "told": ("item", "user"),
    }.get(kind, ("user", "item"))
    return event(name, f"e{n}", f"{head}/{a}", f"{tail}/{b}", **more)


def post_world(
    database: Database, log: list[dict[str, Any]], *, now: int, schema: Schema = WORLD
) -> list[dict[str, Any]]:
    """Ingest events; those that were accepted, with the ends of undirected ones as they came."""
    with database.transaction() as connection:
        verdicts = ingest(connection, schema, log, now=now, rules=Rules(backfill=True))
    return [raw for raw, verdict in zip(log, verdicts, strict=True) if verdict.status == "accepted"]
