"""Answers, and what people did afterwards, written down as a test says them."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from graphsvc import answers
from graphsvc.answers import Answer, Item, Wanted
from graphsvc.attribution import Joined, Windows, join
from graphsvc.db import Connection, Database
from graphsvc.ids import EntityId
from graphsvc.ingest import Rules, ingest
from graphsvc.schema import Schema, load_schema

ADS = load_schema("ads")
T = 1_767_225_600
MINUTE, HOUR, DAY = 60, 3600, 86_400
LATER = T + 30 * DAY


def blocks(
    connection: Connection, schema: Schema, windows: Windows, *, now: int, block: int = 200
) -> Iterator[Joined]:
    """The items of all answers, oldest first, a page of answers at a time."""
    after = None
    while True:
        page = answers.page(connection, Wanted(oldest_first=True), limit=block, after=after)
        if page.items:
            yield join(connection, schema, page.items, windows=windows, now=now)
        after = page.next
        if after is None:
            return


@dataclass
class World:
    """A log and some answers, written down in the order in which a test says them."""

    database: Database
    schema: Schema = ADS
    events: list[dict[str, Any]] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    #: How many events were said so far, also those that are written already.
    said: int = 0

    def say(self, name: str, time: int, actor: str, target: str, **fields: Any) -> None:
        declared = self.schema.events[fields.get("relation", name)]
        self.events.append(
            {
                "event_id": f"e{self.said}",
                "event_name": name,
                "event_time": time,
                "action_source": declared.source,
                "actor": {"type": declared.head, "id": actor},
                "object": {"type": declared.tail, "id": target},
                "consent": True,
                **fields,
            }
        )
        self.said += 1

    def answer(self, request_id: str, time: int, *items: str, user: str = "u1") -> None:
        self.answers.append(
            Answer(
                request_id=request_id,
                asked_at=time,
                head=EntityId("user", user),
                tail_type=self.schema.events[self.schema.label.exposure].tail,
                state="learned",
                bundle="b" * 64,
                index="1" * 64,
                ranker="c" * 64,
                items=[Item(name, 1 / (n + 2)) for n, name in enumerate(items)],
            )
        )

    def write(self) -> None:
        with self.database.transaction() as connection:
            verdicts = ingest(
                connection, self.schema, self.events, now=LATER, rules=Rules(backfill=True)
            )
            assert {v.status for v in verdicts} <= {"accepted"}, verdicts
            answers.write(connection, self.answers)
        self.events, self.answers = [], []

    def merge(self, type_: str, duplicate: str, kept: str) -> None:
        self.events.append(
            {
                "event_id": f"e{self.said}",
                "event_name": "merge",
                "event_time": T,
                "action_source": "structure",
                "actor": {"type": type_, "id": duplicate},
                "object": {"type": type_, "id": kept},
            }
        )
        self.said += 1

    def joined(
        self, now: int = LATER, block: int = 2, **windows: Any
    ) -> list[tuple[str, str, int, int]]:
        """(request, item, click, conversion) of every item."""
        self.write()
        with self.database.reading() as connection:
            found = [
                row
                for some in blocks(
                    connection, self.schema, Windows(**windows), now=now, block=block
                )
                for row in zip(some.request_id, some.item, some.click, some.conversion, strict=True)
            ]
        return [(a, b, int(c), int(d)) for a, b, c, d in found]
