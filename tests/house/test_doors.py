"""Every module of a room has a place among its doors, in the contracts and in the architecture."""

import ast
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CONTRACTS = [
    contract
    for contract in tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"][
        "contracts"
    ]
    if contract["type"] == "protected"
]
TEXT = (ROOT / "docs/architecture.md").read_text().partition("**Doors.**")[2].partition("## ")[0]
ROOMS = ("graphsvc", "kge", "ranking")


def modules(room: str) -> set[str]:
    """The modules and packages of a room that hold code."""
    found = {path.stem for path in (ROOT / room).glob("*.py")} - {"__init__"}
    return found | {path.parent.name for path in (ROOT / room).glob("*/__init__.py")}


def protected(room: str, *importers: str) -> set[str]:
    """What the contracts open to these other rooms and to no other."""
    return {
        name.removeprefix(f"{room}.")
        for contract in CONTRACTS
        if set(contract["allowed_importers"]) == {room, *importers}
        for name in contract["protected_modules"]
        if name.startswith(f"{room}.")
    }


def listed(room: str) -> list[set[str]]:
    """The lists of the architecture: the data doors, then the work doors."""
    return [set(found.split(",")) for found in re.findall(rf"`{room}\.{{([\w,]+)}}`", TEXT)]


def imported(room: str, by: str) -> set[str]:
    """The modules of a room that another room's source names."""
    found: set[str] = set()
    for path in (ROOT / by).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module == room:
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith(f"{room}."):
                found.add((node.module or "").split(".")[1])
    return found


@pytest.mark.parametrize("room", ROOMS)
def test_each_module_is_a_door_or_private(room: str) -> None:
    named = [
        name.removeprefix(f"{room}.")
        for contract in CONTRACTS
        for name in contract["protected_modules"]
        if name.startswith(f"{room}.")
    ]
    assert len(named) == len(set(named)), "a module has one place"
    data, work = listed(room)
    assert set(named) | data == modules(room)
    assert not set(named) & data
    assert protected(room, "api") == work


@pytest.mark.parametrize("room", ROOMS)
def test_each_work_door_is_used(room: str) -> None:
    _, work = listed(room)
    assert work <= imported(room, "api"), "a door that nobody uses is a wall"


def test_what_migrations_may_import() -> None:
    assert protected("graphsvc", "api", "migrations") == {"db"}
    assert protected("graphsvc", "migrations") == {"tables"}
    assert imported("graphsvc", "migrations") == {"db", "tables"}
