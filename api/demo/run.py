"""The main job from end to end, over HTTP, with every figure measured on the way.

Takes MovieLens-100k, gives a printed report and a JSON file; starts and stops its own server and
worker on a data folder of its own.
"""

import os
import resource
import shutil
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson
from rich.progress import Progress

from api.demo import arms, data, forget
from api.demo.client import Client, ServiceFailed
from api.demo.show import show
from api.printing import announce, progress_bars
from api.processes import Pair
from api.provenance import header
from api.settings import Settings, read_settings
from api.setup import prepare
from graphsvc import erasures
from graphsvc.datasets import MovieLensCounts, movielens
from graphsvc.report import Row, as_report, rows_of
from ranking.config import LADDER

FOLDER = Path(".demo")
PROTOCOLS = ("per_user_time", "global_time")
_BATCH = 1000
_CALLS = 300
_CANDIDATES = 100
_FILM = "Star Wars"
_POLL_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Session:
    """A running service and the client that talks to it."""

    settings: Settings
    client: Client
    pair: Pair
    progress: Progress
    environment: Mapping[str, str]
    key: str


def run(folder: Path | None, report: Path, *, as_json: bool) -> None:
    """Run the demo; write the report; print it as tables, or as JSON for machines."""
    started = time.monotonic()
    source = data.fetch(folder, read_settings().cache_dir)
    skipped = MovieLensCounts()
    events = forget.renamed(list(movielens(source, skipped)))
    with _service(quiet=as_json) as session:
        rows = _ingest(session, events) + _skipped(skipped)
        jobs = _retrain(session)
        for job in jobs:
            rows += rows_of(session.client.report(job["result"]["report"]))
        session.client.wait_generation(_promoted(jobs[-1])["generation"])
        asked = _questions(events)
        rows += _latencies(session, events, asked)
        near = _near(session, events)
        rows += _memory(session)
    # Here, since what it needs is no part of the memory that a client takes.
    from api.demo import hybrid

    announce("ID rows and the upper model, in this process")
    found = hybrid.measure(session.settings, asked)
    rows += found.rows
    with progress_bars(quiet=as_json) as progress:
        headline = jobs[0]["result"]["snapshot"]
        rows += arms.measure(session.settings, headline, FOLDER / "arms", progress)
    erased = _forget(session, events, quiet=as_json)
    rows.append(_row("demo_seconds", time.monotonic() - started, "s"))
    dials = {"data": "MovieLens-100k + Freebase", "protocols": PROTOCOLS, "jobs": _chosen(jobs)}
    chosen = jobs[-1]["result"]
    promoted = next(
        arm for arm, ranker in chosen["rankers"].items() if ranker == chosen["promoted"]["ranker"]
    )
    document = {
        **as_report(rows, header(dials)),
        "neighbors": near,
        "promoted": {"arm": promoted, **chosen["promoted"]},
        "hybrid": found.words,
        "erasure": erased,
    }
    report.write_bytes(orjson.dumps(document, option=orjson.OPT_INDENT_2))
    show(document, report, as_json=as_json)


@contextmanager
def _service(*, quiet: bool) -> Iterator[Session]:
    """A fresh service on a free port, gone afterwards; its data stays for a look."""
    home = FOLDER / "data"
    shutil.rmtree(home, ignore_errors=True)
    environment = {
        "GRAPHSVC_DATA_DIR": str(home.absolute()),
        "GRAPHSVC_DATABASE_URL": "",
        "GRAPHSVC_SCHEMA": "film",
        "GRAPHSVC_PORT": str(_free_port()),
        "GRAPHSVC_PROCESSES": "1",
    }
    os.environ.update(environment)
    settings = Settings()
    key = prepare(settings)
    if key is None:
        raise ServiceFailed(f"{home} was not empty")
    with _running(settings, environment, key, quiet=quiet) as session:
        yield session


