"""How long it takes to erase a person among a million entities, and what others notice of it.

    .venv/bin/python benchmarks/erase.py
    .venv/bin/python benchmarks/erase.py --items 50000 --people 2 --out build/erase-small

The service is that of `benchmarks/recommend.py`, which finds it in the same `--work`; it takes long
to make. People are erased from a copy. Run it alone.
"""

import argparse
import shutil
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import grid
import numpy as np
import orjson
import printed
import recommend_service as service
from aims import Aim
from publish import About, publish
from recommend_world import Inventory, ad, dials, person
from served import Server, server, settle
from work_beside import worker

from api.jobs.requests import EraseRequest
from graphsvc.report import Row
from ranking.intervals import t_interval

ITEMS, PEOPLE = 1_000_000, 5
CANDIDATES = 100
#: Seconds for which others are watched before anybody is erased; between two of their events.
BEFORE, EVERY = 30.0, 0.5
_POLL = 0.05
AIMS = (Aim("erase_seconds", at_most=60.0), Aim("failed_requests", at_most=0.0))
_TITLE = "Erasing a person"
_WORDS = """
`DELETE /v1/entities/user/...` of a service as `graphsvc serve` and `graphsvc worker` start it, on
SQLite, with the market of [recommendations](../recommend/README.md): {entities:,} entities,
{events:,} events in a database of {database:,.0f} MiB, and one version of each artifact
({artifacts:,.0f} MiB). {people} people are erased, one after the other. Meanwhile one client asks
for {candidates} scores again and again, and another posts an event every {every:g} s.

- `erase_seconds`: from the answer to the certificate; t interval over people. `step_seconds`: of
  its steps.
- `failed_requests`: of all that others asked meanwhile. `score_p50_ms`, `score_p99_ms`: what their
  scores took before anybody was erased, and while somebody was; `post_p99_ms`: the same of events.
- `verify_seconds`: of `graphsvc erase --verify`, which looks at every id and at every byte of
  successors again. `compact_seconds`: of `graphsvc compact`, which writes the database's file anew,
  as an erasure does of a smaller one.

No other system that we know of takes a person out of models that answer; what there is to compare
with is training again: the embedding alone took {trained} for this market, on one thread.
"""


def parser() -> argparse.ArgumentParser:
    made = grid.arguments(__doc__.splitlines()[0], "docs/benchmarks/erase")
    made.add_argument("--items", type=int, default=ITEMS, help="ads of the inventory")
    made.add_argument("--people", type=int, default=PEOPLE, help="how many are erased")
    made.add_argument(
        "--work", type=Path, default=Path("build/recommend"), help="kept between runs"
    )
    return made


def cells(options: argparse.Namespace) -> dict[str, grid.Measure]:
    told = (options.items, options.people, CANDIDATES, dials(), service.EPOCHS)
    return {grid.named("erase", *told): partial(_erase, options)}


