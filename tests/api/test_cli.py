"""The command line does what routes and jobs do, with exit codes and JSON."""

from pathlib import Path
from time import sleep

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from nursery import nursery
from planted import COMEDIES, START, click
from running import SMALL, eventually
from sealed_by_hand import see_who_sealed

from api.jobs.choices import PretrainingChoice, RankerChoice
from api.jobs.gate import Candidate, gate
from api.jobs.requests import RetrainRequest
from api.jobs.steps import open_workshop
from api.jobs.training import FederatedChoice, TrainingChoice
from api.known_keys import SECONDS

#: The routes run on both databases; each command calls what they call.
pytestmark = pytest.mark.parametrize("trained", ["sqlite"], indirect=True)


@pytest.fixture
def run(trained):
    """Run `graphsvc` on the trained service's data: exit code, stdout, stderr."""
    own = {
        **SMALL,
        "GRAPHSVC_DATA_DIR": str(trained.settings.data_dir),
        "GRAPHSVC_DATABASE_URL": trained.settings.database_url,
        "PATH": "/usr/bin:/bin",
        "COLUMNS": "80",
    }

    def call(*arguments: str, **extra: str) -> tuple[int, str, str]:
        folder = Path(__file__).resolve().parents[2]
        done = nursery().call(*arguments, environment=own | extra, folder=folder)
        errors = done.stderr.decode()
        assert "Traceback" not in errors, errors
        return done.returncode, done.stdout.decode(), errors

    return call


def test_the_walk_from_snapshot_to_promotion_verb_by_verb(run, trained) -> None:
    facets = orjson.dumps({"genres": ["genre"]}).decode()

    def digest(kind: str, *arguments: str) -> str:
        code, out, errors = run(*arguments, "--json", GRAPHSVC_FACETS=facets)
        assert code == 0, errors
        return orjson.loads(out)[kind]

    snapshot = digest("snapshot", "snapshot")
    bundle = digest("bundle", "embed", snapshot, "--seed", "3")
    index = digest("index", "index", bundle)
    assert len(digest("map", "map", bundle)) == 64
    ranker = digest("ranker", "rank", snapshot, bundle, "--arm", "none", "--seed", "3")
    code, out, _ = run("promote", ranker, "--reason", "test", "--json")
    assert code == 0
    live = orjson.loads(out)
    assert (live["bundle"], live["index"], live["ranker"]) == (bundle, index, ranker)
    see_who_sealed(run, {"snapshot": snapshot, "bundle": bundle, "ranker": ranker})

    code, out, _ = run("score", "user", "u2", "d3", "c3", "--json")
    assert code == 0
    scored = orjson.loads(out)
    assert scored["ranker"] == ranker
    assert {item["id"] for item in scored["scores"]} == {"d3", "c3"}
    code, out, _ = run("neighbors", "film", "d1", "-k", "3", "--json")
    assert len(orjson.loads(out)["neighbors"]) == 3
    where = "/v1/entities/film/d1/neighbors"

    def follows(ranker: str) -> None:
        eventually(
            "the server follows",
            lambda: trained.http.get(where).json()["ranker"] == ranker,
            seconds=30,
        )

    follows(ranker)
    code, out, _ = run("neighbors", "film", "d1", "--facet", "genres", "--json")
    found = orjson.loads(out)["neighbors"]
    online = trained.http.get(where, params={"facet": "genres"}).json()["items"]
    assert [near["id"] for near in found] == [near["id"] for near in online]
    assert orjson.loads(run("neighbors", "film", "d1", "--json")[1])["neighbors"] != found

    # Back to what the other tests look at.
    assert run("promote", trained.rankers[-1], "--reason", "back")[0] == 0
    follows(trained.rankers[-1])


def test_the_same_scores_as_over_http(run, trained) -> None:
    body = {"head": {"type": "user", "id": "u4"}, "candidates": COMEDIES[:3]}
    online = trained.http.post("/v1/score", json=body).json()
    offline = orjson.loads(run("score", "user", "u4", *COMEDIES[:3], "--json")[1])
    assert offline["ranker"] == online["ranker"]
    theirs = {item["id"]: item["score"] for item in online["scores"]}
    assert {item["id"]: item["score"] for item in offline["scores"]} == pytest.approx(
        theirs, abs=1e-9
    )


