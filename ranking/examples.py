"""Interactions become labelled rows, every feature as of its row's time.

Takes a snapshot and the bundle that was trained on it, gives `Examples`: labelled rows by span;
never shuffles, never splits by chance, never lets a row see an event of its own second or later,
nor a value that was set after it. Rows of the GRAPH span are no examples, since the bundle was
trained on their edges; they count in the counters. Exposures whose label nobody knows yet are no
examples either.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Int8, Int32, Int64
from numpy.typing import NDArray

from graphsvc.snapshot import Interactions, RelationInfo, Snapshot, Span
from kge.bundle import Bundle
from kge.foldin import FoldIn, History, Queries, foldin_as_of
from ranking.around import around_tails
from ranking.columns import Coded
from ranking.errors import NotEnoughRows
from ranking.pasts import AttributePast
from ranking.pretraining.tables import FacetTable
from ranking.states import EntityStates, ExposureStates

_EXPOSURE, _OUTCOME = 0, 1
_UNKNOWN = -1
#: The spans that rankers learn, stop, are calibrated and judged on, in the order of time.
SPANS = (Span.TRAIN, Span.VALID, Span.CALIBRATE, Span.TEST)


class KgeMaps(NamedTuple):
    """The bundle's maps of the R relations from the head type to the tail type, frozen.

    And of S further ones from the head type.
    """

    names: tuple[str, ...]
    #: M_r, what a head goes through
    projections: Float32[np.ndarray, "R k d"]
    #: what a tail goes through, by default the same
    tail_projections: Float32[np.ndarray, "R k d"]
    #: r
    translations: Float32[np.ndarray, "R k"]
    #: Relations from the head type to other types: where the head looks there, for attention alone.
    other_names: tuple[str, ...] = ()
    other_projections: Float32[np.ndarray, "S k d"] | None = None
    other_translations: Float32[np.ndarray, "S k"] | None = None

    @property
    def from_head(self) -> tuple[Float32[np.ndarray, "T k d"], Float32[np.ndarray, "T k"]]:
        """M_r and r of every relation from the head type, those to the tail type first."""
        if self.other_projections is None or self.other_translations is None:
            return self.projections, self.translations
        return (
            np.concatenate([self.projections, self.other_projections]),
            np.concatenate([self.translations, self.other_translations]),
        )


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
    exposures: ExposureStates
    #: Of rows with label 1 whether that led to a conversion; -1 where nobody knows yet, or label 0.
    conversions: Int8[np.ndarray, "n"]

    def targets(self, head: str) -> Int8[np.ndarray, "n"]:
        """What a head is to say of each row: 1 or 0; -1 where that is not known, or not asked."""
        return self.labels if head == "ctr" else self.conversions

    def take(self, rows: Int64[np.ndarray, "m"]) -> "LabelledRows":
        """Some rows, in that order."""
        return LabelledRows(
            heads=self.heads.take(rows),
            tails=self.tails.take(rows),
            labels=self.labels[rows],
            cluster=self.cluster[rows],
            time=self.time[rows],
            weight=self.weight[rows],
            exposures=self.exposures.take(rows),
            conversions=self.conversions[rows],
        )


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
    #: Pretrained tables that rankers read beside all else.
    facets: tuple[FacetTable, ...] = ()


def build_examples(snapshot: Snapshot, bundle: Bundle) -> Examples:
    """All labelled rows of TRAIN, VALID, CALIBRATE and TEST.

    Attributes are those of the row's time. A head of the bundle has its vector; any other is
    folded in from its outcomes strictly before the row, and has its type's prior before the first
    one. A tail outside the bundle is unknown; what a tail leads to by structure holds for all rows.
    Counters of heads and tails count events strictly before the row. Raises `NotEnoughRows`.
    """
    info, events = snapshot.interaction, snapshot.interactions()
    wanted = (events.label != _UNKNOWN) & (events.span > Span.GRAPH)
    tails = _side_states(snapshot, bundle, info.tail, (events.tail, events), wanted)
    states = (
        _head_states(snapshot, bundle, events, wanted),
        replace(tails, around=around_tails(snapshot, bundle, events.tail[wanted])),
    )
    span = events.span[wanted]
    rows = {}
    for part in SPANS:
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
            exposures=ExposureStates(
                events.position[wanted][chosen].astype(np.int64), events.time[wanted][chosen]
            ),
            conversions=events.conversion[wanted][chosen],
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


def of_head(examples: Examples, head: str) -> Examples:
    """The rows that a head answers about, with its targets as labels.

    Of `cvr` those are the clicked ones whose window of conversions is over. Raises `NotEnoughRows`
    for a span without both answers.
    """
    if head == "ctr":
        return examples
    rows = {}
    for span, part in examples.rows.items():
        target = part.targets(head)
        known = np.flatnonzero(target != _UNKNOWN)
        if len(np.unique(target[known])) < 2:
            waiting = int(((part.labels == 1) & (target == _UNKNOWN)).sum())
            raise NotEnoughRows(
                f"the {span.name} span should hold clicked rows with and without conversion for "
                f"the head {head}, received {len(known)} clicked rows with "
                f"{int((target == 1).sum())} conversions (of {waiting} more nobody knows: they are "
                "younger than the window of conversions, their people have not agreed to offsite "
                "events, or nothing counts as a conversion)"
            )
        rows[span] = part.take(known)._replace(labels=target[known])
    return examples._replace(rows=rows)


def kge_maps(
    bundle: Bundle,
    head_type: str,
    tail_type: str,
    names: Sequence[str] | None = None,
    others: Sequence[str] | None = None,
) -> KgeMaps:
    """M_r and r of every relation from the head type, in the bundle's order.

    `names`, `others`: of these alone, in their order, as far as the bundle has them; names are
    those of relations to the tail type, others those of the rest.
    """
    own = [(n, one) for n, one in enumerate(bundle.relations) if one.head == head_type]
    chosen = _among({one.name: n for n, one in own if one.tail == tail_type}, names)
    further = _among({one.name: n for n, one in own if one.tail != tail_type}, others)
    return KgeMaps(
        names=tuple(bundle.relations[index].name for index in chosen),
        projections=np.asarray(bundle.projections[chosen], dtype=np.float32),
        tail_projections=np.asarray(bundle.tail_projections[chosen], dtype=np.float32),
        translations=np.asarray(bundle.translations[chosen], dtype=np.float32),
        other_names=tuple(bundle.relations[index].name for index in further),
        other_projections=np.asarray(bundle.projections[further], dtype=np.float32),
        other_translations=np.asarray(bundle.translations[further], dtype=np.float32),
    )


def _among(place: Mapping[str, int], names: Sequence[str] | None) -> list[int]:
    return [place[name] for name in (place if names is None else names) if name in place]


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
) -> dict[str, Coded]:
    """Attribute -> the JSON value of each (entity row, time), None where it was not set by then."""
    kinds = snapshot.attribute_kinds.get(type_name, {})
    table = snapshot.attributes()
    return {
        name: AttributePast(table, name).values_at(*queries)
        for name in (name for name, kind in kinds.items() if kind != "text")
    }
