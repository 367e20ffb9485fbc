"""Interactions become labelled rows, every feature as of its row's time.

Takes a snapshot and the bundle that was trained on it, gives `Examples`: labelled rows by span;
never shuffles, never splits by chance, never lets a row see an event of its own second or later,
nor a value that was set after it. Rows of the GRAPH span are no examples, since the bundle was
trained on their edges; they count in the counters. Exposures whose label nobody knows yet are no
examples either.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Int8, Int32, Int64
from numpy.typing import NDArray

from graphsvc.snapshot import Interactions, RelationInfo, Snapshot, Span
from kge.bundle import Bundle
from kge.foldin import FoldIn, History, Queries, foldin_as_of
from ranking.errors import NotEnoughRows
from ranking.pasts import AttributePast
from ranking.states import EntityStates

_EXPOSURE, _OUTCOME = 0, 1
_UNKNOWN = -1


class KgeMaps(NamedTuple):
    """The bundle's maps of the R relations from the head type to the tail type, frozen."""

    names: tuple[str, ...]
    #: M_r, what a head goes through
    projections: Float32[np.ndarray, "R k d"]
    #: what a tail goes through, by default the same
    tail_projections: Float32[np.ndarray, "R k d"]
    #: r
    translations: Float32[np.ndarray, "R k"]


class LabelledRows(NamedTuple):
    """n labelled rows of one span, by time: exposures, and negatives without one."""

    heads: EntityStates
    tails: EntityStates
    labels: Int8[np.ndarray, "n"]
    #: Which head a row belongs to: the cluster of the bootstrap, the group of gAUC.
    cluster: Int32[np.ndarray, "n"]
    time: Int64[np.ndarray, "n"]
    #: How many rows each stands for: 1 / the share of such exposures that were logged.
    weight: Float32[np.ndarray, "n"]


class Examples(NamedTuple):
    """Everything that a ranker learns from; all arms share one."""

    rows: Mapping[Span, LabelledRows]
    head_type: str
    tail_type: str
    #: attribute -> category | list | number | text
    head_kinds: Mapping[str, str]
    tail_kinds: Mapping[str, str]
    maps: KgeMaps
    snapshot_digest: str
    bundle_digest: str
    frame: str
    protocol: str


def build_examples(snapshot: Snapshot, bundle: Bundle) -> Examples:
    """All labelled rows of TRAIN, VALID and TEST.

    Attributes are those of the row's time. A head of the bundle has its vector; any other is
    folded in from its outcomes strictly before the row, and has its type's prior before the first
    one. A tail outside the bundle is unknown. Counters of heads and tails count events strictly
    before the row. Raises `NotEnoughRows`.
    """
    info, events = snapshot.interaction, snapshot.interactions()
    wanted = (events.label != _UNKNOWN) & (events.span > Span.GRAPH)
    states = (
        _head_states(snapshot, bundle, events, wanted),
        _side_states(snapshot, bundle, info.tail, (events.tail, events), wanted),
    )
    span = events.span[wanted]
    rows = {}
    for part in (Span.TRAIN, Span.VALID, Span.TEST):
        chosen = np.flatnonzero(span == part)
        labels = events.label[wanted][chosen]
        if len(np.unique(labels)) < 2:
            raise NotEnoughRows(
                f"the {part.name} span should hold rows with and without outcome, "
                f"received {len(labels)} rows with {int((labels == 1).sum())} outcomes"
            )
        rows[part] = LabelledRows(
            heads=states[0].take(chosen),
            tails=states[1].take(chosen),
            labels=labels,
            cluster=events.head[wanted][chosen],
            time=events.time[wanted][chosen],
            weight=1 / events.sampling_rate[wanted][chosen],
        )
    return Examples(
        rows=rows,
        head_type=info.head,
        tail_type=info.tail,
        head_kinds=snapshot.attribute_kinds[info.head],
        tail_kinds=snapshot.attribute_kinds[info.tail],
        maps=kge_maps(bundle, info.head, info.tail),
        snapshot_digest=snapshot.digest,
        bundle_digest=bundle.digest,
        frame=bundle.frame,
        protocol=str(snapshot.split["protocol"]),
    )