def test_a_score_is_explained_as_over_http(run, trained) -> None:
    body = {"head": {"type": "user", "id": "u4"}, "candidates": COMEDIES[:3], "explain": True}
    online = trained.http.post("/v1/score", json=body).json()["scores"]
    reasons = {item["id"]: item["why"] for item in online}
    code, out, errors = run("score", "user", "u4", *COMEDIES[:3], "--explain", "--json")
    assert code == 0, errors
    for item in orjson.loads(out)["scores"]:
        why, lines = reasons[item["id"]], item["why"]
        assert len(lines) == len(why["fields"]) + len(why["tokens"]) + 2
        assert lines[0].startswith(f"{why['fields'][0]['field']} ")
        said = dict(line.rsplit(" ", 1) for line in lines[-2:])
        assert float(said["without offsite"]) == pytest.approx(why["without_offsite"], abs=1e-4)
        assert float(said["without KGE"]) == pytest.approx(why["without_kge"], abs=1e-4)
    assert "KGE" in run("score", "user", "u4", "c1", "--explain")[1]


def test_the_same_neighbors_as_over_http(run, trained) -> None:
    narrow = '{"must_not": [{"ids": ["u0"]}]}'
    asked = {"relation": "click", "direction": "in", "filter": narrow, "k": "3", "explain": "true"}
    online = trained.http.get("/v1/entities/film/d1/neighbors", params=asked).json()["items"]
    options = ("--relation", "click", "--direction", "in", "--filter", narrow, "-k", "3")
    code, out, errors = run("neighbors", "film", "d1", *options, "--explain", "--json")
    assert code == 0, errors
    found = orjson.loads(out)["neighbors"]
    assert [(near["type"], near["id"]) for near in found] == [
        (near["type"], near["id"]) for near in online
    ]
    for near, other in zip(found, online, strict=True):
        why = other["explanation"]
        assert len(near["why"]) == len(why["anchors"]) + len(why["paths"])
    assert any(line.startswith("<-click- user") for near in found for line in near["why"])
    assert any(line.startswith("both lean on film ") for near in found for line in near["why"]) == (
        any(near["explanation"]["anchors"] for near in online)
    )
    assert "<-click- user" in run("neighbors", "film", "d1", *options, "--explain")[1]


def test_ingest_tells_which_lines_were_rejected(run, tmp_path: Path) -> None:
    lines = [
        orjson.dumps(click("cli", "d1", START, "cli-1")),
        b"not json",
        b"",
        orjson.dumps(click("cli", "d2", START, "cli-2") | {"action_source": "offsite"}),
        orjson.dumps(click("cli", "d1", START, "cli-1")),
    ]
    file = tmp_path / "events.ndjson"
    file.write_bytes(b"\n".join(lines))
    code, out, _ = run("ingest", str(file), "--json")
    assert orjson.loads(out)["first_rejections"][0]["code"] == "late", "it is no backfill"
    rejects = tmp_path / "rejects.ndjson"
    code, out, _ = run("ingest", str(file), "--backfill", "--rejects", str(rejects), "--json")
    found = orjson.loads(out)
    assert code == 3, "some were rejected"
    assert (found["accepted"], found["duplicate"], found["rejected"]) == (1, 1, 2)
    assert [r["line"] for r in found["first_rejections"]] == [2, 4]
    assert found["first_rejections"][1]["field"] == "action_source"
    first, second = (orjson.loads(line) for line in rejects.read_bytes().splitlines())
    assert (first["line"], first["event"], first["row"]) == (2, None, "not json")
    assert second["event"] == orjson.loads(lines[3])
    file.write_bytes(lines[0])
    assert run("ingest", str(file), "--backfill")[0] == 0


