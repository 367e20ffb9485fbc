"""Hints at what was meant are bounded in length and in time."""

from time import perf_counter

from graphsvc.hints import MOST_LISTED, meant, one_of

MANY = [f"relation_{i}" for i in range(MOST_LISTED + 5)]


def test_a_close_name_is_meant() -> None:
    assert meant("clik", ["click", "hide"]) == "; did you mean click?"
    assert meant("zzz", ["click", "hide"]) == ""
    assert meant("click" * 100_000, ["click"]) == ""


def test_a_list_of_names_is_bounded() -> None:
    assert one_of(["a", "b", "a"]) == "one of a, b"
    assert one_of(MANY) == f"one of {', '.join(MANY[:MOST_LISTED])} and 5 more"
    assert one_of([]) == "absent, as there are none"


def test_the_same_name_is_compared_once() -> None:
    def seconds(names: list[str]) -> float:
        begun = perf_counter()
        for name in names:
            meant(name, MANY)
        return perf_counter() - begun

    assert seconds(["relation"] * 2000) < seconds([f"relation_of_{i}" for i in range(2000)]) / 4
