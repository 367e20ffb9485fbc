"""What items lead to: means by hand, the same from a snapshot as from the live graph's edges."""

import numpy as np
import pytest

from graphsvc.snapshot import (
    InteractionInfo,
    Layout,
    RelationInfo,
    TypeRange,
    draft_snapshot,
    seal_snapshot,
)
from kge.arrays import BundleArrays
from kge.bundle import seal_bundle
from ranking.around import around_tails, leads, mean_vectors
from ranking.examples import kge_maps

RELATIONS = (
    RelationInfo(name="click", head="user", tail="ad", source="onsite"),
    RelationInfo(name="of_product", head="ad", tail="product", source="structure"),
    RelationInfo(name="of_brand", head="ad", tail="product", source="structure"),
    RelationInfo(name="variant", head="ad", tail="ad", source="structure"),
    RelationInfo(name="owned_by", head="ad", tail="user", source="structure"),
    RelationInfo(name="of_shop", head="product", tail="shop", source="structure"),
    RelationInfo(name="buy", head="user", tail="product", source="offsite"),
)
#: Three ads, two products and a user, one after the other.
ADS, PRODUCTS, USER = (0, 1, 2), (3, 4), 5


@pytest.fixture
def shop(store):
    """Ad 0 leads to both products, ad 1 to one twice and to itself; ad 2 nowhere."""
    with draft_snapshot(store) as draft:
        names = {"type": ["ad"] * 3 + ["product"] * 2 + ["user"], "id": list("abcpqu")}
        draft.write("entities", names)
        edges = [(0, 1, 3), (0, 1, 4), (1, 1, 4), (1, 2, 4), (1, 3, 1), (0, 3, 1), (0, 4, 5)]
        head, relation, tail = zip(*sorted(edges, key=lambda e: e[1]), strict=True)
        timeless = {"weight": [1.0] * len(edges), "time": [9_999] * len(edges)}
        draft.write("triples", {"head": head, "relation": relation, "tail": tail, **timeless})
        layout = Layout(
            types=[TypeRange("ad", 0, 3), TypeRange("product", 3, 5), TypeRange("user", 5, 6)],
            relations=RELATIONS,
            interaction=InteractionInfo(
                head="user", tail="ad", exposure="impression", outcome="click"
            ),
            attributes={},
            watermark={"seq": 1, "as_of": 0},
            split={"protocol": "global_time"},
        )
        snapshot = seal_snapshot(store, draft, layout, {})
    vectors = np.array([[1, 0], [2, 0], [3, 0], [0, 2], [0, 6], [9, 9]], np.float32)
    count = len(RELATIONS)
    arrays = BundleArrays(
        types=list(snapshot.types.values()),
        ids=snapshot.ids,
        vectors=vectors,
        bias=np.zeros(6, np.float32),
        degree=np.ones(6, np.int32),
        relations=RELATIONS,
        translations=np.zeros((2 * count, 2), np.float32),
        projections=np.tile(np.eye(2, dtype=np.float32), (2 * count, 1, 1)),
        priors=np.zeros((3, 2), np.float32),
        frame_rows=np.array([0, 3, 5], np.int32),
    )
    bundle = seal_bundle(store, snapshot.digest, arrays, dials={}, metrics={})
    return snapshot, bundle


def test_what_counts_is_structure_of_items_and_never_leads_to_people():
    assert leads(RELATIONS, "user", "ad") == {
        "of_product": "product",
        "of_brand": "product",
        "variant": "ad",
    }


def test_means_by_hand(shop):
    found = around_tails(*shop, np.array([0, 1, 2, 1], np.int32))
    assert set(found) == {"product", "ad"}
    # (2 + 6) / 2; twice 6; nothing; again the second.
    assert found["product"].vectors.tolist() == [[0, 4], [0, 6], [0, 0], [0, 6]]
    assert found["product"].known.tolist() == [True, True, False, True]
    # Ad 0 is a variant of ad 1; that ad 1 is one of itself says nothing.
    assert found["ad"].vectors.tolist() == [[2, 0], [0, 0], [0, 0], [0, 0]]
    assert found["ad"].known.tolist() == [True, False, False, False]


def test_what_the_bundle_does_not_hold_says_nothing(shop):
    _, bundle = shop
    owner, place = np.array([0, 0, 1]), np.array([3, -1, -1], np.int32)
    found = mean_vectors(bundle, owner, place, 3)
    assert found.vectors.tolist() == [[0, 2], [0, 0], [0, 0]]
    assert found.known.tolist() == [True, False, False]
    nothing = mean_vectors(bundle, np.empty(0, np.int64), np.empty(0, np.int32), 2)
    assert nothing.known.tolist() == [False, False]


def test_what_heads_do_elsewhere_has_maps_too(shop):
    """`buy` leads from users to products: where they look there is a token, and no match."""
    _, bundle = shop
    maps = kge_maps(bundle, "user", "ad")
    assert (maps.names, maps.other_names) == (("click",), ("buy",))
    assert maps.projections.shape == (1, 2, 2)
    projections, translations = maps.from_head
    place = [bundle.relation_index(name) for name in ("click", "buy")]
    np.testing.assert_array_equal(projections, bundle.projections[place])
    np.testing.assert_array_equal(translations, bundle.translations[place])
    assert kge_maps(bundle, "user", "ad", others=()).other_names == ()
    assert kge_maps(bundle, "user", "ad", others=("sell", "buy")).other_names == ("buy",)
