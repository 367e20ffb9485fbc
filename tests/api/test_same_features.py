"""Training and serving read the same features: a batch that was trained on, asked for over HTTP.

All are shown something in the same seconds. The service of the second part holds what had happened
before one of them and has its clock stand there: whoever asks it about that second's rows should
get the logits that training has of them, which come from a log that goes on for long.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from loops import silent
from running import SMALL, eventually, free_port, post_all
from typer.testing import CliRunner

from api.cli import app
from api.jobs import steps
from api.jobs.choices import RankerChoice
from api.jobs.embedding import embed
from api.jobs.promotion import promote
from api.jobs.requests import RetrainRequest
from api.jobs.steps import open_workshop
from api.settings import Settings
from api.setup import prepare
from graphsvc.snapshot import Span, open_snapshot
from kge.bundle import open_bundle
from ranking.bundle import Ranker, open_ranker
from ranking.examples import LabelledRows, build_examples

START = 1_700_000_000
STEPS, USERS, FILMS = 60, 16, 12
#: A second of TRAIN, which has the exposures from 45 % to 60 %.
STEP = 33
NOW = START + 600 * STEP

SCHEMA = """
name = "shop"
[entities.user]
person = true
attributes = { gender = "category", age = "number" }
[entities.film]
attributes = { year = "number", genres = "list" }
[relations.click]
head = "user"
tail = "film"
source = "onsite"
[relations.buy]
head = "user"
tail = "film"
source = "offsite"
[observations.impression]
head = "user"
tail = "film"
source = "onsite"
[label]
exposure = "impression"
outcome = "click"
window_minutes = 30
"""


def events() -> list[dict[str, Any]]:
    """Users click films of their parity and buy the early ones. Two come late, to be folded in."""
    log = [_attributes("user", f"u{u}", gender="fm"[u % 2], age=20 + u) for u in range(USERS)]
    log += [
        _attributes("film", f"f{f}", year=1980 + f, genres=["odd" if f % 2 else "even", "film"])
        for f in range(FILMS)
    ]
    for step in range(STEPS):
        for user in range(USERS if step >= STEP - 4 else USERS - 2):
            film = (step * 7 + user * 5) % FILMS
            shown = _act("impression", START + 600 * step, user, film)
            log.append(shown | {"position": (step + user) % 4})
            if user % 2 == film % 2:
                log.append(_act("click", START + 600 * step + 5, user, film))
                if film < FILMS // 2:
                    bought = _act("buy", START + 600 * step + 60, user, film)
                    log.append(bought | {"action_source": "offsite", "consent": True})
    return log


def _act(name: str, time: int, user: int, film: int) -> dict[str, Any]:
    return {
        "event_id": f"{name}-{time}-{user}",
        "event_name": name,
        "event_time": time,
        "action_source": "onsite",
        "actor": {"type": "user", "id": f"u{user}"},
        "object": {"type": "film", "id": f"f{film}"},
    }


def _attributes(type_: str, id_: str, **properties: Any) -> dict[str, Any]:
    return {
        "event_id": f"set-{id_}",
        "event_name": "set_attributes",
        "event_time": START - 1,
        "action_source": "structure",
        "actor": {"type": type_, "id": id_},
        "properties": properties,
    }


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Settings]:
    """Settings of a service in a folder of its own, with rankers that read place and hour."""
    for name, value in SMALL.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "shop.toml").write_text(SCHEMA)
    monkeypatch.setenv("GRAPHSVC_SCHEMA", str(tmp_path / "shop.toml"))
    dials = {"FEATURES__HOUR": "true", "DROPOUT": "0", "ID_DROPOUT": "0"}
    for name, value in (dials | {"TRAINING__LEARNING_RATE": "0.01"}).items():
        monkeypatch.setenv(f"GRAPHSVC_RANKER__{name}", value)
    return lambda name: Settings(data_dir=tmp_path / name, port=free_port())


def trained(settings: Settings, serving: Any) -> dict[str, str]:
    """Post everything and train: the digests by kind."""
    key = prepare(settings)
    with serving(settings) as http:
        http.headers["Authorization"] = f"Bearer {key}"
        post_all(http, events())
    shop = open_workshop(settings)
    sealed = steps.snapshot(shop, RetrainRequest(conversion_days=1 / 96), silent)
    bundle = embed(shop, sealed, seed=0, tick=silent)
    made = {"snapshot": sealed, "bundle": bundle, "index": steps.index(shop, bundle, silent)}
    made["ranker"] = steps.rank(
        shop,
        (sealed, bundle),
        arm="attention",
        seed=0,
        tick=silent,
        choice=RankerChoice(heads="ctr_cvr", epochs=15, negatives_kept=0.7),
    )
    shop.database.dispose()
    return made


def served(settings: Settings, made: dict[str, str], source: Settings) -> str:
    """What was trained, live in another service that has seen what came before `NOW`: its key."""
    key = prepare(settings)
    assert key
    shutil.copytree(source.artifacts_dir, settings.artifacts_dir, dirs_exist_ok=True)
    shop = open_workshop(settings)
    for kind, digest in made.items():
        shop.record(shop.store.open(kind, digest), None)
    promote(shop.database, made["ranker"], reason="test")
    shop.database.dispose()
    return key


def test_a_training_batch_has_the_same_logits_over_http(
    settings: Callable[[str], Settings], serving: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, then = settings("whole"), settings("then")
    made = trained(whole, serving)
    key = served(then, made, whole)
    ranker, rows = _batch(then, made)
    expected = ranker.scored(rows.heads, rows.tails, rows.exposures)
    monkeypatch.setattr("api.answers.time", lambda: float(NOW))
    with serving(then) as http:
        http.headers["Authorization"] = f"Bearer {key}"
        post_all(http, [event for event in events() if event["event_time"] < NOW])
        eventually(
            "it is live",
            lambda: http.get("/health/ready").json().get("generation") == 1,
            seconds=10,
        )
        found, states = {"ctr": [], "cvr": []}, set()
        for user, film, place in zip(
            rows.heads.ids, rows.tails.ids, rows.exposures.position.tolist(), strict=True
        ):
            body = {"head": {"type": "user", "id": user}, "candidates": [film], "position": place}
            answer = http.post("/v1/score", json=body | {"order": "ctcvr"}).json()
            assert (answer["order"], answer["position"]) == ("ctcvr", place)
            [item] = answer["scores"]
            told = item["probabilities"]
            assert item["score"] == pytest.approx(told["ctr"] * told["cvr"])
            for head, values in found.items():
                values.append(told[head])
            states.add(answer["state"])
        kept = eventually(
            "the last answer is kept",
            lambda: found_answer(http, answer["request_id"]),
            seconds=10,
        )
        assert (kept["order"], kept["position"]) == ("ctcvr", place)
        monkeypatch.setenv("GRAPHSVC_DATA_DIR", str(then.data_dir))
        asked = ["score", "user", user, film, "--order", "ctcvr", "--position", str(place)]
        answered = CliRunner().invoke(app, [*asked, "--json"])
        assert answered.exit_code == 0, answered.output
        said = json.loads(answered.stdout)
        assert (said["order"], said["position"]) == ("ctcvr", place)
        assert said["scores"][0]["score"] == pytest.approx(item["score"])
        shown = CliRunner().invoke(app, asked).stdout
        assert all(f"{said['scores'][0]['probabilities'][head]:.4g}" in shown for head in found)
    assert len(rows.labels) == USERS
    assert states == {"learned", "cold"}, "those who came late are folded in"
    for number, (head, values) in enumerate(found.items()):
        # Platt's line is what stands between a logit and what is answered.
        platt, told = ranker.calibrations[head], np.array(values)
        assert platt.slope > 0, "it has learned something, so that logits can be read off"
        logits = (np.log(told / (1 - told)) - platt.offset) / platt.slope
        np.testing.assert_allclose(logits, expected.logits[:, number], rtol=1e-4, atol=1e-4)


def found_answer(http: Any, request_id: str) -> dict[str, Any] | None:
    told = http.get(f"/v1/answers/{request_id}")
    return told.json() if told.status_code == 200 else None


def _batch(settings: Settings, made: dict[str, str]) -> tuple[Ranker, LabelledRows]:
    """The ranker, and the rows of TRAIN of that second."""
    shop = open_workshop(settings)
    bundle = open_bundle(shop.store, made["bundle"])
    rows = build_examples(open_snapshot(shop.store, made["snapshot"]), bundle).rows[Span.TRAIN]
    ranker = open_ranker(shop.store, made["ranker"], bundle)
    assert ranker.reads_position
    shop.database.dispose()
    return ranker, rows.take(np.flatnonzero(rows.time == NOW))
