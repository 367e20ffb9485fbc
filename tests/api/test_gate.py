"""The gate as a step, on what was trained: what it compares, what it cannot, what it keeps."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from loops import silent
from pydantic import ValidationError

from api.jobs import gate as gating
from api.jobs import steps
from api.jobs.gate import Candidate, gate, promote_judged
from api.jobs.promotion import promote
from api.jobs.requests import RetrainRequest
from api.jobs.steps import Workshop
from graphsvc import decisions, ledger
from graphsvc.artifact import Recipe
from graphsvc.report import rows_of
from graphsvc.snapshot import open_snapshot
from ranking.compare import NOT_DECIDED, PASSED, REFUSED
from ranking.config import RankerConfig, TrainingConfig
from ranking.errors import ConfigError, StatesMismatch
from ranking.gating import GateConfig

#: Bounds that let everything pass, and those of a service.
OPEN = GateConfig(
    auc_margin=2.0, logloss_margin=1000.0, least_users=2, least_outcomes=1, slice_level=0.0
)
STRICT = GateConfig()


@pytest.fixture
def first(trained) -> Candidate:
    """The trio that is not live."""
    return Candidate(trained.snapshot, trained.bundles[0], trained.rankers[0])


def with_gate(shop: Workshop, dials: GateConfig) -> Workshop:
    return replace(shop, settings=shop.settings.model_copy(update={"gate": dials}))


def ask(shop: Workshop, candidate: Candidate, dials: GateConfig = OPEN) -> dict[str, Any]:
    return gate(with_gate(shop, dials), candidate, tick=silent, job_id="job 1")


@contextmanager
def without(folder: Path) -> Iterator[None]:
    """As if an artifact's bytes were gone."""
    away = folder.with_name("away")
    shutil.move(folder, away)
    try:
        yield
    finally:
        shutil.move(away, folder)


def row_of(shop: Workshop, decided: dict[str, Any]) -> decisions.DecisionRow:
    with shop.database.reading() as connection:
        return decisions.decision(connection, decided["id"])


def live_of(shop: Workshop) -> ledger.Live:
    with shop.database.reading() as connection:
        live = ledger.live(connection)
    assert live is not None
    return live


def test_what_is_live_passes_by_itself(shop, trained) -> None:
    decided = ask(shop, Candidate(trained.snapshot, trained.bundles[1], trained.rankers[1]), STRICT)
    assert (decided["rule"], decided["decision"]) == ("live", "passed")
    assert decided["champion"]["ranker"] == decided["ranker"] == trained.rankers[1]


def test_both_are_measured_as_the_report_measures_them(shop, trained, first) -> None:
    """The report judged the champion, with its own bundle, on the same rows and draws."""
    decided = ask(shop, first)
    assert (decided["rule"], decided["decision"]) == ("champion", "passed")
    assert ask(shop, first) == decided, "a step that is done again decides the same"
    row = row_of(shop, decided)
    verdict = row.numbers["verdicts"]["ctr"]
    told = {
        (r.metric, r.model): r.value
        for r in rows_of(shop.store.open("report", trained.report).payload)
        if r.split == "global_time/test"
    }
    for gain in verdict["metrics"]:
        assert gain["champion"] == pytest.approx(told[gain["metric"], "ranker_frozen"])
    assert (verdict["rows"], verdict["users"]) == (told["rows", "all"], told["users", "all"])
    assert row.numbers["dials"] == asdict(OPEN)
    assert row.numbers["later_than"] == [trained.snapshot]
    assert row.numbers["known_tails"] == {"ctr": {"candidate": 1.0, "champion": 1.0}}
    assert (row.job_id, row.snapshot) == ("job 1", trained.snapshot)


def test_too_few_people_decide_nothing(shop, first) -> None:
    decided = ask(shop, first, replace(STRICT, least_users=61))
    assert decided["decision"] == "not decided"
    assert decided["reason"] == "there is too little: 60 users, and at least 61 are needed"


def worse(shop: Workshop, trained: Any) -> Candidate:
    """A ranker that has hardly been trained, beside the live bundle."""
    dials = RankerConfig(training=TrainingConfig(epochs=1, learning_rate=1e-9))
    lazy = replace(shop, settings=shop.settings.model_copy(update={"ranker": dials}))
    parents = trained.snapshot, trained.bundles[1]
    ranker = steps.rank(lazy, parents, arm="none", seed=4, tick=silent)
    return Candidate(*parents, ranker)


def test_a_worse_one_is_refused_and_stays_sealed(shop, trained) -> None:
    candidate = worse(shop, trained)
    decided = ask(shop, candidate, STRICT)
    assert decided["decision"] == "refused", decided["reason"]
    assert decided["reason"].startswith("a loss is shown: auc gains -0.")
    with shop.database.reading() as connection:
        assert ledger.artifact(connection, candidate.ranker).state == "sealed"


def test_a_champion_whose_bytes_are_gone_is_not_compared(shop, trained, first) -> None:
    with without(shop.store.path("bundle", trained.bundles[1])):
        decided = ask(shop, first)
    assert decided["decision"] == "not decided"
    says = f"the champion cannot be compared: no bundle {trained.bundles[1]}"
    assert decided["reason"].startswith(says)


