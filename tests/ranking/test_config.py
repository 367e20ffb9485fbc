import pytest

from ranking.config import (
    ARMS,
    LADDER,
    Arm,
    AttentionConfig,
    CrossingConfig,
    FeatureConfig,
    HeadsConfig,
    IdTableConfig,
    RankerConfig,
    TrainingConfig,
)
from ranking.errors import ConfigError
from ranking.gating import GateConfig


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: RankerConfig(arm="all"), "arm should be one of none, frozen, initial, both, att"),
        (lambda: RankerConfig(dropout=1.0), "dropout should be at least 0 and below 1"),
        (lambda: RankerConfig(seed=-1), "seed should be at least 0, received -1"),
        (lambda: FeatureConfig(tail_smoothing=0.0), "tail_smoothing should be above 0"),
        (lambda: IdTableConfig(buckets=0), "buckets should be a whole number of at least 1"),
        (lambda: CrossingConfig(kind="wide"), r"kind should be one of ml_dcn, .*, received 'wide'"),
        (lambda: IdTableConfig(kge_scale=0.0), "kge_scale should be above 0, received 0.0"),
        (lambda: IdTableConfig(memory_mib=-1), "memory_mib should be a whole number of at least 0"),
        (lambda: IdTableConfig(max_age_days=-1.0), "max_age_days should be at least 0"),
        (lambda: IdTableConfig(when_full="wait"), "when_full should be one of refuse, evict"),
        (
            lambda: IdTableConfig(precision="bfloat16"),
            "precision should be float32 with adamw, received 'bfloat16'",
        ),
        (lambda: IdTableConfig(backend="fbgemm"), "backend should be auto or torch with adamw"),
        (
            lambda: IdTableConfig(optimizer="adagrad", backend="fbgemm", precision="bfloat16"),
            "precision should be float32 with fbgemm",
        ),
        (lambda: CrossingConfig(rank_share=1.5), "rank_share should be above 0 and at most 1"),
        (
            lambda: CrossingConfig(hidden_share=17.0),
            "hidden_share should be above 0 and at most 16",
        ),
        (lambda: CrossingConfig(tokens=1), "tokens should be a whole number of at least 2"),
        (lambda: CrossingConfig(norm="middle"), "norm should be one of after, before, none"),
        (lambda: CrossingConfig(mask="on"), "mask should be one of instance, constant, .*'on'"),
        (lambda: CrossingConfig(mask_deviation=-1.0), "mask_deviation should be at least 0"),
        (lambda: AttentionConfig(heads=3), "width should be a multiple of 3, received 32"),
        (lambda: TrainingConfig(learning_rate=0.0), "learning_rate should be above 0"),
        (
            lambda: TrainingConfig(weight_decay=42.0),
            "weight_decay should be at most 41.6667, received 42",
        ),
        (lambda: GateConfig(auc_margin=-0.1), "auc_margin should be at least 0 and finite"),
        (lambda: GateConfig(logloss_margin=float("inf")), "logloss_margin should be at least 0"),
        (lambda: GateConfig(slice_level=1.0), "slice_level should be at least 0 and below 1"),
        (lambda: GateConfig(least_users=1), "least_users should be at least 2, received 1"),
        (lambda: GateConfig(resamples=99), "resamples should be at least 100, received 99"),
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


def test_groups_are_named_with_commas():
    assert GateConfig().group_names == ()
    assert GateConfig(groups="country, age_group,").group_names == ("country", "age_group")


def test_which_heads_there_are_and_what_they_share():
    both = HeadsConfig(kind="ctr_cvr", sharing="mmoe", experts=3, cvr_weight=0.5)
    assert (both.names, both.stacks) == (("ctr", "cvr"), 3)
    assert [both.weight(name) for name in both.names] == [1.0, 0.5]
    alone = HeadsConfig(kind="cvr", cvr_weight=0.5)
    assert (alone.names, alone.stacks, alone.weight("cvr")) == (("cvr",), 1, 1.0)


def test_the_ladder_goes_from_no_kge_to_attention_and_trains_nothing_that_is_frozen():
    assert tuple(ARMS)[: len(LADDER)] == LADDER
    assert not ARMS[LADDER[0]].reads_kge
    assert ARMS[LADDER[-1]] == Arm(attends=True, begins=True)
    assert not any(ARMS[arm].vectors or ARMS[arm].maps for arm in LADDER)
