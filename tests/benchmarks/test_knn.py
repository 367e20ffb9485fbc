"""benchmarks/knn.py on a few thousand vectors: what is asked, built and answered."""

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import knn
import knn_bundles
import knn_overlay
import knn_raw
import knn_recall
from knn_bundles import bundle_of, folder_of

from api.overlay import Overlay
from kge import parts, searchers
from kge.bundle import Bundle
from kge.config import IndexConfig

ROWS = 3_000


@pytest.fixture
def options(tmp_path: Path) -> argparse.Namespace:
    return argparse.Namespace(rows=ROWS, work=tmp_path / "work")


@pytest.fixture(autouse=True)
def _few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(knn, "QUERIES", 40)


def test_a_build_becomes_rows(options: argparse.Namespace):
    told = knn.measure_build("gaussian", options)
    assert (told["kind"], told["recall"], told["curve"]) == ("exact", 1.0, [])
    # Held beside the bundle: the directions, and a number for each.
    assert told["bytes_per_vector"] == pytest.approx(4 * 64 + 4, rel=0.01)
    [cell] = [name for name in knn.cells(options) if name.startswith("build-gaussian-3000")]
    rows = {row.metric: row for row in knn.rows_of({cell: told}, ROWS)}
    assert set(rows) == {"build", "bytes_per_vector", "recall@10"}
    assert rows["recall@10"].value == 1.0
    assert (rows["build"].split, rows["build"].model) == ("exact, 3,000 x 64", "gaussian")


@pytest.fixture
def bundle(options: argparse.Namespace) -> Bundle:
    return bundle_of(folder_of(options.work, ROWS), "gaussian", ROWS)


def test_nobody_is_a_neighbor_of_their_own(bundle: Bundle):
    asked = knn_recall.asked_of(bundle, 40)
    items = asked.own >= 0
    assert items.tolist() == [True] * 20 + [False] * 20
    np.testing.assert_array_equal(bundle.vectors[asked.own[:20]], asked.vectors[:20])
    truth = knn_recall.truth_of(bundle, asked)
    assert truth.shape == (40, knn_recall.K)
    assert not (truth == asked.own[:, None]).any()
    # Who finds nobody but themselves has found nothing.
    alone = np.full((40, knn_recall.K + 1), -1)
    alone[:, 0] = asked.own
    assert knn_recall.share(knn_recall.others(alone, asked.own), truth) == 0.0
    found = np.concatenate([truth, asked.own[:, None]], axis=1)
    assert knn_recall.share(knn_recall.others(found, asked.own), truth) == 1.0


def test_an_overlay_has_changed_ones_and_new_ones(bundle: Bundle):
    overlay = Overlay(10_000)
    knn_overlay.fill(overlay, bundle, 400)
    view = overlay.view("ad")
    assert (len(view.ids), int(view.changed.sum())) == (400, 200)
    passed_over = np.flatnonzero(view.passed_over)
    assert passed_over.tolist() == sorted(knn_overlay.changed_places(bundle, 400))
    assert len(passed_over) == 200


@pytest.fixture
def approximate(monkeypatch: pytest.MonkeyPatch) -> None:
    """As of a million rows: so few would all be compared otherwise."""
    few = {"exact_rows": 0, "filter_rows": 0, "least_recall": 0.0}
    monkeypatch.setattr(knn, "INDEX", IndexConfig(**few))


def test_other_dials_are_another_bundle_and_another_index(options, monkeypatch):
    def made() -> tuple[str, str, set[str]]:
        _, bundle, index = knn._opened("gaussian", options)
        names = {name for name in knn.cells(options) if "gaussian" in name}
        return bundle.digest, index.digest, names

    before = made()
    assert made() == before, "what is there is opened"
    monkeypatch.setattr(knn, "INDEX", replace(knn.INDEX, sample=64))
    resampled = made()
    assert (resampled[0], resampled[1] != before[1]) == (before[0], True)
    monkeypatch.setattr(knn_bundles, "DIM", 32)
    narrower = made()
    assert narrower[0] != before[0]
    assert not narrower[2] & resampled[2]
    assert not resampled[2] & before[2]


def test_the_rival_does_what_the_service_asks_of_it(options, approximate, monkeypatch):
    _, bundle, index = knn._opened("gaussian", options)
    kind = bundle.types["ad"]
    vectors = bundle.vectors[kind.start : kind.start + 5]
    asked = []

    def found_by(*given, **more):
        asked.append((given[0], given[3], more["effort"], given[2].shape))
        return searchers.found_by(*given, **more)

    for module in (parts, knn_raw):
        monkeypatch.setattr(module, "found_by", found_by)
    half = np.arange(ROWS) % 2 == 0
    for allowed in (None, half):
        index.search("ad", vectors, knn_recall.K, allowed=allowed, spare=1)
        knn_raw.ask(index, parts.directions(vectors), allowed)
    service, raw, filtered, raw_filtered = asked
    assert service[0] != "exact"
    assert (service, filtered) == (raw, raw_filtered)
    assert filtered[2] > service[2], "what passes is rarer"


@pytest.mark.slow
def test_an_approximate_index_is_asked_one_by_one_and_in_batches(options, approximate, monkeypatch):
    for name, few in {"SINGLES": 20, "BATCH": 10, "BATCHES": 8, "CORES": 1}.items():
        monkeypatch.setattr(knn, name, few)
    assert knn.measure_build("gaussian", options)["kind"] != "exact"
    told = {"http": knn.measure_http("gaussian", options)}
    told["batch"] = knn.measure_batch("gaussian", options)
    cells = {knn.cell_of(kind, "gaussian", ROWS): figures for kind, figures in told.items()}
    rows = {row.metric: row.value for row in knn.rows_of(cells, ROWS)}
    assert 0 < rows["raw_p50"] < rows["http_p50"] <= rows["http_p99"]
    assert 0 < rows["http_batch"] < rows["raw_batch"]
    assert told["http"]["index"] == told["batch"]["index"]


@pytest.mark.slow
def test_the_server_answers_with_what_is_new(options, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(knn, "CHANGED", 400)
    monkeypatch.setattr(knn, "SINGLES", 20)
    answers = []

    def get(connection, running, path):
        connection.request("GET", path, headers=running.headers)
        answers.append(json.loads(connection.getresponse().read()))

    monkeypatch.setattr(knn, "_get", get)
    told = knn.measure_changed("gaussian", options)
    [cell] = [name for name in knn.cells(options) if name.startswith("changed-gaussian")]
    rows = {row.metric: row.value for row in knn.rows_of({cell: told}, ROWS)}
    assert 0 < rows["raw_changed_p50"] < rows["http_changed_p50"] <= rows["http_changed_p99"]
    near = [item for answer in answers for item in answer["items"]]
    assert len(near) == 40 * knn_recall.K
    assert any(item["cold"] and item["id"].startswith("new") for item in near)