def test_ingest_maps_a_table(run, trained, tmp_path: Path) -> None:
    table, mapping = tmp_path / "clicks.csv", tmp_path / "mapping.toml"
    table.write_text(f"who,what,when\nmapped,d1,{START}\nmapped,d2,soon\n")
    mapping.write_text(
        """
        [[events]]
        event_name = "click"
        event_time = { column = "when" }
        action_source = "onsite"
        actor = { type = "user", id = "{who}" }
        object = { type = "film", id = "{what}" }
        """
    )
    arguments = ("ingest", str(table), "--mapping", str(mapping), "--backfill", "--json")
    code, out, _ = run(*arguments, "--dry-run")
    shown = orjson.loads(out)["events"]
    assert code == 3, "as the real run will"
    assert shown[0]["event"]["object"] == {"type": "film", "id": "d1"}
    assert shown[1]["rejected"]["field"] == "event_time"
    assert trained.http.get("/v1/entities/user/mapped").status_code == 404, "nothing was written"
    rejects = tmp_path / "rejects.ndjson"
    for status in ("accepted", "duplicate"):
        code, out, _ = run(*arguments, "--rejects", str(rejects))
        assert code == 3
        assert orjson.loads(out)[status] == 1
    [kept] = (orjson.loads(line) for line in rejects.read_bytes().splitlines())
    assert (kept["event"], kept["line"], kept["field"]) == (None, 3, "event_time")
    assert kept["row"] == {"who": "mapped", "what": "d2", "when": "soon"}
    assert kept["entry"] == {"number": 1, "event_name": "click"}
    assert trained.http.get("/v1/entities/user/mapped").json()["counters"] == {"click": 1}
    code, _, errors = run("ingest", str(table))
    assert (code, "--mapping" in errors) == (1, True)


def test_people_see_tables(run, trained) -> None:
    code, out, _ = run("artifacts", "--kind", "ranker")
    assert code == 0
    assert trained.rankers[0] in out
    code, out, _ = run("score", "user", "u2", "d3")
    assert "d3" in out
    assert trained.rankers[-1] in out
    assert run("jobs")[0] == 0
    assert "first" in run("key", "list")[1]


def test_ids_stay_whole_in_a_narrow_terminal(run, trained) -> None:
    code, out, _ = run("artifacts", "--kind", "ranker")
    assert code == 0
    assert all(ranker in out for ranker in trained.rankers)
    assert "arm frozen" in out
    assert "UTC" in out


def test_a_key_is_made_and_revoked(run, trained) -> None:
    key = orjson.loads(run("key", "create", "--name", "from-cli", "--json")[1])["key"]
    with trained.open() as http:
        assert http.get("/v1/graph", headers={"X-API-Key": key}).status_code == 200
        listed = orjson.loads(run("key", "list", "--json")[1])["keys"]
        key_id = next(k["id"] for k in listed if k["name"] == "from-cli")
        assert run("key", "revoke", key_id)[0] == 0
        sleep(SECONDS)
        assert http.get("/v1/graph", headers={"X-API-Key": key}).status_code == 401


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("promote", "0" * 64), 1, "0000"),
        (("embed", "short"), 1, "64 hexadecimal digits"),
        (("snapshot", "--split", "by_chance"), 1, "split"),
        (("snapshot", "--as-of", "yesterday"), 1, "--as-of should be a whole number of seconds"),
        (("snapshot", "--as-of", "yesterday"), 1, "digits, received 'yesterday'"),
        (("snapshot", "--as-of", "1767225600000"), 1, "looks like milliseconds"),
        (("snapshot", "--as-of", "1000"), 1, "the first one arrived at"),
        (("export", "0" * 64, "--to", "x"), 1, "graphsvc artifacts --kind snapshot"),
        (("retrain", "--as-of", "yesterday"), 1, "--as-of should be a whole number of seconds"),
        (("retrain", "--as-of", "0" * 64), 1, "--as-of should be the digest of a snapshot"),
        (("retrain", "--as-of", "9000000000"), 1, "--as-of should not be in the future: it is "),
        (("snapshot", "--as-of", "9000000000"), 1, "received 9000000000"),
        (("snapshot", "--as-of", "0" * 64), 1, "--as-of should be the digest of a snapshot: no "),
        (("retrain", "--shares", "1,2"), 1, "shares"),
        (("retrain", "--arms", "none,magic"), 1, "magic"),
        (("retrain", "--ranker", "{"), 1, "--ranker should be a JSON object, received '{'"),
        (("retrain", "--ranker", '{"heads": "all"}'), 1, "ranker.heads: should be one of ctr, "),
        (("retrain", "--training", "{}"), 1, "should hold federated, fairness or both"),
        (("retrain", "--conversions", "fly"), 1, "received 'fly'"),
        (("retrain", "--arms", "foo"), 1, "or 'attention_blank', received 'foo'\n"),
        (("score", "film", "d1", "d2"), 1, "user"),
        (("neighbors", "user", "nobody"), 1, "nobody"),
        (("neighbors", "film", "d1", "--facet", "no-such"), 1, "facet should be one of all"),
        (("neighbors", "film", "d1", "--explain", "-k", "51"), 1, "k should be at most 50"),
        (("neighbors", "film", "d1", "--direction", "up"), 2, "up"),
        (("jobs", "none-such"), 1, "none-such"),
        (("key", "revoke", "none-such"), 1, "none-such"),
        (("ingest", "no-such-file"), 2, "no-such-file"),
        (("rank", "0" * 64), 2, "bundle"),
    ],
)
def test_failures_are_one_sentence(run, arguments: tuple[str, ...], code: int, says: str) -> None:
    found, out, errors = run(*arguments)
    assert found == code, (out, errors)
    assert says in errors
    if code == 1:
        [sentence] = errors.strip().splitlines()
        assert sentence.startswith("error: ")