@contextmanager
def _running(
    settings: Settings, environment: Mapping[str, str], key: str, *, quiet: bool
) -> Iterator[Session]:
    """Server and worker on a data folder, until the block ends."""
    pair = Pair(settings, environment)
    try:
        with Client(f"http://127.0.0.1:{settings.port}", key) as client:
            client.wait_ready(pair.ended)
            with progress_bars(quiet=quiet) as progress:
                yield Session(settings, client, pair, progress, environment, key)
    finally:
        pair.stop()


def _forget(before: Session, events: Sequence[Mapping[str, Any]], *, quiet: bool) -> dict[str, Any]:
    """Erase somebody, when all else is measured: what was trained is not what it was behind it."""
    from api.jobs import certifying
    from api.jobs.steps import open_workshop

    def verify(erasure: int) -> list[dict[str, Any]]:
        shop = open_workshop(before.settings)
        with shop.database.reading() as connection:
            certificate = erasures.erasure(connection, erasure).certificate
        checks = certifying.verify(shop, str(certificate), lambda _done, _total, _note: None)
        return [asdict(check) for check in checks]

    [late, *_] = (event for event in events if event["event_name"] == "click")
    late = {**late, "actor": {"type": "user", "id": forget.RENAMED}}
    with _running(before.settings, before.environment, before.key, quiet=quiet) as session:
        told = forget.measure(
            session.client,
            before.settings.data_dir,
            late,
            follow=lambda job: _follow(session, job, "erasure:"),
            verify=verify,
        )
    forget.require(told)
    return told


def _ingest(session: Session, events: Sequence[Mapping[str, Any]]) -> list[Row]:
    """Post every event in batches and take the rate over the whole stream."""
    announce("events over REST")
    task = session.progress.add_task("events", total=len(events), note="over REST")
    accepted, started = 0, time.perf_counter()
    for first in range(0, len(events), _BATCH):
        batch = events[first : first + _BATCH]
        verdicts = session.client.post_events(batch)
        if verdicts["rejected"]:
            bad = next(v for v in verdicts["verdicts"] if v["status"] == "rejected")
            raise ServiceFailed(f"an event of the data was rejected: {bad['message']}")
        accepted += verdicts["accepted"]
        session.progress.update(task, advance=len(batch))
    seconds = time.perf_counter() - started
    counts = session.client.graph()
    rows = [
        _row("events_accepted", accepted, "events"),
        _row("events_per_second", accepted / seconds, "events/s"),
    ]
    for kind in ("entities", "edges", "events"):
        rows += [_row(f"graph_{kind}", n, kind, model=name) for name, n in counts[kind].items()]
    return rows


def _skipped(counts: MovieLensCounts) -> list[Row]:
    """Triples of the files that are no events: the other direction, or ends of another type."""
    return [
        _row("triples_skipped", counts.skipped_relation, "triples", model="inverse or undeclared"),
        _row("triples_skipped", counts.skipped_type, "triples", model="outside the catalog"),
    ]


def _retrain(session: Session) -> list[Mapping[str, Any]]:
    """Ask for one retrain per protocol, of the whole ladder; the second one is promoted."""
    asked = [
        session.client.retrain(
            {"split": protocol, "arms": LADDER, "promote": protocol == PROTOCOLS[-1]}
        )
        for protocol in PROTOCOLS
    ]
    return [
        _follow(session, job_id, protocol)
        for job_id, protocol in zip(asked, PROTOCOLS, strict=True)
    ]


