"""What the processes of the benchmark of ID tables do.

Takes sizes and dials, gives plain numbers; never decides what is compared. What is timed is
`ranking.train.train_step`, the step of every training; what is judged, a ranker of
`ranking.train.train`.
"""

import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from apart import held_mib, peak_mib
from lifts import finished
from numpy.typing import NDArray

from graphsvc.snapshot import Span
from ranking.bundle import TrainedRanker
from ranking.columns import as_objects
from ranking.config import IdTableConfig, RankerConfig, TrainingConfig
from ranking.examples import Examples, KgeMaps, LabelledRows
from ranking.features import FeatureBatch
from ranking.idtables.collisions import CLASSES, collisions
from ranking.idtables.known import KnownRows
from ranking.idtables.placement import Placement
from ranking.idtables.plan import MIB, Wanted, plan
from ranking.idtables.quantized import BITS, quantized
from ranking.metrics import auc
from ranking.model import ModelShape, RankerModel, head_scores
from ranking.optimizer import LARGE, make_optimizer
from ranking.states import EntityStates, alike
from ranking.tables import plan_tables
from ranking.train import train_step

#: The id of rank n has rows ~ n^-.75, as in `popular.py`.
_POWER = 4.0
#: A prime that no size has as a factor: who is popular is not told by the number.
_SCATTER = 2_654_435_761
#: Share of rows of each span, in their order.
_SPANS = {Span.TRAIN: 0.8, Span.VALID: 0.05, Span.CALIBRATE: 0.05, Span.TEST: 0.1}
#: Logit of an outcome where nobody likes anything, and how much people, things and pairs differ.
_BASE, _OF_USER, _OF_ITEM, _OF_PAIR, _TASTES = -1.5, 0.5, 0.7, 0.6, 4


def speed(
    *, rows: int, dim: int, ids: dict[str, Any], batch: int, steps: int, warm: int
) -> dict[str, Any]:
    """Rows per second and memory of a ranker of two ID tables that have `rows` rows together."""
    dials = IdTableConfig(dim=dim, **ids)
    config = RankerConfig(
        arm="none", dropout=0.0, id_dropout=0.0, ids=dials, training=TrainingConfig(batch=batch)
    )
    half = rows // 2
    wanted = [Wanted(side, half, 0) for side in ("heads", "tails")]
    planned = plan(wanted, dials, whole=LARGE * batch)
    before = held_mib()
    model = _model(half, config)
    optimizer = make_optimizer(model, config)
    for table in optimizer.tables:  # what is only promised by the system is not counted
        with torch.no_grad():
            table.weight.add_(0)
        if table.mover is not None:
            for state in table.mover.states().values():
                state.add_(0)
    seconds, losses = [], []
    for number, (given, targets) in enumerate(_batches(half, batch, warm + steps)):
        since = time.perf_counter()
        losses.append(train_step(model, optimizer, given, targets, torch.ones(batch, 1)))
        if number >= warm:
            seconds.append(time.perf_counter() - since)
    since = time.perf_counter()
    optimizer.settle()
    return {
        "rows_per_second": batch * steps / sum(seconds),
        "step_seconds": seconds,
        "settle_seconds": time.perf_counter() - since,
        "own_mib": peak_mib() - before,
        "planned_mib": sum(table.weights + table.state for table in planned.tables) / MIB,
        "backend": planned.tables[0].backend,
        "loss": float(np.mean(losses[-steps:])),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }


def _model(half: int, config: RankerConfig) -> RankerModel:
    one = np.ones((1, 1, 1), dtype=np.float32)
    shape = ModelShape(
        head_rows=half,
        tail_rows=half,
        codes=1,
        categories=0,
        lists=0,
        dense=6,
        vector=1,
        projected=1,
        relations=1,
        head_own=half,
        tail_own=half,
    )
    torch.manual_seed(0)
    maps = KgeMaps(("click",), one, one, np.zeros((1, 1), dtype=np.float32))
    return RankerModel(shape, config, maps).train()


def _batches(half: int, batch: int, count: int) -> Iterator[tuple[FeatureBatch, torch.Tensor]]:
    """Drawn by a power law, a quarter of them ones; there is nothing to be learned."""
    draw = np.random.default_rng(0)
    nothing = torch.zeros(batch, 0, dtype=torch.int64)
    for _ in range(count):
        sides = [torch.from_numpy(_drawn(draw, half, batch)) for _ in range(2)]
        head, tail = (side[:, None].expand(-1, 2).contiguous() for side in sides)
        given = FeatureBatch(
            head_rows=head,
            tail_rows=tail,
            categories=nothing,
            lists=torch.zeros(batch, 0, 1, dtype=torch.int64),
            dense=torch.from_numpy(draw.normal(size=(batch, 6)).astype(np.float32)),
            rates=torch.zeros(batch, 2),
            head_vector=torch.zeros(batch, 1),
            tail_vector=torch.zeros(batch, 1),
            known=torch.zeros(batch, 2),
            named=torch.ones(batch, 2),
            around=torch.zeros(batch, 0, 1),
            around_known=torch.zeros(batch, 0),
            exposures=nothing,
            facets=torch.zeros(batch, 2, 0),
        )
        yield given, torch.from_numpy((draw.random((batch, 1)) < 0.25).astype(np.float32))


