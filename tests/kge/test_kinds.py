"""The choice of a kind, redone by hand: bytes per vector times rows against the budget."""

from kge.config import IndexConfig
from kge.kinds import (
    bytes_per_vector,
    cells,
    choices,
    code_bytes,
    comparisons,
    is_quick,
    shares,
)

MIB = 2**20
CONFIG = IndexConfig(exact_rows=1000)


def kinds(count: int, dim: int, mib: float, config: IndexConfig = CONFIG) -> list[str]:
    return [choice.kind for choice in choices(count, dim, float(mib * MIB), config)]


def test_few_rows_are_searched_exactly():
    assert kinds(1000, 64, 10) == ["exact"]
    assert kinds(1000, 64, 0.1) == ["scan"], "256 KB do not fit into 100"


def test_nobody_to_find_is_no_want_of_memory():
    [only] = choices(0, 64, 30.0 * MIB, CONFIG)
    assert only.kind == "scan"
    assert "no entity" in only.reason
    assert "fits" not in only.reason


def test_many_rows_get_the_kinds_that_fit():
    # 100,000 x 64: hnsw 25.6 MB + 27 MB of links; exact 25.6 MB; sq8 7.6 MB; pq 2.8 MB.
    assert kinds(100_000, 64, 100) == ["ivf_sq8", "hnsw", "exact"]
    assert kinds(100_000, 64, 30) == ["ivf_sq8", "exact"]
    assert kinds(100_000, 64, 10) == ["ivf_sq8", "scan"]
    assert kinds(100_000, 64, 5) == ["ivf_pq", "scan"]
    assert kinds(100_000, 64, 1) == ["scan"]


def test_dimension_counts():
    assert kinds(100_000, 64, 60) == ["ivf_sq8", "hnsw", "exact"]
    assert kinds(100_000, 256, 60) == ["ivf_sq8", "scan"]


def test_what_is_asked_for_goes_first_where_there_are_rows_enough():
    assert kinds(100_000, 64, 100, IndexConfig(kind="ivf_pq")) == ["ivf_pq", "exact"]
    assert kinds(500, 64, 100, IndexConfig(kind="ivf_pq")) == ["exact"]
    assert kinds(500, 64, 100, IndexConfig(kind="scan")) == ["scan"]


def test_the_reason_has_the_numbers():
    first = choices(100_000, 64, 30.0 * MIB, CONFIG)[0]
    assert "100000 rows are more than exact_rows=1000" in first.reason
    assert "fits into 30 MiB" in first.reason


def test_bytes_by_hand():
    assert bytes_per_vector("exact", 64, CONFIG) == 4 + 256
    assert bytes_per_vector("ivf_sq8", 64, CONFIG) == 4 + 64 + 8
    assert bytes_per_vector("ivf_pq", 64, CONFIG) == 4 + 16 + 8
    assert bytes_per_vector("scan", 64, CONFIG) == 4


def test_codes_divide_the_dimension():
    assert [code_bytes(dim) for dim in (64, 48, 50, 7, 3)] == [16, 12, 10, 1, 1]


def test_cells_have_rows_to_be_placed_by():
    assert cells(1_000_000) == 4000
    assert cells(1000) == 25
    assert cells(10) == 1


def test_a_budget_is_shared_by_size():
    assert shares({"a": 30, "b": 10}, 8) == {"a": 6 * MIB, "b": 2 * MIB}


def test_time_is_reckoned_by_comparisons():
    # 4 sqrt(10,000) = 400 cells, but 39 rows for each allow 256; 64 of these are a quarter.
    assert comparisons("ivf_sq8", 64, 10_000, CONFIG) == 256 + 2500
    assert comparisons("hnsw", 64, 10_000, CONFIG) == 3 * 32 * 64
    assert comparisons("exact", 0, 10_000, CONFIG) == 10_000
    assert is_quick(50_000.0, 1_000_000)
    assert not is_quick(50_001.0, 1_000_000)
