"""What each method sends in a round, in vectors as large as the weights."""

import pytest

from ranking.fedda.config import METHODS, MethodConfig
from ranking.fedda.methods import RIVALS, method_of


@pytest.mark.parametrize(
    ("reading", "sgdm", "adaptive"),
    [
        ("none", (1, 1), (2, 1)),
        ("restart", (1, 1), (2, 2)),
        ("carried", (2, 2), (3, 2)),
        ("frozen", (2, 1), (3, 1)),
        ("drive", (2, 2), (3, 2)),
    ],
)
def test_vectors_of_fedda(reading: str, sgdm: tuple[int, int], adaptive: tuple[int, int]):
    for optimizer, expected in (("sgdm", sgdm), ("adam", adaptive), ("adagrad", adaptive)):
        method = method_of(MethodConfig(reading=reading, optimizer=optimizer))
        assert (method.down, method.up) == expected


def test_every_name_is_a_method():
    assert {"fedda", *RIVALS} == set(METHODS)


def test_vectors_of_rivals():
    two_each = {name for name, method in RIVALS.items() if (method.down, method.up) == (2, 2)}
    assert two_each == {"scaffold", "mimelite"}
    assert (RIVALS["fedcm"].down, RIVALS["fedcm"].up) == (2, 1)
    assert {name for name, method in RIVALS.items() if method.whole} == {"mimelite"}
