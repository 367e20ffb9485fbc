"""The hybrid path of the live ranker: ID rows are looked up in one tier, all else is computed.

Takes the settings of a service and questions, gives report rows, and words for what no number
says; answers in this process as `POST /v1/score` does, but for HTTP, and writes nothing down.
"""

import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

from torch import nn

from api import garbage, threads
from api.answers import Answerer, answerer_of
from api.demo.client import ServiceFailed
from api.live import Trio
from api.settings import Settings
from graphsvc.db import Database
from graphsvc.ids import EntityId
from graphsvc.report import Row
from ranking.bundle import Ranker

#: Answers before those that count: the first ones read the file's pages and fold heads in.
_WARM = 20


class Hybrid(NamedTuple):
    """What was found of the path: figures, and words for precisions, tiers and devices."""

    rows: list[Row]
    words: Mapping[str, Any]


def measure(settings: Settings, asked: Sequence[tuple[str, Sequence[str]]]) -> Hybrid:
    """Bytes, tiers and times of the ranker that is live; `asked`: heads, each with candidates."""
    threads.cap(1)  # as servers do
    database = Database(settings.graph_url)
    try:
        answerer, trio = answerer_of(settings, database)
        garbage.settle()
        found = parts(trio.ranker)
        return Hybrid([*found.rows, *_times(answerer, trio, asked)], found.words)
    finally:
        database.dispose()


def _times(answerer: Answerer, trio: Trio, asked: Sequence[tuple[str, Sequence[str]]]) -> list[Row]:
    """The middle of what answers take, of that for lookups, and of that for the upper model."""
    questions = [(EntityId(trio.ranker.head_type, head), tails) for head, tails in asked]
    for head, candidates in questions[:_WARM]:
        answerer.score(trio, head, candidates)
    spent = []
    with watched(trio.ranker) as seen:
        for head, candidates in questions:
            seen.clear()
            started = time.perf_counter()
            answerer.score(trio, head, candidates)
            spent.append((seen.lookups, seen.upper, time.perf_counter() - started))
    names = ("hybrid_lookups_p50_ms", "hybrid_upper_p50_ms", "hybrid_answer_p50_ms")
    return [
        _row(name, statistics.median(column) * 1000, "ms", str(len(asked[0][1])))
        for name, column in zip(names, zip(*spent, strict=True), strict=True)
    ]


def parts(ranker: Ranker) -> Hybrid:
    """Rows and bytes of its ID tables, as they were trained and as they are served, and the rest.

    Raises `ServiceFailed` for a ranker that was not opened from its sealed file.
    """
    placement = ranker.placement
    if placement is None:
        raise ServiceFailed(f"nothing says where the parts of ranker {ranker.digest} lie")
    trained = ranker.artifact.payload["tables"]["tables"]
    rows, tables = [], []
    # Tables are planned in the order in which a network has them.
    for before, now in zip(trained, placement.tables, strict=True):
        rows += [
            _row("id_table_rows", now.rows, "rows", now.name),
            _row("id_table_trained_bytes", before["bytes"], "bytes", now.name),
            _row("id_table_served_bytes", now.bytes, "bytes", now.name),
        ]
        precisions = {"trained": before["precision"], "served": now.precision}
        tables.append({"name": now.name, **precisions, "tier": placement.tables_tier})
    rows.append(_row("upper_model_bytes", placement.upper, "bytes", "upper_model"))
    words = {
        "tables": tables,
        "upper": {
            "tier": placement.upper_tier,
            "device": placement.place,
            "by": ranker.computed_by,
        },
        "reason": placement.reason,
        # What there is beside the CPU; "" where nothing is.
        "gpu": placement.tiers.device,
    }
    return Hybrid(rows, words)


class Watched:
    """Seconds since it was last cleared."""

    def __init__(self) -> None:
        self.lookups = 0.0
        #: Of the forward pass but for lookups.
        self.upper = 0.0

    def clear(self) -> None:
        self.lookups = self.upper = 0.0


@contextmanager
def watched(ranker: Ranker) -> Iterator[Watched]:
    """Watch what a ranker spends on lookups and on the rest of its network, until the block ends.

    Lookups from the CPU tier end when the rows are on their way to the network's device. A forward
    pass ends when its logits are back; from the device tier, lookups are asked for and not waited
    for, so they are in what the network takes.
    """
    seen = Watched()
    begun: list[float] = []
    # An exported network begins behind the lookups; training's looks up by itself.
    network: nn.Module = ranker.model if ranker.forward is None else ranker.forward

    def begin(*_: Any) -> None:
        begun.append(time.perf_counter())

    def looked_up(*_: Any) -> None:
        spent = time.perf_counter() - begun.pop()
        seen.lookups += spent
        if network is ranker.model:
            seen.upper -= spent

    def computed(_module: nn.Module, _given: Any, logits: Any) -> None:
        logits.cpu()  # waits for a GPU, and is nothing on the CPU
        seen.upper += time.perf_counter() - begun.pop()

    with ExitStack() as hooks:
        placement = ranker.placement
        for table in placement.tables if placement else ():
            module = ranker.model.get_submodule(table.name)
            hooks.enter_context(module.register_forward_pre_hook(begin))
            hooks.enter_context(module.register_forward_hook(looked_up))
        hooks.enter_context(network.register_forward_pre_hook(begin))
        hooks.enter_context(network.register_forward_hook(computed))
        yield seen


def _row(metric: str, value: float, unit: str, model: str) -> Row:
    return Row(metric=metric, value=float(value), unit=unit, split="demo", model=model)
