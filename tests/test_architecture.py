"""Modules import each other as docs/explanation/architecture.md says, and every name stands for one thing."""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = {
    "rejoinder": ROOT / "src" / "rejoinder",
    "rejoinder.conformance": ROOT / "conformance",
    "rejoinder.load": ROOT / "load",
    "rejoinder.reports": ROOT / "reports",
    "rejoinder.strategies": ROOT / "strategies",
}
STARTED_BY_NAME = {
    "rejoinder.__main__": "python -m rejoinder",
    "rejoinder.conformance.proof.clients": "python -m",
    "rejoinder.conformance.proof.kill": "python -m",
    "rejoinder.conformance.proof.minimal": "python -m",
    "rejoinder.conformance.proof.mutants": "python -m",
    "rejoinder.conformance.proof.plan_branches": "python -m",
    "rejoinder.conformance.proof.plan_rules": "python -m",
    "rejoinder.conformance.proof.quiet": "python -m",
    "rejoinder.conformance.proof.relations": "python -m",
    "rejoinder.conformance.test_rules": "collected by pytest",
    "rejoinder.load.locustfile": "run by Locust as a file",
}
"""Modules that no import statement names, with who runs them; the command line's modules are named by its table."""

FOUND_BY_FOLDER = {
    *("rejoinder.conformance.checks", "rejoinder.conformance.running.cases", "rejoinder.reports.parts"),
    *("rejoinder.sandbox.faults", "rejoinder.sandbox.freedoms"),
}
"""Packages whose modules are imported because they are there."""

SHADOWS = {"requests", "responses", "pairwise", "draw"}
"""Names that users of strategies need for other things: two libraries, itertools' and Hypothesis' functions."""

RETIRED = {
    *("Allowance", "Asking", "CaseSequence", "Course", "Environment", "Excuse", "Fate", "Ledger", "Limits"),
    *("Planned", "Reception", "Remark", "Says", "Second", "Sending", "Setting", "Shown", "Standing", "Stretch"),
    *("Tally", "Tone", "Turn", "View", "ENDED_WELL", "NOTHING"),
    *("analyst", "course", "examination", "gate", "lanes", "planted", "rehearsal", "rehearse", "situations", "zero"),
}
"""Names that were replaced because readers took them for something else, or for nothing."""


@cache
def trees() -> dict[str, ast.Module]:
    """Return the syntax tree of every module of the product by its full name."""
    found = {}
    for package, folder in FOLDERS.items():
        for path in sorted(folder.rglob("*.py")):
            if not any(parent.is_symlink() for parent in path.parents):
                parts = path.relative_to(folder).with_suffix("").parts
                found[".".join((package, *parts)).removesuffix(".__init__")] = ast.parse(path.read_text("utf-8"))
    return found


@cache
def imports() -> dict[str, set[str]]:
    """Return what each module imports of the product: at its top, inside functions, and for types."""
    modules = trees()
    graph: dict[str, set[str]] = {name: set() for name in modules}
    for name, tree in modules.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                graph[name].update(alias.name for alias in node.names if alias.name in modules)
            elif isinstance(node, ast.ImportFrom):
                assert not node.level, f"{name} has a relative import; the mapped folders need absolute ones"
                inner = {f"{node.module}.{alias.name}" for alias in node.names}
                graph[name] |= {
                    *(inner & modules.keys()),
                    *({node.module} & modules.keys() if inner - modules.keys() else ()),
                }
        graph[name].discard(name)
    return graph


def definitions(tree: ast.Module) -> Iterator[tuple[str, ast.stmt]]:
    """Yield what a module defines at its top level, with the statement."""
    for node in tree.body:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node.name, node
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from ((target.id, node) for target in targets if isinstance(target, ast.Name))


@pytest.mark.slow(2)
def test_no_module_imports_itself_by_way_of_others() -> None:
    try:
        TopologicalSorter(imports()).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


@pytest.mark.slow(2)
def test_private_modules_and_names_stay_in_their_package() -> None:
    strangers = []
    for name, tree in trees().items():
        for node in ast.walk(tree):
            if not isinstance(node, ast.ImportFrom) or not (node.module or "").startswith("rejoinder"):
                continue
            for alias in node.names:
                path = f"{node.module}.{alias.name}".split(".")
                private = next((i for i, part in enumerate(path) if re.match(r"_(?!_)", part)), None)
                if private is not None and not f"{name}.".startswith(".".join(path[:private]) + "."):
                    strangers.append(f"{name} imports {'.'.join(path)}")
    assert not strangers


