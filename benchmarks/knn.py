"""Nearest neighbors: what an index costs to build, to hold and to ask, alone and over HTTP.

    .venv/bin/python benchmarks/knn.py --budget-minutes 60
    .venv/bin/python benchmarks/knn.py --rows 50000 --out build/knn

Two bundles, one that was trained on a market and uniform Gaussian vectors, the worst case. The
rival is the same FAISS index, asked in a process without anything around it.
"""

import argparse
import json
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import torch  # noqa: F401  before FAISS: two OpenMP runtimes

sys.path.insert(0, str(Path(__file__).parent))

import grid
import knn_raw
import knn_recall
import printed
from aims import Aim
from knn_bundles import SOURCES, bundle_of, dials, folder_of
from knn_overlay import changed_places
from knn_raw import CORES
from knn_recall import K, timed
from pictures import trade
from publish import About, publish, spare
from served import Server, server

from graphsvc.artifact import ArtifactStore
from graphsvc.report import Row
from kge.bundle import Bundle
from kge.config import IndexConfig
from kge.index import Index, build_index, open_index
from kge.parts import directions
from kge.searchers import one_thread

ROWS = 1_000_000
BATCH = 100
QUERIES, SINGLES, BATCHES = 500, 3_000, 120
#: Two for each process: none waits for the next body.
CLIENTS = 2 * CORES
#: Entities of an overlay: half of them stand in for their row of the index.
CHANGED = 4_000
#: Room for a graph of 1 M x 64 beside the users.
INDEX = IndexConfig(memory_mib=2048)

AIMS = (
    Aim("recall@10", at_least=0.95),
    Aim("http_p99", at_most=10.0),
    Aim("http_batch_share_of_raw", at_least=0.6),
)
_WORDS = """
A type of {rows:,} vectors of 64 numbers, and a tenth as many of another type beside it. `trained`:
TransRA on a market with categories and tastes. `gaussian`: uniform noise, in which everything is
about equally far from everything; an index has to compare most there, and no trained bundle looks
like it.

- `build`: one thread, so that the same vectors give the same bytes. `bytes_per_vector`: what the
  index holds beside the bundle, measured from its file. `recall@10`: against an exact search, by
  {queries} queries, half of them items and half users; nobody is a neighbor of their own.
- `http_p50`, `http_p99`: `GET .../neighbors?k=10` of trained entities, one at a time; `raw_*`: the
  same vectors asked of FAISS, in the same cell, as the service asks for them: {asked} instead of
  10, since nobody is told of themselves and some are compared again, by the effort that it takes.
- `http_changed_*`: the same of a server with {changed} entities in its overlay, half of them
  changed since training and half new, so that every search passes over rows of the index and
  compares the overlay beside it; `raw_changed_*`: FAISS passing over the same rows.
- `http_batch`: `POST /v1/neighbors` with {batch} entities, {cores} server processes and
  {clients} clients; `raw_batch`: FAISS on the same batches, with {cores} threads on each or {cores}
  batches at a time on a thread each, whichever is quicker. Clients, server and database share the
  machine, so what clients cost is in the share.
- The server has a bundle, an index and no ranker (`benchmarks/knn_server.py`), on SQLite.

![recall against time](recall.png)
"""


def cells(options: Any) -> dict[str, grid.Measure]:
    measures = {
        "build": measure_build,
        "http": measure_http,
        "changed": measure_changed,
        "batch": measure_batch,
    }
    return {
        cell_of(kind, source, options.rows): partial(work, source, options)
        for source in SOURCES
        for kind, work in measures.items()
    }


def cell_of(kind: str, source: str, rows: int) -> str:
    """The name of a cell, with a digest of what it depends on beside its source and rows."""
    own = {
        "build": (K, QUERIES, knn_recall.EFFORTS),
        "http": (K, SINGLES),
        "changed": (K, SINGLES, CHANGED),
        "batch": (K, BATCH, BATCHES, CORES, CLIENTS),
    }
    index = asdict(INDEX)
    return grid.named(f"{kind}-{source}-{rows}", own[kind], dials(), index)


