"""How fast events come in: over REST in batches, as a bulk stream, one by one, and as it fills up.

    .venv/bin/python benchmarks/ingest.py --budget-minutes 45

The rival is the database itself: the very statements that a bulk stream causes, with their values
and COPY buffers made before the clock starts. Server, client and database share the machine. The
curve goes on to 5,000,000 events and exports a snapshot of what it has at 1, 2.5 and 5 million.
"""

import argparse
import gc
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import orjson

sys.path.insert(0, str(Path(__file__).parent))

import grid
import printed
from exporting import measure_export
from market import Market
from pictures import curve
from places import KINDS, place
from publish import About, publish, spare
from raw import measure_raw
from replaying import measure_replay
from served import Server, server

from graphsvc.report import Row

RUNS = 3
EVENTS = 150_000
SINGLES = 3_000
CONNECTIONS = 4
CROWD, CROWD_EVENTS = 32, 10_000
CURVE_EVENTS = 5_000_000
CURVE_STEP = 250_000
CONTROL = 50_000
EXPORTS = (1_000_000, 2_500_000, 5_000_000)
T_95 = {2: 4.303}  # Student's t, by degrees of freedom

_WORDS = """
Server, client and database share the machine; both databases write to the disk before they answer.
The market of `benchmarks/market.py` is posted: sessions of people, a power law of ads, random ids.

- `rest`: batches of 1000 over four connections. `bulk`: one NDJSON stream. `single`: one event per
  request, one request at a time, or from 32 connections at once (`single_events_per_second`).
- `bulk_share_of_raw`: the stream's rate as a share of the very same SQL statements, run with values
  and COPY buffers that were made beforehand.
- `replay`: a change of the schema that has to sum all edges anew.
- `curve`: REST batches into a log that grows to 5 million events. `slowest_to_fastest` compares its
  steps of 250,000 with one another; `first_to_new` and `last_to_new` compare the first and the last
  million with an empty database at the same moment.
- `export`: a snapshot of what is there by then; its peak of memory is that of a process that does
  nothing else, and holds some 210 MiB before it begins.

![events per second as the log grows](curve.png)
"""


def cells(options: Any) -> dict[str, grid.Measure]:
    made: dict[str, grid.Measure] = {}
    for kind in KINDS:
        for run in range(1, RUNS + 1):
            made[f"rest-{kind}-{run}"] = partial(measure_rest, kind, run)
            made[f"bulk-{kind}-{run}"] = partial(measure_bulk, kind, run)
        made[f"single-{kind}"] = partial(measure_single, kind)
        made[f"crowd-{kind}"] = partial(measure_crowd, kind)
    for kind in KINDS:
        made[f"replay-{kind}"] = partial(measure_replay, kind)
    for kind in KINDS:
        made[f"curve-{kind}"] = partial(measure_curve, kind, options.curve_events)
    return made


def measure_rest(kind: str, run: int) -> Mapping[str, Any]:
    """Batches of 1000 events over a few connections."""
    return {"events_per_second": _rate_when_new(kind, EVENTS, seed=run)}


def _rate_when_new(kind: str, events: int, *, seed: int = 0) -> float:
    """Events per second of a service that begins with an empty database."""
    bodies = [_body(batch) for batch in _market(seed).events(events, start=_start())]
    with place(kind) as (folder, url), server(folder, url) as running:
        _post_all(running, bodies[:5])  # the first batches meet cold caches and cold plans
        seconds = _timed(lambda: _post_all(running, bodies[5:]))
    return (events - 5_000) / seconds


def measure_bulk(kind: str, run: int) -> Mapping[str, Any]:
    """The same events as one stream, and the same statements without anything around them."""
    batches = list(_market(run).events(EVENTS, start=_start()))
    lines = b"".join(orjson.dumps(event) + b"\n" for batch in batches for event in batch)
    with place(kind) as (folder, url), server(folder, url) as running:
        seconds = _timed(lambda: _stream(running, lines))
    bulk, raw = EVENTS / seconds, measure_raw(kind, batches)
    return {"bulk_per_second": bulk, "raw_per_second": raw, "share": bulk / raw}


