"""Scores over HTTP: how long one client waits, and what many clients at once get.

    .venv/bin/python benchmarks/score.py

MovieLens-100k comes as for `graphsvc demo`: fetched once, or from `--data FOLDER`. Run it alone.
"""

import argparse
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import torch

sys.path.insert(0, str(Path(__file__).parent))

import grid
import printed
from aims import Aim
from callers import ask, at_once, posting
from live_service import COMPUTED
from publish import About, publish
from score_forwards import measured
from score_rows import Asked, draw, result_rows
from scoring_service import ARM, BUCKETS, Made, ranker_dials, service_of
from served import server, settle

from graphsvc.report import rows_of as report_rows
from graphsvc.snapshot import Span
from ranking.bundle import Ranker
from ranking.features import FeatureBatch
from ranking.idtables.served import SealedRows
from ranking.model import ModelShape, row_width

#: What its ID rows are held in.
PRECISIONS = ("trained", "int8")
PATH = "/v1/score"
CANDIDATES = (100, 500)
#: One client: calls that count, and those before.
CALLS, WARM = 1_000, 200
#: What a server has done before it is asked.
_BEGUN = "folded in"
#: Many at once: how many, asking for 100 candidates each, by how many server processes.
#: Events of a body, seconds between two bodies, and bodies before they begin anew.
EVENTS, EVERY, MOST_POSTED = 10, 0.1, 1_000
#: Turns of each form of the network, in one process.
FORWARD_TURNS = 7
CLIENTS, PROCESSES, SECONDS = (1, 2, 4, 8, 16, 32), 2, 10.0
#: One process, so many clients at once, and how many of their scores it computes at once.
CROWD, AT_ONCE = 16, (1, 2, 16)
AIMS = (
    Aim("score_p50_ms", at_most=4.0, where=".*100 candidates"),
    Aim("score_p99_ms", at_most=12.0, where=".*100 candidates"),
    Aim("score_p99_ms", at_most=30.0, where=".*500 candidates"),
)
_TITLE = "Scores over HTTP"
_WORDS = f"""
`POST /v1/score` of a server as `graphsvc serve` starts it, on SQLite, with the graph and the log of
MovieLens-100k, cut at the same moments for all (as a service is). The ranker has the default dials
of arm `{ARM}`, but for {BUCKETS:,} hashed rows on either side, so that each of its two ID tables
has more than a million rows. Heads are all users in turn, most of whom training has not seen: they
are folded in from what they did. Candidates are any films.

- `score_p50_ms`, `score_p99_ms`: one client that waits for each answer, {CALLS:,} calls, another
  server for each turn; the t interval is over turns. `forward_p50_ms`: encoding and network alone,
  of the same candidates, in a process without a server. Every server is asked when it has folded in
  whoever changed since training, as one that has run for some seconds has.
- `network_p50_ms`: of that the network alone, its rows looked up before, in each form it can have:
  as training has it (eager), exported by PyTorch, and in ONNX Runtime, which is what servers
  compute it with; one thread, turn by turn in one process. `by_eager`:
  the same by the eager one of the same turn. `logit_difference`: how far its logits are from those
  of training's form, at most. `seconds_to_make`: what it takes to make one.
- `while events come`: the same for {CANDIDATES[0]} candidates, while somebody posts {EVENTS}
  impressions of any users and films every {EVERY:g} s: what an event names is read anew.
- `answers_per_second`, `loaded_p50_ms`, `loaded_p99_ms`: so many clients at once, each of which
  asks for 100 candidates as soon as it has its answer, for {SECONDS:g} s; {PROCESSES} server
  processes. Clients and servers share the machine's cores.
- `one process`: {CROWD} clients of a single server process, which computes so many of their scores
  at once (`GRAPHSVC_SCORES_AT_ONCE`), while the others wait.
- `trained`, `int8`: the numbers of ID rows. `test_auc` is that of the report of this very
  ranker; `x_0`, `layers`, `tokens` are the sizes of its network.

![answers and waiting by clients](saturation.png)
"""


def parser() -> argparse.ArgumentParser:
    made = grid.arguments(__doc__.splitlines()[0], "docs/benchmarks/score")
    made.add_argument("--data", type=Path, help="folder of the five ml-100k files")
    made.add_argument("--work", type=Path, default=Path("build/score"), help="kept between runs")
    made.add_argument("--turns", type=int, default=5)
    return made


