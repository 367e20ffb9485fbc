"""The containers use the commands of the README; the compose file is sound."""

import re
import shutil
import subprocess
from pathlib import Path

import yaml
from typer.main import get_command

from api.cli import app

ROOT = Path(__file__).resolve().parents[2]


def test_services_run_our_own_commands_in_order() -> None:
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    assert set(services) == {"postgres", "migrate", "api", "worker"}
    verbs = get_command(app).commands
    for name in ("migrate", "api", "worker"):
        program, verb = services[name]["command"]
        assert program == "graphsvc"
        assert verb in verbs
    assert "healthcheck" in services["postgres"]
    assert services["api"]["depends_on"]["migrate"]["condition"] == "service_completed_successfully"
    assert services["api"]["ports"] == ["127.0.0.1:8080:8080"], "the host's loopback only"


def test_compose_config_where_the_client_exists() -> None:
    docker = shutil.which("docker")
    has_client = (
        docker
        and not subprocess.run([docker, "compose", "version"], capture_output=True).returncode
    )
    if not has_client:
        return  # the test above has read the file; there is nothing here to ask for more
    subprocess.run(
        [docker, "compose", "config", "--quiet"],
        check=True,
        cwd=ROOT,
        env={"POSTGRES_PASSWORD": "x", "PATH": "/usr/bin:/bin:/usr/local/bin"},
    )


def test_the_image_holds_every_room() -> None:
    copied = re.findall(r"^COPY (\w+) \1$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert set(copied) == {"graphsvc", "kge", "ranking", "api", "migrations"}
