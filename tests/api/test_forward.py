"""A candidate's network is exported once, and answers as training's does."""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from loops import silent

from api.answers import answerer_of
from api.jobs.forward import export_candidate
from api.jobs.promotion import promote
from api.jobs.steps import Workshop, open_workshop
from api.settings import Settings
from graphsvc import ledger
from graphsvc.db import Connection
from graphsvc.ids import EntityId
from kge.bundle import open_bundle
from ranking.bundle import open_ranker
from ranking.errors import NotExportable
from ranking.exporting import TOLERANCE, seal_forward

HEADS = ("u1", "u2", "nobody")
CANDIDATES = ("c1", "d1", "c2", "never-seen", "d0")


@pytest.fixture
def shop(trained) -> Iterator[Workshop]:
    settings = trained.settings.model_copy(update={"forward": "onnx"})
    opened = open_workshop(settings)
    yield opened
    opened.database.dispose()


def export(shop: Workshop, decided: Mapping[str, Any]) -> str | None:
    return export_candidate(shop, decided, "job 1")(silent)


def of_live(trained) -> dict[str, str]:
    return {"ranker": trained.rankers[-1], "bundle": trained.bundles[-1]}


def again(trained, shop: Workshop) -> None:
    """Promote what is live once more: the other trio, then back."""
    for ranker in trained.rankers:
        promote(shop.database, ranker, reason="test")


def said(settings: Settings, shop: Workshop) -> tuple[bool, list[dict[str, float]]]:
    """Whether the exported network answers, and what is said of all candidates by head."""
    answerer, trio = answerer_of(settings, shop.database)
    answers = [
        answerer.score(trio, EntityId(trio.ranker.head_type, head), CANDIDATES) for head in HEADS
    ]
    scores = [{one.id: one.score for one in answer.items} for answer in answers]
    return trio.ranker.forward is not None, scores


def test_settings_say_whether_networks_are_exported(trained, shop) -> None:
    plain = replace(shop, settings=shop.settings.model_copy(update={"forward": "torch"}))
    assert export(plain, of_live(trained)) is None
    with shop.database.reading() as connection:
        assert ledger.forward_of(connection, trained.rankers[-1]) is None


def test_an_exported_network_answers_where_settings_say_so(trained, shop) -> None:
    """Once exported it is not exported again, and a server of `torch` leaves it alone."""
    before = said(shop.settings, shop)
    digest = export(shop, of_live(trained))
    assert digest is not None
    assert export(shop, of_live(trained)) == digest
    # What is live stays as it was made live.
    with shop.database.reading() as connection:
        live = ledger.live(connection)
        assert live is not None
        promoted = ledger.promotion_page(connection, limit=1).items[0].created_at
        exported_at = ledger.artifact(connection, digest).created_at
        assert (ledger.forward_of_live(connection, live) == digest) == (exported_at <= promoted)
    again(trained, shop)
    with shop.database.reading() as connection:
        row = ledger.artifact(connection, digest)
        assert ledger.forward_of(connection, trained.rankers[0]) is None
    assert (row.kind, row.parents, row.job_id) == (
        "forward",
        {"ranker": trained.rankers[-1]},
        "job 1",
    )
    assert row.metrics["logit_difference"] <= TOLERANCE
    after = said(shop.settings, shop)
    assert (before[0], after[0]) == (False, True)
    for one, other in zip(before[1], after[1], strict=True):
        assert set(one) == set(other) == set(CANDIDATES)
        # A probability moves by a quarter of what its logit does, at most.
        found, expected = ([scores[id_] for id_ in CANDIDATES] for scores in (other, one))
        np.testing.assert_allclose(found, expected, atol=TOLERANCE, rtol=0)
    plain = said(trained.settings.model_copy(update={"forward": "torch"}), shop)
    assert plain == before


def test_what_is_exported_later_is_for_the_next_promotion(trained, shop) -> None:
    live = ledger.Live(1, trained.bundles[0], trained.indexes[0], trained.rankers[0])
    with shop.database.reading() as connection:
        promoted = ledger.promotion_page(connection, limit=100).items[-1]
    assert (promoted.generation, promoted.ranker) == (1, live.ranker)
    opened = open_ranker(shop.store, live.ranker, open_bundle(shop.store, live.bundle))
    sealed = seal_forward(shop.store, opened)
    for second, expected in ((promoted.created_at + 1, None), (promoted.created_at, sealed.digest)):
        with shop.database.transaction() as connection:
            ledger.record(connection, sealed, job_id=None, now=second)
            assert ledger.forward_of_live(connection, live) == expected
            assert ledger.forward_of(connection, live.ranker) == sealed.digest
            _forget(connection, sealed.digest)


def _forget(connection: Connection, digest: str) -> None:
    """As if it had not been recorded."""
    connection.exec_driver_sql(f"DELETE FROM artifacts WHERE digest = '{digest}'")


def test_a_network_that_is_gone_is_done_without(
    trained, shop, caplog: pytest.LogCaptureFixture
) -> None:
    digest = export(shop, of_live(trained))
    assert digest is not None
    again(trained, shop)
    assert said(shop.settings, shop)[0]
    folder = shop.store.path("forward", digest)
    folder.rename(folder.with_name("elsewhere"))
    with caplog.at_level(logging.WARNING, logger="graphsvc.live"):
        exported, _ = said(shop.settings, shop)
    assert not exported
    assert "answers as training has it: forward" in caplog.text
    folder.with_name("elsewhere").rename(folder)


def test_what_cannot_be_exported_answers_as_in_training(
    trained, shop, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(_store: object, _ranker: object) -> None:
        raise NotExportable("it has its reasons")

    monkeypatch.setattr("api.jobs.forward.seal_forward", refuse)
    with caplog.at_level(logging.WARNING, logger="graphsvc.jobs"):
        first = {"ranker": trained.rankers[0], "bundle": trained.bundles[0]}
        assert export(shop, first) is None
    assert "answers as training has it: it has its reasons" in caplog.text