def kge_maps(
    bundle: Bundle, head_type: str, tail_type: str, names: Sequence[str] | None = None
) -> KgeMaps:
    """M_r and r of every relation from the head type to the tail type, in the bundle's order.

    `names`: of these alone, in their order, as far as the bundle has them.
    """
    place = {
        relation.name: index
        for index, relation in enumerate(bundle.relations)
        if (relation.head, relation.tail) == (head_type, tail_type)
    }
    chosen = [place[name] for name in (place if names is None else names) if name in place]
    return KgeMaps(
        names=tuple(bundle.relations[index].name for index in chosen),
        projections=np.asarray(bundle.projections[chosen], dtype=np.float32),
        tail_projections=np.asarray(bundle.tail_projections[chosen], dtype=np.float32),
        translations=np.asarray(bundle.translations[chosen], dtype=np.float32),
    )


def counts_before(
    events: tuple[NDArray[Any], Int64[np.ndarray, "e"]],
    queries: tuple[NDArray[Any], Int64[np.ndarray, "q"]],
) -> Int64[np.ndarray, "q"]:
    """How many events of a query's key have a time strictly below the query's.

    `events` and `queries` are columns (key, time). One sort and two binary searches.
    """
    times = np.unique(events[1])
    width = len(times) + 1
    keys = np.unique(events[0])
    # (key, time) as one number that sorts like the pair.
    codes = np.sort(np.searchsorted(keys, events[0]) * width + np.searchsorted(times, events[1]))
    place = np.searchsorted(keys, queries[0])
    known = np.isin(queries[0], keys)
    last = np.searchsorted(codes, place * width + np.searchsorted(times, queries[1]))
    first = np.searchsorted(codes, place * width)
    return np.where(known, last - first, 0).astype(np.int64)


def _side_states(
    snapshot: Snapshot,
    bundle: Bundle,
    type_name: str,
    column: tuple[Int32[np.ndarray, "e"], Interactions],
    wanted: Bool[np.ndarray, "e"],
) -> EntityStates:
    """States of one side of the wanted rows, with bundle vectors only."""
    keys, events = column
    queries = (keys[wanted], events.time[wanted])
    counted = {
        code: counts_before(
            (keys[events.event == code], events.time[events.event == code]), queries
        )
        for code in (_EXPOSURE, _OUTCOME)
    }
    entities = snapshot.types[type_name]
    local = keys[wanted] - entities.start
    place = bundle.rows(type_name, snapshot.ids[entities.start : entities.stop].tolist())[local]
    known = place >= 0
    vectors = np.where(known[:, None], bundle.vectors[np.where(known, place, 0)], np.float32(0))
    return EntityStates(
        ids=snapshot.ids[keys[wanted]],
        vectors=vectors.astype(np.float32),
        known=known,
        attributes=_attributes_at(snapshot, type_name, queries),
        exposures=counted[_EXPOSURE],
        outcomes=counted[_OUTCOME],
    )


def _head_states(
    snapshot: Snapshot,
    bundle: Bundle,
    events: Interactions,
    wanted: Bool[np.ndarray, "e"],
) -> EntityStates:
    """States of heads: those outside the bundle are folded in, as of each row's time."""
    info = snapshot.interaction
    states = _side_states(snapshot, bundle, info.head, (events.head, events), wanted)
    relation = _outcome_relation(bundle.relations, info.outcome)
    cold = np.flatnonzero(~states.known)
    if relation is None or not len(cold):
        return states
    outcome = events.event == _OUTCOME
    tails = snapshot.types[info.tail]
    place = bundle.rows(info.tail, snapshot.ids[tails.start : tails.stop].tolist())
    vectors, _ = foldin_as_of(
        bundle,
        FoldIn(bundle, bundle.fold_in()),
        relation,
        History(
            key=events.head[outcome].astype(np.int64),
            tail=place[events.tail[outcome] - tails.start],
            time=events.time[outcome],
        ),
        Queries(
            key=events.head[wanted][cold].astype(np.int64),
            time=events.time[wanted][cold],
        ),
    )
    states.vectors[cold] = vectors
    states.known[cold] = True
    return states


def _outcome_relation(relations: tuple[RelationInfo, ...], outcome: str) -> int | None:
    """The relation that outcomes become; None where the schema only observes them."""
    return next((i for i, relation in enumerate(relations) if relation.name == outcome), None)


def _attributes_at(
    snapshot: Snapshot,
    type_name: str,
    queries: tuple[Int32[np.ndarray, "q"], Int64[np.ndarray, "q"]],
) -> dict[str, list[Any]]:
    """Attribute -> the JSON value of each (entity row, time), None where it was not set by then."""
    kinds = snapshot.attribute_kinds.get(type_name, {})
    table = snapshot.attributes()
    return {
        name: AttributePast(table, name).values_at(*queries)
        for name in (name for name, kind in kinds.items() if kind != "text")
    }
