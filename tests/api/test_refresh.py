"""A refresh's steps on their own: what is held, what is refused, what is told of it."""

from dataclasses import replace

import numpy as np
import pytest
from loops import silent

from api.jobs import steps
from api.jobs.embedding import embed
from api.jobs.moments import digests_of, would_choose
from api.jobs.refresh import arm_that_reads, promote_over
from api.jobs.requests import RetrainRequest
from api.jobs.steps import Workshop
from graphsvc import ledger
from graphsvc.errors import PromotionRefused
from graphsvc.report import rows_of
from kge.bundle import open_bundle
from kge.errors import ShapeMismatch
from ranking.errors import FrameMismatch


def with_dials(shop: Workshop, **dials) -> Workshop:
    transra = replace(shop.settings.transra, **dials)
    return replace(shop, settings=shop.settings.model_copy(update={"transra": transra}))


def refreshed(shop: Workshop, trained, **more) -> str:
    live = trained.bundles[1]
    return embed(shop, trained.snapshot, seed=3, tick=silent, previous=live, **more)


def test_the_live_ranker_is_judged_with_its_old_bundle_and_the_new_one(shop, trained):
    bundle, ranker = refreshed(shop, trained), trained.rankers[1]
    assert refreshed(shop, trained) == bundle, "a step that is done again gives the same"
    assert (
        open_bundle(shop.store, bundle).frame == open_bundle(shop.store, trained.bundles[1]).frame
    )
    arm = arm_that_reads(shop.store, ranker, bundle)
    assert arm == "frozen"
    digest = steps.judge(
        shop, (trained.snapshot, bundle), {arm: ranker}, seed=0, tick=silent, refreshed=True
    )
    report = shop.store.open("report", digest)
    assert report.parents["bundle"] == bundle
    rows = {(row.metric, row.model, row.split): row for row in rows_of(report.payload)}
    gap, now, before = (
        rows["auc", model, "global_time/test"]
        for model in (
            "ranker_frozen - ranker_frozen_original",
            "ranker_frozen",
            "ranker_frozen_original",
        )
    )
    assert gap.value == pytest.approx(now.value - before.value)
    # The first report judged the same ranker with its bundle on the same rows.
    [told] = [
        row.value
        for row in rows_of(shop.store.open("report", trained.report).payload)
        if (row.metric, row.model, row.split) == ("auc", "ranker_frozen", "global_time/test")
    ]
    assert before.value == told


def test_a_bundle_that_nothing_held_is_not_for_the_live_ranker(shop, trained):
    bundle = refreshed(with_dials(shop, frame_weight=0.0), trained)
    with pytest.raises(FrameMismatch, match=r"cannot read the refreshed bundle.*frame is kept"):
        arm_that_reads(shop.store, trained.rankers[1], bundle)


def test_dials_of_another_form_are_refused(shop, trained):
    with pytest.raises(ShapeMismatch, match="dim should be those of the bundle before"):
        refreshed(with_dials(shop, dim=4, relation_dim=4), trained)


def test_what_nobody_sets_is_as_in_the_bundle_before(shop, trained):
    own = with_dials(shop, dim=12, relation_dim=12, tails="own")
    before = embed(own, trained.snapshot, seed=21, tick=silent)
    unset = with_dials(shop, dim=None, relation_dim=None, tails=None)
    after = embed(unset, trained.snapshot, seed=22, tick=silent, previous=before)
    bundle = open_bundle(shop.store, after)
    dials = bundle.artifact.dials
    assert (dials["dim"], dials["relation_dim"], dials["tails"]) == (12, 12, "own")
    assert bundle.artifact.payload["reasons"]["dim"].startswith("as in the bundle before")
    assert bundle.frame == open_bundle(shop.store, before).frame


@pytest.mark.slow_as("sqlite")
def test_facets_are_refreshed_alike(shop, trained):
    groups = {"first": ["click"]}
    own = replace(shop, settings=shop.settings.model_copy(update={"facets": groups}))
    before = embed(own, trained.snapshot, seed=14, tick=silent)
    groups = groups | {"second": ["click"]}
    own = replace(shop, settings=shop.settings.model_copy(update={"facets": groups}))
    told: list[str] = []

    def tick(_done: int, _total: int, note: str) -> None:
        told.append(note.partition(":")[0])

    after = embed(own, trained.snapshot, seed=15, tick=tick, previous=before)
    old, new = (open_bundle(shop.store, digest).facet("first") for digest in (before, after))
    linked = old.degree > 0
    lengths = np.linalg.norm(old.vectors, axis=1) * np.linalg.norm(new.vectors, axis=1)
    cosine = np.einsum("nd,nd->n", old.vectors, new.vectors) / np.maximum(lengths, 1e-12)
    assert cosine[linked].mean() > 0.95
    # One that the bundle before does not have is trained from nothing, so for longer.
    assert told.count("second") > 2 * told.count("first") > 0


def test_a_refresh_names_no_arms(http, problem):
    refused = problem(http.post("/v1/retrains", json={"refresh": True, "arms": ["none"]}), 422)
    says = 'body.arms: should not be given with refresh, which trains no ranker, received ["none"]'
    assert says in refused["detail"]
    body = {"refresh": True, "seed": 77}
    job = http.post("/v1/retrains", json=body).json()["job"]
    request = http.get(f"/v1/jobs/{job}").json()["request"]
    assert (request["refresh"], "arms" in request) == (True, False)
    assert http.post("/v1/retrains", json=body).json() == {"job": job, "existing": True}
    http.post(f"/v1/jobs/{job}/cancel")
    assert http.post(f"/v1/jobs/{job}/retry").status_code == 202
    assert RetrainRequest.model_validate(request).steps == (
        *("moment", "snapshot", "check", "embed", "frame", "index", "map"),
        *("judge", "gate", "export"),
        "promote",
    )


def test_a_refresh_of_another_trio_is_another_job(shop, trained):
    request = RetrainRequest(refresh=True)
    chosen = steps.moment(shop, request)
    assert chosen["live"]["ranker"] == trained.rankers[1]
    assert would_choose(shop.database, chosen, request)
    other = chosen | {"live": chosen["live"] | {"ranker": trained.rankers[0]}}
    assert not would_choose(shop.database, other, request)


def live_digests(shop: Workshop) -> dict[str, str]:
    with shop.database.reading() as connection:
        return digests_of(ledger.live(connection))


def test_what_was_promoted_meanwhile_is_not_taken_back(shop, trained):
    live = live_digests(shop)
    begun = live | {"ranker": trained.rankers[0]}
    with pytest.raises(PromotionRefused, match=f"^ranker.*{trained.rankers[1]} is by now"):
        promote_over(shop, begun, trained.bundles[0], "another trio's")
    assert live_digests(shop) == live


def test_a_rollback_of_the_bundle_alone_is_not_taken_back_either(shop, trained):
    live, bundle = live_digests(shop), refreshed(shop, trained)
    begun = live | {"bundle": bundle, "index": steps.index(shop, bundle, silent)}
    with pytest.raises(PromotionRefused, match=rf"^bundle {bundle} .*{live['bundle']} is by now"):
        promote_over(shop, begun, bundle, "begun before the rollback")
    assert live_digests(shop) == live
    assert promote_over(shop, live, live["bundle"], "of this trio")["ranker"] == live["ranker"]
    assert live_digests(shop) == live
