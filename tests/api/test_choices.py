"""What a request chooses is laid over the settings, and all else stays."""

import pytest
from pydantic import ValidationError

from api.jobs.choices import RankerChoice
from ranking.config import CrossingConfig, HeadsConfig, RankerConfig, TrainingConfig

SETTINGS = RankerConfig(
    hidden=32,
    crossing=CrossingConfig(layers=3),
    heads=HeadsConfig(experts=7),
    training=TrainingConfig(epochs=9, batch=64),
)


def test_nothing_chosen_changes_nothing() -> None:
    assert RankerChoice().over(SETTINGS) == SETTINGS


def test_every_field_reaches_its_dial() -> None:
    choice = RankerChoice(
        heads="ctr_cvr",
        sharing="mmoe",
        experts=2,
        cvr_weight=0.5,
        crossing="dcn_v2",
        layers=1,
        rank_share=0.25,
        hidden_share=0.75,
        epochs=4,
        rows=1_000,
        negatives_kept=0.1,
        calibration="isotonic",
    )
    assert set(choice.model_fields_set) == set(RankerChoice.model_fields), "each is chosen here"
    assert choice.over(SETTINGS) == RankerConfig(
        hidden=32,
        calibration="isotonic",
        crossing=CrossingConfig(kind="dcn_v2", layers=1, rank_share=0.25, hidden_share=0.75),
        heads=HeadsConfig(kind="ctr_cvr", sharing="mmoe", experts=2, cvr_weight=0.5),
        training=TrainingConfig(epochs=4, batch=64, most_rows=1_000, negatives_kept=0.1),
    )


@pytest.mark.parametrize(
    "body",
    [
        {"heads": "all"},
        {"epochs": True},
        {"experts": 1.0},
        {"rank_share": float("nan")},
        {"rank_share": True},
        {"hidden_share": "0.5"},
        {"negatives_kept": True},
        {"cvr_weight": "1"},
    ],
)
def test_what_no_dial_takes_is_refused(body: dict) -> None:
    with pytest.raises(ValidationError):
        RankerChoice.model_validate(body)


def test_a_choice_comes_back_from_json() -> None:
    choice = RankerChoice(heads="cvr", epochs=2)
    assert RankerChoice.model_validate_json(choice.model_dump_json()) == choice