@dataclass
class Others:
    """What others asked, and how long each answer took; those that were not answered well."""

    running: Server
    scores: list[float] = field(default_factory=list)
    posts: list[float] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    _ended: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def asking(self, inventory: Inventory) -> Iterator["Others"]:
        threads = [
            threading.Thread(target=work, args=(inventory,)) for work in (self._score, self._post)
        ]
        for thread in threads:
            thread.start()
        yield self
        self._ended.set()
        for thread in threads:
            thread.join()

    def _score(self, inventory: Inventory) -> None:
        draw = np.random.default_rng(7)
        with closing(self.running.connect()) as connection:
            while not self._ended.is_set():
                who = int(draw.integers(inventory.people // 2))
                some = [ad(int(n)) for n in draw.integers(inventory.items, size=CANDIDATES)]
                body = {"head": {"type": "user", "id": person(who)}, "candidates": some}
                self._told(connection, "/v1/score", body, self.scores)

    def _post(self, inventory: Inventory) -> None:
        with closing(self.running.connect()) as connection:
            for n in range(10**9):
                if self._ended.wait(EVERY):
                    return
                event = {
                    "event_name": "click",
                    "event_id": f"beside-{time.time_ns()}",
                    "event_time": int(time.time()),
                    "action_source": "onsite",
                    "actor": {"type": "user", "id": person(n % (inventory.people // 2))},
                    "object": {"type": "ad", "id": ad(n)},
                }
                self._told(connection, "/v1/events", {"events": [event]}, self.posts)

    def _told(self, connection: Any, path: str, body: Any, spent: list[float]) -> None:
        start = time.perf_counter()
        connection.request("POST", path, body=orjson.dumps(body), headers=self.running.headers)
        answer = connection.getresponse()
        answer.read()
        spent.append(time.perf_counter() - start)
        if answer.status != 200:
            self.failed.append(f"{path}: {answer.status}")

    def cut(self) -> dict[str, float]:
        """Percentiles of what was asked since the last call, in ms."""
        scores, self.scores = self.scores, []
        posts, self.posts = self.posts, []
        p50, p99 = np.percentile(np.array(scores) * 1e3, [50, 99])
        return {
            "score_p50_ms": float(p50),
            "score_p99_ms": float(p99),
            "post_p99_ms": float(np.percentile(np.array(posts) * 1e3, 99)),
        }


def _erase(options: argparse.Namespace) -> Mapping[str, Any]:
    """People, one after the other, from a copy of the service."""
    inventory = Inventory(options.items)
    made = service.made(options.work, inventory)
    folder = options.work / "erased"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(made.folder / "data", folder / "data")
    told: dict[str, Any] = {"trained": _trained(made.folder)}
    told |= {name: _mib(folder / "data" / name) for name in ("graph.sqlite", "artifacts")}
    with server(folder, "") as running, worker(folder) as beside:
        settle(running)
        others = Others(running)
        with others.asking(inventory):
            time.sleep(BEFORE)
            told["before"] = others.cut()
            told["people"] = [
                _one(running, others, person(inventory.people - 1 - n))
                for n in range(options.people)
            ]
        told["failed"] = others.failed
        told["asked"] = sum(one["asked"] for one in told["people"])
        counted = _get(running, "/v1/graph")
        told |= {name: sum(counted[name].values()) for name in ("entities", "events")}
        told["verify_seconds"] = [beside.verified(one["erasure"]) for one in told["people"]]
        told["compact_seconds"] = beside.compacted()
    shutil.rmtree(folder)
    return told


def _one(running: Server, others: Others, who: str) -> dict[str, Any]:
    """Erase somebody: the seconds of each step, what was rewritten, and what others noticed."""
    others.cut() if others.scores and others.posts else None
    began = time.perf_counter()
    asked = _ask(running, "DELETE", f"/v1/entities/user/{who}")
    steps: dict[str, float] = {}
    while True:
        job = _get(running, f"/v1/jobs/{asked['job']}")
        now = time.perf_counter() - began
        for step in job["progress"]:
            if step["state"] == "done":
                steps.setdefault(step["step"], now)
        if job["state"] == "done":
            break
        if job["state"] in ("failed", "cancelled"):
            raise SystemExit(f"error: {job['error']}")
        time.sleep(_POLL)
    seconds = time.perf_counter() - began
    asked_meanwhile = len(others.scores) + len(others.posts)
    noticed = others.cut()
    ends = [0.0, *(steps[name] for name in EraseRequest().steps)]
    certificate = _get(running, f"/v1/artifacts/{job['result']['certificate']}")["payload"]
    wrong = [check for check in certificate["checks"] if not check["ok"]]
    if wrong:
        raise SystemExit(f"error: {wrong}")
    return {
        "erasure": asked["erasure"],
        "seconds": seconds,
        "steps": dict(zip(EraseRequest().steps, np.diff(ends).tolist(), strict=True)),
        "asked": asked_meanwhile,
        "removed": certificate["people"][0]["removed"],
        "successors": len(certificate["artifacts"]),
        **noticed,
    }


def _get(running: Server, path: str) -> Any:
    return _ask(running, "GET", path)


def _ask(running: Server, method: str, path: str) -> Any:
    with closing(running.connect()) as connection:
        connection.request(method, path, headers=running.headers)
        return orjson.loads(connection.getresponse().read())


def _mib(path: Path) -> float:
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files) / 2**20


def _trained(folder: Path) -> float | None:
    """Seconds that the embedding alone took to train, as its files tell."""
    [bundle] = (folder / "data/artifacts/bundle").iterdir()
    [snapshot] = (folder / "data/artifacts/snapshot").iterdir()
    return bundle.stat().st_mtime - snapshot.stat().st_mtime


def result_rows(found: Mapping[str, Mapping[str, Any]]) -> list[Row]:
    """What one erasure takes, and what others notice."""
    made: list[Row] = []
    [cell] = found.values()

    def row(metric: str, values: list[float], unit: str, split: str, model: str = "") -> None:
        value, low, high = t_interval(values) if len(values) > 1 else (values[0], None, None)
        told = {"split": split, "model": model, "seed": "all"}
        made.append(Row(metric=metric, value=value, unit=unit, lo=low, hi=high, **told))

    people = cell["people"]
    where = f"{cell['entities']:,} entities"
    row("erase_seconds", [one["seconds"] for one in people], "s", where)
    for step in EraseRequest().steps:
        row("step_seconds", [one["steps"][step] for one in people], "s", where, step)
    row("verify_seconds", cell["verify_seconds"], "s", where)
    row("compact_seconds", [cell["compact_seconds"]], "s", f"{cell['graph.sqlite']:,.0f} MiB")
    row("failed_requests", [float(len(cell["failed"]))], "requests", f"of {cell['asked']:,}")
    for name in ("score_p50_ms", "score_p99_ms", "post_p99_ms"):
        row(name, [cell["before"][name]], "ms", "nobody is erased")
        row(name, [one[name] for one in people], "ms", "somebody is erased")
    return made


def main() -> None:
    options = parser().parse_args()
    found = grid.run(cells(options), options)
    rows = result_rows(found)
    [cell] = found.values()
    minutes = f"{cell['trained'] / 60:.0f} minutes"
    words = _WORDS.strip().format(
        entities=cell["entities"],
        events=cell["events"],
        database=cell["graph.sqlite"],
        artifacts=cell["artifacts"],
        people=len(cell["people"]),
        candidates=CANDIDATES,
        every=EVERY,
        trained=minutes,
    )
    given = printed.given(parser(), options)
    about = About("erase", _TITLE, words, "what is measured", given, aims=AIMS)
    publish(options.out, rows, found, {"people": len(cell["people"])}, about)


if __name__ == "__main__":
    main()
