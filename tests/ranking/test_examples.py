import numpy as np
import pytest

from graphsvc.snapshot import Span
from kge.foldin import FoldIn, FoldInEdges
from ranking.config import FeatureConfig
from ranking.errors import NotEnoughRows
from ranking.examples import build_examples, counts_before, kge_maps, of_head
from ranking.features import Encoder
from ranking.idtables.placement import Placement
from ranking.spec import SideRows, learn_spec

SPANS = (Span.TRAIN, Span.VALID, Span.CALIBRATE, Span.TEST)


def crowded_events(count=160, users=5, films=4, seed=3):
    """Events in which many share a second, so that "strictly before" is put to the test."""
    rng = np.random.default_rng(seed)
    events = []
    for i in range(count):
        user, film, label = int(rng.integers(users)), int(rng.integers(films)), int(rng.integers(2))
        time, span = 100 + i // 4, min(4, 5 * i // count)
        events.append((user, film, 0, time, label, span))
        if label:
            events.append((user, film, 1, time, -1, span))
    return events


@pytest.fixture
def crowded(world):
    return world(crowded_events(), users=5, films=4, known_users=2, known_films=3)


def test_counts_before_by_hand():
    keys, times = np.array([7, 7, 7, 9]), np.array([10, 20, 20, 5])
    queries = (np.array([7, 7, 7, 9, 8]), np.array([10, 20, 21, 99, 99]))
    assert counts_before((keys, times), queries).tolist() == [0, 1, 3, 1, 0]


def test_counts_before_nothing():
    none = np.zeros(0, dtype=np.int64)
    assert counts_before((none, none), (np.array([1]), np.array([5]))).tolist() == [0]


def test_counters_equal_a_slow_loop(crowded):
    examples = build_examples(crowded.snapshot, crowded.bundle)
    log = crowded_events()
    for span in SPANS:
        rows = examples.rows[span]
        for i in range(len(rows.labels)):
            user, film, time = rows.heads.ids[i], rows.tails.ids[i], rows.time[i]
            earlier = [e for e in log if e[3] < time]
            of_user = [e for e in earlier if f"u{e[0]}" == user]
            of_film = [e for e in earlier if f"f{e[1]}" == film]
            assert rows.heads.exposures[i] == sum(e[2] == 0 for e in of_user)
            assert rows.heads.outcomes[i] == sum(e[2] == 1 for e in of_user)
            assert rows.tails.exposures[i] == sum(e[2] == 0 for e in of_film)
            assert rows.tails.outcomes[i] == sum(e[2] == 1 for e in of_film)


def test_vectors_come_from_the_bundle_or_from_earlier_outcomes(crowded):
    examples = build_examples(crowded.snapshot, crowded.bundle)
    bundle, log = crowded.bundle, crowded_events()
    foldin = FoldIn(bundle, bundle.fold_in())
    films = bundle.rows("film", ["f0", "f1", "f2"])
    for span in SPANS:
        rows = examples.rows[span]
        assert rows.heads.known.all()
        assert (rows.tails.known == (rows.tails.ids != "f3")).all()
        for i in range(len(rows.labels)):
            user, time = rows.heads.ids[i], rows.time[i]
            if user in ("u0", "u1"):
                expected = bundle.vectors[bundle.rows("user", [user])[0]]
            else:
                seen = [e[1] for e in log if f"u{e[0]}" == user and e[2] == 1 and e[3] < time]
                seen = [film for film in seen if film != 3]
                edges = FoldInEdges(
                    owner=np.zeros(len(seen), np.int32),
                    relation=np.zeros(len(seen), np.int16),
                    other=films[seen].astype(np.int32),
                    inverse=np.zeros(len(seen), bool),
                    weight=np.ones(len(seen), np.float32),
                )
                expected = foldin.solve("user", 1, edges)[0]
            np.testing.assert_allclose(rows.heads.vectors[i], expected, atol=1e-5)
            if rows.tails.known[i]:
                film = bundle.rows("film", [rows.tails.ids[i]])[0]
                assert (rows.tails.vectors[i] == bundle.vectors[film]).all()


def test_rows_are_the_exposures_after_the_graph_span(crowded):
    examples = build_examples(crowded.snapshot, crowded.bundle)
    for span in SPANS:
        shown = [e for e in crowded_events() if e[2] == 0 and e[5] == span]
        rows = examples.rows[span]
        assert rows.labels.tolist() == [e[4] for e in shown]
        assert rows.heads.ids.tolist() == [f"u{e[0]}" for e in shown]
        assert rows.time.tolist() == [e[3] for e in shown]


def test_a_planted_future_event_changes_no_feature(crowded, world):
    """Half of all events again, a thousand times each, from the last TRAIN second on."""
    last = max(e[3] for e in crowded_events() if e[5] == Span.TRAIN)
    planted = [(u, f, e, last, y, Span.TEST) for u, f, e, _, y, _ in crowded_events()[::2]] * 1_000
    future = world(crowded_events() + planted, users=5, films=4, known_users=2, known_films=3)

    def features(a_world):
        examples = build_examples(a_world.snapshot, crowded.bundle)
        rows = examples.rows[Span.TRAIN]
        spec = learn_spec(
            SideRows(states=rows.heads, type="user", kinds=examples.head_kinds),
            SideRows(states=rows.tails, type="film", kinds=examples.tail_kinds),
            rows.labels,
            FeatureConfig(),
        )
        return spec, Encoder(spec, Placement((), 8), Placement((), 8)).encode(
            rows.heads, rows.tails
        )

    (spec, batch), (future_spec, future_batch) = features(crowded), features(future)
    assert spec == future_spec
    for column, future_column in zip(batch, future_batch, strict=True):
        np.testing.assert_array_equal(column.numpy(), future_column.numpy())