def measure_single(kind: str) -> Mapping[str, Any]:
    """One event per request, one request at a time."""
    events = [event for batch in _market(9).events(SINGLES, start=_start()) for event in batch]
    with place(kind) as (folder, url), server(folder, url) as running:
        _post_all(running, [_body(batch) for batch in _market(8).events(20_000, start=_start())])
        connection = running.connect()
        took = []
        for event in events:
            body = _body([event])
            start = time.perf_counter()
            _post(connection, running, body)
            took.append(1e3 * (time.perf_counter() - start))
    took.sort()
    return {
        "p50_ms": took[len(took) // 2],
        "p99_ms": took[int(len(took) * 0.99)],
        "max_ms": took[-1],
        "requests": len(took),
    }


def measure_crowd(kind: str) -> Mapping[str, Any]:
    """One event per request, from many connections at once."""
    bodies = [
        _body([e]) for batch in _market(7).events(CROWD_EVENTS, start=_start()) for e in batch
    ]
    with place(kind) as (folder, url), server(folder, url) as running:
        _post_all(running, bodies[:500], connections=CROWD)
        seconds = _timed(lambda: _post_all(running, bodies[500:], connections=CROWD))
    return {"events_per_second": (CROWD_EVENTS - 500) / seconds, "connections": CROWD}


def measure_curve(kind: str, events: int) -> Mapping[str, Any]:
    """Throughput of REST batches as the database fills up, and exports on the way.

    Each step is compared with a service that is new at that moment: this machine is not equally
    fast at all times, and what it does to both is not the database's doing.
    """
    market, start = _market(0), _start()
    steps: list[dict[str, float]] = []
    exports: list[Mapping[str, Any]] = []
    with place(kind) as (folder, url), server(folder, url) as running:
        for done in range(0, events, CURVE_STEP):
            first = done // 1000
            bodies = [_body(b) for b in market.events(CURVE_STEP, start=start, first=first)]
            seconds = _timed(partial(_post_all, running, bodies))
            step = {"events": done + CURVE_STEP, "per_second": CURVE_STEP / seconds}
            step["new_per_second"] = _rate_when_new(kind, CONTROL)
            steps.append(step)
            told = {name: f"{value:,.0f}" for name, value in step.items()}
            grid.console.print(f"  {told}")
            if done + CURVE_STEP in EXPORTS:
                exports.append(measure_export(folder, url, done + CURVE_STEP))
                grid.console.print(f"  export: {exports[-1]}")
        peak = running.peak_mib
    rates = [step["per_second"] for step in steps]
    shares = [step["per_second"] / step["new_per_second"] for step in steps]
    return {
        "first_per_second": rates[0],
        "last_per_second": rates[-1],
        "slowest_to_fastest": min(rates) / max(rates),
        "last_to_new": statistics.mean(shares[-4:]),
        "first_to_new": statistics.mean(shares[:4]),
        "server_peak_mib": peak,
        "steps": steps,
        "exports": exports,
    }


def _market(seed: int) -> Market:
    return Market(seed=seed)


def _start() -> int:
    """Times from thirty hours ago on: none is late, and after 5 million none in the future."""
    return int(time.time()) - 30 * 3600


def _body(batch: Any) -> bytes:
    return orjson.dumps({"events": batch})


def _timed(work: Callable[[], None]) -> float:
    gc.collect()
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _post(connection: Any, running: Server, body: bytes) -> None:
    connection.request("POST", "/v1/events", body=body, headers=running.headers)
    answer = connection.getresponse()
    told = answer.read()
    if answer.status != 200 or b'"duplicate":0,"conflict":0,"rejected":0' not in told[:80]:
        raise SystemExit(f"{answer.status}: {told[:500].decode(errors='replace')}")


def _post_all(running: Server, bodies: list[bytes], *, connections: int = CONNECTIONS) -> None:
    queue: Iterator[bytes] = iter(bodies)
    lock = threading.Lock()
    failed: list[BaseException] = []

    def work() -> None:
        connection = running.connect()
        try:
            while not failed:
                with lock:
                    body = next(queue, None)
                if body is None:
                    return
                _post(connection, running, body)
        except BaseException as error:  # noqa: BLE001  told by the caller
            failed.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=work) for _ in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]