def measure_build(source: str, options: Any) -> Mapping[str, Any]:
    """Build time, bytes, recall, and how recall goes with time."""
    store = folder_of(options.work, options.rows)
    bundle = bundle_of(store, source, options.rows)
    start = time.perf_counter()
    index = build_index(store, bundle, INDEX)
    seconds = time.perf_counter() - start
    _kept(store, source, bundle).write_text(json.dumps({"index": index.digest}))
    recipe = index.recipes["all", "ad"]
    asked = knn_recall.asked_of(bundle, QUERIES)
    truth = knn_recall.truth_of(bundle, asked)
    rows, dim = options.rows, bundle.vectors.shape[1]
    name = "all-ad.faiss"
    held = index.artifact.manifest["files"].get(name, {"bytes": 4 * rows * dim})["bytes"]
    return {
        "bundle": bundle.digest,
        "index": index.digest,
        "build_seconds": seconds,
        "bytes_per_vector": held / rows + 4,
        "recall": knn_recall.recall(index, bundle, asked, truth),
        "kind": recipe.kind,
        "effort": recipe.effort,
        "reason": recipe.reason,
        "told": recipe.recall,
        "tried": recipe.tried,
        "curve": knn_recall.curve(index, asked, truth),
    }


def measure_http(source: str, options: Any) -> Mapping[str, Any]:
    """One query at a time, over HTTP and of FAISS alone."""
    return _singles(source, options, changed=0)


def measure_changed(source: str, options: Any) -> Mapping[str, Any]:
    """The same of a server to which much has happened: every search passes over some rows."""
    return _singles(source, options, changed=CHANGED)


def _singles(source: str, options: Any, *, changed: int) -> Mapping[str, Any]:
    store, bundle, index = _opened(source, options)
    kind = bundle.types["ad"]
    draw = np.random.default_rng(11)
    rows = draw.choice(np.arange(kind.start, kind.stop), SINGLES)
    units = directions(bundle.vectors[rows])
    allowed = None
    if changed:
        allowed = np.ones(kind.stop - kind.start, dtype=bool)
        allowed[changed_places(bundle, changed)] = False
    searcher = index.part("ad")
    searcher.search(units[:1], K)
    with one_thread():
        raw = [
            timed(partial(knn_raw.ask, index, units[n : n + 1], allowed)) for n in range(SINGLES)
        ]
    with _serving(options, store, bundle, index, processes=1, changed=changed) as running:
        asked = [f"/v1/entities/ad/{bundle.ids[row]}/neighbors?k={K}" for row in rows]
        with closing(running.connect()) as connection:
            for path in asked[:200]:
                _get(connection, running, path)
            told = [timed(partial(_get, connection, running, path)) for path in asked]
        peak = running.peak_mib
    return {
        **{f"http_{name}": value for name, value in _percentiles(told).items()},
        **{f"raw_{name}": value for name, value in _percentiles(raw).items()},
        "raw_share_of_p50": _percentiles(raw)["p50_ms"] / _percentiles(told)["p50_ms"],
        "server_peak_mib": peak,
        "bundle": bundle.digest,
        "index": index.digest,
    }


def measure_batch(source: str, options: Any) -> Mapping[str, Any]:
    """Batches of 100, over HTTP from two clients for each process, and of FAISS alone."""
    store, bundle, index = _opened(source, options)
    kind = bundle.types["ad"]
    draw = np.random.default_rng(12)
    rows = draw.choice(np.arange(kind.start, kind.stop), (BATCHES, BATCH))
    units = directions(bundle.vectors[rows.ravel()]).reshape(BATCHES, BATCH, -1)
    raw = BATCHES * BATCH / min(knn_raw.together(index, units), knn_raw.in_turn(index, units))
    bodies = [
        orjson.dumps(
            {"queries": [{"entity": {"type": "ad", "id": bundle.ids[r]}, "k": K} for r in some]}
        )
        for some in rows
    ]
    with _serving(options, store, bundle, index, processes=CORES) as running:
        _post_all(running, bodies[: 2 * CLIENTS])
        told = BATCHES * BATCH / timed(lambda: _post_all(running, bodies))
    artifacts = {"bundle": bundle.digest, "index": index.digest}
    return {"http_per_second": told, "raw_per_second": raw, "share": told / raw, **artifacts}


def _opened(source: str, options: Any) -> tuple[ArtifactStore, Bundle, Index]:
    store = folder_of(options.work, options.rows)
    bundle = bundle_of(store, source, options.rows)
    named = _kept(store, source, bundle)
    if not named.exists():
        measure_build(source, options)
    digest = json.loads(named.read_text())["index"]
    return store, bundle, open_index(store, digest, bundle)


def _kept(store: ArtifactStore, source: str, bundle: Bundle) -> Path:
    """Where the digest of the index of a bundle is kept, by the dials of either."""
    return store.root.parent / f"{grid.named(f'{source}-index', bundle.digest, asdict(INDEX))}.json"


