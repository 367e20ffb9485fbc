"""benchmarks/offsite.py: the pair rule, graphs in part, what can be seen, and verdicts."""

import math
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import grid
import offsite
import offsite_market
import offsite_rows
import offsite_shop
from lifts import compared
from offsite_rows import Gap

from graphsvc.simulate import TRUTH, World
from graphsvc.snapshot import Span
from ranking.examples import LabelledRows
from ranking.intervals import Judged
from ranking.states import EntityStates, alike

FILES = {
    "view_ecommerce.dat": [(v, i) for v in range(12) for i in range(20) if (v + i) % 3],
    "add_to_cart_ecommerce.dat": [(v, i) for v in range(12) for i in range(20) if (v + i) % 3 == 1],
    "purchase_ecommerce.dat": [(v, i) for v in range(12) for i in range(20) if (v * i) % 7 == 1],
}


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    for name, pairs in FILES.items():
        lines = ["visitorid\titemid\tevent", *(f"{v}\t{i}\t1" for v, i in pairs)]
        (tmp_path / name).write_text("\n".join(lines) + "\n")
    return tmp_path


def test_no_edge_of_a_row_is_in_the_graph(shop: Path):
    pairs = offsite_shop.draw(shop, 0)
    named = list(
        zip(pairs.visitors[pairs.visitor].tolist(), pairs.items[pairs.item].tolist(), strict=True)
    )
    viewed = {(str(v), str(i)) for v, i in FILES["view_ecommerce.dat"]}
    rows = {pair for pair, span in zip(named, pairs.span, strict=True) if span != Span.GRAPH}
    assert rows < viewed, "a row is a pair that was viewed"
    assert 0.3 < len(rows) / len(viewed) < 0.7
    for kind in offsite_shop.KINDS:
        edges = {pair for pair, is_one in zip(named, pairs.edges(kind), strict=True) if is_one}
        assert edges
        assert not edges & rows
    assert {span for span in Span if (pairs.span == span).any()} == set(Span)


def test_rows_of_a_shop_know_the_graph_and_no_more(shop: Path):
    pairs = offsite_shop.draw(shop, 0)
    learned = offsite_shop.learn(pairs, "offsite", {"dim": 4, "epochs": 1.0}, seed=0)
    assert learned.maps.names == ("add_to_cart", "purchase")
    made = offsite_shop.examples(pairs, learned, "cart")
    bought = {(str(v), str(i)) for v, i in FILES["add_to_cart_ecommerce.dat"]}
    in_graph = pairs.span == Span.GRAPH
    for span, rows in made.rows.items():
        ends = zip(rows.heads.ids.tolist(), rows.tails.ids.tolist(), strict=True)
        assert [end in bought for end in ends] == (rows.labels == 1).tolist()
        assert len(rows.labels) == (pairs.span == span).sum()
        for visitor, shown in zip(rows.heads.ids, rows.heads.exposures, strict=True):
            assert shown == (in_graph & (pairs.visitors[pairs.visitor] == visitor)).sum()


def test_lifts_are_paired_and_the_best_reaches_all_of_what_can_be_reached():
    draw = np.random.default_rng(0)
    chance = draw.random(3000)
    labels = (draw.random(3000) < chance).astype(np.int8)
    judged = Judged(labels, np.repeat(np.arange(100, dtype=np.int32), 30))
    dull = np.full(3000, 0.5)
    models = {f"{graph} / {arm}": dull for graph in ("onsite", "offsite") for arm in offsite.ARMS}
    models |= {f"both / {arm}": chance for arm in offsite.ARMS}
    figures = compared(judged, {"none": dull, "best": chance, **models})
    assert figures["auc"]["none"][0] == 0.5
    assert figures["auc_lift"]["onsite / frozen"] == [0.0, 0.0, 0.0, 0.0]
    assert figures["share_of_reachable"]["both / frozen"][:3] == [1.0, 1.0, 1.0]
    ahead = figures["auc_ahead"]["both - onsite / frozen"]
    assert ahead == figures["auc_lift"]["both / frozen"]
    assert 0 < ahead[1] < ahead[0] < ahead[2]


def gap(low: float, high: float) -> Gap:
    return Gap((low + high) / 2, (low, high), (low, high))


