"""Dials of federated training, and what is said of wrong ones."""

import pytest

from ranking.errors import ConfigError
from ranking.fedda.config import MethodConfig, RoundsConfig
from ranking.fedda.flow import FLOWS


@pytest.mark.parametrize(
    ("dials", "said"),
    [
        ({"method": "fedsgd"}, "method should be one of fedda, fedavg"),
        ({"reading": "direct"}, "reading should be one of none, restart, carried, frozen, drive"),
        ({"optimizer": "lion"}, "optimizer should be one of sgdm, adam, adagrad"),
        ({"momentum": 1.0}, "momentum should be at least 0 and below 1, received 1.0"),
        ({"rate": 0.0}, "rate should be above 0 and finite, received 0.0"),
        ({"pull": -1.0}, "pull should be at least 0 and finite, received -1.0"),
    ],
)
def test_a_wrong_dial_of_a_method(dials: dict, said: str):
    with pytest.raises(ConfigError, match=said):
        MethodConfig(**dials)


@pytest.mark.parametrize(
    ("dials", "said"),
    [
        ({"steps": 0}, "steps should be a whole number of at least 1, received 0"),
        ({"rounds": 5, "end_rounds": 6}, "end_rounds should be at most rounds, received 6"),
        ({"end": "never"}, "end should be count or plateau, received 'never'"),
        ({"least_gain": 1.0}, "least_gain should be at least 0 and below 1, received 1.0"),
    ],
)
def test_a_wrong_dial_of_rounds(dials: dict, said: str):
    with pytest.raises(ConfigError, match=said):
        RoundsConfig(**dials)


def test_every_reading_is_known():
    for reading in FLOWS:
        assert MethodConfig(reading=reading).reading == reading