def test_facets_of_no_relation_are_refused_before_a_job_is_made(run) -> None:
    facets = orjson.dumps({"made": ["directed"]}).decode()
    code, out, errors = run("retrain", GRAPHSVC_FACETS=facets)
    assert (code, out) == (1, "")
    assert errors.startswith("error: relations of facet made should be among ")


def test_a_retrain_may_be_asked_all_that_it_may_over_rest(run, trained) -> None:
    body = {
        "split": "per_user_time",
        "shares": [0.4, 0.2, 0.1, 0.1, 0.2],
        "arms": ["none", "frozen"],
        "ranker": RankerChoice(heads="ctr", epochs=4).model_dump(),
        "pretraining": PretrainingChoice(facets=("gnn",), dim=8).model_dump(mode="json"),
        "training": TrainingChoice(federated=FederatedChoice(rounds=9)).model_dump(mode="json"),
        "conversions": None,
        "conversion_days": 3.0,
        "seed": 11,
        "promote": True,
        "promote_undecided": "few people",
        "as_of": trained.snapshot,
        "refresh": False,
        "carry": False,
        "allow_leaks": True,
    }
    assert set(body) == set(RetrainRequest.model_fields), "an option for each"
    spelt = [
        *("--split", "per_user_time", "--shares", "0.4,0.2,0.1,0.1,0.2", "--arms", "none,frozen"),
        *("--seed", "11", "--as-of", trained.snapshot, "--allow-leaks"),
        *("--promote-undecided", "few people"),
        *("--ranker", '{"heads": "ctr", "epochs": 4}', "--conversion-days", "3"),
        *("--pretraining", '{"facets": ["gnn"], "dim": 8}'),
        *("--training", '{"federated": {"rounds": 9}}'),
    ]
    code, out, errors = run("retrain", *spelt, "--json")
    assert code == 0, errors
    job = orjson.loads(out)["job"]
    asked = trained.http.get(f"/v1/jobs/{job}").json()["request"]
    assert asked == body
    assert trained.http.post("/v1/retrains", json=body).json()["job"] == job, "it is the same one"
    plain = orjson.loads(run("retrain", "--seed", "12", "--no-promote", "--json")[1])["job"]
    same = {"seed": 12, "promote": False}
    assert trained.http.post("/v1/retrains", json=same).json()["job"] == plain
    assert f"graphsvc jobs {plain}" in run("retrain", "--seed", "12", "--no-promote")[1]
    warm = orjson.loads(run("retrain", "--refresh", "--json")[1])["job"]
    assert trained.http.post("/v1/retrains", json={"refresh": True}).json()["job"] == warm


