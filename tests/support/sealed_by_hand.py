"""What the audit log says of a walk from snapshot to promotion, verb by verb."""

from collections.abc import Callable

import orjson


def see_who_sealed(run: Callable[..., tuple[int, str, str]], made: dict[str, str]) -> None:
    """Each verb that seals has a row before, and one of what became of it."""
    assert run("embed", "anna")[0] == 1
    rows = orjson.loads(run("audit", "--limit", "14", "--json")[1])["audit"]
    asked = [row for row in reversed(rows) if row["of"] is None]
    became = {row["of"]: row["status"] for row in rows if row["of"] is not None}
    verbs = ("snapshot", "embed", "index", "map", "rank", "promote", "embed")
    assert [row["action"] for row in asked] == [f"graphsvc {verb}" for verb in verbs]
    assert [became[row["number"]] for row in asked] == [200] * 6 + [404]
    about = [row["about"] for row in asked]
    assert about[0]["split"] == "global_time"
    assert about[1] == {"snapshot": made["snapshot"], "seed": 3, "item_only": False}
    assert about[2] == about[3] == {"bundle": made["bundle"]}
    assert about[4]["arm"] == "none"
    assert about[5]["ranker"] == made["ranker"]
    assert about[6]["snapshot"] == "(not kept)", "it may be somebody"
