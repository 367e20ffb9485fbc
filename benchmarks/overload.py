"""A server that is asked twice as much as it can do: memory, refusals, and what others wait.

    .venv/bin/python benchmarks/overload.py

MovieLens-100k comes as for `graphsvc demo`: fetched once, or from `--data FOLDER`. The service is
that of `benchmarks/score.py`, which finds it in the same `--work`. Run it alone.
"""

import argparse
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import grid
import numpy as np
import printed
from aims import Aim, missed
from callers import ask, at_once
from live_service import COMPUTED
from matplotlib import pyplot as plt
from numpy.typing import NDArray
from pictures import finish
from publish import About, publish
from score import PATH, bodies, percentiles
from scoring_service import ARM, BUCKETS, ranker_dials, service_of
from served import Server, server, settle

from graphsvc.report import Row

PRECISION, CANDIDATES = "trained", 100
#: The capacity: this many clients, each of which asks again as soon as it is answered.
CLIENTS, SECONDS = 16, 20.0
#: The caller who asks too much: times the capacity, by so many connections.
TIMES, CONNECTIONS = 2.0, 512
#: The other one asks so often, in seconds; and how often memory is looked at.
EVERY, LOOK = 0.1, 1.0
#: Minutes in which caches fill; memory is compared from there on, and once more in the last ones.
_FILLING, _END = 2, 3
_MIB = 2**20
AIMS = (Aim("memory_growth", at_most=1.0), Aim("failed", at_most=0.0))
_TITLE = "Twice as much as a server can do"
_WORDS = f"""
A server as `graphsvc serve` starts it, one process on SQLite, with the ranker of
`benchmarks/score.py` (arm `{ARM}`, {BUCKETS:,} hashed rows on either side). One caller asks for
{CANDIDATES} candidates {TIMES:g} times as often as the server can answer, by {CONNECTIONS}
connections of a process beside it, on the same cores. Another caller, with a key of its own, asks
for as many every {EVERY:g} s, and waits for each answer.

- `capacity`: answers a second to {CLIENTS} clients who ask again as soon as they are answered.
- `asked`, `answered`, `refused`: requests of the caller who asks too much, a second; refused is 503
  with `Retry-After`, at once, and `failed` anything else, also a 503 without it.
- `other_p50_ms`, `other_p99_ms`: what the other caller waits, `alone` and `beside`. None of its
  requests may fail.
- `memory_growth`: how much the server's own resident memory (without files that it maps, as ID
  tables are, whose pages come in as they are read) grows a minute, from minute {_FILLING} on:
  the slope of a line through what is looked at every {LOOK:g} s, with the interval of a bootstrap
  over minutes. `memory_first`, `memory_last`: in minute
  {_FILLING + 1} and in the last one. `memory_growth_at_the_end`: the slope of the last {_END}
  minutes.

![memory and waiting](overload.png)
"""


def parser() -> argparse.ArgumentParser:
    made = grid.arguments(__doc__.splitlines()[0], "docs/benchmarks/overload")
    made.add_argument("--data", type=Path, help="folder of the five ml-100k files")
    made.add_argument("--work", type=Path, default=Path("build/score"), help="kept between runs")
    made.add_argument("--minutes", type=float, default=10.0, help="of asking too much")
    return made


def cells(options: argparse.Namespace) -> dict[str, grid.Measure]:
    told = (asdict(ranker_dials(PRECISION)), COMPUTED, CLIENTS, TIMES, CONNECTIONS, EVERY, "own")
    return {grid.named("soak", *told, options.minutes): partial(_soak, options)}