def test_maps_are_those_from_head_to_tail_type(crowded):
    maps = kge_maps(crowded.bundle, "user", "film")
    assert maps.names == ("click", "save")
    assert maps.projections.shape == (2, 3, 4)
    assert maps.translations.shape == (2, 3)


def test_an_outcome_that_is_no_relation_leaves_cold_heads_unknown(world):
    """The schema may count an outcome without making it an edge."""
    log = crowded_events()
    here = world(log, users=5, films=4, known_users=2, known_films=3)
    here.bundle.whole.__dict__["relations"] = here.bundle.relations[2:]
    examples = build_examples(here.snapshot, here.bundle)
    heads = examples.rows[Span.TRAIN].heads
    assert (heads.known == np.isin(heads.ids, ["u0", "u1"])).all()


def test_a_span_with_one_label_is_too_little(world):
    events = [(0, 0, 0, 100 + i, int(i % 2), i // 10) for i in range(40)]
    events += [(0, 0, 0, 200 + i, 0, 4) for i in range(10)]
    here = world(events, users=1, films=1, known_users=1, known_films=1)
    with pytest.raises(NotEnoughRows, match=r"TEST span .* received 10 rows with 0 outcomes"):
        build_examples(here.snapshot, here.bundle)


def test_what_nobody_knows_yet_is_no_row_and_a_lone_negative_is_one(world):
    known = [(0, n % 2, 0, 10 * span + n, n % 2, span) for span in Span for n in range(4)]
    young = [(0, 0, 0, 10 * span + 5, -1, span) for span in Span]
    refused = [(0, 1, 2, 10 * span + 6, 0, span) for span in Span]
    events = sorted(known + young + refused, key=lambda e: e[3])
    here = world(events, users=1, films=2, known_users=1, known_films=2)
    rows = build_examples(here.snapshot, here.bundle).rows
    for span in SPANS:
        assert rows[span].labels.tolist() == [0, 1, 0, 1, 0]
        assert rows[span].time.tolist() == [10 * span + n for n in (0, 1, 2, 3, 6)]
        # The young one was seen, so it counts as an exposure; the refusal is none.
        assert rows[span].heads.exposures.tolist() == [5 * span + n for n in (0, 1, 2, 3, 5)]


def test_a_row_stands_for_those_that_were_not_logged(world):
    events = [
        (0, n % 2, 0, 10 * s + n, n % 2, s, (0.25, 1.0)[n % 2]) for s in Span for n in range(4)
    ]
    here = world(events, users=1, films=2, known_users=1, known_films=2)
    rows = build_examples(here.snapshot, here.bundle).rows
    assert rows[Span.TEST].weight.tolist() == [4.0, 1.0, 4.0, 1.0]


def test_conversions_are_the_answers_about_what_was_clicked(world):
    """In each span: no click; a click without and one with a conversion; one not known yet."""
    events = [
        (0, n % 2, 0, 10 * span + n, label, span, 1.0, n, conversion)
        for span in Span
        for n, (label, conversion) in enumerate([(0, -1), (1, 0), (1, 1), (1, -1)])
    ]
    here = world(events, users=1, films=2, known_users=1, known_films=2)
    examples = build_examples(here.snapshot, here.bundle)
    for span in SPANS:
        rows = examples.rows[span]
        assert rows.targets("ctr").tolist() == [0, 1, 1, 1]
        assert rows.targets("cvr").tolist() == [-1, 0, 1, -1]
        assert rows.exposures.position.tolist() == [0, 1, 2, 3]
        assert rows.exposures.time.tolist() == rows.time.tolist()
        asked = of_head(examples, "cvr").rows[span]
        assert asked.labels.tolist() == [0, 1]
        assert asked.exposures.position.tolist() == [1, 2]
        assert asked.tails.ids.tolist() == ["f1", "f0"]
    assert of_head(examples, "ctr") is examples


def test_a_span_without_conversions_is_too_little_for_their_head(world):
    events = [
        (0, 0, 0, 10 * span + n, n % 2, span, 1.0, -1, (-1, 1 if span < 3 else -1)[n % 2])
        for span in Span
        for n in range(4)
    ]
    events += [(0, 0, 0, 10 * span + 5, 1, span, 1.0, -1, 0) for span in Span]
    events.sort(key=lambda e: e[3])
    here = world(events, users=1, films=1, known_users=1, known_films=1)
    with pytest.raises(
        NotEnoughRows,
        match=r"CALIBRATE span .* received 1 clicked rows with 0 .* \(of 2 more nobody",
    ):
        of_head(build_examples(here.snapshot, here.bundle), "cvr")