def _promoted(job: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a retrain promoted. Raises `ServiceFailed` where the gate let nothing pass."""
    promoted: Mapping[str, Any] | None = job["result"]["promoted"]
    if promoted is None:
        raise ServiceFailed(f"nothing was promoted: {job['result']['decision']['reason']}")
    return promoted


def _follow(session: Session, job_id: str, protocol: str) -> Mapping[str, Any]:
    bars: dict[str, Any] = {}
    while True:
        job = session.client.job(job_id)
        for step in job["progress"]:
            if step["step"] not in bars:
                title = f"{protocol} {step['step']}"
                announce(title)
                bars[step["step"]] = session.progress.add_task(title, total=None, note="")
            session.progress.update(
                bars[step["step"]],
                completed=step["done"],
                total=step["total"] or None,
                note=step["note"],
            )
        if job["state"] == "done":
            return job
        if job["state"] not in ("waiting", "running"):
            raise ServiceFailed(f"the {protocol} retrain ended as {job['state']}: {job['error']}")
        if dead := session.pair.ended():
            raise ServiceFailed(f"the {dead} ended by itself")
        time.sleep(_POLL_SECONDS)


def _clicked(events: Sequence[Mapping[str, Any]], end: str) -> list[str]:
    """Whoever is at one end of a click, in the order of their first."""
    return list(dict.fromkeys(e[end]["id"] for e in events if e["event_name"] == "click"))


def _questions(events: Sequence[Mapping[str, Any]]) -> list[tuple[str, list[str]]]:
    """A user and candidates for each call that is timed."""
    users, films = _clicked(events, "actor"), _clicked(events, "object")
    firsts = [call % (len(films) - _CANDIDATES) for call in range(_CALLS)]
    return [
        (users[call % len(users)], films[first : first + _CANDIDATES])
        for call, first in enumerate(firsts)
    ]


def _latencies(
    session: Session,
    events: Sequence[Mapping[str, Any]],
    asked: Sequence[tuple[str, Sequence[str]]],
) -> list[Row]:
    """Time single calls, one after the other, as one client sees them."""
    films = _clicked(events, "object")
    task = session.progress.add_task("latency", total=2 * len(asked), note="over HTTP")
    near, scored = [], []
    for call, (user, candidates) in enumerate(asked):
        film = films[call % len(films)]
        near.append(_timed(lambda film=film: session.client.neighbors("film", film, 10)))
        scored.append(_timed(lambda u=user, c=candidates: session.client.score(u, c)))
        session.progress.update(task, advance=2)
    return _percentiles("neighbors", near, "10") + _percentiles("score", scored, "100")


def _percentiles(what: str, milliseconds: Sequence[float], model: str) -> list[Row]:
    ordered = sorted(milliseconds)
    return [
        _row(
            f"{what}_p{share}_ms",
            ordered[min(len(ordered) * share // 100, len(ordered) - 1)],
            "ms",
            model=model,
        )
        for share in (50, 99)
    ]


def _near(session: Session, events: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Five neighbors of a well-known film, by title."""
    titles = {
        e["actor"]["id"]: e["properties"]["title"]
        for e in events
        if e["event_name"] == "set_attributes" and e["actor"]["type"] == "film"
    }
    film = next(id_ for id_, title in titles.items() if title == _FILM)
    found = session.client.neighbors("film", film, 5)["items"]
    return {"of": _FILM, "items": [titles.get(n["id"], n["id"]) for n in found]}


def _memory(session: Session) -> list[Row]:
    """The most memory that each process ever held."""
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    rows = [_row("peak_memory_mib", own, "MiB", model="demo")]
    for name, process in (("server", session.pair.server), ("worker", session.pair.worker)):
        status = Path(f"/proc/{process.pid}/status")
        if status.is_file():  # elsewhere than on Linux nobody tells
            peak = next(line for line in status.read_text().splitlines() if "VmHWM" in line)
            rows.append(_row("peak_memory_mib", int(peak.split()[1]) / 1024, "MiB", model=name))
    return rows


def _timed(call: Any) -> float:
    started = time.perf_counter()
    call()
    return (time.perf_counter() - started) * 1000


def _row(metric: str, value: float, unit: str, *, model: str = "graphsvc") -> Row:
    return Row(metric=metric, value=float(value), unit=unit, split="demo", model=model)


def _chosen(jobs: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [{"request": job["request"], "result": job["result"]} for job in jobs]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
