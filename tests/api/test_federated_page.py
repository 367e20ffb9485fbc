"""docs/federated.md says of every field, default and vector what the code has."""

import re
from pathlib import Path

import pytest
import torch

from api.jobs.training import FederatedChoice
from ranking.fedda.config import READINGS, MethodConfig
from ranking.fedda.rounds import LOCAL
from ranking.fedda.server import begin
from ranking.fedda.wire import sent_arrays, told_names

PAGE = (Path(__file__).resolve().parents[2] / "docs/federated.md").read_text()


def test_every_field_is_there_with_its_default() -> None:
    table = PAGE.partition("| field | default | is |")[2].partition("\n\n")[0]
    rows = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \| ([^|]+) \| ", table, flags=re.MULTILINE)
    told: dict[str, str] = {}
    for names, defaults in rows:
        fields = re.findall(r"`(\w+)`", names)
        values = defaults.replace("`", "").split(", ")
        told |= dict(zip(fields, values, strict=True))
    config = FederatedChoice().config(seed=0)
    plain = {"clients": config.clients, "batch": config.batch, "own_rate": config.own_rate}
    of_rounds = {name: getattr(config.rounds, name) for name in config.rounds.__slots__}
    of_method = {name: getattr(config.method, name) for name in config.method.__slots__}
    drawn = of_rounds.pop("clients")
    expected = {**of_method, **of_rounds, **plain}
    expected |= {"clients_per_round": drawn, "look_every": config.look_every, "kge": "all"}
    del expected["seed"]
    assert set(expected) == set(FederatedChoice.model_fields)
    for name, value in expected.items():
        shown = value if isinstance(value, str) else f"{value:g}"
        assert told.get(name) == shown, name


@pytest.mark.parametrize("reading", READINGS)
def test_a_round_costs_as_many_vectors_as_are_told(reading: str) -> None:
    for optimizer, words in (("sgdm", "SGDM"), ("adam", "Adam or AdaGrad")):
        config = MethodConfig(reading=reading, optimizer=optimizer)
        down = len(sent_arrays(begin(torch.zeros(3), config), config, LOCAL))
        up = len(told_names(config, LOCAL))
        row = rf"\| FedDA `{reading}`, {words}[^|]*\| {down} \| {up} \|"
        assert re.search(row, PAGE), (reading, optimizer, down, up)