@pytest.mark.slow(3)
def test_a_class_name_stands_for_one_class() -> None:
    places = defaultdict(list)
    for name, tree in trees().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                places[node.name].append(name)
    assert not {name: modules for name, modules in places.items() if len(modules) > 1}


def test_every_module_is_used() -> None:
    from rejoinder.cli import COMMANDS

    found_by_folder = (name for name in trees() if name.rpartition(".")[0] in FOUND_BY_FOLDER)
    commands = (f"rejoinder.cli.{name}" for name in COMMANDS)
    used = set().union(*imports().values(), STARTED_BY_NAME, commands, found_by_folder)
    packages = {name.rpartition(".")[0] for name in trees()}
    assert sorted(trees().keys() - used - packages) == []
    assert trees().keys() >= STARTED_BY_NAME.keys()
    assert not {name for name in STARTED_BY_NAME if any(name in others for others in imports().values())}


def test_every_name_is_used() -> None:
    """What is defined at the top of a module is mentioned somewhere else in the product, or exported by ``__all__``."""
    mentions: Counter[str] = Counter()
    exported = {"__all__", "__getattr__", "__dir__"}
    for tree in trees().values():
        for node in ast.walk(tree):
            if isinstance(node, ast.Name):
                mentions[node.id] += 1
            elif isinstance(node, ast.Attribute):
                mentions[node.attr] += 1
            elif isinstance(node, ast.alias):
                mentions[node.name] += 1
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.isidentifier():
                mentions[node.value] += 1  # annotations in quotes, getattr, __all__
    dead = []
    for name, tree in trees().items():
        for what, node in definitions(tree):
            decorated = bool(getattr(node, "decorator_list", ())) and not isinstance(node, ast.ClassDef)
            hook = what.startswith("pytest_") or "test_rules" in name
            own = 0 if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) else 1
            if not decorated and not hook and what not in exported and mentions[what] <= own:
                dead.append(f"{name}.{what}")
    assert not dead


def test_strategies_shadow_nothing() -> None:
    names = {
        f"{name}.{what}"
        for name, tree in trees().items()
        if name.startswith("rejoinder.strategies")
        for what, _ in definitions(tree)
        if what in SHADOWS
    }
    modules = {
        name for name in trees() if name.startswith("rejoinder.strategies") and name.rpartition(".")[2] in SHADOWS
    }
    assert not names | modules


def test_retired_names_do_not_come_back() -> None:
    found = set()
    for name, tree in trees().items():
        for node in ast.walk(tree):
            if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
                what = node.name
            elif isinstance(node, ast.arg):
                what = node.arg
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                what = node.id
            else:
                continue
            if what in RETIRED:
                found.add(f"{name}: {what}")
    assert not found | {name for name in trees() if name.rpartition(".")[2] in RETIRED}


GENERATORS = {"rejoinder.strategies", "rejoinder.conformance.running", "rejoinder.sandbox"}
"""What makes requests and replies, which judging needs none of."""


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("rejoinder", {"click", "httpx", "hypothesis", "jsonschema", "locust", "gevent"}),
        ("rejoinder.cli", {"httpx", "hypothesis", "jsonschema", "locust", "gevent"}),
        ("rejoinder.conformance", {"hypothesis", "locust", "gevent"}),
        ("rejoinder.conformance.plugin", {"httpx", "hypothesis", "jsonschema", "locust", "gevent"}),
        ("rejoinder.conformance.judgement", {"httpx", "hypothesis", "locust", "gevent", *GENERATORS}),
        ("rejoinder.conformance.assess", {"httpx", "hypothesis", "locust", "gevent", *GENERATORS}),
        ("rejoinder.load.measure.worker", {"httpx", "hypothesis", "locust", "gevent", *GENERATORS}),
        ("rejoinder.reports", {"httpx", "hypothesis", "locust", "gevent"}),
        ("rejoinder.wire.client", {"hypothesis", "locust", "gevent"}),
    ],
)
def test_what_an_import_does_not_load(module: str, heavy: set[str]) -> None:
    code = f"import sys, {module}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    loaded = sorted(heavy & set(done.stdout.split()))
    assert not loaded


