"""Federated and fair retrains of MovieLens-100k over REST, as an ML engineer would ask for them.

    .venv/bin/python benchmarks/trainings.py

MovieLens-100k comes as for `graphsvc demo`: fetched once, or from `--data FOLDER`. A server and a
worker are started on it; the page shows what was asked, what was seen, and what came of it.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from functools import partial
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import grid
import printed
from ladder_worlds import MovieLens, open_world
from publish import About, publish
from served import Server, server

from api.settings import read_settings
from graphsvc.report import Row

FEDERATED = {
    "clients": "head",
    "clients_per_round": 100,
    "rounds": 40,
    "optimizer": "adam",
    "rate": 0.01,
}
FAIR = {"by": "gender", "scale": 0.3, "proximity": 1.0}
#: Model -> what a retrain is asked for beside its arm and that it should be promoted.
ASKED: dict[str, dict[str, Any]] = {
    "plain": {},
    "federated": {"federated": FEDERATED},
    "fair": {"fairness": FAIR},
}
#: The arm that reads no embedding, so that rounds are all that is learned from users.
ARM = "none"
_PAUSE = 0.5
_TITLE = "Federated and fair retrains over REST"
_WORDS = """
MovieLens-100k in a service as `graphsvc up` starts it, one for each retrain, where nothing is live
before. Clients are users, groups are gender; the ranker reads no embedding (arm `{arm}`). Each
retrain is one request:

{requests}

Decisions of the gate, and what the job told of itself while it trained:

{told}

- `valid_auc`: of the ranker as it is served, on valid, and before a last layer that is fair.
  `served`, `at_clients`: AUC on test, without and with the rows of users that never left them.
  `bytes`: of all rounds, down to clients and up. `retrain_minutes`: of the whole job, embedding
  included, beside whatever else the machine did.
- `tau`: by how much a score may differ at most from that of the group's own classifier, whoever
  comes. `least`, `most`: between which multiples of the group's base rate its mean score lies.
  The certificate does not cover order or exposure.

The federated ranker does not know any user by a row: who is served is folded in. Its embedding was
trained on the same users in one place; with `"kge": "item_only"` it would not be.

The first of the certificates, in its own words:

> {sentence}
"""


def parser() -> argparse.ArgumentParser:
    made = grid.arguments(__doc__.splitlines()[0], "docs/benchmarks/trainings")
    made.add_argument("--data", type=Path, help="folder of the five ml-100k files")
    made.add_argument(
        "--work", type=Path, default=Path("build/trainings"), help="kept between runs"
    )
    return made


def cells(options: argparse.Namespace) -> dict[str, grid.Measure]:
    """Every cell by its name: a retrain each, each in a service of its own."""
    return {
        grid.named(f"alone-{model}", _body(model)): partial(_retrained, options, model)
        for model in ASKED
    }


def _body(model: str) -> dict[str, Any]:
    body: dict[str, Any] = {"arms": [ARM], "split": "per_user_time", "promote": True}
    return body | ({"training": ASKED[model]} if ASKED[model] else {})


def _retrained(options: argparse.Namespace, model: str) -> Mapping[str, Any]:
    source = MovieLens(options.data, read_settings().cache_dir)
    work = options.work / model
    world = open_world(source, "ctr", work, split="per_user_time", threads=2, dials={})
    program = ("-m", "api", "up")
    with server(world.file.parent, "", program) as running, _connected(running) as ask:
        began = time.monotonic()
        job = ask("POST", "/v1/retrains", _body(model))["job"]
        notes: dict[str, None] = {}
        while (seen := ask("GET", f"/v1/jobs/{job}"))["state"] in ("waiting", "running"):
            notes |= dict.fromkeys(
                step["note"] for step in seen["progress"] if step["step"] == f"rank_{ARM}"
            )
            time.sleep(_PAUSE)
        if seen["state"] != "done":
            raise SystemExit(f"the retrain ended as {seen['state']}: {seen['error']}")
        result = seen["result"]
        digest = result["rankers"][ARM]
        manifest = ask("GET", f"/v1/artifacts/{digest}")
        fair = "fairness" in ASKED[model]
        return {
            "model": model,
            "minutes": (time.monotonic() - began) / 60,
            "notes": [note for note in notes if note],
            "result": result,
            "state": manifest["state"],
            "metrics": manifest["metrics"],
            "training": manifest["payload"].get("training", {}),
            "certificate": ask("GET", f"/v1/artifacts/{digest}/certificate") if fair else None,
        }


@contextmanager
def _connected(running: Server) -> Iterator[Any]:
    with closing(running.connect()) as connection:
        yield partial(_ask, connection, running)


def _ask(
    connection: HTTPConnection, running: Server, method: str, path: str, body: Any = None
) -> Any:
    sent = None if body is None else json.dumps(body)
    connection.request(method, path, sent, headers=running.headers)
    answer = connection.getresponse()
    told = json.loads(answer.read())
    if answer.status >= 400:
        raise SystemExit(f"{method} {path} was answered {answer.status}: {told}")
    return told


def rows_of(found: Mapping[str, Mapping[str, Any]]) -> list[Row]:
    """The figures of every retrain."""
    return [row for cell in found.values() for row in _figures(cell)]


def _figures(cell: Mapping[str, Any]) -> Iterator[Row]:
    model, rounds = cell["model"], cell["training"].get("federated")
    all_ = {"model": model, "split": "whole"}
    yield Row(metric="retrain_minutes", value=cell["minutes"], unit="min", **all_)
    yield Row(metric="valid_auc", value=cell["metrics"]["valid_auc"], unit="share", **all_)
    if rounds:
        for name in ("served", "at_clients"):
            told = rounds["auc"]["ctr"][name]
            yield Row(metric=name, value=told, unit="share", **all_)
        for name in ("clients", "rounds"):
            yield Row(metric=name, value=rounds[name], unit=name, **all_)
        for way in ("down", "up"):
            told = rounds["bytes"][way] / 2**20
            yield Row(metric="bytes", value=told, unit="MiB", model=model, split=way)
    for group, told in (cell["certificate"] or {"groups": {}})["groups"].items():
        where = {"model": model, "split": group}
        yield Row(metric="tau", value=told["tau"], unit="share", **where)
        for name, end in zip(("least", "most"), _band(told), strict=True):
            yield Row(metric=name, value=end, unit="times", **where)


def _band(group: Mapping[str, Any]) -> Sequence[float]:
    """Between which multiples of a group's base rate its mean score lies."""
    band: Sequence[float] = group["times_base_rate"]
    return band


def _requests() -> str:
    lines = ["| | `POST /v1/retrains` |", "|---|---|"]
    return "\n".join([*lines, *(f"| {m} | `{json.dumps(_body(m))}` |" for m in ASKED)])


def _told(cells_: Sequence[Mapping[str, Any]]) -> str:
    lines = ["| | decision | why | now | seen in `rank_none` |", "|---|---|---|---|---|"]
    for cell in cells_:
        notes, why = cell["notes"], cell["result"]["decision"]
        some = dict.fromkeys([*notes[len(notes) // 2 :][:1], *notes[-1:]])
        told = "; ".join(some).replace("|", "/")
        lines.append(
            f"| {cell['model']} | {why['decision']} | {why['reason']} | {cell['state']} | {told} |"
        )
    return "\n".join(lines)


def main() -> None:
    options = parser().parse_args()
    found = grid.run(cells(options), options)
    rows = rows_of(found)
    certificates = [cell["certificate"] for cell in found.values() if cell["certificate"]]
    words = _WORDS.format(
        arm=ARM,
        requests=_requests(),
        told=_told(list(found.values())),
        sentence=certificates[0]["sentence"] if certificates else "not measured yet",
    )
    about = About("trainings", _TITLE, words.strip(), "retrain", printed.given(parser(), options))
    publish(options.out, rows, found, {"asked": ASKED, "arm": ARM}, about)


if __name__ == "__main__":
    main()
