"""The public API: one page for each package with ``__all__``, from its docstrings, and the pytest fixtures."""

from __future__ import annotations

import builtins
import importlib
import inspect
import sys
from typing import Any

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.nodes import make_refnode

from rejoinder.conformance import plugin
from rejoinder_reference import markdown as md

PACKAGES = (
    "rejoinder.conformance",
    "rejoinder.strategies",
    "rejoinder.load",
    "rejoinder.model",
    "rejoinder.contract",
    "rejoinder.sandbox",
    "rejoinder.errors",
)
"""The modules whose ``__all__`` is public."""


def pages() -> dict[str, str]:
    """Return the pages of the packages, and that of the pytest plugin."""
    found = {f"api/{_stem(name)}": _package(name) for name in PACKAGES}
    return {**found, "api/index": _index(), "pytest": _pytest()}


def _stem(package: str) -> str:
    return package.rpartition(".")[2]


def _index() -> str:
    rows = []
    for name in PACKAGES:
        module = importlib.import_module(name)
        rows.append((f"[`{name}`]({_stem(name)}.md)", md.codes(module.__all__)))
    return md.page(
        "Python API",
        "The names in `__all__` of these packages are public. Everything else may change in any release.",
        "",
        *md.table(["package", "public names"], rows),
        *md.toctree(map(_stem, PACKAGES)),
    )


def _package(name: str) -> str:
    elsewhere: dict[str, list[str]] = {}
    for public in importlib.import_module(name).__all__:
        home = _home(public, name)
        if home != name:
            elsewhere.setdefault(home, []).append(public)
    excluded = ", ".join(public for names in elsewhere.values() for public in names)
    options = f"   :members:\n   :exclude-members: {excluded}\n" if excluded else "   :members:\n"
    lines = md.block("{eval-rst}", f".. automodule:: {name}\n{options}")
    for home, names in elsewhere.items():
        links = ", ".join(f"{{py:obj}}`{public} <{home}.{public}>`" for public in names)
        lines += [f"These names are those of [`{home}`]({_stem(home)}.md): {links}.", ""]
    return md.page(name, *lines)


def _home(public: str, package: str) -> str:
    """Return the package whose page describes a public name: the one that defines it, else the one that was given."""
    value = getattr(importlib.import_module(package), public)
    defined = str(getattr(value, "__module__", ""))
    for other in PACKAGES:
        if defined.startswith(f"{other}.") and public in importlib.import_module(other).__all__:
            return other
    return package


def _pytest() -> str:
    lines = [
        "The pytest plugin comes with rejoinder. It does nothing until `--rejoinder-url` names an endpoint.",
        "",
        "## Options",
        "",
    ]
    for name, settings in plugin._OPTIONS:
        notes = []
        if settings.get("default") not in (None, [], ""):
            notes.append(f"Default: {md.code(str(settings['default']))}.")
        if settings.get("action") == "append":
            notes.append("May be given several times.")
        metavar = f" {settings['metavar']}" if "metavar" in settings else ""
        content = [md.text(settings["help"]), "", *([" ".join(notes), ""] if notes else [])]
        lines += md.directive("option", f"--rejoinder-{name}{metavar}", content)
    lines += ["## Fixtures", "", "All fixtures have the scope `session`.", ""]
    for name in _fixtures():
        lines += [f"### {name}", "", *md.block("{eval-rst}", _docstring(name))]
    return md.page("pytest plugin", *lines)


def _fixtures() -> list[str]:
    return [name for name in vars(plugin) if name.startswith("rejoinder_")]


def _docstring(fixture: str) -> str:
    definition: Any = getattr(plugin, fixture)
    return inspect.getdoc(getattr(definition, "__wrapped__", definition)) or ""


def resolve_internal(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, content: nodes.TextElement
) -> nodes.Node | None:
    """Resolve a Python name that Sphinx does not find by itself; a name that does not exist stays an error.

    A short name is looked up in the modules of rejoinder, and links to the page of what it names. What has no page
    (the standard library, other packages, modules that are not public) is shown without a link: the build has no
    network, so it cannot be looked up elsewhere.
    """
    if node.get("refdomain") != "py":
        return None
    target: str = node["reftarget"].partition("[")[0]
    if hasattr(builtins, target):
        return content
    for path in (target, f"{node.get('py:module')}.{target}", *_in_rejoinder(target)):
        if _exists(path):
            value = _value(path)
            name = f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', '')}"
            known = env.domains.python_domain.objects.get(name)
            if known is None:
                return content
            return make_refnode(app.builder, node["refdoc"], known.docname, known.node_id, content, name)
    return None


def _in_rejoinder(name: str) -> list[str]:
    """Return where the modules of rejoinder that are loaded have a name."""
    if "." in name:
        return []
    loaded = [module for module in sys.modules if module.partition(".")[0] == "rejoinder"]
    return [f"{module}.{name}" for module in loaded if name in vars(sys.modules[module])]


def _exists(path: str) -> bool:
    try:
        _value(path)
    except AttributeError:
        return False
    return True


def _value(path: str) -> Any:
    """Return what a dotted path names; raises ``AttributeError`` when there is nothing."""
    names = path.split(".")
    for length in range(len(names), 0, -1):
        try:
            found: Any = importlib.import_module(".".join(names[:length]))
        except (ImportError, ValueError):
            continue
        for name in names[length:]:
            if name in inspect.get_annotations(found if isinstance(found, type) else type(found)):
                return None
            found = getattr(found, name)
        return found
    raise AttributeError(path)