def _drawn(draw: np.random.Generator, count: int, size: int) -> NDArray[np.int64]:
    """Ids of 0 .. count - 1, of which the one of rank n comes ~ n^-.75, ranks in no order."""
    reach = (count + 1) ** (1 / _POWER) - 1
    rank = ((1 + reach * draw.random(size)) ** _POWER).astype(np.int64).clip(1, count) - 1
    return rank * _SCATTER % count


class Planted(NamedTuple):
    """Exposures whose truth is known."""

    examples: Examples
    #: who of all rows, from 0, and the chance of an outcome
    user: NDArray[np.int64]
    truth: NDArray[np.float64]


def quality(
    *, rows: int, users: int, items: int, seed: int, ids: dict[str, Any], training: dict[str, Any]
) -> dict[str, Any]:
    """What a ranker that reads nothing but ids is worth, by how often users are seen, and in bits.

    AUC on TEST; `valid_auc` is what dials may be chosen by.
    """
    world = planted(rows=rows, users=users, items=items, seed=seed)
    config = _of_ids_alone(seed, ids, training)
    trained = finished(world.examples, config)
    test = world.examples.rows[Span.TEST]
    encoder = trained.encoder
    batch = encoder.encode(test.heads, test.tails, test.exposures)
    first = rows - len(test.labels)
    scores = head_scores(trained.model, batch)[:, 0]
    kept = trained.trace[trained.trace[-1]["best_epoch"] - 1]
    return {
        "auc": auc(scores, test.labels),
        "valid_auc": kept["valid_auc"],
        "best_auc": auc(world.truth[first:], test.labels),
        "table_rows": sum(table["rows"] for table in trained.tables["tables"]),
        "bytes": sum(table["bytes"] for table in trained.tables["tables"]),
        "classes": _by_class(world, scores, test.labels, first),
        "collisions": _collisions(world, trained),
        "bits": {str(bits): _in_bits(trained, batch, test.labels, bits) for bits in BITS},
    }


def carrying(
    *, rows: int, users: int, items: int, seed: int, ids: dict[str, Any], training: dict[str, Any]
) -> dict[str, Any]:
    """AUC on TEST of rankers of the newer half of TRAIN, by what their rows begin with.

    `carried`: rows of a ranker that learned from the older half, with what Adagrad remembers of
    them; `without sums`: rows alone. `again`, `again without sums`: the same of a ranker that
    learned from the newer half itself. `whole`: nothing, and both halves are learned from.
    """
    world = planted(rows=rows, users=users, items=items, seed=seed)
    config = _of_ids_alone(seed, ids, training)
    older, newer = _halves(world.examples)
    found = {
        "newer": _auc_of(newer, config, (None, None)),
        "whole": _auc_of(world.examples, config, (None, None)),
    }
    for what, taught in (("carried", older), ("again", newer)):
        head, tail = _known(finished(taught, config))
        found[what] = _auc_of(newer, config, (head, tail))
        bare = head._replace(states={}), tail._replace(states={})
        name = "without sums" if what == "carried" else f"{what} without sums"
        found[name] = _auc_of(newer, config, bare)
    return {"carrying": found}


def _of_ids_alone(seed: int, ids: dict[str, Any], training: dict[str, Any]) -> RankerConfig:
    """Dials of a ranker that reads nothing but ids."""
    return RankerConfig(
        arm="none",
        dropout=0.0,
        id_dropout=0.0,
        seed=seed,
        ids=IdTableConfig(**ids),
        training=TrainingConfig(**training),
    )


def _known(former: TrainedRanker) -> tuple[KnownRows, KnownRows]:
    """What `carry` takes of both tables: rows of one id each, and their sums."""
    head, tail = (
        KnownRows(
            Placement(ids.exclusive, 0),
            getattr(former.model, table).weight.detach()[: len(ids.exclusive)],
            {"sum": former.remembered[f"{table}.sum"][: len(ids.exclusive)]},
        )
        for ids, table in ((former.head_ids, "head_table"), (former.tail_ids, "tail_table"))
    )
    return head, tail


def _auc_of(
    examples: Examples, config: RankerConfig, known: tuple[KnownRows | None, KnownRows | None]
) -> float:
    trained = finished(examples, config, tables=plan_tables(examples, config, known=known))
    test = examples.rows[Span.TEST]
    batch = trained.encoder.encode(test.heads, test.tails, test.exposures)
    return auc(head_scores(trained.model, batch)[:, 0], test.labels)