def test_where_nobody_knows_what_was_learned_nothing_is_compared(shop, trained, first) -> None:
    with without(shop.store.path("snapshot", trained.snapshot)):
        decided = ask(shop, first)
    assert decided["decision"] == "not decided"
    assert decided["reason"].startswith("nobody can say any more what was learned from: no snap")


def recut(shop: Workshop, trained: Any, **changes: Any) -> str:
    """The same snapshot with other words in its manifest."""
    source = open_snapshot(shop.store, trained.snapshot)
    payload = dict(source.artifact.payload) | changes
    recipe = Recipe(kind="snapshot", dials=source.artifact.dials, payload=payload)
    with shop.store.draft() as folder:
        for name in source.artifact.manifest["files"]:
            shutil.copy(source.artifact.file(name), folder / name)
        return shop.record(shop.store.seal(folder, recipe), None)


def test_another_outcome_is_another_question(shop, trained) -> None:
    shown = open_snapshot(shop.store, trained.snapshot).artifact.payload["interaction"]
    other = recut(shop, trained, interaction=shown | {"outcome": "genre"})
    says = "the outcome of its rows should be genre, it is click"
    with pytest.raises(StatesMismatch, match=says):
        gating._theirs(shop, other, live_of(shop), {})


def test_rows_that_the_champion_may_have_learned_from_do_not_count(shop, trained, first) -> None:
    """As if the champion had been made when all that the candidate is asked on was known."""
    split = dict(open_snapshot(shop.store, trained.snapshot).split)
    times = split["last_times"]
    newer = recut(shop, trained, split=split | {"last_times": [*times[:-1], 2**40]})
    before = [open_snapshot(shop.store, digest) for digest in (trained.snapshot, newer)]
    assert len(gating._ours(shop, first, before[:1])["ctr"].rows) > 0
    assert len(gating._ours(shop, first, before)["ctr"].rows) == 0


def test_a_group_that_nobody_has_fails_the_step_with_its_name(shop, first) -> None:
    with pytest.raises(ConfigError, match="received 'shoe_size'"):
        ask(shop, first, replace(OPEN, groups="shoe_size"))


def test_the_first_one_is_compared_with_a_count(shop, first) -> None:
    found = gating._first(with_gate(shop, OPEN), first)
    assert (found.rule, found.decision) == ("first", "passed")
    assert found.reason.startswith("nothing is live, and it does not lose to item_ctr: ")
    assert found.numbers["rivals"] == {"ctr": "item_ctr"}
    few = gating._first(with_gate(shop, replace(STRICT, least_users=61)), first)
    assert few.decision == "passed", "too little is no reason to serve nothing"
    assert "there is too little" in few.reason


def test_what_passed_is_promoted_over_its_champion_alone(shop, trained, first) -> None:
    before = live_of(shop)
    decided = ask(shop, first)
    stale = decided | {"champion": decided["champion"] | {"ranker": trained.rankers[0]}}
    ended = promote_judged(shop, stale, "job 1", why="passed the gate")
    assert ended["promoted"] is None
    assert ended["decision"]["decision"] == "not decided"
    assert "what is live has changed since it was compared: ranker" in ended["decision"]["reason"]
    assert row_of(shop, ended["decision"]).numbers == {"before": decided["id"]}
    assert live_of(shop) == before


def test_what_passed_is_promoted_and_signed(shop, trained, first) -> None:
    before = live_of(shop)
    decided = ask(shop, first)
    ended = promote_judged(shop, decided, "7", why="passed the gate")
    assert ended["promoted"] == {
        "ranker": trained.rankers[0],
        "generation": before.generation + 1,
    }
    with shop.database.reading() as connection:
        [told] = ledger.promotion_page(connection, limit=1).items
    assert (told.reason, told.promoted_by, told.decision) == (
        "passed the gate, job 7",
        "job 7",
        decided["id"],
    )
    promote(shop.database, trained.rankers[1], reason="back")
    again = promote_judged(shop, decided, "7", why="passed the gate")
    assert again == ended, "a step that is done again takes no rollback back"
    assert live_of(shop).ranker == trained.rankers[1]


def test_a_standing_reason_is_for_what_is_not_decided_alone() -> None:
    def said_of(request: RetrainRequest) -> list[str | None]:
        return [request.why_promoted(said) for said in (PASSED, NOT_DECIDED, REFUSED)]

    assert said_of(RetrainRequest()) == ["passed the gate", None, None]
    standing = RetrainRequest(promote_undecided="few people")
    assert said_of(standing) == ["passed the gate", "few people", None]
    assert said_of(RetrainRequest(promote=False)) == [None, None, None]
    with pytest.raises(ValidationError, match="promote_undecided should not be given where"):
        RetrainRequest(promote=False, promote_undecided="few people")


def test_what_is_not_decided_is_promoted_for_the_reason_that_was_given(
    shop, trained, first
) -> None:
    decided = ask(shop, first, replace(STRICT, least_users=61))
    ended = promote_judged(shop, decided, "8", why="few people")
    assert ended["promoted"]["ranker"] == live_of(shop).ranker == trained.rankers[0]
    with shop.database.reading() as connection:
        [told] = ledger.promotion_page(connection, limit=1).items
    assert (told.reason, told.promoted_by) == ("few people, job 8", "job 8")
    assert told.decision == decided["id"]
    assert row_of(shop, decided).decision == "not decided", "which it stays"
    promote(shop.database, trained.rankers[1], reason="back from few people")