def test_a_snapshot_is_taken_again_and_exported(run, trained, tmp_path: Path) -> None:
    again = orjson.loads(run("snapshot", "--as-of", trained.snapshot, "--json")[1])["snapshot"]
    assert again == trained.snapshot, "whatever has been posted since"
    to = tmp_path / "out"
    code, out, _ = run("export", again, "--format", "hetero", "--to", str(to), "--json")
    assert code == 0
    assert "edges_click.safetensors" in orjson.loads(out)["files"]
    code, _, errors = run("export", again, "--to", str(to))
    assert (code, "error: --to should be a folder that is empty" in errors) == (1, True)
    for command in (("export", trained.bundles[0], "--to", str(tmp_path / "x")), ("index", again)):
        code, _, errors = run(*command)
        wanted, given = ("snapshot", "bundle") if command[0] == "export" else ("bundle", "snapshot")
        says = f"{command[1]} should be a digest of kind {wanted}, it is one of kind {given}"
        assert (code, errors) == (1, f"error: {says}\n")
    code, _, errors = run("export", again, "--to", str(tmp_path / "x"), "--format", "csv")
    assert (code, "one of parquet, hetero, dgl" in errors) == (1, True)
    file = trained.settings.artifacts_dir / "snapshot" / again / "triples.parquet"
    whole = file.read_bytes()
    try:
        file.write_bytes(whole[:-1])
        code, _, errors = run("export", again, "--to", str(tmp_path / "x"))
        assert (code, "triples.parquet" in errors) == (1, True)
    finally:
        file.write_bytes(whole)
    assert not (tmp_path / "x").exists()


def test_a_promotion_says_why_and_is_listed(run, trained) -> None:
    first, second = trained.rankers
    code, _, errors = run("promote", first, "--bundle", trained.bundles[1])
    assert (code, errors.startswith("error: --reason should say why this is promoted")) == (1, True)
    newest = orjson.loads(run("audit", "--limit", "1", "--json")[1])["audit"][0]
    assert (newest["action"], newest["status"]) == ("graphsvc promote", 422), "it is not done"
    assert run("promote", first, "--reason", "from the shell")[0] == 0
    listed = orjson.loads(run("promotions", "--limit", "1", "--json")[1])["promotions"]
    [told] = listed
    assert (told["reason"], told["promoted_by"]) == ("from the shell", "command line")
    assert run("promote", second, "--reason", "back")[0] == 0
    assert "from the shell" in run("promotions", COLUMNS="400")[1]  # so wide that nothing folds


def test_decisions_are_listed_and_shown(run, trained) -> None:
    shop = open_workshop(trained.settings)
    candidate = Candidate(trained.snapshot, trained.bundles[0], trained.rankers[0])
    made = gate(shop, candidate, tick=lambda *_: None, job_id="from the shell")["id"]
    shop.database.dispose()
    listed = orjson.loads(run("decisions", "--only", "passed", "--json")[1])["decisions"]
    assert made in {item["id"] for item in listed}
    refused = orjson.loads(run("decisions", "--only", "refused", "--json")[1])["decisions"]
    online = trained.http.get("/v1/decisions", params={"decision": "refused"}).json()["items"]
    assert refused == online
    code, out, errors = run("decisions", made)
    assert code == 0, errors
    for word in ("auc", "logloss", "no loss", "decision: passed", "vetoes"):
        assert (word in out) == (word != "vetoes"), out
    code, _, errors = run("decisions", "0" * 64)
    assert (code, errors) == (1, f"error: there is no decision '{'0' * 64}'\n")


def test_a_file_of_pairs_is_scored_as_requests_are(run, tmp_path: Path) -> None:
    pairs = [(user, film) for user in ("u2", "u4") for film in COMEDIES[:3]]
    users, films = (list(column) for column in zip(*pairs, strict=True))
    pq.write_table(pa.table({"user": users, "film": films}), tmp_path / "pairs.parquet")
    order = ("score-file", str(tmp_path / "pairs.parquet"), "--to", str(tmp_path / "to"))
    code, out, errors = run(*order, "--head", "user", "--candidate", "film", "--json")
    assert code == 0, errors
    told = orjson.loads(out)
    assert (told["rows"], told["resumed"], told["unscored"], told["parts"]) == (6, 0, 0, 1)
    found = pq.read_table(tmp_path / "to" / "part-000000.parquet").to_pydict()
    assert list(zip(found["user"], found["film"], strict=True)) == pairs
    single = orjson.loads(run("score", "user", "u4", *COMEDIES[:3], "--json")[1])
    assert told["ranker"] == single["ranker"]
    assert dict(zip(films[3:], found["ctr"][3:], strict=True)) == pytest.approx(
        {item["id"]: item["score"] for item in single["scores"]}, abs=1e-6
    )
    code, _, errors = run(*order)
    assert code == 1
    assert "has no column 'head'" in errors
