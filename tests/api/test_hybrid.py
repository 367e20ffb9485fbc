"""What the demo says of the hybrid path: bytes, tiers and times of a real ranker that is live."""

import time
from dataclasses import replace

import numpy as np
import pytest
from planted import COMEDIES
from torch import nn

from api.demo import hybrid
from api.demo.client import ServiceFailed
from api.demo.show import hybrid_lines
from api.jobs import steps
from api.jobs.choices import RankerChoice
from api.jobs.steps import Workshop
from graphsvc.report import Row
from graphsvc.snapshot import Span
from kge.bundle import open_bundle
from ranking.bundle import Tiers, open_ranker

#: Seconds, far above what a pass over five rows takes.
SLOW = 0.3
ASKED = [(f"u{n}", COMEDIES[n % 3 : n % 3 + 10]) for n in range(30)]


def value(rows: list[Row], metric: str, model: str) -> float:
    [found] = [row for row in rows if (row.metric, row.model) == (metric, model)]
    assert found.split == "demo"
    return found.value


def test_the_live_rankers_path_is_measured(trained) -> None:
    found = hybrid.measure(trained.settings, ASKED)
    sealed = trained.http.get(f"/v1/artifacts/{trained.rankers[-1]}").json()["payload"]
    for table in sealed["placement"]["tables"]:
        rows = value(found.rows, "id_table_rows", table["name"])
        assert rows == table["rows"] > 1024
        for how in ("trained", "served"):
            # 32 numbers of 4 bytes.
            assert value(found.rows, f"id_table_{how}_bytes", table["name"]) == rows * 128
    upper = value(found.rows, "upper_model_bytes", "upper_model")
    assert upper == sealed["placement"]["upper_bytes"] > 0
    lookups, network, answer = (
        value(found.rows, f"hybrid_{part}_p50_ms", "10") for part in ("lookups", "upper", "answer")
    )
    assert 0 < lookups < answer
    assert 0 < network < answer


def test_rows_in_few_bits_and_tiers_are_told(trained, shop: Workshop) -> None:
    digest = steps.rank(
        shop,
        (trained.snapshot, trained.bundles[1]),
        arm="frozen",
        seed=3,
        tick=lambda _done, _total, _note: None,
        choice=RankerChoice(precision="int8", epochs=1),
    )
    bundle = open_bundle(shop.store, trained.bundles[1])
    alone = hybrid.parts(open_ranker(shop.store, digest, bundle))
    trained_bytes, served_bytes = (
        value(alone.rows, f"id_table_{how}_bytes", "tail_table") for how in ("trained", "served")
    )
    assert trained_bytes / served_bytes == 128 / 40, "a scale and a bias are beside 32 numbers"
    assert list(hybrid_lines(alone.words)) == [
        "head_table: trained in float32, served in int8 from the cpu tier",
        "tail_table: trained in float32, served in int8 from the cpu tier",
        "upper_model: in the cpu tier, on cpu, by PyTorch, as in training; there is no device",
        "nothing of this ran on a GPU: here is none, or none that may be used",
    ]
    # The host's memory in the part of a device.
    device = open_ranker(shop.store, digest, bundle, tiers=Tiers("cpu", device_bytes=1 << 30))
    lines = list(hybrid_lines(hybrid.parts(device).words))
    assert lines[0].endswith("served in int8 from the device tier")
    assert lines[2].startswith(
        "upper_model: in the device tier, on cpu, by PyTorch, as in training; all is within"
    )
    assert lines[3] == "a GPU is there (cpu); the upper model ran on cpu"


@pytest.mark.parametrize("where", ["tail_table", "norm"])
def test_lookups_are_told_apart_from_what_reads_them(trained, shop: Workshop, where: str) -> None:
    bundle = open_bundle(shop.store, trained.bundles[1])
    ranker = open_ranker(shop.store, trained.rankers[1], bundle)
    rows = shop.examples(trained.snapshot, trained.bundles[1]).rows[Span.TEST]
    heads, tails = rows.heads.take(np.arange(1)), rows.tails.take(np.arange(5))
    plain = ranker.score(heads, tails)
    with hybrid.watched(ranker) as seen:
        with ranker.model.get_submodule(where).register_forward_pre_hook(slow):
            np.testing.assert_array_equal(ranker.score(heads, tails), plain)
        slowed, other = seen.lookups, seen.upper
        if where == "norm":
            slowed, other = other, slowed
        assert slowed >= SLOW > other > 0
        seen.clear()
        assert seen.lookups == seen.upper == 0
    ranker.score(heads, tails)
    assert seen.lookups == seen.upper == 0, "nobody watches any more"


def test_a_ranker_that_lies_nowhere_is_refused(trained, shop: Workshop) -> None:
    bundle = open_bundle(shop.store, trained.bundles[1])
    ranker = replace(open_ranker(shop.store, trained.rankers[1], bundle), placement=None)
    with pytest.raises(ServiceFailed, match=ranker.digest):
        hybrid.parts(ranker)


def slow(_module: nn.Module, _given: object) -> None:
    time.sleep(SLOW)