def _halves(examples: Examples) -> tuple[Examples, Examples]:
    """The same with the older and with the newer half of TRAIN."""
    train = examples.rows[Span.TRAIN]
    count = len(train.labels)
    parts = (np.arange(count // 2), np.arange(count // 2, count))
    older, newer = (
        examples._replace(rows={**examples.rows, Span.TRAIN: train.take(part)}) for part in parts
    )
    return older, newer


def planted(*, rows: int, users: int, items: int, seed: int) -> Planted:
    """`logit = c + a_u + b_i + <p_u, q_i>` of users and items that are drawn by a power law.

    Counters are 0, so that ids alone can tell; spans follow each other.
    """
    draw = np.random.default_rng(seed)
    user, item = _drawn(draw, users, rows), _drawn(draw, items, rows)
    of_user, of_item = draw.normal(size=users) * _OF_USER, draw.normal(size=items) * _OF_ITEM
    taste = draw.normal(size=(users, _TASTES)) * _OF_PAIR
    kind = draw.normal(size=(items, _TASTES)) * _OF_PAIR
    pair = np.einsum("nk,nk->n", taste[user], kind[item])
    truth = 1 / (1 + np.exp(-(_BASE + of_user[user] + of_item[item] + pair)))
    label = (draw.random(rows) < truth).astype(np.int8)
    ends = np.round(np.cumsum([0.0, *_SPANS.values()]) * rows).astype(np.int64)
    whole = LabelledRows(
        heads=_states("u", user),
        tails=_states("i", item),
        labels=label,
        cluster=user.astype(np.int32),
        time=np.arange(rows, dtype=np.int64),
        weight=np.ones(rows, dtype=np.float32),
        exposures=alike(rows),
        conversions=np.full(rows, -1, dtype=np.int8),
    )
    parts = {span: whole.take(np.arange(ends[n], ends[n + 1])) for n, span in enumerate(_SPANS)}
    one = np.ones((1, 1, 1), dtype=np.float32)
    examples = Examples(
        rows=parts,
        head_type="user",
        tail_type="item",
        head_kinds={},
        tail_kinds={},
        maps=KgeMaps(("click",), one, one, np.zeros((1, 1), dtype=np.float32)),
        snapshot_digest="",
        bundle_digest="",
        frame="",
        protocol="global_time",
    )
    return Planted(examples, user, truth)


def _states(letter: str, codes: NDArray[np.int64]) -> EntityStates:
    names = as_objects([f"{letter}{n}" for n in range(int(codes.max()) + 1)])
    zeros = np.zeros(len(codes), dtype=np.int64)
    return EntityStates(
        ids=names[codes],
        vectors=np.zeros((len(codes), 1), dtype=np.float32),
        known=np.zeros(len(codes), dtype=np.bool_),
        attributes={},
        exposures=zeros,
        outcomes=zeros,
    )


def _by_class(
    world: Planted, scores: NDArray[np.float64], labels: NDArray[np.int8], first: int
) -> dict[str, dict[str, float]]:
    """AUC of TEST rows by how many rows their user has in TRAIN, from 0 on."""
    seen = len(world.examples.rows[Span.TRAIN].labels)
    counts = np.bincount(world.user[:seen], minlength=int(world.user.max()) + 1)
    own = counts[world.user[first:]]
    starts = (0, *CLASSES)
    found = {}
    for start, end in zip(starts, (*starts[1:], np.inf), strict=True):
        of = (own >= start) & (own < end)
        if of.any() and 0 < labels[of].mean() < 1:
            found[str(start)] = {"auc": auc(scores[of], labels[of]), "rows": int(of.sum())}
    return found


def _collisions(world: Planted, trained: TrainedRanker) -> dict[str, list[dict[str, Any]]]:
    rows = world.examples.rows[Span.TRAIN]
    sides = {"user": (rows.heads, trained.head_ids), "item": (rows.tails, trained.tail_ids)}
    return {
        name: [one._asdict() for one in collisions(states.ids, ids)]
        for name, (states, ids) in sides.items()
    }


def _in_bits(
    trained: TrainedRanker, batch: FeatureBatch, labels: NDArray[np.int8], bits: int
) -> dict[str, float]:
    """AUC and bytes where rows are read from a table of so many bits."""
    tables = (trained.model.head_table, trained.model.tail_table)
    whole = [table.weight.detach().clone() for table in tables]
    held = 0
    for table in tables:
        small = quantized(table.weight.detach(), bits)
        held += small.bytes
        with torch.no_grad():
            table.weight.copy_(small.look_up(torch.arange(len(small))))
    found = auc(head_scores(trained.model, batch)[:, 0], labels)
    with torch.no_grad():
        for table, weight in zip(tables, whole, strict=True):
            table.weight.copy_(weight)
    return {"auc": found, "bytes": held}