@pytest.mark.parametrize("path", sorted((ROOT / "benchmarks").glob("*.py")), ids=lambda path: path.stem)
def test_benchmarks_import_what_is_there(path: Path) -> None:
    code = f"import runpy, sys; sys.path.insert(0, {str(path.parent)!r})\n"
    code += f"runpy.run_path({str(path)!r}, run_name='imported')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_documented_layers_are_the_checked_ones() -> None:
    page = (ROOT / "docs" / "explanation" / "architecture.md").read_text("utf-8")
    contracts = (ROOT / ".importlinter").read_text("utf-8")
    checked = re.findall(r"^type = layers\n(?:.+\n)*?layers =\n((?:    .+\n)+)", contracts, re.M)
    assert checked
    for layers in checked:
        assert f"```\n{re.sub('^    ', '', layers, flags=re.M)}```\n" in page


@pytest.mark.slow(2)
def test_docs_name_what_is_there() -> None:
    names = {name: {what for what, _ in definitions(tree)} for name, tree in trees().items()}
    for name, tree in trees().items():
        names[name] |= {
            alias.asname or alias.name
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom)
            for alias in node.names
        }
    missing = []
    for page in sorted((ROOT / "docs").rglob("*.md")):
        for path in re.findall(r"\brejoinder(?:\.\w+)+", page.read_text("utf-8")):
            module, _, rest = path, "", ""
            while module not in names:
                module, _, part = module.rpartition(".")
                rest = f"{part}.{rest}"
            if rest and rest.partition(".")[0] not in names[module] | {"toml", "fish"}:
                missing.append(f"{page.name}: {path}")
    assert not missing


# One forbidden import for each contract of .importlinter: the module it goes into, and what it imports.
FORBIDDEN = {
    "layers": ("src/rejoinder/contract/_dialect.py", "rejoinder.wire.sse"),
    "conformance": ("conformance/judging/problems.py", "rejoinder.conformance.running.plan"),
    "load": ("load/measure/reader.py", "rejoinder.load.run"),
    "judge": ("conformance/judging/formats.py", "hypothesis"),
    "load-judge": ("load/run.py", "rejoinder.conformance.running.plan"),
    "locust": ("load/run.py", "locust"),
    "generator": ("load/run.py", "rejoinder.load.generator"),
    "reports": ("reports/__init__.py", "rejoinder.wire.client"),
    "cycles": ("src/rejoinder/sandbox/endpoint/store.py", "rejoinder.sandbox.core"),
}


def run(folder: Path, *arguments: str) -> str:
    """Run Python on the tree in a folder; return what it prints."""
    environment = {**os.environ, "PYTHONPATH": str(folder / "src"), "COLUMNS": "200"}
    command = [sys.executable, *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def lint(folder: Path) -> str:
    """Return what import-linter prints for the tree in a folder."""
    code = "from importlinter.cli import lint_imports_command as main; main(['--no-cache', '--no-logo'])"
    return run(folder, "-c", code)


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """Return a copy of the product with its contracts, and with links as in the checkout."""
    if importlib.util.find_spec("importlinter") is None:
        pytest.skip("needs import-linter; tox installs it")
    skip = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for folder in ("src", "conformance", "load", "reports", "strategies"):
        shutil.copytree(ROOT / folder, tmp_path / folder, symlinks=True, ignore=skip)
    shutil.copy(ROOT / ".importlinter", tmp_path)
    return tmp_path


@pytest.mark.slow(2)
def test_the_layers_hold_and_see_every_module(copied: Path) -> None:
    printed = lint(copied)
    contracts = re.findall(r"^\[importlinter:contract:(.+)\]", (ROOT / ".importlinter").read_text("utf-8"), re.M)
    assert f"Contracts: {len(contracts)} kept, 0 broken." in printed, printed
    code = "import grimp; print(*grimp.build_graph('rejoinder', cache_dir=None).modules)"
    seen = run(copied, "-c", code).split()
    assert set(seen) == trees().keys()


@pytest.mark.slow(2)
def test_every_contract_can_break(copied: Path) -> None:
    text = (copied / ".importlinter").read_text("utf-8")
    names = dict(re.findall(r"^\[importlinter:contract:(.+)\]\nname = (.+)$", text, re.M))
    assert names.keys() == FORBIDDEN.keys()
    for place, imported in FORBIDDEN.values():
        with (copied / place).open("a", encoding="utf-8") as file:
            file.write(f"\nimport {imported}\n")
    printed = lint(copied)
    assert not [name for name in names.values() if f"{name} BROKEN" not in printed], printed
