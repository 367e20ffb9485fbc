"""What a file holds, without a copy of it."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from ranking.idtables.mapped import mapped

TENSORS = {
    "a.weight": torch.arange(6.0).view(2, 3),
    "b.codes": torch.tensor([[1, 2], [3, 255]], dtype=torch.uint8),
    "b.scale": torch.tensor([0.5, 2.0], dtype=torch.float16),
    "c.weight": torch.tensor([[1.0, -2.5]], dtype=torch.bfloat16),
    "count": torch.tensor([7]),
}


@pytest.fixture
def path(tmp_path):
    file = tmp_path.resolve() / "some.safetensors"
    save_file(TENSORS, file, metadata={"made": "here"})
    return file


def test_a_file_gives_the_tensors_that_rows_are_made_of(path):
    found = mapped(path)
    assert set(found) == {"a.weight", "b.codes", "b.scale", "c.weight"}
    assert found["a.weight"].tolist() == [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]
    assert found["b.codes"].tolist() == [[1, 2], [3, 255]]
    assert found["b.scale"].dtype == np.float16
    assert found["b.scale"].tolist() == [0.5, 2.0]
    # 1 is 0x3f80 in bfloat16; -2.5 is 0xc020, as a signed number below 0.
    assert found["c.weight"].tolist() == [[0x3F80, 0xC020 - 0x10000]]


def test_nobody_can_write_to_them(path):
    found = mapped(path)
    with pytest.raises(ValueError, match="read-only"):
        found["a.weight"][0] = 1.0


def test_processes_share_their_pages(path):
    """The kernel's own word for it: for reading only, shared; nothing of it is private."""
    found = mapped(path)
    assert float(found["a.weight"].sum()) == 15.0
    lines = Path("/proc/self/maps").read_text().splitlines()
    (line,) = (one for one in lines if one.endswith(str(path)))
    assert line.split()[1] == "r--s"
