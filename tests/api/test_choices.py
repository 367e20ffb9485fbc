"""What a request chooses is laid over the settings, and all else stays."""

import pytest
from pydantic import ValidationError

from api.jobs.choices import RankerChoice
from ranking.config import (
    CrossingConfig,
    HeadsConfig,
    IdTableConfig,
    RankerConfig,
    TrainingConfig,
)

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
        budget=2.0,
        epochs=4,
        rows=1_000,
        negatives_kept=0.1,
        calibration="isotonic",
        precision="int8",
    )
    assert set(choice.model_fields_set) == set(RankerChoice.model_fields), "each is chosen here"
    assert choice.over(SETTINGS) == RankerConfig(
        hidden=32,
        budget=2.0,
        calibration="isotonic",
        crossing=CrossingConfig(kind="dcn_v2", layers=1, rank_share=0.25, hidden_share=0.75),
        heads=HeadsConfig(kind="ctr_cvr", sharing="mmoe", experts=2, cvr_weight=0.5),
        ids=IdTableConfig(served="int8"),
        training=TrainingConfig(epochs=4, batch=64, most_rows=1_000, negatives_kept=0.1),
    )


@pytest.mark.parametrize(
    "body",
    [
        {"heads": "all"},
        {"precision": "int2"},
        {"epochs": True},
        {"experts": 1.0},
        {"rank_share": float("nan")},
        {"rank_share": True},
        {"hidden_share": "0.5"},
        {"negatives_kept": True},
        {"budget": 65.0},
        {"budget": -1.0},
        {"cvr_weight": "1"},
    ],
)
def test_what_no_dial_takes_is_refused(body: dict) -> None:
    with pytest.raises(ValidationError):
        RankerChoice.model_validate(body)


def test_a_choice_comes_back_from_json() -> None:
    choice = RankerChoice(heads="cvr", epochs=2)
    assert RankerChoice.model_validate_json(choice.model_dump_json()) == choice


@pytest.mark.parametrize(
    ("choice", "idle"),
    [
        ({"sharing": "mmoe"}, "sharing"),
        ({"sharing": "bottom"}, None),
        ({"sharing": "mmoe", "heads": "ctr_cvr", "experts": 2}, None),
        ({"experts": 2, "heads": "ctr_cvr"}, "experts"),
        ({"cvr_weight": 2.0, "heads": "cvr"}, "cvr_weight"),
        ({"rank_share": 0.5}, None),
        ({"rank_share": 0.5, "crossing": "mask_net_serial"}, "rank_share"),
        ({"hidden_share": 0.5}, "hidden_share"),
        ({"hidden_share": 0.5, "crossing": "wukong"}, None),
        ({"rank_share": 0.5, "crossing": "dcn_v2_full"}, "rank_share"),
        ({"budget": 2.0, "layers": 2}, None),
        ({"budget": 2.0, "rank_share": 0.5}, "rank_share"),
        ({"budget": 2.0, "layers": 2, "crossing": "dcn_v2_full"}, "layers"),
        ({"budget": 0.0, "rank_share": 0.5}, None),
        ({"negatives_kept": 0.1, "heads": "cvr"}, "negatives_kept"),
        ({"negatives_kept": 0.1, "heads": "ctr_cvr"}, None),
    ],
)
def test_a_choice_that_would_do_nothing_is_found(choice: dict, idle: str | None) -> None:
    made = RankerChoice.model_validate(choice)
    found = made.idle(made.over(RankerConfig()))
    assert (found and found[0]) == idle


def test_what_the_settings_say_is_nobodys_choice() -> None:
    settings = RankerConfig(crossing=CrossingConfig(kind="mlp", rank_share=0.5))
    assert RankerChoice(epochs=4).idle(settings) is None
    assert RankerChoice(hidden_share=2.0).idle(settings) is None
