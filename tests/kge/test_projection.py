import numpy as np
import pytest
import torch

from kge.config import TransRAConfig
from kge.errors import ConfigError
from kge.projection import build_matrices

KINDS = ["full", "low_rank", "block"]


def matrices_of(kind: str, seed: int = 0, **dials):
    config = TransRAConfig(
        dim=6, relation_dim=4, projection=kind, projection_rank=2, projection_blocks=2, **dials
    )
    return build_matrices(3, config, torch.Generator().manual_seed(seed))


def mirrored_of(kind: str, flips: float = 0.0):
    config = TransRAConfig(
        dim=6, relation_dim=6, projection=kind, projection_rank=2, projection_blocks=2,
        tails="still", inverse="transpose", matrix_flips=flips,
    )  # fmt: skip
    reflected = np.array([False, False, True, True])
    return build_matrices(4, config, torch.Generator().manual_seed(0), reflected)


@pytest.mark.parametrize("kind", KINDS)
def test_they_begin_near_a_multiple_of_the_identity(kind: str):
    still = matrices_of(kind, matrix_gain=1.5, matrix_noise=0.0)(None)
    if kind == "block":  # two blocks of 2 x 3, each an identity
        expected = torch.zeros(4, 6)
        for row, column in ((0, 0), (1, 1), (2, 3), (3, 4)):
            expected[row, column] = 1.5
    else:
        expected = 1.5 * torch.eye(4, 6)
    torch.testing.assert_close(still, expected.expand(3, 4, 6))


@pytest.mark.parametrize("kind", KINDS)
def test_reflections_begin_with_a_share_of_rows_negated_alike_in_both_directions(kind: str):
    config = TransRAConfig(
        dim=6, relation_dim=4, projection=kind, projection_rank=2, projection_blocks=2,
        matrix_noise=0.0, matrix_flips=0.25,
    )  # fmt: skip
    reflected = np.arange(200) < 120
    plain, flipped = (
        build_matrices(200, config, torch.Generator().manual_seed(0), which)(None)
        for which in (None, reflected)
    )
    torch.testing.assert_close(flipped.abs(), plain)
    torch.testing.assert_close(flipped[0::2], flipped[1::2])
    negated = (flipped < 0).any(dim=2).float()
    assert negated[:120].mean().item() == pytest.approx(0.25, abs=0.08)
    assert not negated[120:].any()
    # Each relation has signs of its own.
    assert len(negated[:120].unique(dim=0)) > 1


def test_their_parameters_are_as_many_as_said():
    """3 relations: full 4 x 6 = 24 each, rank 2: 4 + 2 (4 + 6) = 24, two blocks of 2 x 3: 12."""
    sizes = {kind: sum(p.numel() for p in matrices_of(kind).parts) for kind in KINDS}
    assert sizes == {"full": 3 * 24, "low_rank": 3 * 24, "block": 3 * 12}


def test_a_low_rank_matrix_is_what_its_factors_say():
    found = matrices_of("low_rank", matrix_gain=2.0)
    scale, left, right = found.parts
    assert (scale == 2.0).all()
    torch.testing.assert_close(found(None)[1], 2.0 * torch.eye(4, 6) + left[1] @ right[1])


def test_a_block_matrix_is_zero_outside_its_blocks():
    found = matrices_of("block")(torch.tensor([2]))[0]
    assert not found[:2, 3:].any()
    assert not found[2:, :3].any()
    torch.testing.assert_close(found[2:, 3:], matrices_of("block").parts[0][2, 1])


@pytest.mark.parametrize("kind", KINDS)
def test_the_gradient_by_the_parameters_equals_autograds(kind: str):
    found = matrices_of(kind)
    slope = torch.randn(4, 6, generator=torch.Generator().manual_seed(5))
    leaves = [part[1].detach().clone().requires_grad_() for part in found.parts]
    expected = torch.autograd.grad((found.compose(leaves) * slope).sum(), leaves)
    for left, right in zip(found.pull(leaves, slope), expected, strict=True):
        torch.testing.assert_close(left, right)


@pytest.mark.parametrize("kind", KINDS)
def test_the_matrix_of_a_mirrored_relations_reciprocal_is_its_transpose(kind: str):
    found = mirrored_of(kind)
    every = found(None)
    assert every.shape == (4, 6, 6)
    assert all(len(part) == 2 for part in found.parts)
    for relation in (0, 2):
        assert (every[relation] - every[relation].T).abs().max() > 0.01
        torch.testing.assert_close(every[relation + 1], every[relation].T)
    asked = torch.tensor([[3, 0], [1, 2]])
    torch.testing.assert_close(found(asked), every[asked])
    for relation in range(4):
        torch.testing.assert_close(found.matrix(relation), every[relation])
    signs = mirrored_of(kind, flips=1.0)(None).diagonal(dim1=1, dim2=2) < 0
    assert signs.any(dim=1).tolist() == [False, False, True, True]


@pytest.mark.parametrize("relation", [2, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_both_directions_of_a_mirrored_relation_move_the_same_numbers(kind: str, relation: int):
    found = mirrored_of(kind)
    slope = torch.randn(6, 6, generator=torch.Generator().manual_seed(5))
    (found(torch.tensor(relation)) * slope).sum().backward()
    assert found.row(relation) == 1
    for part, own in zip(found.parts, found.slopes(relation, slope), strict=True):
        torch.testing.assert_close(part.grad[1], own)


def test_resetting_brings_the_start_back():
    found = matrices_of("full")
    start = found(None).detach().clone()
    with torch.no_grad():
        found.parts[0].add_(1.0)
    found.reset_parameters()
    torch.testing.assert_close(found(None), start)


def test_blocks_have_to_fit():
    config = TransRAConfig(dim=6, relation_dim=4, projection="block", projection_blocks=4)
    with pytest.raises(ConfigError, match="projection_blocks should divide"):
        build_matrices(1, config, torch.Generator())
