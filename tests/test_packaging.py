"""What is built is what the tree holds."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[1]
ROOTS = {
    "rejoinder": "src/rejoinder",
    "rejoinder.conformance": "conformance",
    "rejoinder.load": "load",
    "rejoinder.reports": "reports",
    "rejoinder.strategies": "strategies",
}
ROOMS = [folder for folder in ROOTS.values() if "/" not in folder]


def build(tree: Path, to: Path, kind: str) -> Path:
    """Build the ``wheel`` or ``sdist`` of a tree; needs no network where the build backend is installed."""
    setuptools = int(importlib.metadata.version("setuptools").partition(".")[0]) if _has("setuptools") else 0
    if setuptools >= 77:
        code = f"import setuptools.build_meta as backend; backend.build_{kind}({str(to)!r})"
        command = [sys.executable, "-c", code]
    elif kind == "wheel":
        command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", str(to), "."]
    else:
        pytest.skip("needs setuptools >= 77 in the environment")
    done = subprocess.run(command, cwd=tree, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "SetuptoolsDeprecationWarning" not in done.stderr
    (file,) = to.iterdir()
    return file


def _has(distribution: str) -> bool:
    return any(True for _ in importlib.metadata.distributions(name=distribution))


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of what a build needs, so that nothing is written into the tree."""
    copy = tmp_path_factory.mktemp("tree") / "rejoinder"
    copy.mkdir()
    skip = shutil.ignore_patterns("__pycache__", "*.egg-info", "*.pyc")
    for name in ("src", *ROOMS):
        shutil.copytree(ROOT / name, copy / name, symlinks=True, ignore=skip)
    for name in ("pyproject.toml", "README.md", "LICENSE", "NOTICE"):
        shutil.copy(ROOT / name, copy / name)
    return copy


def tracked(tree: Path) -> dict[str, str]:
    """Return every file of the five roots: its path in the import package, and its path in the tree."""
    found = {}
    for package, folder in ROOTS.items():
        for at, folders, names in os.walk(tree / folder):
            folders[:] = [name for name in folders if not (Path(at) / name).is_symlink()]
            for name in names:
                path = (Path(at) / name).relative_to(tree)
                inside = path.relative_to(folder).as_posix()
                found[f"{package.replace('.', '/')}/{inside}"] = path.as_posix()
    return found


@pytest.mark.slow(2)
def test_the_wheel_holds_the_tree_and_nothing_else(tree: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(build(tree, tmp_path, "wheel")) as wheel:
        names = [name for name in wheel.namelist() if ".dist-info/" not in name]
        expected = tracked(tree)
        assert sorted(names) == sorted(expected)
        for name, path in expected.items():
            assert wheel.read(name) == (tree / path).read_bytes()


@pytest.mark.slow(3)
def test_two_builds_of_a_wheel_are_equal(
    tree: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1790000000")
    built = []
    for name, stamp in (("one", 1_600_000_000), ("other", 1_700_000_001)):
        copy = tmp_path_factory.mktemp(name) / f"{name}-tree"
        shutil.copytree(tree, copy, symlinks=True, ignore=shutil.ignore_patterns("build", "*.egg-info"))
        for path in copy.rglob("*"):
            os.utime(path, (stamp, stamp), follow_symlinks=False)
        wheel = build(copy, tmp_path_factory.mktemp(f"{name}-wheel"), "wheel")
        built.append((wheel.name, wheel.read_bytes()))
    assert built[0] == built[1]


@pytest.mark.slow(1)
def test_the_source_distribution_can_build_it(tree: Path, tmp_path: Path) -> None:
    with tarfile.open(build(tree, tmp_path, "sdist")) as archive:
        names = [name.partition("/")[2] for name in archive.getnames()]
    assert set(tracked(tree).values()) <= set(names)
    assert len(names) == len(set(names))
    assert not [name for name in names if name.startswith(tuple(f"src/rejoinder/{room}/" for room in ROOMS))]


def test_packages_are_listed() -> None:
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]
    assert listed["package-dir"] == ROOTS
    there = {
        name.removesuffix("/__init__.py").replace("/", ".")
        for name in tracked(ROOT)
        if name.endswith("/__init__.py") and "__pycache__" not in name
        # Parts of a report are package data: a new one is one folder and nothing else.
        if not name.startswith("rejoinder/reports/parts/") or name.count("/") == 3
    }
    assert listed["packages"] == sorted(there)


def test_the_links_for_type_checkers() -> None:
    for room in ROOMS:
        link = ROOT / "src" / "rejoinder" / room
        if not link.is_symlink():
            pytest.skip("a checkout without symlinks")
        assert link.readlink() == Path("..", "..", room)


def test_the_installed_version_is_that_of_the_package() -> None:
    import rejoinder

    assert importlib.metadata.version("rejoinder") == rejoinder.__version__


def test_lowest_versions_are_the_lower_bounds() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    bounds = {}
    for text in project["dependencies"] + project["optional-dependencies"]["gpu"]:
        requirement = Requirement(text)
        (bounds[requirement.name],) = (
            Version(part.version).release for part in requirement.specifier if part.operator == ">="
        )
    pinned = {}
    for line in (ROOT / "constraints-lowest.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            name, _, version = line.partition("==")
            pinned[name] = Version(version).release
    assert {name: release[: len(bounds[name])] for name, release in pinned.items()} == bounds


def test_pre_commit_uses_the_linters_of_the_project() -> None:
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]
    (local,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    used = {requirement for hook in local["hooks"] for requirement in hook["additional_dependencies"]}
    assert used
    assert used <= set(groups["lint"])


def test_tox_has_an_environment_for_every_supported_python() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    prefix = "Programming Language :: Python :: 3."
    supported = [line.removeprefix(prefix) for line in project["classifiers"] if line.startswith(prefix)]
    assert project["requires-python"] == f">=3.{min(supported, key=int)}"
    environments = (ROOT / "tox.ini").read_text()
    workflow = (ROOT / ".github/workflows/ci.yml").read_text()
    for minor in supported:
        assert f"py3{minor}" in environments
        assert f'"3.{minor}"' in workflow


def test_the_command_is_installed() -> None:
    (script,) = importlib.metadata.entry_points(group="console_scripts", name="rejoinder")
    assert callable(script.load())
    (plugin,) = importlib.metadata.entry_points(group="pytest11", name="rejoinder")
    assert importlib.util.find_spec(plugin.module) is not None
