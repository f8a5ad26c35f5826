"""The container image, the pinned requirements and the Makefile, without a container engine.

`docker build` can not run here. Instead the Dockerfile is read, and what its build stage copies and runs is copied and run:
the same pip commands, in a fresh environment elsewhere, by the Python that runs the tests. What is only read, not run: the
base image, the Debian packages, the user, and how an engine treats VOLUME, HEALTHCHECK and STOPSIGNAL.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PACKAGES = {"bot", "adapters", "memory", "config"}
HOME = "/opt/boswell"  # where the image has its environment


def _stages() -> list[list[tuple[str, str]]]:
    """The Dockerfile's instructions with their arguments, by stage."""
    text = re.sub(r"\\\n\s*", "", (ROOT / "Dockerfile").read_text())
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    stages: list[list[tuple[str, str]]] = []
    for line in lines:
        word, _, rest = line.partition(" ")
        if word == "FROM":
            stages.append([])
        stages[-1].append((word, rest))
    return stages


def _run(*command: str | Path, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return subprocess.run(
        command, cwd=cwd, env={**clean, **environment}, capture_output=True, text=True, check=False
    )


@dataclass(frozen=True)
class Image:
    """What the build stage left: its environment, and an empty working directory as /data is."""

    home: Path
    data: Path

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """`boswell` with the image's environment, in the working directory."""
        path = f"{self.home / 'bin'}{os.pathsep}{os.environ['PATH']}"
        return _run(self.home / "bin" / "boswell", *arguments, cwd=self.data, PATH=path, PYTHONSAFEPATH="1")

    def files(self) -> list[str]:
        """What the installed distribution consists of, relative to site-packages."""
        (record,) = self.home.glob("lib/python*/site-packages/boswell-*.dist-info/RECORD")
        return [line.split(",")[0] for line in record.read_text().splitlines()]


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    """The build stage, run for real: some 15 s, nearly all of it pip installing the pinned requirements."""
    source, home, data = (tmp_path_factory.mktemp(name) for name in ("src", "opt", "data"))
    for word, rest in _stages()[0]:
        if word == "COPY":
            *names, target = rest.split()
            for name in names:
                _copy(ROOT / name, source / name if target in {".", "./"} else source / target)
        elif word == "RUN":
            command = shlex.split(rest.replace(HOME, str(home)))
            if command[0] == "python":
                command[0] = sys.executable
            done = _run(*command, cwd=source)
            assert done.returncode == 0, f"{rest}\n{done.stderr}"
    shutil.rmtree(source)  # the second stage has only the environment
    return Image(home, data)


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copy(source, target)


@pytest.mark.timeout(300)
def test_image_runs_from_its_working_directory_and_imports_nothing_from_there(image: Image) -> None:
    for name in (*PACKAGES, "click"):
        (image.data / f"{name}.py").write_text("raise SystemExit('imported from the working directory')")
    version = image.run("--version")
    assert version.returncode == 0, version.stderr
    assert re.fullmatch(r"boswell, version \d+\.\d+\.\d+\n", version.stdout)
    schema = image.run("schema")
    assert schema.returncode == 0, schema.stderr
    assert json.loads(schema.stdout)["type"] == "object"


@pytest.mark.timeout(300)
def test_health_check_and_command_are_ones_that_the_installed_program_has(image: Image) -> None:
    final = dict(_stages()[1])
    check = json.loads(final["HEALTHCHECK"].partition("CMD ")[2])
    assert [*json.loads(final["ENTRYPOINT"]), *json.loads(final["CMD"])] == ["boswell", "run"]
    for command in (check, ["boswell", "run"]):
        done = image.run(*command[1:], "--help")
        assert done.returncode == 0, done.stderr
    assert image.run(*check[1:]).returncode == 1, "nothing runs here, so it must not be called healthy"


@pytest.mark.timeout(300)
def test_distribution_carries_the_queries_and_the_example_and_no_tests(image: Image) -> None:
    files = [name for name in image.files() if "dist-info" not in name and not name.startswith("..")]
    assert {name.split("/")[0] for name in files} == PACKAGES
    assert set(files) >= {str(path.relative_to(ROOT)) for path in (ROOT / "memory").rglob("*.sql")}
    others = {name for name in files if name.startswith("config/") and not re.search(r"\.pyc?$", name)}
    assert others == {"config/example.yaml"}
    assert "bot/languages/en.toml" in files


@pytest.mark.timeout(300)
def test_pinned_requirements_are_consistent(image: Image) -> None:
    done = _run(image.home / "bin" / "python", "-m", "pip", "check", cwd=image.data)
    assert done.returncode == 0, done.stdout


def test_image_runs_as_an_unprivileged_user_with_certificates_and_a_volume() -> None:
    build, final = _stages()
    assert re.match(r"python:3\.1[1-9]-slim\b", build[0][1])
    assert final[0][1] == build[0][1].removesuffix(" AS build"), (
        "an environment works with the Python it was made by"
    )
    assert ("COPY", f"--from=build {HOME} {HOME}") in final
    words = dict(final)
    assert re.search(r"apt-get install .*\bca-certificates\b", words["RUN"])
    assert re.search(rf"useradd .*\b{words['USER']}\b", words["RUN"])
    assert words["USER"] not in {"root", "0"}
    assert words["VOLUME"] == words["WORKDIR"] == "/data"
    assert words["STOPSIGNAL"] == "SIGTERM"
    assert {"PYTHONSAFEPATH=1", f"PATH={HOME}/bin:$PATH"} <= set(words["ENV"].split())
    order = [word for word, _ in final]
    assert order.index("RUN") < order.index("USER") < order.index("VOLUME")


def test_build_context_lets_in_what_the_image_copies_and_no_secrets() -> None:
    rules = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    assert rules[0] == "*"
    copied = {name for word, rest in _stages()[0] if word == "COPY" for name in rest.split()[:-1]}
    assert {rule[1:] for rule in rules if rule[0] == "!"} == copied | {"config/example.yaml"}
    assert "config/*.yaml" in rules


@pytest.mark.parametrize(
    "name", ["requirements.txt", "requirements-dev.txt", "benchmarks/requirements-ag2.txt"]
)
def test_pins_name_versions_and_no_registry(name: str) -> None:
    lines = (ROOT / name).read_text().splitlines()
    assert lines
    assert [line for line in lines if not re.fullmatch(r"[a-z0-9][a-z0-9._-]*==[A-Za-z0-9.!+]+", line)] == []


def _pins(name: str) -> dict[str, str]:
    pairs = (line.split("==") for line in (ROOT / name).read_text().splitlines())
    return {canonicalize_name(package): version for package, version in pairs}


def test_pins_are_what_the_project_declares_and_the_same_for_running_and_testing() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    run, dev = _pins("requirements.txt"), _pins("requirements-dev.txt")
    unpinned = {"all", "dev", "local-meaning"}  # the last is a model of 91 MB, for those who ask for it
    platforms = [wish for name, wishes in extras.items() if name not in unpinned for wish in wishes]
    for pins, wishes in ((run, [*project["dependencies"], *platforms]), (dev, extras["dev"])):
        for wish in map(Requirement, wishes):
            assert wish.specifier.contains(pins[canonicalize_name(wish.name)]), f"run `make lock`: {wish}"
    assert run.items() <= dev.items()


def _make(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    make = shutil.which("make")
    if make is None:
        pytest.skip("make is not installed")
    for name in ("Makefile", "pyproject.toml", "requirements.txt", "requirements-dev.txt"):
        shutil.copy(ROOT / name, folder)
    # Under `make test` this is a make within a make, which would say so.
    return _run(make, "--no-print-directory", *arguments, cwd=folder, MAKEFLAGS="", **environment)


def test_make_run_installs_nothing_the_second_time(tmp_path: Path) -> None:
    assert "pip" in _make(tmp_path, "--dry-run", "run").stdout
    for name in ("bin/python", ".installed-run"):  # what the first run leaves
        path = tmp_path / ".venv" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert _make(
        tmp_path, "--dry-run", "--assume-old=requirements.txt", "--assume-old=pyproject.toml", "run"
    ).stdout == (".venv/bin/boswell chat\n")


def test_make_run_says_what_to_install_where_python_is_too_old(tmp_path: Path) -> None:
    path = tmp_path / "bin"
    path.mkdir()
    (path / "python3").write_text("#!/bin/sh\nexit 1\n")
    (path / "python3").chmod(0o755)
    done = _make(tmp_path, "run", PATH=str(path))
    assert done.returncode != 0
    assert "Python 3.11 or newer" in done.stderr
    assert "apt install" in done.stderr