def _stream(running: Server, lines: bytes) -> None:
    connection = running.connect()
    headers = {**running.headers, "Content-Type": "application/x-ndjson"}
    connection.request("POST", "/v1/events/bulk?verdicts=errors", body=lines, headers=headers)
    answer = connection.getresponse()
    summary = orjson.loads(answer.read().strip().splitlines()[-1])["summary"]
    if summary["accepted"] != lines.count(b"\n"):
        raise SystemExit(f"not all were accepted: {summary}")


def rows_of(found: Mapping[str, Mapping[str, Any]]) -> list[Row]:
    rows: list[Row] = []
    for kind in KINDS:
        for metric, prefix, field, unit in (
            ("rest_events_per_second", "rest", "events_per_second", "events/s"),
            ("bulk_events_per_second", "bulk", "bulk_per_second", "events/s"),
            ("bulk_share_of_raw", "bulk", "share", "share"),
        ):
            values = [
                found[name][field]
                for run in range(1, RUNS + 1)
                if (name := f"{prefix}-{kind}-{run}") in found
            ]
            rows += _spread(metric, unit, kind, values)
        for name, rows_from in _ONCE.items():
            if told := found.get(f"{name}-{kind}"):
                rows += rows_from(told, kind)
    return rows


def _single_rows(told: Mapping[str, Any], kind: str) -> list[Row]:
    names = ("p50_ms", "p99_ms")
    return [_row(f"single_event_{name}", told[name], "ms", kind) for name in names]


def _crowd_rows(told: Mapping[str, Any], kind: str) -> list[Row]:
    split = f"connections={told['connections']}"
    return [_row("single_events_per_second", told["events_per_second"], "events/s", kind, split)]


def _replay_rows(told: Mapping[str, Any], kind: str) -> list[Row]:
    split = f"events={told['events']}"
    return [
        _row(f"replay_{name}", told[f"{name}_per_second"], "events/s", kind, split)
        for name in ("slowest", "fastest")
    ]


def _curve_rows(told: Mapping[str, Any], kind: str) -> list[Row]:
    rows = [
        _row(f"curve_{name}", told[name], "share", kind)
        for name in ("slowest_to_fastest", "first_to_new", "last_to_new")
    ]
    rows.append(_row("curve_server_peak", told["server_peak_mib"], "MiB", kind))
    for made in told["exports"]:
        split = f"events={made['events']}"
        rows.append(_row("export_rows_per_second", made["rate"], "events/s", kind, split))
        rows.append(_row("export_peak", made["peak_mib"], "MiB", kind, split))
    return rows


_ONCE = {
    "single": _single_rows,
    "crowd": _crowd_rows,
    "replay": _replay_rows,
    "curve": _curve_rows,
}


def _spread(metric: str, unit: str, kind: str, values: list[float]) -> list[Row]:
    rows = [_row(metric, value, unit, kind, seed=n) for n, value in enumerate(values, start=1)]
    if len(values) > 1:
        mean, n = statistics.mean(values), len(values)
        half = T_95.get(n - 1, 12.706) * statistics.stdev(values) / n**0.5
        rows.append(
            Row(
                metric=metric,
                value=mean,
                lo=mean - half,
                hi=mean + half,
                unit=unit,
                split="market",
                model=kind,
                seed="all",
            )
        )
    return rows


def _row(
    metric: str, value: float, unit: str, kind: str, split: str = "market", *, seed: int = 0
) -> Row:
    return Row(metric=metric, value=value, unit=unit, split=split, model=kind, seed=seed)


def arguments() -> argparse.ArgumentParser:
    parser = grid.arguments(__doc__.splitlines()[0], "docs/benchmarks/ingest")
    parser.add_argument("--curve-events", type=int, default=CURVE_EVENTS)
    return parser


def main() -> None:
    options = arguments().parse_args()
    found = grid.run(cells(options), options)
    rows = rows_of(found)
    spare(options.out, "ingest", rows)
    dials = {
        "events": EVENTS,
        "batch": 1000,
        "connections": CONNECTIONS,
        "singles": SINGLES,
        "market": {k: v for k, v in vars(Market()).items() if k != "seed"},
    }
    curve(
        options.out / "curve.png",
        {kind: told["steps"] for kind in KINDS if (told := found.get(f"curve-{kind}"))},
    )
    given = printed.given(arguments(), options)
    about = About("ingest", "How fast events come in", _WORDS, "database", given)
    publish(options.out, rows, found, dials, about)


if __name__ == "__main__":
    main()