def _soak(options: argparse.Namespace) -> Mapping[str, Any]:
    """Capacity, the other caller alone, and then both."""
    made = service_of(options.data, options.work, PRECISION)
    asked = bodies(made, CANDIDATES, seed=1)
    seconds = options.minutes * 60
    with server(made.folder, "") as running:
        settle(running)
        capacity = len(at_once(running, PATH, asked, clients=CLIENTS, seconds=SECONDS)) / SECONDS
        other = replace(running, key=_another(made.folder))
        alone = [spent for _, spent in _paced(other, asked, seconds=SECONDS)]
        too_much = _flooded(running, asked[0], rate=TIMES * capacity, seconds=seconds)
        with too_much as told, _watched(running) as memory:
            beside = _paced(other, asked, seconds=seconds - 1)
    statuses = told["statuses"]
    return {
        "capacity": capacity,
        "statuses": statuses,
        "seconds": seconds,
        "alone": percentiles(alone),
        "beside": percentiles([spent for _, spent in beside]),
        "by_minute": [
            percentiles([spent for at, spent in beside if int(at // 60) == minute])
            for minute in range(max(1, int(options.minutes)))
            if any(int(at // 60) == minute for at, _ in beside)
        ],
        "memory_mib": memory,
    }


def _another(folder: Path) -> str:
    """A key of somebody else."""
    command = [sys.executable, "-m", "api", "key", "create", "--name", "other", "--json"]
    own = {"GRAPHSVC_DATA_DIR": str(folder / "data"), "GRAPHSVC_DATABASE_URL": ""}
    done = subprocess.run(command, env={**os.environ, **own}, capture_output=True, check=True)
    return str(json.loads(done.stdout)["key"])


def _paced(running: Server, asked: Sequence[bytes], *, seconds: float) -> list[tuple[float, float]]:
    """When a request was sent, from the beginning, and how long it took, one after the other."""
    told, began = [], time.monotonic()
    with closing(running.connect()) as connection:
        while (now := time.monotonic() - began) < seconds:
            body = asked[len(told) % len(asked)]
            told.append((now, ask(connection, running, PATH, body)))
            time.sleep(max(0.0, EVERY - (time.monotonic() - began - now)))
    return told


@contextmanager
def _flooded(running: Server, body: bytes, **how: float) -> Iterator[dict[str, Any]]:
    """A process that asks too much until it has; what it was told, once the block has ended."""
    asked = {"port": running.port, "path": PATH, "body": body.decode(), **how}
    asked |= {"connections": CONNECTIONS, "headers": running.headers}
    script = str(Path(__file__).parent / "flood.py")
    process = subprocess.Popen(
        [sys.executable, script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    told: dict[str, Any] = {}
    assert process.stdin is not None
    process.stdin.write(json.dumps(asked))
    process.stdin.close()
    try:
        yield told
    except BaseException:
        process.kill()
        raise
    assert process.stdout is not None
    with process.stdout as said:
        told["statuses"] = json.loads(said.read())
    process.wait()


@contextmanager
def _watched(running: Server) -> Iterator[list[float]]:
    """The server's own resident memory in MiB, look by look."""
    looks: list[float] = []
    ended = threading.Event()

    def work() -> None:
        status = Path(f"/proc/{running.process.pid}/status")
        while not ended.wait(LOOK):
            lines = status.read_text().splitlines()
            line = next(one for one in lines if one.startswith("RssAnon"))
            looks.append(int(line.split()[1]) / 1024)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield looks
    finally:
        ended.set()
        thread.join()


def result_rows(found: Mapping[str, Mapping[str, Any]]) -> list[Row]:
    """The figures of the soak."""
    made: list[Row] = []
    for cell in found.values():
        seconds, statuses = cell["seconds"], cell["statuses"]
        answered, refused = (statuses.get(status, 0) for status in ("200", "503"))
        every = sum(statuses.values())
        figures = [
            ("capacity", "clients", cell["capacity"], "requests/s"),
            ("asked", "too much", every / seconds, "requests/s"),
            ("answered", "too much", answered / seconds, "requests/s"),
            ("refused", "too much", refused / seconds, "requests/s"),
            ("failed", "too much", every - answered - refused, "requests"),
            *(
                (f"other_{name}", where, cell[where][name], "ms")
                for where in ("alone", "beside")
                for name in ("p50_ms", "p99_ms")
            ),
        ]
        made += [
            Row(metric=metric, model=model, value=float(value), unit=unit, split="overload")
            for metric, model, value, unit in figures
        ]
        made += _memory_rows(cell["memory_mib"])
    return made


def _memory_rows(looks: Sequence[float]) -> list[Row]:
    """Growth a minute from where caches are full, and memory there and at the end."""
    each = round(60 / LOOK)
    kept = np.array(looks[_FILLING * each :])
    where = {"model": "server", "split": "overload"}
    if len(kept) < 2 * each:
        return []
    minutes = np.arange(len(kept)) / each
    draw = np.random.default_rng(0)
    blocks = len(kept) // each
    slopes = []
    for _ in range(1000):
        chosen = draw.integers(blocks, size=blocks)
        rows = (chosen[:, None] * each + np.arange(each)).ravel()
        if len(set(chosen.tolist())) > 1:
            slopes.append(np.polyfit(minutes[rows], kept[rows], 1)[0])
    low, high = (float(bound) for bound in np.percentile(slopes, [2.5, 97.5]))
    per = {"unit": "MiB/min"}
    return [
        Row(metric="memory_growth", value=_slope(kept), lo=low, hi=high, **per, **where),
        Row(metric="memory_first", value=float(kept[:each].mean()), unit="MiB", **where),
        Row(metric="memory_last", value=float(kept[-each:].mean()), unit="MiB", **where),
        Row(metric="memory_growth_at_the_end", value=_slope(kept[-_END * each :]), **per, **where),
    ]


def _slope(looks: NDArray[np.float64]) -> float:
    """MiB a minute of the line through some looks."""
    minutes = np.arange(len(looks)) * LOOK / 60
    return float(np.polyfit(minutes, looks, 1)[0])


def draw(file: Path, found: Mapping[str, Mapping[str, Any]]) -> None:
    """Memory over time, and what the other caller waits, minute by minute."""
    for cell in found.values():
        figure, (left, right) = plt.subplots(1, 2, figsize=(8.4, 3.0), layout="constrained")
        looks = cell["memory_mib"]
        left.plot(np.arange(1, len(looks) + 1) * LOOK / 60, looks)
        left.set(xlabel="minutes", ylabel="own memory, MiB", ylim=(0, 1.1 * max(looks)))
        for name in ("p50_ms", "p99_ms"):
            told = [one[name] for one in cell["by_minute"]]
            [line] = right.plot(range(1, len(told) + 1), told, marker="o", label=name[:3])
            right.axhline(cell["alone"][name], linestyle=":", color=line.get_color())
        right.set(xlabel="minutes (dotted: alone)", ylabel="the other waits, ms", ylim=(0, None))
        for axes in (left, right):
            axes.grid(visible=True, alpha=0.3)
        finish(file, figure, right)


def main() -> None:
    options = parser().parse_args()
    found = grid.run(cells(options), options)
    rows = result_rows(found)
    if found:
        draw(options.out / "overload.png", found)
    given = printed.given(parser(), options)
    dials = {"minutes": options.minutes, "connections": CONNECTIONS, "times": TIMES}
    about = About("overload", _TITLE, _WORDS.strip(), "who", given, AIMS)
    publish(options.out, rows, found, dials, about)
    if missed(AIMS, rows):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
