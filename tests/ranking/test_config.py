import pytest

from ranking.config import (
    AttentionConfig,
    CrossingConfig,
    FeatureConfig,
    IdTableConfig,
    RankerConfig,
    TrainingConfig,
)
from ranking.errors import ConfigError


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: RankerConfig(arm="all"), "arm should be one of none, frozen, initial, both, att"),
        (lambda: RankerConfig(dropout=1.0), "dropout should be at least 0 and below 1"),
        (lambda: RankerConfig(seed=-1), "seed should be at least 0, received -1"),
        (lambda: FeatureConfig(tail_smoothing=0.0), "tail_smoothing should be above 0"),
        (lambda: IdTableConfig(buckets=0), "buckets should be a whole number of at least 1"),
        (lambda: IdTableConfig(kge_scale=0.0), "kge_scale should be above 0, received 0.0"),
        (lambda: CrossingConfig(kind="wide"), "kind should be ml_dcn or dcn_v2, received 'wide'"),
        (lambda: CrossingConfig(rank_share=1.5), "rank_share should be above 0 and at most 1"),
        (lambda: AttentionConfig(heads=3), "width should be a multiple of 3, received 64"),
        (lambda: TrainingConfig(learning_rate=0.0), "learning_rate should be above 0"),
    ],
)
def test_a_dial_out_of_range_is_named(build, message):
    with pytest.raises(ConfigError, match=message):
        build()
