"""What manifests and tensors of before mean today; whole rankers are opened in test_bundle.py."""

import dataclasses

import pytest
import torch

from ranking.calibration import Isotonic, Platt
from ranking.config import CrossingConfig, HeadsConfig, RankerConfig
from ranking.errors import RankerFormat
from ranking.formats import calibrations_of, check_format, config_of, others_of, weights_of

PLAIN = RankerConfig()
NOW = {"ranker_format": 2, "arm": PLAIN.arm}


@pytest.mark.parametrize(
    ("before", "now"),
    [
        ({"mask": True, "layer_norm": True}, {"mask": "instance", "norm": "after"}),
        ({"mask": False, "layer_norm": False}, {"mask": "none", "norm": "none"}),
    ],
)
def test_dials_of_rankers_that_had_switches_are_read(before, now):
    told = dataclasses.asdict(PLAIN)
    told["crossing"] = {
        "kind": "dcn_v2",
        "layers": 3,
        "rank_share": 0.25,
        "mask_share": 1.0,
    } | before
    crossing = CrossingConfig(kind="dcn_v2", layers=3, rank_share=0.25, mask_share=1.0, **now)
    assert config_of(NOW, told) == dataclasses.replace(PLAIN, crossing=crossing)


@pytest.mark.parametrize(
    ("ranker_format", "before", "now"),
    [(1, "attention", "attention_blank"), (1, "frozen", "frozen"), (2, "attention", "attention")],
)
def test_rows_that_attended_began_at_zero(ranker_format, before, now):
    told = dataclasses.asdict(dataclasses.replace(PLAIN, arm=before))
    assert config_of({"ranker_format": ranker_format, "arm": before}, told).arm == now


def test_a_ranker_without_heads_answers_about_clicks():
    told = dataclasses.asdict(dataclasses.replace(PLAIN, seed=3))
    del told["heads"], told["calibration"]
    assert config_of(NOW, told) == dataclasses.replace(PLAIN, seed=3)
    both = dataclasses.replace(PLAIN, heads=HeadsConfig(kind="ctr_cvr", sharing="mmoe"))
    assert config_of(NOW, dataclasses.asdict(both)) == both


def test_tensors_of_before_have_their_present_names():
    one = torch.zeros(1)
    before = {"crossing.1.up.weight": one, "hidden.bias": one, "additive": one, "norm.weight": one}
    now = {
        "experts.stacks.0.1.up.weight",
        "towers.0.hidden.bias",
        "towers.0.additive",
        "norm.weight",
    }
    assert set(weights_of({"ranker_format": 1}, before)) == now
    assert weights_of({"ranker_format": 2}, before) == before
    assert weights_of({"ranker_format": 3}, before) == before


def test_calibrations_of_both_formats():
    line = {"method": "platt", "slope": 2.0, "offset": -1.0}
    former = {"ranker_format": 1, "calibration": line}
    assert calibrations_of(former) == {"ctr": Platt(2.0, -1.0)}
    curve = {"method": "isotonic", "scores": [0.0, 1.0], "values": [0.1, 0.2]}
    told = {"ranker_format": 2, "calibrations": {"ctr": line, "cvr": curve}}
    assert calibrations_of(told)["cvr"] == Isotonic((0.0, 1.0), (0.1, 0.2))
    assert (others_of(former), others_of({"others": ["buy"]})) == ((), ("buy",))


def test_what_is_not_known_here_is_refused_by_name():
    check_format("d", {"ranker_format": 1, "arm": "frozen"})
    check_format("d", {"ranker_format": 2, "arm": "frozen"})
    with pytest.raises(RankerFormat, match=r"d has ranker_format 9, .* reads 1, 2, 3; train"):
        check_format("d", {"ranker_format": 9, "arm": "frozen"})
    with pytest.raises(RankerFormat, match=r"has arm 'odd', this version reads none, frozen"):
        check_format("d", {"ranker_format": 2, "arm": "odd"})
