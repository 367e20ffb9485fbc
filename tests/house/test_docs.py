"""The docs name files, settings, commands and tests that exist."""

import re
from pathlib import Path

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from api.app import create_app
from api.cli import app
from api.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
DOCS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("doc", DOCS, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_that_are_named_exist(doc: Path) -> None:
    text = doc.read_text()
    named = set(
        re.findall(r"`((?:graphsvc|kge|ranking|api|tests|migrations|docs)/[\w./*-]+)", text)
    )
    links = {link for link in re.findall(r"\]\(([^)#]+)", text) if "://" not in link}
    for name in named:
        pattern = name.partition("::")[0]
        assert list(ROOT.glob(pattern.rstrip("/"))), f"{name} does not exist"
    for link in links:
        assert (doc.parent / link).exists(), f"{link} leads nowhere"


def test_every_dial_of_the_environment_is_documented() -> None:
    text = (ROOT / "docs/operations.md").read_text()
    for name, field in Settings.model_fields.items():
        variable = field.validation_alias or f"GRAPHSVC_{name.upper()}"
        assert f"`{variable}" in text, f"{variable} is not in docs/operations.md"


def test_every_command_has_help_and_those_that_answer_have_json() -> None:
    runner = CliRunner()
    commands = dict(get_command(app).commands)
    commands |= {f"key {name}": sub for name, sub in commands.pop("key").commands.items()}
    for name in commands:
        shown = runner.invoke(app, [*name.split(), "--help"], env={"COLUMNS": "120"})
        assert shown.exit_code == 0
        assert commands[name].help, name
        if name not in ("serve", "worker"):  # these run until they are stopped
            assert "--json" in shown.output, name
    wanted = (
        "init up serve worker ingest snapshot embed index rank promote jobs neighbors score demo"
    )
    assert set(wanted.split()) < set(commands)


def test_every_route_has_a_summary_and_an_example() -> None:
    document = create_app(Settings()).openapi()
    text = str(document)
    assert "EventBatch" in document["components"]["schemas"]
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            where = f"{method} {path}"
            assert operation["summary"], where
            good = {s: r for s, r in operation["responses"].items() if s.startswith("2")}
            assert good, where
            for part in (operation.get("requestBody"), good):
                shown = str(part) + _shapes(document, str(part))
                assert part is None or "example" in shown, f"{where} shows no example"
    assert "application/problem+json" in text


def _shapes(document: dict, operation: str) -> str:
    names = re.findall(r"#/components/schemas/(\w+)", operation)
    return " ".join(str(document["components"]["schemas"][name]) for name in names)