def cells(options: argparse.Namespace) -> dict[str, grid.Measure]:
    """Every cell by its name; turns are outermost, so that the machine's moods hit all alike."""
    made: dict[str, grid.Measure] = {}
    first, last = PRECISIONS[0], PRECISIONS[-1]
    for precision in PRECISIONS:
        made[_named(f"ranker-{precision}", precision)] = partial(_ranker, options, precision)
    for count in CANDIDATES:
        name = _named(f"forwards-{count}", first, FORWARD_TURNS)
        made[name] = partial(_forwards, options, count)
    for turn in range(1, options.turns + 1):
        for precision in PRECISIONS:
            for count in CANDIDATES:
                name = _named(f"alone-{precision}-{count}-{turn}", precision, CALLS, WARM, _BEGUN)
                made[name] = partial(_alone, options, precision, count, turn)
        name = _named(f"fed-{last}-{turn}", last, CALLS, WARM, EVENTS, EVERY, _BEGUN)
        made[name] = partial(_fed, options, last, turn)
    for precision in PRECISIONS:
        for clients in CLIENTS:
            name = _named(f"loaded-{precision}-{clients}", precision, PROCESSES, SECONDS, _BEGUN)
            made[name] = partial(_loaded, options, precision, clients)
    for number in AT_ONCE:
        name = _named(f"turns-{number}", first, CROWD, SECONDS, _BEGUN)
        made[name] = partial(_turns, options, number)
    return made


def _named(name: str, precision: str, *told: float | str) -> str:
    """A cell's name, with what the ranker is and what computes it."""
    return grid.named(name, asdict(ranker_dials(precision)), COMPUTED, *told)


def _forwards(options: argparse.Namespace, count: int) -> Mapping[str, Any]:
    """The network above the tables in each form, of one head beside so many candidates."""
    made = service_of(options.data, options.work, PRECISIONS[0])
    ranker = made.opened()
    torch.set_num_threads(1)
    return {"forms": measured(ranker, _batch(made, ranker, count), FORWARD_TURNS)}


def _batch(made: Made, ranker: Ranker, count: int) -> FeatureBatch:
    """One head of TEST beside so many tails of it, encoded."""
    rows = made.shop.examples(made.digests["snapshot"], made.digests["bundle"]).rows[Span.TEST]
    heads, shown = rows.heads.take(np.arange(1)), rows.exposures.take(np.arange(1))
    return ranker.encoder.encode(heads, rows.tails.take(np.arange(count)), shown)


def _ranker(options: argparse.Namespace, precision: str) -> Mapping[str, Any]:
    """How good it is, how large, and how long encoding and network alone take."""
    made = service_of(options.data, options.work, precision)
    ranker, store = made.opened(), made.shop.store
    [auc] = [
        row
        for row in report_rows(store.open("report", made.digests["report"]).payload)
        if (row.metric, row.model, row.split) == ("auc", f"ranker_{ARM}", "global_time/test")
    ]
    rows = made.shop.examples(made.digests["snapshot"], made.digests["bundle"]).rows[Span.TEST]
    torch.set_num_threads(1)
    forward: dict[str, float] = {}
    for count in CANDIDATES:
        heads, shown = rows.heads.take(np.arange(1)), rows.exposures.take(np.arange(1))
        tails = rows.tails.take(np.arange(count))
        work = partial(ranker.scored, heads, tails, shown)
        spent = [_timed(work) for _ in range(WARM + CALLS)]
        forward[str(count)] = percentiles(spent[WARM:])["p50_ms"]
    with torch.inference_mode():
        weights = ranker.model.parts(_batch(made, ranker, 1)).weights
    shape, config = ModelShape(**ranker.artifact.payload["shape"]), ranker.config
    return {
        "test_auc": [auc.value, auc.lo, auc.hi],
        "forward_p50_ms": forward,
        "x_0": row_width(shape, config),
        "layers": config.crossing.layers,
        "tokens": 0 if weights is None else weights.shape[-1],
        "table_rows": [shape.head_rows, shape.tail_rows],
        "table_mib": sum(rows.bytes for rows in _tables(ranker)) / 2**20,
        "ranker": ranker.digest,
    }


def _alone(options: argparse.Namespace, precision: str, count: int, turn: int) -> Mapping[str, Any]:
    """One client that waits for each of its answers."""
    made = service_of(options.data, options.work, precision)
    given = bodies(made, count, seed=turn)
    with server(made.folder, "") as running, closing(running.connect()) as connection:
        settle(running)
        spent = [ask(connection, running, PATH, body) for body in given]
        peak = running.peak_mib
    return {**percentiles(spent[WARM:]), "server_peak_mib": peak}


