import pytest

from ranking.config import (
    AttentionConfig,
    CrossingConfig,
    FeatureConfig,
    HeadsConfig,
    IdTableConfig,
    RankerConfig,
    TrainingConfig,
)
from ranking.errors import ConfigError


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: RankerConfig(arm="both"), "arm should be one of none, frozen, attention"),
        (lambda: RankerConfig(dropout=1.0), "dropout should be at least 0 and below 1"),
        (lambda: RankerConfig(seed=-1), "seed should be at least 0, received -1"),
        (lambda: FeatureConfig(tail_smoothing=0.0), "tail_smoothing should be above 0"),
        (lambda: IdTableConfig(buckets=0), "buckets should be a whole number of at least 1"),
        (lambda: CrossingConfig(kind="wide"), "kind should be ml_dcn or dcn_v2, received 'wide'"),
        (lambda: CrossingConfig(rank_share=1.5), "rank_share should be above 0 and at most 1"),
        (lambda: AttentionConfig(heads=3), "width should be a multiple of 3, received 64"),
        (lambda: TrainingConfig(learning_rate=0.0), "learning_rate should be above 0"),
        (
            lambda: HeadsConfig(kind="both"),
            "kind should be one of ctr, cvr, ctr_cvr, received 'both'",
        ),
        (lambda: HeadsConfig(sharing="tower"), "sharing should be bottom or mmoe"),
        (lambda: HeadsConfig(experts=0), "experts should be a whole number of at least 1"),
        (
            lambda: TrainingConfig(negatives_kept=0.0),
            "negatives_kept should be above 0 and at most 1",
        ),
        (lambda: TrainingConfig(most_rows=-1), "most_rows should be a whole number of at least 0"),
        (lambda: FeatureConfig(served_place=-1), "served_place should be a whole number"),
        (lambda: RankerConfig(calibration="beta"), "calibration should be platt or isotonic"),
    ],
)
def test_a_dial_out_of_range_is_named(build, message):
    with pytest.raises(ConfigError, match=message):
        build()


def test_which_heads_there_are_and_what_they_share():
    both = HeadsConfig(kind="ctr_cvr", sharing="mmoe", experts=3, cvr_weight=0.5)
    assert (both.names, both.stacks) == (("ctr", "cvr"), 3)
    assert [both.weight(name) for name in both.names] == [1.0, 0.5]
    alone = HeadsConfig(kind="cvr", cvr_weight=0.5)
    assert (alone.names, alone.stacks, alone.weight("cvr")) == (("cvr",), 1, 1.0)
