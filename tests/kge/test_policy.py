import dataclasses

import numpy as np
import pytest
import torch

from kge import policy
from kge.config import TransRAConfig
from kge.dials import Dials, set_ones
from kge.errors import ConfigError
from kge.policy import choose
from kge.triples import graph_of_snapshot


def graph_of(make_snapshot, edges: int, *, facts: bool = False):
    graph = graph_of_snapshot(make_snapshot([("f1", "genre", "t1"), ("u1", "click", "f1")]))
    if facts:
        sources = [dataclasses.replace(r, source="structure") for r in graph.relations]
        graph = dataclasses.replace(graph, relations=sources)
    many = np.zeros(edges, dtype=np.int64)
    return dataclasses.replace(
        graph, head=many, relation=many, tail=many, weight=np.ones(edges, np.float32)
    )


@pytest.mark.parametrize(
    ("edges", "batch"), [(1, 16), (4_000, 32), (20_000, 128), (200_000, 1024), (9_000_000, 1024)]
)
def test_a_batch_grows_with_the_edges_and_has_bounds(make_snapshot, edges: int, batch: int):
    chosen = choose(graph_of(make_snapshot, edges), Dials())
    assert chosen.config == TransRAConfig(batch=batch, block=batch)
    assert list(chosen.reasons) == ["batch", "block"][: 1 + (batch < 1024)]
    assert chosen.reasons["batch"].startswith(f"{2 * edges} edges")


@pytest.mark.parametrize(
    ("dials", "batch", "block"),
    [
        ({"batch": 8}, 8, 8),
        ({"batch": 8192}, 8192, 1024),
        ({"block": 16}, 32, 16),
        ({"block": 2048}, 2048, 2048),
        ({"batch": 64, "block": 64}, 64, 64),
    ],
)
def test_a_batch_holds_a_block(make_snapshot, dials, batch: int, block: int):
    config = choose(graph_of(make_snapshot, 4_000), Dials(**dials)).config
    assert (config.batch, config.block) == (batch, block)


def test_a_block_larger_than_a_batch_is_refused(make_snapshot):
    with pytest.raises(ConfigError, match="block should be at most batch, 64, received 65"):
        choose(graph_of(make_snapshot, 4_000), Dials(batch=64, block=65))


def test_graphs_of_facts_have_dials_of_their_own_each_with_a_reason(make_snapshot):
    chosen = choose(graph_of(make_snapshot, 9, facts=True), Dials())
    usual = dataclasses.asdict(TransRAConfig())
    differ = {k for k, v in dataclasses.asdict(chosen.config).items() if v != usual[k]}
    assert {"tails", "optimizer", "projected_l2"} < differ
    assert differ <= set(chosen.reasons)