def _fed(options: argparse.Namespace, precision: str, turn: int) -> Mapping[str, Any]:
    """The same while events about users and films come in."""
    made = service_of(options.data, options.work, precision)
    asked, said = bodies(made, CANDIDATES[0], seed=turn), _events(made, seed=turn)
    with server(made.folder, "") as running, closing(running.connect()) as connection:
        settle(running)
        with posting(running, said, every=EVERY) as posted:
            spent = [ask(connection, running, PATH, body) for body in asked]
    return {**percentiles(spent[WARM:]), "events": len(posted) * EVENTS}


def _events(made: Made, *, seed: int) -> list[bytes]:
    """Bodies of impressions of any films, each its own: what they are about is read anew."""
    users, films = made.ids("user"), made.ids("film")
    draw, now = np.random.default_rng(seed), int(time.time())
    bodies = []
    for body in range(MOST_POSTED):
        events = [
            {
                "event_id": f"score-{now}-{seed}-{body}-{n}",
                "event_name": "impression",
                "event_time": now,
                "action_source": "onsite",
                "actor": {"type": "user", "id": users[int(draw.integers(len(users)))]},
                "object": {"type": "film", "id": films[int(draw.integers(len(films)))]},
            }
            for n in range(EVENTS)
        ]
        bodies.append(orjson.dumps({"events": events}))
    return bodies


def _loaded(options: argparse.Namespace, precision: str, clients: int) -> Mapping[str, Any]:
    """Many clients at once."""
    made = service_of(options.data, options.work, precision)
    given = bodies(made, CANDIDATES[0], seed=clients)
    with server(made.folder, "", GRAPHSVC_PROCESSES=str(PROCESSES)) as running:
        settle(running)
        spent = at_once(running, PATH, given, clients=clients, seconds=SECONDS)
    return {"answers_per_second": len(spent) / SECONDS, **percentiles(spent)}


def _turns(options: argparse.Namespace, scores_at_once: int) -> Mapping[str, Any]:
    """Many clients of one process that computes so many scores at once."""
    made = service_of(options.data, options.work, PRECISIONS[0])
    given = bodies(made, CANDIDATES[0], seed=0)
    dials = {"GRAPHSVC_PROCESSES": "1", "GRAPHSVC_SCORES_AT_ONCE": str(scores_at_once)}
    with server(made.folder, "", **dials) as running:
        settle(running)
        spent = at_once(running, PATH, given, clients=CROWD, seconds=SECONDS)
    return {"answers_per_second": len(spent) / SECONDS, **percentiles(spent)}


def bodies(made: Made, count: int, *, seed: int) -> list[bytes]:
    """Requests of all users in turn, with candidates drawn by chance."""
    users, films = made.ids("user"), made.ids("film")
    draw = np.random.default_rng(seed)
    first = int(draw.integers(len(users)))
    return [
        orjson.dumps(
            {
                "head": {"type": "user", "id": users[(first + n) % len(users)]},
                "candidates": [films[k] for k in draw.choice(len(films), count, replace=False)],
            }
        )
        for n in range(WARM + CALLS)
    ]


def percentiles(seconds: Sequence[float]) -> dict[str, float]:
    """The middle, and what one in a hundred is above, in milliseconds."""
    p50, p99 = np.percentile(np.array(seconds) * 1e3, [50, 99])
    return {"p50_ms": float(p50), "p99_ms": float(p99)}


def _timed(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _tables(ranker: Ranker) -> list[SealedRows]:
    return [table.rows for table in (ranker.model.head_table, ranker.model.tail_table)]


def main() -> None:
    options = parser().parse_args()
    found = grid.run(cells(options), options)
    asked = Asked(ARM, PRECISIONS, CANDIDATES, CLIENTS, AT_ONCE)
    rows = result_rows(found, asked)
    draw(options.out / "saturation.png", rows, asked)
    dials = {"turns": options.turns, "processes": PROCESSES, "seconds": SECONDS, "calls": CALLS}
    given = printed.given(parser(), options)
    about = About("score", _TITLE, _WORDS.strip(), "candidates", given, AIMS)
    publish(options.out, rows, found, dials, about)


if __name__ == "__main__":
    main()