def _serving(
    options: Any,
    store: ArtifactStore,
    bundle: Bundle,
    index: Index,
    *,
    processes: int,
    changed: int = 0,
) -> Any:
    folder = Path(tempfile.mkdtemp(prefix="knn-", dir=options.work))
    return server(
        folder,
        "",
        (str(Path(__file__).parent / "knn_server.py"),),
        GRAPHSVC_PROCESSES=str(processes),
        KNN_STORE=str(store.root.absolute()),
        KNN_BUNDLE=bundle.digest,
        KNN_INDEX=index.digest,
        KNN_CHANGED=str(changed),
    )


def _get(connection: Any, running: Server, path: str) -> None:
    connection.request("GET", path, headers=running.headers)
    answer = connection.getresponse()
    told = answer.read()
    if answer.status != 200:
        raise SystemExit(f"{answer.status}: {told[:500].decode(errors='replace')}")


def _post_all(running: Server, bodies: Sequence[bytes]) -> None:
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
                connection.request("POST", "/v1/neighbors", body=body, headers=running.headers)
                answer = connection.getresponse()
                told = answer.read()
                if answer.status != 200 or b'"refused"' in told:
                    text = told[:500].decode(errors="replace")
                    failed.append(SystemExit(f"{answer.status}: {text}"))
        except BaseException as error:  # noqa: BLE001  told by the caller
            failed.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=work) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]


def _percentiles(seconds: Sequence[float]) -> dict[str, float]:
    ordered = sorted(seconds)
    return {
        "p50_ms": 1e3 * ordered[len(ordered) // 2],
        "p99_ms": 1e3 * ordered[int(len(ordered) * 0.99)],
    }


_FIGURES: Mapping[str, tuple[tuple[str, str, str], ...]] = {
    "build": (
        ("build_seconds", "build", "s"),
        ("bytes_per_vector", "bytes_per_vector", "bytes"),
        ("recall", "recall@10", "share"),
    ),
    "http": (
        ("http_p50_ms", "http_p50", "ms"),
        ("http_p99_ms", "http_p99", "ms"),
        ("raw_p50_ms", "raw_p50", "ms"),
        ("raw_p99_ms", "raw_p99", "ms"),
        ("raw_share_of_p50", "raw_share_of_http_p50", "share"),
        ("server_peak_mib", "server_peak", "MiB"),
    ),
    "changed": (
        ("http_p50_ms", "http_changed_p50", "ms"),
        ("http_p99_ms", "http_changed_p99", "ms"),
        ("raw_p50_ms", "raw_changed_p50", "ms"),
        ("raw_p99_ms", "raw_changed_p99", "ms"),
        ("raw_share_of_p50", "raw_share_of_http_changed_p50", "share"),
    ),
    "batch": (
        ("http_per_second", "http_batch", "queries/s"),
        ("raw_per_second", "raw_batch", "queries/s"),
        ("share", "http_batch_share_of_raw", "share"),
    ),
}


def rows_of(found: Mapping[str, Mapping[str, Any]], rows: int) -> list[Row]:
    made = []
    for source in SOURCES:
        built = found.get(cell_of("build", source, rows), {})
        kind = f"{built.get('kind', 'index')}, {rows:,} x 64"
        for cell, figures in _FIGURES.items():
            told = found.get(cell_of(cell, source, rows))
            made += [
                Row(metric=metric, value=told[field], unit=unit, split=kind, model=source)
                for field, metric, unit in figures
                if told
            ]
    return made


def arguments() -> argparse.ArgumentParser:
    parser = grid.arguments(__doc__.splitlines()[0], "docs/benchmarks/knn")
    parser.add_argument("--rows", type=int, default=ROWS, help="vectors of the type searched")
    work = Path(tempfile.gettempdir()) / "graphsvc-knn"
    parser.add_argument("--work", type=Path, default=work, help="folder of bundles and indexes")
    return parser


def main() -> None:
    options = arguments().parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    found = grid.run(cells(options), options)
    rows = rows_of(found, options.rows)
    spare(options.out, "knn", rows)
    told = {
        "rows": options.rows,
        "k": K,
        "batch": BATCH,
        "cores": CORES,
        "changed": CHANGED,
        "memory_mib": INDEX.memory_mib,
        **dials(),
    }
    curves = {
        source: built["curve"]
        for source in SOURCES
        if (built := found.get(cell_of("build", source, options.rows))) and built["curve"]
    }
    trade(options.out / "recall.png", curves, INDEX.least_recall)
    words = _WORDS.format(
        rows=options.rows,
        queries=QUERIES,
        batch=BATCH,
        cores=CORES,
        clients=CLIENTS,
        changed=CHANGED,
        asked=knn_raw.WIDE,
    )
    given = printed.given(arguments(), options)
    about = About("knn", "How near neighbors are found", words, "vectors", given, AIMS)
    publish(options.out, rows, found, told, about)


if __name__ == "__main__":
    main()
