"""Which rows a gate compares on: those that neither model has learned from, and slices of them.

Takes the examples of a candidate and the snapshots that both models come from, gives rows, masks
and the rival of a first champion; never scores anything.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64, Int32, Int64

from graphsvc.snapshot import Snapshot, Span, Triples
from ranking.columns import by_name, coded, distinct
from ranking.errors import ConfigError
from ranking.examples import Examples, LabelledRows
from ranking.gating import GateConfig
from ranking.reliability import HISTORY
from ranking.rivals import COUNTING, fit_rivals
from ranking.spec import text_of

_MOST = np.iinfo(np.int64).max
#: Edges of the head in the graph that the candidate's bundle was trained on.
_DEGREE = (("0", 0, 0), ("1-4", 1, 4), ("5-19", 5, 19), ("20+", 20, _MOST))
#: Exposures known of the tail before the row.
_SHOWN = (("0", 0, 0), ("1-19", 1, 19), ("20+", 20, _MOST))
_UNSET = "(unset)"

Buckets = Sequence[tuple[str, int, int]]


def later_rows(
    rows: LabelledRows, head_type: str, protocol: str, snapshots: Sequence[Snapshot]
) -> Int64[np.ndarray, "m"]:
    """The rows, by number, that are later than all that these snapshots gave to learn from.

    What is learned from is every span before TEST: the graph, training, stopping, calibration. As
    the protocol tells time: later than all of it for `global_time`; for `per_user_time` later than
    what there is of the row's own head, as in the report, so item statistics may see the future.
    """
    later, heads = np.ones(len(rows.labels), dtype=bool), distinct(rows.heads.ids)
    for snapshot in snapshots:
        if protocol == "global_time":
            later &= rows.time > _learned_until(snapshot)
        else:
            until = _learned_by_head(snapshot, head_type)
            last = np.array([until.get(id_, -1) for id_ in heads.values], dtype=np.int64)
            later &= rows.time > last[heads.codes]
    return np.flatnonzero(later)


def _learned_until(snapshot: Snapshot) -> int:
    times = snapshot.split.get("last_times")
    if times:
        return int(times[-1])  # of the last span before TEST
    events = snapshot.interactions()
    return int(events.time[events.span < Span.TEST].max(initial=-1))


def _learned_by_head(snapshot: Snapshot, head_type: str) -> dict[str, int]:
    """Head -> the time of its last interaction before TEST; a head without any is not there."""
    kind = snapshot.types.get(head_type)
    if kind is None:
        return {}
    events = snapshot.interactions()
    learned = events.span < Span.TEST
    head, time = events.head[learned], events.time[learned]
    last = np.full(snapshot.entity_count, -1, dtype=np.int64)
    np.maximum.at(last, head, time)
    found = np.unique(head[(head >= kind.start) & (head < kind.stop)])
    return dict(zip(snapshot.ids[found].tolist(), last[found].tolist(), strict=True))


def slices_of(
    examples: Examples, chosen: Int64[np.ndarray, "m"], snapshot: Snapshot, dials: GateConfig
) -> dict[str, Bool[np.ndarray, "m"]]:
    """Slices of some TEST rows, by name, e.g. `history=0`, `relation=add_to_cart`, `country=DE`.

    history: the head's outcomes before the row. degree: its edges in the graph. shown: the tail's
    exposures before the row. relation, source: heads with an edge of it. And the values of the
    dial's `groups`. A slice that holds all rows, or none, is left out. Raises `ConfigError`
    for a group that is no category of heads.
    """
    test = examples.rows[Span.TEST]
    heads = test.cluster[chosen]
    triples = snapshot.triples()
    count = snapshot.entity_count
    degree = np.bincount(triples.head, minlength=count) + np.bincount(triples.tail, minlength=count)
    found = dict(
        [
            *_buckets("history", test.heads.outcomes[chosen], HISTORY),
            *_buckets("degree", degree[heads].astype(np.int64), _DEGREE),
            *_buckets("shown", test.tails.exposures[chosen], _SHOWN),
            *_relations(examples.head_type, heads, snapshot, triples),
            *_groups(examples, chosen, dials),
        ]
    )
    return {name: mask for name, mask in found.items() if mask.any() and not mask.all()}


def _buckets(
    name: str, values: Int64[np.ndarray, "m"], buckets: Buckets
) -> Iterator[tuple[str, Bool[np.ndarray, "m"]]]:
    for label, least, most in buckets:
        yield f"{name}={label}", (values >= least) & (values <= most)


def _relations(
    head_type: str, heads: Int32[np.ndarray, "m"], snapshot: Snapshot, triples: Triples
) -> Iterator[tuple[str, Bool[np.ndarray, "m"]]]:
    """Rows of heads that the graph knows by a relation, and by any of a source with several.

    Structure says nothing of people.
    """
    of_source: dict[str, list[Bool[np.ndarray, "m"]]] = {}
    for code, relation in enumerate(snapshot.relations):
        if relation.head == head_type and relation.source != "structure":
            known = np.zeros(snapshot.entity_count, dtype=bool)
            known[triples.head[triples.relation == code]] = True
            of_source.setdefault(relation.source, []).append(known[heads])
            yield f"relation={relation.name}", known[heads]
    for source, masks in of_source.items():
        if len(masks) > 1:
            yield f"source={source}", np.logical_or.reduce(masks)


def _groups(
    examples: Examples, chosen: Int64[np.ndarray, "m"], dials: GateConfig
) -> Iterator[tuple[str, Bool[np.ndarray, "m"]]]:
    kinds = examples.head_kinds
    for name in dials.group_names:
        if kinds.get(name) != "category":
            known = ", ".join(sorted(n for n, kind in kinds.items() if kind == "category"))
            raise ConfigError(
                f"gate.groups should be among the categories of {examples.head_type} "
                f"({known or 'it has none'}), received {name!r}"
            )
        column = coded(examples.rows[Span.TEST].heads.attributes[name]).take(chosen)
        for label, own in by_name(column, _label, dials.most_groups):
            yield f"{name}={label}", own


def _label(value: Any) -> str:
    return _UNSET if value is None else text_of(value)


def rival_of(head: str) -> str:
    """The rival that a first champion is compared with: the smoothed rate of the tail."""
    return COUNTING[head][0]


def rival(examples: Examples, head: str) -> Float64[np.ndarray, "n"]:
    """What `rival_of` the head says of TEST, calibrated where rankers are."""
    fitted = fit_rivals(examples, head)
    return next(one.probabilities for one in fitted if one.name == rival_of(head))
