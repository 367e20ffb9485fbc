"""Files of clicks become spans, counters and codes that a human can redo."""

import gzip
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import ctr_data
import ctr_sources
import ctr_spans
from ctr_data import Encoding, bucket_names, clusters, digest, encoded, forget
from ctr_movielens import movielens
from ctr_retailrocket import shop
from ctr_sources import Source, SourceError, avazu, criteo
from ctr_spans import TEST, TRAIN, VALID, pasts, spans

#: Ten rows of one user and five of another, in no order; of u, two share the moment of the cut.
TABLE = """user,item,shop,click,time
u,a,x,1,1
v,a,x,0,1
u,b,x,0,2
u,a,y,1,3
v,b,x,1,2
u,b,x,0,4
u,c,,1,5
v,a,x,0,3
u,a,x,0,6
v,b,x,0,4
u,b,x,1,6
u,a,z,0,8
v,a,x,1,5
u,a,x,1,9
u,b,x,0,10
"""


def source(file: Path, **changed: object) -> Source:
    dials = {
        "file": file,
        "label": "click",
        "fields": ["user", "item", "shop"],
        "user": "user",
        "item": "item",
        "time": "time",
    }
    return Source(**dials | changed)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    file = tmp_path / "clicks.csv"
    file.write_text(TABLE)
    return file


def test_each_user_is_cut_by_the_share_of_their_rows_before():
    user = np.array([0] * 10 + [1] * 5)
    time = np.array([1, 2, 3, 4, 5, 6, 6, 8, 9, 10, 1, 2, 3, 4, 5])
    found = spans(user, time)
    # Of user 0 seven rows are before 8, five before the two at 6: only the former is past 6 of 10.
    assert found[:10].tolist() == [TRAIN] * 7 + [VALID] + [TEST] * 2
    # Of user 1 three of five are before 4, four before 5.
    assert found[10:].tolist() == [TRAIN] * 3 + [VALID, TEST]
    shuffled = np.random.default_rng(0).permutation(15)
    assert spans(user[shuffled], time[shuffled]).tolist() == found[shuffled].tolist()


def test_counters_know_what_was_strictly_before_and_nothing_else():
    key = np.array([7, 7, 7, 3])
    time = np.array([1, 2, 2, 9])
    label = np.array([1, 0, 1, 0], np.int8)
    span = np.array([TRAIN, TRAIN, TRAIN, TEST], np.int8)
    rate, digits = pasts(key, time, label, span)
    # p = 2/3: 10 p / 10, then (1 + 10 p) / 11 twice, since equal moments do not see each other.
    assert rate.tolist() == [int(20 * 2 / 3), *[int(20 * (1 + 20 / 3) / 11)] * 2, int(20 * 2 / 3)]
    assert digits.tolist() == [0, 1, 1, 0]


def test_a_planted_future_click_changes_no_counter_before_it():
    rng = np.random.default_rng(0)
    key, time = rng.integers(5, size=60), rng.integers(40, size=60)
    label, span = rng.integers(2, size=60).astype(np.int8), np.zeros(60, np.int8)
    span[time > 20] = TEST
    before = pasts(key, time, label, span)
    changed = label.copy()
    changed[time > 20] = 1 - changed[time > 20]
    after = pasts(key, time, changed, span)
    known = time <= 21  # nothing after moment 20 is strictly before these
    for one, other in zip(before, after, strict=True):
        assert (one[known] == other[known]).all()