@pytest.mark.parametrize(
    ("split", "metric", "by_seed", "by_user", "said"),
    [
        ("default/small/ctr", "auc_ahead", (0.1, 0.2), (0.1, 0.2), "ahead"),
        ("default/small/ctr", "auc_ahead", (-0.1, 0.2), (0.1, 0.2), "not decided"),
        ("default/small/ctr", "auc_ahead", (-0.2, -0.1), (-0.2, -0.1), "behind"),
        ("default/small/ctr", "auc_ahead", None, (0.1, 0.2), "not decided"),
        ("offsite/medium/ctr", "auc_ahead", (-0.1, 0.02), (-0.1, 0.03), "vanished"),
        ("offsite/medium/ctr", "auc_ahead", (-0.1, 0.02), (-0.1, 0.04), "not decided"),
        ("offsite/medium/ctr", "auc_ahead", (-0.1, 0.2), (-0.1, 0.05), "not decided"),
        ("offsite/medium/ctr", "auc_ahead", None, (-0.1, 0.05), "not decided"),
        ("offsite/medium/ctr", "auc_ahead", (0.01, 0.02), (0.01, 0.02), "still there"),
        ("offsite/medium/ctr", "auc_lift", (0.1, 0.2), (0.1, 0.2), "ahead"),
        ("kge/medium/cvr", "auc_lift", (0.1, 0.2), (0.1, 0.2), "still there"),
    ],
)
def test_verdicts_ask_both_intervals(split, metric, by_seed, by_user, said):
    """By default from .1 to .2: what may be a third of that has not vanished, it was not seen."""
    model = "both - onsite / frozen" if metric == "auc_ahead" else "both / frozen"
    told = Gap(0.0, by_seed, by_user)
    assert offsite_rows.verdict((metric, split, model), told, gap(0.1, 0.2)) == said


def test_what_is_not_there_by_default_cannot_vanish():
    key, nothing = ("auc_lift", "kge/medium/ctr", "both / frozen"), gap(-0.01, 0.01)
    assert offsite_rows.verdict(key, nothing, gap(-0.01, 0.2)) == "not decided"
    assert offsite_rows.verdict(key, nothing, None) == "not decided"


@pytest.mark.parametrize(
    ("kind", "size", "reach"),
    [("default", "small", 1.96 * 0.025), ("retailrocket", None, 1.96 * 0.035)],
)
def test_figures_of_seeds_become_one(kind, size, reach):
    """Leads of .1 and .3, deviations of .03 and .04: the mean's is .05 / 2, or of the same people
    .035; over two seeds t is 12.706 standard errors of .1."""
    lead = {"both - onsite / frozen": [0.1, 0.04, 0.16, 0.03]}
    other = {"both - onsite / frozen": [0.3, 0.22, 0.38, 0.04]}
    result = {"kind": kind, "size": size, "tasks": {"ctr": {"rows": 10}}}
    found = {
        "a": result | {"seed": 1, "figures": {"ctr": {"auc_ahead": lead}}},
        "b": result | {"seed": 2, "figures": {"ctr": {"auc_ahead": other}}},
    }
    rows = {(row.metric, row.seed): row for row in offsite_rows.rows_of(found)}
    assert rows["auc_ahead", "all"].value == pytest.approx(0.2)
    users = rows["auc_ahead", "users"]
    assert (users.lo, users.hi) == pytest.approx((0.2 - reach, 0.2 + reach))
    both = rows["auc_lead", "all"]
    assert (both.lo, both.hi) == pytest.approx((0.2 - 1.2706, 0.2 + 1.2706), abs=1e-4)
    assert offsite.AIMS[0].metric == "auc_lead"
    ten = rows["rows", "all"]
    assert (ten.value, ten.lo, ten.hi) == (10, 10, 10)
    assert "both - onsite / frozen" in offsite_rows.section(list(rows.values()))


TINY = World(
    people=60,
    ads=60,
    products=40,
    advertisers=5,
    campaigns=10,
    categories=6,
    pages_per_day=400.0,
    consent=0.9,
)
#: Of the label of clicks.
MINUTES = 30 * 60


@pytest.mark.slow
def test_a_market_is_known_as_the_service_knows_it(tmp_path: Path):
    known = offsite_market.run(TINY, 8.0, tmp_path, {"dim": 4, "epochs": 1.0}, threads=1)
    examples = known.examples(known.bundle("offsite", seed=0))
    names = {relation.name for relation in known.snapshot.relations}
    assert {"click", "checkout"} < names
    assert examples.maps.names == (), "no relation from people to ads is offsite"
    agreed: list[bool] = []
    refused = 0
    for rows in examples.rows.values():
        told = known.told(rows)
        np.testing.assert_array_equal(told["was_clicked"], rows.labels == 1)
        np.testing.assert_array_equal(
            known.best("ctr", rows).chance, told["looked_at"] * told["click"]
        )
        seen = rows.conversions != -1
        over = rows.time <= known.end - offsite_market.WINDOW - MINUTES
        agrees = told["consent_ends"] > known.end
        np.testing.assert_array_equal(seen, (rows.labels == 1) & over & agrees)
        refused += int((over & ~agrees).sum())
        made = rows.conversions[seen] == 1
        agreed += told["was_bought"][seen][made].tolist()
    # The world knows which click a purchase came of, the service takes the last one: people who see
    # sixty ads alone click the same product again. By chance one click in eight is converted.
    assert len(agreed) > 10
    assert refused > 10
    assert np.mean(agreed) > 0.6