@pytest.mark.parametrize(
    ("dim", "facts", "height"),
    [
        *[(256, 1, 2), (256, 127, 2), (256, 128, 4), (256, 255, 4), (256, 256, 8)],
        *[
            (256, 1023, 16),
            (256, 1024, 32),
            (256, 90_000, 32),
            (64, 32, 4),
            (2, 1, 2),
            (20, 9_000, 4),
        ],
    ],
)
def test_blocks_of_facts_have_numbers_for_the_facts_of_a_relation(
    make_snapshot, dim: int, facts: int, height: int
):
    """At most 8 numbers of M_r per fact, a power of two from 2 to 32 that divides dim."""
    chosen = choose(graph_of(make_snapshot, facts, facts=True), Dials(dim=dim))
    config = chosen.config
    assert (config.projection, config.projection_blocks) == ("block", dim // height)
    assert chosen.reasons["projection_blocks"].startswith(f"facts: {facts} per relation")
    assert f"blocks of {height}" in chosen.reasons["projection_blocks"]


@pytest.mark.parametrize(("precision", "pace"), [("bfloat16", 7e10), ("float32", 3.5e10)])
def test_facts_get_members_as_long_as_there_is_time(make_snapshot, monkeypatch, precision, pace):
    monkeypatch.setattr(policy, "has_bfloat16", lambda: precision == "bfloat16")
    graph = graph_of(make_snapshot, 2_000, facts=True)
    head = np.arange(2_000) % 50  # 50 heads and 1 tail to ask for
    ids = np.arange(16_385).astype(str).astype(object)  # of which 8,192 are drawn
    graph = dataclasses.replace(graph, head=head, ids=ids)
    products = 6 * 51 * 8_192 * 256 / pace / torch.get_num_threads()
    enough = 30 * (products + 4_000 / 16 * 0.0025)
    for rounds, members in ((0.5, 1), (1.99, 1), (2.01, 2), (3.5, 3), (4.01, 4), (99, 4)):
        chosen = choose(graph, Dials(), seconds=rounds * enough)
        config = chosen.config
        assert (config.members, config.dim, config.relation_dim) == (members, *[256 * members] * 2)
        assert config.projection_blocks == members * choose(graph, Dials()).config.projection_blocks
        assert ("30 are enough" in chosen.reasons.get("members", "")) == (members > 1)
    for own in ({"dim": 64}, {"projection": "full"}, {"members": 1}):
        config = choose(graph, Dials(**own), seconds=99 * enough).config
        assert config == choose(graph, Dials(**own)).config
    assert choose(graph, Dials(epochs=60.0), seconds=4.01 * enough).config.members == 2
    before = dataclasses.asdict(choose(graph, Dials()).config)
    assert choose(graph, Dials(), before, seconds=99 * enough).config.members == 1, "as it was"
    behavior = graph_of(make_snapshot, 9)
    assert choose(behavior, Dials(), seconds=1e9) == choose(behavior, Dials())


@pytest.mark.parametrize(("entities", "l2"), [(1, 0.0139), (14, 0.0528), (14_541, 0.1917)])
def test_the_regularizer_of_facts_grows_with_the_logarithm_of_entities(make_snapshot, entities, l2):
    graph = graph_of(make_snapshot, 9, facts=True)
    chosen = choose(
        dataclasses.replace(graph, ids=np.arange(entities).astype(str).astype(object)), Dials()
    )
    assert chosen.config.projected_l2 == l2
    assert f"guess among {entities} entities" in chosen.reasons["projected_l2"]


def test_matrices_of_facts_are_full_where_vectors_cannot_be_cut(make_snapshot):
    config = choose(graph_of(make_snapshot, 9, facts=True), Dials(dim=5)).config
    assert config.projection == "full"


@pytest.mark.parametrize(
    ("dials", "inverse"),
    [({}, "transpose"), ({"tails": "own"}, "own"), ({"reciprocal": False, "bias": False}, "own")],
)
def test_matrices_of_facts_are_transposes_where_they_can_be(make_snapshot, dials, inverse):
    config = choose(graph_of(make_snapshot, 9, facts=True), Dials(**dials)).config
    assert config.inverse == inverse


def test_transposes_are_refused_where_tails_move(make_snapshot):
    dials = Dials(inverse="transpose")
    assert choose(graph_of(make_snapshot, 9, facts=True), dials).config.inverse == "transpose"
    with pytest.raises(ConfigError, match="received 'transpose' with tails 'same'"):
        choose(graph_of(make_snapshot, 9), dials)


def test_what_is_set_stays_and_has_no_reason(make_snapshot):
    dials = Dials(batch=7, tails="same", dim=32, projected_l2=0.0)
    chosen = choose(graph_of(make_snapshot, 9, facts=True), dials)
    config = chosen.config
    assert (config.batch, config.tails, config.dim, config.projected_l2) == (7, "same", 32, 0.0)
    assert config.relation_dim == 32
    assert not {"batch", "tails", "dim", "projected_l2"} & set(chosen.reasons)
    assert set_ones(dials) == {"batch": 7, "tails": "same", "dim": 32, "projected_l2": 0.0}


def test_dials_that_contradict_the_derived_ones_are_named(make_snapshot):
    with pytest.raises(ConfigError, match=r"relation_dim should be dim, 256, .*, received 16"):
        choose(graph_of(make_snapshot, 9, facts=True), Dials(relation_dim=16))


@pytest.mark.parametrize(("field", "value"), [("dim", 0), ("dropout", 1.5), ("epochs", 0.0)])
def test_a_senseless_value_is_refused_where_it_is_set(field: str, value: object):
    with pytest.raises(ConfigError, match=f"{field} should be"):
        Dials(**{field: value})


def test_a_training_that_begins_with_a_bundle_keeps_its_form(make_snapshot):
    before = dataclasses.asdict(choose(graph_of(make_snapshot, 300, facts=True), Dials()).config)
    assert (before["dim"], before["projection_blocks"], before["tails"]) == (256, 32, "still")
    rarer = graph_of(make_snapshot, 200, facts=True)
    clicked = graph_of(make_snapshot, 300)
    form = ("dim", "relation_dim", "projection", "projection_blocks", "tails", "inverse", "bias")
    for graph in (rarer, clicked):
        assert choose(graph, Dials()).config.projection_blocks != 32
        chosen = choose(graph, Dials(), before)
        assert [getattr(chosen.config, name) for name in form] == [before[name] for name in form]
        assert {chosen.reasons[name] for name in form} == {
            "as in the bundle before, whose maps it begins with"
        }
        # What is said of the training itself follows from the new graph.
        assert chosen.config.batch == choose(graph, Dials()).config.batch


def test_what_is_set_stays_where_a_training_begins_with_a_bundle(make_snapshot):
    graph = graph_of(make_snapshot, 300, facts=True)
    before = dataclasses.asdict(choose(graph, Dials()).config)
    chosen = choose(graph, Dials(projection_blocks=4, tails="own"), before)
    config = chosen.config
    assert (config.projection_blocks, config.tails, config.inverse) == (4, "own", "own")
    assert not {"projection_blocks", "tails"} & set(chosen.reasons)
    # Another length is refused later, by the vectors that are to be begun with.
    assert choose(graph, Dials(dim=32), before) == choose(graph, Dials(dim=32))
    # Nor can matrices of low rank be begun with; full ones take over any.
    low = choose(graph, Dials(), before | {"projection": "low_rank"}).config
    assert low.projection == "full"


def test_facts_meet_few_negatives_first_where_a_clock_ends_the_training(make_snapshot, monkeypatch):
    monkeypatch.setattr(policy, "has_bfloat16", lambda: False)
    graph = graph_of(make_snapshot, 2_000, facts=True)
    ids = np.arange(10_000).astype(str).astype(object)  # taken whole, but not 2,048 of them
    graph = dataclasses.replace(graph, head=np.arange(2_000) % 50, ids=ids)
    products = 6 * 51 * 256 / 3.5e10 / torch.get_num_threads()
    early = products * 2_048 + 4_000 / 16 * 0.015
    whole = products * 10_000 + 4_000 / 16 * 0.0025
    enough = 16 * early + 14 * whole
    for seconds, members in ((enough, 1), (2.01 * enough, 2), (99 * enough, 4)):
        chosen = choose(graph, Dials(), seconds=seconds)
        share = min(0.4, 16 * early * members / seconds)
        assert (chosen.config.members, chosen.config.early_share) == (members, round(share, 3))
        assert "few negatives" in chosen.reasons["early_share"]
    assert choose(graph, Dials(), seconds=0.1 * enough).config.early_share == 0.4
    assert choose(graph, Dials(early_share=0.1), seconds=enough).config.early_share == 0.1
    assert choose(graph, Dials()).config.early_share == 0, "where epochs end it"
    for own in ({"negatives": 2_048}, {"early_negatives": 5_000}):
        assert not choose(graph, Dials(**own), seconds=enough).config.early_share
    before = dataclasses.asdict(choose(graph, Dials()).config)
    assert not choose(graph, Dials(), before, seconds=enough).config.early_share, "a refresh"