def test_a_table_becomes_codes_by_frequency_in_train(table: Path, tmp_path: Path):
    told, encoding = source(table), Encoding(min_rows=2)
    clicks = encoded(told, encoding, tmp_path / "work", digest(told, encoding))
    assert list(clicks.sizes) == [
        "user", "item", "shop", "user_rate", "user_rows", "item_rate", "item_rows",
    ]  # fmt: skip
    assert clicks.codes.shape == (15, 7)
    assert clicks.clustered_by == "users"
    # TRAIN holds u's first seven and v's first three: items a 5, b 4, c 1; shops x 8, y 1, "" 1.
    assert clicks.sizes["item"] == 3
    assert clicks.codes[:, 1].tolist() == [1, 1, 2, 1, 2, 2, 0, 1, 1, 2, 2, 1, 1, 1, 2]
    assert clicks.codes[:, 2].tolist() == [1, 1, 1, 0, 1, 1, 0, 1, 1, 1, 1, 0, 1, 1, 1]
    assert clicks.codes[:, 0].tolist() == [1, 2, 1, 1, 2, 1, 1, 2, 1, 2, 1, 1, 2, 1, 1]
    assert clicks.label.tolist() == [1, 0, 0, 1, 1, 0, 1, 0, 0, 0, 1, 0, 1, 1, 0]
    assert clicks.cluster.tolist() == [0, 1, 0, 0, 1, 0, 0, 1, 0, 1, 0, 0, 1, 0, 0]
    # u had ones at 1, 3, 5, 6 and 9, v at 2 and 5; of the two rows at 6 neither sees the other.
    assert clicks.history.tolist() == [0, 0, 1, 1, 0, 2, 2, 1, 3, 1, 3, 4, 1, 4, 5]
    again = encoded(told, encoding, tmp_path / "work", digest(told, encoding))
    assert np.array_equal(again.codes, clicks.codes)


