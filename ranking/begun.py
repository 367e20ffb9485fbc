"""A ranker before its first step.

Takes examples, dials and a plan of ID tables, gives `Begun`: a model, and rows as it reads them;
never moves a weight.
"""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float32, Int64
from torch import Tensor

from graphsvc.snapshot import Span
from ranking.chance import seeded
from ranking.config import ARMS, RankerConfig
from ranking.examples import Examples, LabelledRows, of_head
from ranking.features import Encoder, FeatureBatch
from ranking.idtables.known import begin_with
from ranking.idtables.placement import Placement
from ranking.interactions.budget import sized
from ranking.model import ModelShape, RankerModel, row_width
from ranking.pretraining.reader import FacetReader, check_sides
from ranking.sampling import kept_rows
from ranking.spec import FeatureSpec, SideRows, learn_spec
from ranking.states import EntityStates
from ranking.tables import Tables, plan_tables


class Begun(NamedTuple):
    """A ranker before its first step, and the rows that it is taught and stopped by."""

    model: RankerModel
    shape: ModelShape
    encoder: Encoder
    tables: Tables
    #: The dials, with what the plan of the tables made of theirs.
    config: RankerConfig
    #: The rows of TRAIN that are learned from.
    taught: LabelledRows
    batch: FeatureBatch
    #: VALID
    valid: FeatureBatch


def begin(examples: Examples, config: RankerConfig, *, tables: Tables | None = None) -> Begun:
    """What is learned without a step: vocabularies, scales, whose rows are whose.

    Raises `NotEnoughRows`, `FacetUnavailable`, `TableMemory` and `BackendMissing`.
    """
    _check(examples, config)
    tables = tables or plan_tables(examples, config)
    config = tables.dials(config)
    encoder = _encoder(examples, config, tables)
    taught = _taught(examples.rows[Span.TRAIN], config)
    batch, valid = (encoded(encoder, part) for part in (taught, examples.rows[Span.VALID]))
    shape = _shape(encoder, tables, examples)
    config = replace(config, crossing=sized(row_width(shape, config), config))
    model = _fresh(shape, config, examples, encoder)
    _begin_rows(model, examples, tables)
    model.learn_match_scale(batch)
    return Begun(model, shape, encoder, tables, config, taught, batch, valid)


def learned_from(rows: LabelledRows, config: RankerConfig) -> Int64[np.ndarray, "m"]:
    """Which rows are learned from: the newest, of those without a click a share, in order.

    Rows that no head learns from are left out: of a ranker of cvr alone, those without a click and
    those whose window of conversions is open.
    """
    dials, count = config.training, len(rows.labels)
    first = max(0, count - dials.most_rows) if dials.most_rows else 0
    generator = np.random.default_rng(config.seed)
    used = first + kept_rows(rows.labels[first:], dials.negatives_kept, generator)
    known = np.stack([rows.targets(head)[used] >= 0 for head in config.heads.names])
    return used[known.any(axis=0)]


def _taught(rows: LabelledRows, config: RankerConfig) -> LabelledRows:
    used = learned_from(rows, config)
    return rows if len(used) == len(rows.labels) else rows.take(used)


def _check(examples: Examples, config: RankerConfig) -> None:
    """Raise `NotEnoughRows`, or `FacetUnavailable` for tables of other types."""
    for head in config.heads.names:
        of_head(examples, head)
    check_sides(examples.facets, examples.head_type, examples.tail_type)


def _encoder(examples: Examples, config: RankerConfig, tables: Tables) -> Encoder:
    """What makes numbers of rows."""
    reader = FacetReader(examples.facets)
    return Encoder(_spec(examples, config), tables.heads, tables.tails, reader)


def _spec(examples: Examples, config: RankerConfig) -> FeatureSpec:
    """From all of TRAIN, whatever is learned from: rates and scales are those of all rows.

    Only an arm that attends reads what tails lead to.
    """
    rows = examples.rows[Span.TRAIN]
    spec = learn_spec(
        SideRows(states=rows.heads, type=examples.head_type, kinds=examples.head_kinds),
        SideRows(states=rows.tails, type=examples.tail_type, kinds=examples.tail_kinds),
        rows.labels,
        config.features,
        exposures=rows.exposures,
    )
    return spec if ARMS[config.arm].attends else replace(spec, around=())


def encoded(encoder: Encoder, rows: LabelledRows) -> FeatureBatch:
    """Rows of a span as a model reads them."""
    return encoder.encode(rows.heads, rows.tails, rows.exposures)


def _fresh(
    shape: ModelShape, config: RankerConfig, examples: Examples, encoder: Encoder
) -> RankerModel:
    """A model before its first step; a blank code says nothing."""
    with seeded(config.seed):
        model = RankerModel(shape, config, examples.maps)
    with torch.no_grad():
        model.codes.weight[encoder.blank_codes] = 0.0
        if model.exposure_codes is not None:
            model.exposure_codes.weight[encoder.blank_exposure_codes] = 0.0
    return model


def _begin_rows(model: RankerModel, examples: Examples, tables: Tables) -> None:
    """Let ID rows begin at the KGE, where the arm says so, or at 0.

    Those of known ids begin at what is known of them.
    """
    if not model.arm.begins and all(known is None for known in tables.known):
        return
    rows = examples.rows[Span.TRAIN]
    sides = ((tables.heads, rows.heads), (tables.tails, rows.tails))
    vectors = [_first_vectors(ids, states) for ids, states in sides]
    model.begin_rows(*vectors)
    # An arm that reads no KGE is not to learn of it from where rows begin.
    mixed = model.arm.reads_kge and not model.arm.begins
    places = zip((model.head_table, model.tail_table), sides, tables.known, vectors, strict=True)
    for table, (ids, _), known, near in places:
        if known is not None:
            begin_with(table, ids, known, vectors=near if mixed else None)


def _first_vectors(ids: Placement, states: EntityStates) -> Float32[Tensor, "m d"]:
    """The vectors of the ids with a row of their own, as they were in their first TRAIN row.

    A later row's fold-in knows outcomes that earlier rows are to guess. Zero where none is known,
    and in slots that no id has.
    """
    last = len(states) - 1
    # Of equal names the one that is written last stays.
    first = dict(zip(states.ids[::-1].tolist(), range(last, -1, -1), strict=True))
    chosen = np.array([first.get(name, -1) for name in ids.exclusive], dtype=np.int64)
    known = states.known[chosen] & (chosen >= 0)
    vectors = np.where(known[:, None], states.vectors[chosen], np.float32(0))
    return torch.from_numpy(vectors)


def _shape(encoder: Encoder, tables: Tables, examples: Examples) -> ModelShape:
    relations, projected, vector = examples.maps.projections.shape
    return ModelShape(
        head_rows=tables.heads.row_count,
        tail_rows=tables.tails.row_count,
        codes=encoder.code_count,
        categories=encoder.spec.category_count,
        lists=encoder.spec.list_count,
        dense=encoder.spec.dense_count,
        vector=vector,
        projected=projected,
        relations=relations,
        head_own=len(tables.heads.exclusive),
        tail_own=len(tables.tails.exclusive),
        around=len(encoder.spec.around),
        exposure_fields=len(encoder.spec.exposure.sizes),
        exposure_codes=sum(encoder.spec.exposure.sizes),
        facets=encoder.facets.width,
    )
