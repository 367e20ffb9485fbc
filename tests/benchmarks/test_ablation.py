"""What an idea buys: dials in the names of models, and trainings that have them."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from loops import finish
from planted_graph import planted

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import link_prediction
import models
from ablation import is_arm, parted, with_dials
from link_cells import cell_name, read

from graphsvc.report import rows_of
from kge.errors import ConfigError, MemoryBudget, UnknownModel
from kge.memory import Room, predict
from kge.policy import choose


@pytest.mark.parametrize(
    ("model", "dials", "name"),
    [
        ("transra", ["dim=16"], "transra+dim=16"),
        ("transra", ["n3=1e-05", "dim=+016"], "transra+dim=16+n3=1e-05"),
        ("transra+dim=16", ["gate_edges=0"], "transra+dim=16+gate_edges=0"),
        ("transr", ["bias=false", "loss=margin"], "transr+bias=false+loss=margin"),
        ("both", ["max_norm=1e30"], "both+max_norm=1e30"),
        ("transra", [], "transra"),
        ("complex", ["dim=16"], "complex"),
    ],
)
def test_a_name_says_its_dials_in_one_way(model: str, dials: list[str], name: str):
    assert with_dials(model, dials) == name
    assert with_dials(name, []) == name
    assert is_arm(name) == (model != "complex")


@pytest.mark.parametrize(
    ("dial", "message"),
    [
        ("dim", "a dial should be given as name=value, received 'dim'"),
        ("size=3", r"dial should be one of dim, .*, received 'size'"),
        ("dim=wide", "dial dim should be a whole number, received 'wide'"),
        ("dropout=much", "dial dropout should be a number, received 'much'"),
        ("bias=yes", "dial bias should be true or false, received 'yes'"),
        ("anchor_owner=a/b", "dial anchor_owner should be letters, .*, received 'a/b'"),
        ("dim=0", r"dim should be at least 1, received 0"),
        ("dropout=2", r"dropout should be from 0 to less than 1, received 2"),
        ("loss=hinge", "dial loss should be one of softmax, margin, received 'hinge'"),
        ("seed=3", "dial seed should be left to --seeds"),
        ("epochs=3", "dial epochs should be left to --minutes"),
    ],
)
def test_a_dial_that_makes_no_sense_is_a_sentence(dial: str, message: str):
    with pytest.raises(ConfigError, match=message):
        with_dials("transra", [dial])


def test_dials_are_of_transra_alone_and_each_is_given_once():
    with pytest.raises(ConfigError, match=r"dial dim should be given once, received 'dim=8' as w"):
        with_dials("transra+dim=16", ["dim=8"])
    with pytest.raises(UnknownModel, match=r"one of transra, .*, received 'complex\+dim=8'"):
        models.model("complex+dim=8")
    with pytest.raises(UnknownModel, match="received 'transq'"):
        models.model("transq")


def test_a_training_has_the_dials_of_its_name():
    graph, _ = planted()
    name, own = parted("transr+gate_edges=3+dim=12+relation_dim=12")
    dials = models.transra_dials(name, 1, own)
    assert (dials.gate_edges, dials.dim, dials.prior_share) == (3.0, 12, 0.0)
    done = iter(np.linspace(0.0, 1.2, 40))
    train = models.model("both+dim=12+relation_dim=12")
    training = train(graph, share=lambda _: float(next(done)))
    _, scorer = finish(training)
    assert scorer.candidate_bytes == (2 * 12 + 4) * 4


def test_a_dial_is_not_made_smaller_to_fit_into_memory():
    graph, _ = planted()
    asked = "transra+batch=65536+block=65536+dim=16"
    name, own = parted(asked)
    dials = models.transra_dials(name, 0, own)
    most = predict(graph, choose(graph, dials).config).peak
    told = next(models.model(asked, Room(most))(graph, share=lambda step: step / 2))
    assert told.step == 1
    with pytest.raises(MemoryBudget, match="should stay 65536, received 32768: shrunk to fit"):
        next(models.model(asked, Room(most - 1))(graph, share=lambda step: step / 2))


@pytest.mark.slow
def test_what_an_idea_buys_has_cells_rows_and_a_line_on_the_page(tmp_path: Path):
    graph, withheld = planted()
    train = zip(graph.head, graph.relation, graph.tail, strict=True)
    parts = {"train": train, "valid": withheld[:6], "test": withheld[6:]}
    given = []
    for name, rows in parts.items():
        file = tmp_path / f"{name}.tsv"
        file.write_text("".join(f"e{h}\tr{r}\te{t}\n" for h, r, t in rows))
        given += [f"--{name}", str(file)]
    page, out = tmp_path / "page", tmp_path / "out"
    given += ["--json", str(tmp_path / "report.json"), "--out", str(out), "--page", str(page)]
    given += ["--minutes", "0.003", "--seeds", "2"]

    def run(*more: str) -> set[str]:
        options = link_prediction.arguments().parse_args([*given, *more])
        outcome = link_prediction.run(options)
        assert outcome.failed == {}
        report = json.loads(options.json.read_text())
        assert {row.model for row in rows_of(report)} == {
            n.split("-seed")[0] for n in outcome.found
        }
        arms = [name for name in outcome.found if name.startswith("transra")]
        assert set(report["dials"]) == set(report["reasons"]) == set(arms)
        assert all(report["dials"][name]["batch"] == 16 for name in arms)
        return set(outcome.found)

    run()
    files = link_prediction.digest(link_prediction.arguments().parse_args(given))
    # Beside what is there: a rival has none of the dials.
    found = run("--model", "transra", "distmult", "--dial", "dim=16", "--dial", "dropout=0.10")
    names = ("transra+dim=16+dropout=0.1", "distmult")
    assert found == {cell_name(name, seed, 0.003, files) for name in names for seed in (0, 1)}
    assert {run.model for run in read(out / "cells", files)} == {"transra", *names}
    text = (page / "README.md").read_text()
    assert "| transra - transra+dim=16+dropout=0.1 | 0.003 | 2 |" in text
    assert "| `batch` | 16 | 816 edges in both directions" in text
    assert "--model distmult transra transra+dim=16+dropout=0.1 --seeds 2" in text
    assert "| relation | ranks | transra | distmult | difference |" in text, "not a rival"
    differences = rows_of(json.loads((page / "differences.json").read_text()))
    lead = next(
        row for row in differences if row.split == "valid/minutes=0.003" and "+" in row.model
    )
    means = {run.model: sum(run.values("valid")) / 2 for run in read(out / "cells", files)}
    assert lead.value == pytest.approx(means["transra"] - means[names[0]])
    assert lead.lo <= lead.value <= lead.hi


def test_dials_without_an_arm_are_refused(tmp_path: Path):
    files = [text for name in ("train", "valid", "test", "json") for text in (f"--{name}", "x")]
    more = ["--model", "complex", "--dial", "dim=16"]
    options = link_prediction.arguments().parse_args([*files, *more])
    with pytest.raises(SystemExit, match=r"--dial should go with one of transra, .* complex"):
        link_prediction.run(options)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["--minutes", "0"], "--minutes should be above 0, received 0"),
        (["--seeds", "0"], "--seeds should be at least 1, received 0"),
        (["--json", "FOLDER"], "--json should be a file, received the folder FOLDER"),
        (["--page", "FOLDER/file"], "--page needs the folder FOLDER/file, which cannot be: "),
        (["--json", "FOLDER/file/x"], "--json needs the folder FOLDER/file, which cannot be: "),
    ],
)
def test_what_could_not_be_written_is_said_before_training(tmp_path, given: list[str], told: str):
    (tmp_path / "file").write_text("mine")
    options = {name: str(tmp_path / "none") for name in ("train", "valid", "test", "json")}
    options |= {given[0][2:]: given[1].replace("FOLDER", str(tmp_path))}
    asked = [text for name, value in options.items() for text in (f"--{name}", value)]
    with pytest.raises(SystemExit) as ended:
        link_prediction.run(link_prediction.arguments().parse_args(asked))
    assert str(ended.value).startswith(f"error: {told.replace('FOLDER', str(tmp_path))}")


def test_a_report_outlives_a_command_that_measures_nothing(tmp_path: Path):
    for name in ("train", "valid", "test"):
        (tmp_path / name).write_text("a\tlikes\tb\nb\tlikes\tc\n")
    files = [
        text for name in ("train", "valid", "test") for text in (f"--{name}", str(tmp_path / name))
    ]
    report = tmp_path / "report.json"
    report.write_text("of before")
    more = ["--json", str(report), "--memory", "1KiB"]
    outcome = link_prediction.run(link_prediction.arguments().parse_args([*files, *more]))
    assert outcome.code == 1
    assert report.read_text() == "of before"