def stranger(id_: str) -> EntityStates:
    nothing = np.zeros(1, dtype=np.int64)
    return EntityStates(
        ids=np.array([id_], dtype=object),
        vectors=np.zeros((1, 1), dtype=np.float32),
        known=np.zeros(1, dtype=bool),
        attributes={},
        exposures=nothing,
        outcomes=nothing,
    )


def test_the_best_knows_how_many_purchases_come_in_time():
    """20 hours on the mean: 1 - e^-2.4 of the delays are within two days, 1 - e^-8.4 in seven."""
    truth = np.zeros(1, dtype=TRUTH)
    truth["user"], truth["ad"], truth["time"], truth["purchase"] = 3, 4, TINY.start, 0.3
    known = offsite_market.Known(
        shop=None, world=TINY, snapshot=None, truth=truth, end=TINY.start, events=1
    )
    row = LabelledRows(
        heads=stranger("u3"),
        tails=stranger("a4"),
        labels=np.ones(1, dtype=np.int8),
        cluster=np.zeros(1, dtype=np.int32),
        time=np.array([TINY.start]),
        weight=np.ones(1, dtype=np.float32),
        exposures=alike(1),
        conversions=np.ones(1, dtype=np.int8),
    )
    best = known.best("cvr", row)
    assert best.score.tolist() == [0.3]
    assert best.chance == pytest.approx([0.3 * (1 - math.exp(-2.4)) / (1 - math.exp(-8.4))])


@pytest.mark.slow
def test_a_market_in_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """One cell with all graphs, arms and tasks, then the page of it."""
    monkeypatch.setattr(offsite, "world_of", lambda _kind, _size, _seed: TINY)
    given = ["--out", str(tmp_path), "--seeds", "1", "--days", "20", "--only", "default-small"]
    small = ["--dim", "4", "--epochs", "1", "--threads", "1"]
    options = offsite.parser().parse_args([*given, *small])
    outcome = grid.measure(offsite.cells(options), options, offsite.ERRORS)
    assert not outcome.failed
    [told] = outcome.found.values()
    for task in offsite.TASKS:
        facts, figures = told["tasks"][task], told["figures"][task]
        assert 0 < facts["ones"] < facts["rows"]
        models = {f"{graph} / {arm}" for graph in offsite.GRAPHS for arm in offsite.ARMS}
        assert set(figures["auc_lift"]) == models
    clicks = told["figures"]["ctr"]["auc"]
    assert clicks["best"][0] > clicks["none"][0]
    offsite.write(outcome.found, options)
    page = (tmp_path / "README.md").read_text()
    assert "default/small/cvr" in page
    assert (tmp_path / "lift.png").stat().st_size > 1000


@pytest.mark.slow
def test_a_shop_in_small(shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Two draws; half of its pairs came to a cart."""
    monkeypatch.setattr(offsite_shop, "TASKS", {"cart": "add_to_cart"})
    given = ["--out", str(tmp_path / "out"), "--retailrocket", str(shop), "--shop-seeds", "2"]
    small = ["--dim", "4", "--epochs", "1", "--threads", "1", "--only", "retailrocket-"]
    options = offsite.parser().parse_args([*given, *small])
    outcome = grid.measure(offsite.cells(options), options, offsite.ERRORS)
    assert not outcome.failed
    assert len(outcome.found) == 2
    offsite.write(outcome.found, options)
    page = (tmp_path / "out" / "README.md").read_text()
    assert "| auc_lead | both - onsite / frozen | retailrocket/cart |" in page


def test_other_dials_are_other_cells(shop: Path):
    common = ["--seeds", "1", "--shop-seeds", "1", "--retailrocket", str(shop)]
    before = set(offsite.cells(offsite.parser().parse_args(common)))
    assert len(before) == 3 + 3 + 1
    other = set(offsite.cells(offsite.parser().parse_args([*common, "--dim", "8"])))
    assert len(other) == len(before)
    assert not before & other