def test_small_blocks_gzip_and_parquet_give_the_same(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    zipped = tmp_path / "clicks.csv.gz"
    zipped.write_bytes(gzip.compress(TABLE.encode()))
    columns = [line.split(",") for line in TABLE.splitlines()]
    whole = {n: list(v) for n, *v in zip(*columns, strict=True)}
    pq.write_table(pa.table(whole), tmp_path / "clicks.parquet")
    encoding = Encoding(min_rows=1)
    expected = encoded(source(table), encoding, tmp_path / "work", "whole")
    monkeypatch.setattr(ctr_sources, "BLOCK_BYTES", 64)
    monkeypatch.setattr(ctr_sources, "BLOCK_ROWS", 4)
    for name in ("clicks.csv", "clicks.csv.gz", "clicks.parquet"):
        found = encoded(source(tmp_path / name), encoding, tmp_path / "work", name)
        assert np.array_equal(found.codes, expected.codes), name
        assert np.array_equal(found.span, expected.span), name
        assert dict(found.sizes) == dict(expected.sizes)


def test_numbers_are_read_in_buckets_that_widen():
    names = bucket_names(np.array([-1.0, 0.0, 2.0, 3.0, 100.0, np.nan]))
    # floor(ln(3)^2) = floor(1.2), floor(ln(100)^2) = floor(21.2); 3 is not the bucket of 1.
    assert names == ["s-1", "s0", "s2", "l1", "l21", ""]


def test_criteo_and_avazu_are_read_as_they_are_published(tmp_path: Path):
    rows = []
    for n in range(10):
        numbers = ["" if n == 0 else str(n), *["3"] * 12]
        rows.append("\t".join([str(n % 2), *numbers, *["68fd1e64"] * 25, ""]))
    file = tmp_path / "train.txt"
    file.write_text("\n".join(rows) + "\n")
    clicks = encoded(criteo(file), Encoding(split="global_time", min_rows=1), tmp_path, "criteo")
    assert clicks.codes.shape == (10, 39)
    assert clicks.clustered_by == "rows"
    assert clicks.label.tolist() == [0, 1] * 5
    assert clicks.span.tolist() == [TRAIN] * 6 + [VALID] * 2 + [TEST] * 2
    # I1 in TRAIN: "", 1, 2, then 3, 4 and 5, whose squared logarithms are 1.2, 1.9 and 2.6.
    assert list(clicks.sizes)[26] == "I1"
    assert clicks.sizes["I1"] == 1 + len({"", "s1", "s2", "l1", "l2"})
    header = "id,click,hour," + ctr_sources._AVAZU.replace(" ", ",")
    lines = [f"{n},{n % 2},141021{n:02},{','.join(['v'] * 21)}" for n in range(10)]
    other = tmp_path / "train.csv"
    other.write_text("\n".join([header, *lines]) + "\n")
    told = encoded(avazu(other), Encoding(split="global_time", min_rows=1), tmp_path, "avazu")
    assert list(told.sizes)[-1] == "hour_of_day"
    assert told.sizes["hour_of_day"] == 1 + 6, "TRAIN saw six of the hours"
    assert told.codes[6:, -1].tolist() == [0] * 4


def test_what_cannot_be_read_is_a_sentence(table: Path, tmp_path: Path):
    with pytest.raises(SourceError, match=r"clicks\.csv cannot be read"):
        encoded(source(table, fields=["color"]), Encoding(), tmp_path, "missing")
    with pytest.raises(SourceError, match="column user should hold numbers"):
        encoded(source(table, label="user"), Encoding(), tmp_path, "names")
    assert not (tmp_path / "missing").exists()


def test_rare_values_are_forgotten_first():
    assert forget(Counter(a=5, b=1, c=2), 1) == Counter(a=5, c=2)


def test_many_users_are_drawn_in_groups_that_keep_each_together(monkeypatch: pytest.MonkeyPatch):
    user = np.arange(40) // 4
    assert clusters(user, 40).tolist() == user.tolist()
    monkeypatch.setattr(ctr_data, "MOST_CLUSTERS", 3)
    grouped = clusters(user, 40)
    assert set(grouped.tolist()) <= {0, 1, 2}
    assert all(len(set(grouped[user == one].tolist())) == 1 for one in range(10))
    assert clusters(None, 40).max() <= 2


def test_other_data_or_ways_to_read_them_have_another_key(table: Path, tmp_path: Path):
    key = digest(source(table), Encoding())
    moved = tmp_path / "moved.csv"
    moved.write_text(TABLE)
    assert digest(source(moved), Encoding()) == key
    assert digest(source(table), Encoding(min_rows=3)) != key
    assert digest(source(table, positive=2.0), Encoding()) != key
    moved.write_text(TABLE.replace("u,a,x,1,1", "u,a,x,0,1"))
    assert digest(source(moved), Encoding()) != key


def test_movielens_is_joined_with_what_is_known_of_both(tmp_path: Path):
    files = {
        "user": "user_id:token\tage\tgender\toccupation\tzip\n1\t24\tM\twriter\t85711\n",
        "item": "item_id:token\ttitle\tyear\tclass\n"
        "7\tToys\t1995\tAnimation Comedy\n8\tOdd\t\tDrama\n",
        "inter": "user_id:token\titem_id\trating\ttime\n"
        "1\t7\t4.0\t881250949\n1\t8\t3.0\t881250950\n",
    }
    for part, text in files.items():
        (tmp_path / f"ml-100k.{part}").write_text(text)
    told = movielens(tmp_path, tmp_path / "work")
    assert told.file.read_text().splitlines() == [
        "user,item,age,gender,occupation,year,genre,genres,rating,time",
        "1,7,4,M,writer,399,Animation,Animation Comedy,4.0,881250949",
        "1,8,4,M,writer,,Drama,Drama,3.0,881250950",
    ]
    [block] = list(ctr_sources.blocks(told, ["year", "rating"]))
    assert block["year"].to_pylist() == ["399", ""]
    assert ctr_spans.SHARES == (60, 20, 20)


def test_a_shop_s_rows_are_pairs_that_were_viewed_and_clicks_those_in_a_cart(tmp_path: Path):
    shop_files = tmp_path / "shop"
    shop_files.mkdir()
    for name, rows in {
        "view": ["1 a", "1 b", "2 a", "1 a"],
        "add_to_cart": ["1 b", "2 c"],
        "purchase": ["1 b"],
    }.items():
        lines = ["visitorid itemid event", *(f"{row} 1" for row in rows)]
        (shop_files / f"{name}_ecommerce.dat").write_text("\n".join(lines) + "\n")
    made = shop(shop_files, tmp_path / "work")
    header, *rows = made.file.read_text().splitlines()
    assert header == "user,item,carted,moment"
    cells = [row.split(",") for row in rows]
    assert {tuple(row[:3]) for row in cells} == {("1", "a", "0"), ("1", "b", "1"), ("2", "a", "0")}
    assert sorted(row[3] for row in cells) == ["0", "1", "2"], "an order by chance"
    assert encoded(made, Encoding(min_rows=1), tmp_path / "work", "key").label.sum() == 1
