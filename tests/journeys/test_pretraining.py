"""A retrain that pretrains ID tables and serves rows in few bits: asked for, sealed, answered with.

What no ranker can be is refused before anything is kept. What memory has no room for fails with the
numbers, and goes on from the tables that were pretrained once there is room.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from planted import COMEDIES, planted_events
from running import Service, eventually, post_all, service, wait_job

PRETRAINING = {"facets": ["contrastive", "gnn"], "combination": "concat", "dim": 4, "epochs": 1}
ASKED = {"arms": ["none"], "pretraining": PRETRAINING, "ranker": {"precision": "int8"}}
SCORE = {"head": {"type": "user", "id": "u1"}, "candidates": COMEDIES}
#: So many hashed rows are above a MiB in any precision, with the fewest numbers.
FULL = {
    "GRAPHSVC_RANKER__IDS__OPTIMIZER": "adagrad",
    "GRAPHSVC_RANKER__IDS__BACKEND": "torch",
    "GRAPHSVC_RANKER__IDS__BUCKETS": "32768",
    "GRAPHSVC_RANKER__IDS__MEMORY_MIB": "1",
}
ROOM = {**FULL, "GRAPHSVC_RANKER__IDS__MEMORY_MIB": "64"}
#: Part of a request, a value that it cannot have, and what of the answer says what it can.
BAD = (
    ("pretraining.facets", ["contrastive", "gnm"], "some of contrastive, kge, gnn, each once"),
    ("pretraining.combination", "mean", "concat, summed, sequential"),
    ("ranker.precision", "int3", "trained, int8, int4"),
)


@pytest.mark.slow_as("postgresql")
def test_tables_are_pretrained_and_rows_served_in_few_bits(
    database_url: str, tmp_path: Path
) -> None:
    with service(tmp_path, database_url, GRAPHSVC_TRANSRA__EPOCHS="3") as running:
        running.start("serve")
        running.start("worker", **FULL)
        running.wait_ready()
        with running.client() as http:
            post_all(http, planted_events())
            _refuses(http)
            job = http.post("/v1/retrains", json=ASKED).json()["job"]
            made = _no_room(running, http, job)

            running.kill("worker")
            running.start("worker", **ROOM)
            assert http.post(f"/v1/jobs/{job}/resume").status_code == 202
            result = wait_job(http, job)["result"]
            assert set(result["tables"]) == made, "what was pretrained is not pretrained again"
            ranker = _artifact(http, result["promoted"]["ranker"])
            _says_what_it_is_made_of(http, ranker, result["tables"])
            _is_small(ranker)
            _answers(running, http, ranker)


def _refuses(http: httpx.Client) -> None:
    """With field, value and what was expected; no job is there afterwards."""
    for field, value, expected in BAD:
        part, name = field.split(".")
        asked: dict[str, Any] = ASKED | {part: {**ASKED[part], name: value}}
        refused = http.post("/v1/retrains", json=asked)
        assert refused.status_code == 422, refused.text
        [error] = refused.json()["errors"]
        assert error["field"] == f"body.{field}"
        assert error["value"] == (value if isinstance(value, str) else json.dumps(value))
        assert expected in error["expected"]
    assert http.get("/v1/jobs").json()["items"] == []


def _no_room(running: Service, http: httpx.Client, job: str) -> set[str]:
    """The retrain fails with the numbers, and has made whole tables and no ranker: these tables."""

    def failed() -> str | None:
        found = http.get(f"/v1/jobs/{job}").json()
        assert found["state"] in ("waiting", "running", "failed"), found
        error: str | None = found["error"]
        return error

    error = eventually("the retrain fails", failed, seconds=90)
    assert error.startswith("rank_none: memory_mib should be at least "), error
    for told in ("received 1: ids of user: ", "ids of film: ", "rows of 8 numbers in bfloat16"):
        assert told in error
    artifacts = running.folder / "data/artifacts"
    assert not list(artifacts.glob(".draft-*"))
    assert not _kept(http, "ranker") | _kept(http, "report")
    assert http.get("/v1/promotions").json()["items"] == []
    assert http.post("/v1/score", json=SCORE).status_code == 409
    return _kept(http, "table")


def _kept(http: httpx.Client, kind: str) -> set[str]:
    """Digests of all artifacts of a kind."""
    found = http.get("/v1/artifacts", params={"kind": kind}).json()["items"]
    return {one["digest"] for one in found}


def _artifact(http: httpx.Client, digest: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = http.get(f"/v1/artifacts/{digest}").json()
    return found


def _says_what_it_is_made_of(
    http: httpx.Client, ranker: Mapping[str, Any], tables: list[str]
) -> None:
    """The manifest names the tables, and theirs the facets and how they are joined."""
    assert ranker["payload"]["facets"] == tables
    assert [ranker["parents"][f"table_{n}"] for n in (1, 2)] == tables
    assert ranker["payload"]["shape"]["facets"] == 2 * PRETRAINING["dim"]  # side by side
    assert ranker["dials"]["ids"]["served"] == "int8"
    made = [_artifact(http, digest) for digest in tables]
    assert [table["payload"]["name"] for table in made] == PRETRAINING["facets"]
    for table in made:
        chosen = {name: table["dials"][name] for name in PRETRAINING}
        assert chosen == PRETRAINING
        assert table["parents"] == {"snapshot": ranker["parents"]["snapshot"]}
        told = table["payload"]
        assert told["bytes"] == (told["heads"] + told["tails"]) * told["dim"] * 4 > 0


def _is_small(ranker: Mapping[str, Any]) -> None:
    """Of 32 numbers in float32, 128 bytes, a row has 40 left: 8 bits each, a scale and a bias."""
    trained, served = (ranker["payload"][part]["tables"] for part in ("tables", "placement"))
    assert [table["name"] for table in trained] == ["ids of user", "ids of film"]
    assert [table["name"] for table in served] == ["head_table", "tail_table"]
    for before, now in zip(trained, served, strict=True):
        assert (before["precision"], now["precision"]) == ("float32", "int8")
        assert before["rows"] == now["rows"] > 32_768
        assert now["bytes"] == now["rows"] * 40
        assert before["bytes"] == before["rows"] * 128
    assert ranker["payload"]["placement"]["upper_bytes"] > 0


def _answers(running: Service, http: httpx.Client, ranker: Mapping[str, Any]) -> None:
    eventually(
        "the server follows the promotion",
        lambda: http.get("/health/ready").json()["generation"] == 1,
        seconds=10,
    )
    found = http.post("/v1/score", json=SCORE).json()
    assert found["ranker"] == ranker["digest"]
    assert len(found["scores"]) == len(COMEDIES)
    assert all(0 < one["score"] < 1 for one in found["scores"])
    rows = ranker["payload"]["placement"]["tables"][0]["rows"]
    told = f"head_table: {rows:,} rows of 32 numbers in int8, 1.3 MiB, mapped in the cpu tier"
    assert told in running.log("serve")
