"""Whose rows are whose, on a table of six rows and three clients."""

import numpy as np
import pytest

from ranking.fedda.holdings import holdings, places_of

NAMED = np.array([[0, 0], [1, 2], [2, 3], [2, 0], [4, 4]])
CLIENT = np.array([0, 0, 1, 2, 1])


def test_what_one_client_alone_names_is_private():
    held = holdings(NAMED, CLIENT, clients=3, rows=6)
    # Row 0 is named by clients 0 and 2, row 2 by all; rows 1, 3, 4 by one; row 5 by nobody.
    assert held.rows.tolist() == [0, 2]
    assert held.shared.tolist() == [[0, 1], [1, 2], [0, 1]]
    assert held.private.tolist() == [[1, -1], [3, 4], [-1, -1]]
    assert held.named.tolist() == [2, 1, 2]


def test_a_labelled_row_finds_its_rows_at_its_client():
    held = holdings(NAMED, CLIENT, clients=3, rows=6)
    assert held.local.tolist() == [[0, 0], [2, 1], [0, 2], [1, 0], [3, 3]]
    shared = np.append(held.rows, -1)
    for client, named, local in zip(CLIENT, NAMED, held.local, strict=True):
        table = np.concatenate([shared[held.shared[client]], held.private[client]])
        assert table[local].tolist() == named.tolist()


def test_one_client_shares_nothing():
    held = holdings(NAMED, np.zeros(5, dtype=np.int64), clients=1, rows=6)
    assert held.rows.tolist() == []
    assert held.shared.shape == (1, 0)
    assert held.private.tolist() == [[0, 1, 2, 3, 4]]
    assert held.local.tolist() == NAMED.tolist()


def test_shared_numbers_have_a_place_and_private_ones_have_none():
    held = holdings(NAMED, CLIENT, clients=3, rows=6)
    places, size = places_of(3, [(held, 2)])
    assert size == 3 + 2 * 2
    assert places.tolist() == [
        [0, 1, 2, 3, 4, 5, 6],
        [0, 1, 2, 5, 6, 7, 7],
        [0, 1, 2, 3, 4, 5, 6],
    ]


@pytest.mark.parametrize("seed", range(3))
def test_many_rows_are_found_again(seed: int):
    draw = np.random.default_rng(seed)
    named = draw.integers(0, 40, size=(300, 2))
    client = draw.integers(0, 12, size=300)
    held = holdings(named, client, clients=12, rows=40)
    shared = np.append(held.rows, -1)
    tables = np.concatenate([shared[held.shared], held.private], axis=1)
    assert (tables[client[:, None], held.local] == named).all()
    for row in range(40):
        owners = {int(k) for k, pair in zip(client, named, strict=True) if row in pair}
        assert (row in held.rows) == (len(owners) > 1)
