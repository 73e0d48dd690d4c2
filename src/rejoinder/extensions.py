"""Extensions: rules, checks, sandbox faults, freedoms and cases that others add without a fork.

An extension is a folder with a file ``extension.toml``::

    name = "acme"                  # ids of its own: faults acme-..., cases acme...., features acme_...
    [families]                     # ids of its own: rules ACME-01 ...
    ACME = "Acme gateway"

and any of these beside it:

``rules/<family>.toml``
    rows like those of :mod:`rejoinder.contract`; every family has a file.
``features.toml``
    rows like those of ``features.toml`` in :mod:`rejoinder.contract`.
``checks.py``
    functions with :func:`rejoinder.conformance.check`, at least one for every rule that is not ``unchecked``.
``faults.py``
    ``FAULTS``, a list of :class:`rejoinder.sandbox.Fault`: the defects that prove the checks. ``ENDPOINT``, if it is
    there, is one that breaks no rule; its hooks make the sandbox do what the rules require.
``freedoms.py``
    ``FREEDOMS``, a list of :class:`rejoinder.sandbox.Freedom`: what the endpoint may do and no rule may accuse.
``cases.py``
    ``cases(context, plan)``, a generator of :class:`rejoinder.conformance.PlannedCase`.

Each module may be a package instead, and imports its neighbours relatively (``from .words import GREETING``). In use
are the installed packages that the entry point group ``rejoinder.extensions`` names, and the folders in the environment
variable ``REJOINDER_EXTENSION`` (several with commas), which every process of a run inherits.
"""

from __future__ import annotations

import importlib
import os
import re
import sys
import traceback
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from hashlib import sha256
from importlib.machinery import ModuleSpec
from importlib.metadata import entry_points
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Final

from rejoinder.errors import ExtensionError, RejoinderError
from rejoinder.formatting import one_line
from rejoinder.input_file import read_text
from rejoinder.toml_file import TomlFile
from rejoinder.validation import Validator

GROUP: Final = "rejoinder.extensions"
VARIABLE: Final = "REJOINDER_EXTENSION"
MANIFEST: Final = "extension.toml"
_SCHEMA: Final = {
    "type": "object",
    "required": ["name"],
    "additionalProperties": False,
    "properties": {
        "name": {
            "type": "string",
            "pattern": "^[a-z][a-z0-9]*$",
            "maxLength": 64,
            "description": "The name consists of at most 64 lower-case letters and digits.",
        },
        "families": {
            "type": "object",
            "additionalProperties": {"type": "string", "minLength": 1},
            "description": 'Families are prefixes of rule ids with their titles: ACME = "Acme gateway".',
        },
    },
}


@dataclass(frozen=True, eq=False)
class Extension:
    """One extension in use: its name, the families of its rules with their titles, its folder, and its import name."""

    name: str
    folder: Path
    package: str
    families: Mapping[str, str] = field(default_factory=dict)

    def load(self, part: str) -> ModuleType | None:
        """Import ``checks``, ``faults``, ``freedoms`` or ``cases``; return ``None`` where the extension has none.

        Raises :class:`ExtensionError` for whatever goes wrong in it, with file and line.
        """
        if not (self.folder / f"{part}.py").is_file() and not (self.folder / part / "__init__.py").is_file():
            return None
        try:
            return importlib.import_module(f"{self.package}.{part}")
        except Exception as error:
            raise self.error_in(part, error) from error

    def error_in(self, part: str, error: Exception) -> ExtensionError:
        """Return the error for an exception that its module ``part`` raised, with file and line."""
        return self.error(self._place(part, error), error)

    def error(self, where: str, problem: Exception | str, hint: str = "") -> ExtensionError:
        """Return the error for something in the extension; ``where`` names the place in its folder."""
        if isinstance(problem, RejoinderError):
            text, hint = problem.message, problem.hint
        else:
            text = problem if isinstance(problem, str) else f"{type(problem).__name__}: {problem}"
        return ExtensionError(
            f"The extension {self.name} cannot be used: {where}: {one_line(text, 600).rstrip('.')}.",
            hint or "Correct the file.",
        )

    def _place(self, part: str, error: Exception) -> str:
        """Return the innermost line of the extension that an error went through."""
        if isinstance(error, SyntaxError) and error.filename:
            return f"{error.filename}, line {error.lineno}"
        inside = f"{self.folder}{os.sep}"
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename.startswith(inside)]
        return f"{frames[-1].filename}, line {frames[-1].lineno}" if frames else str(self.folder / part)


@cache
def extensions() -> tuple[Extension, ...]:
    """Return the extensions in use: the installed ones by name, then those of :data:`VARIABLE` as they stand there.

    Raises :class:`ExtensionError` for one that cannot be used, and for two with the same name or family.
    """
    found: list[Extension] = []
    taken: dict[str, Extension] = {}
    for extension in (*_installed(), *_named(os.environ.get(VARIABLE, ""))):
        if any(extension.folder.resolve() == other.folder.resolve() for other in found):
            continue  # installed and named: one extension all the same
        for name in (extension.name, *extension.families):
            if name in taken:
                what = "family" if name.isupper() else "name"
                raise ExtensionError(
                    f"Two extensions have the {what} {name}: {taken[name].folder} and {extension.folder}.",
                    f"Change it in one {MANIFEST}, or omit one extension.",
                )
            taken[name] = extension
        found.append(extension)
    return tuple(found)


def set_extensions(folders: Iterable[Path | str]) -> tuple[Extension, ...]:
    """Use the extensions in these folders, in this process and in those that it starts; return all that are in use.

    They take the place of those that :data:`VARIABLE` named before. Raises as :func:`extensions` does.
    """
    paths = [str(Path(folder).absolute()) for folder in folders]
    for path in paths:
        if "," in path:
            raise ExtensionError(f"The extension folder {path} has a comma in its name.", "Rename it.")
    before = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = ",".join(paths)
    extensions.cache_clear()
    try:
        return extensions()
    except BaseException:
        # Those of before stay in use.
        if before is None:
            del os.environ[VARIABLE]
        else:
            os.environ[VARIABLE] = before
        raise


def _named(text: str) -> Iterator[Extension]:
    for part in filter(None, map(str.strip, text.split(","))):
        folder = Path(part).absolute()
        name, families = _manifest(folder)
        yield Extension(name, folder, _package_in(name, folder), families)


def _installed() -> Iterator[Extension]:
    for point in sorted(entry_points(group=GROUP)):
        try:
            spec = find_spec(point.module)
        except Exception as error:
            raise ExtensionError(
                f"The installed extension {point.name} fails to load: {type(error).__name__}: {error}.",
                f"Repair or uninstall the package {point.dist.name if point.dist else point.module}.",
            ) from error
        places = list(spec.submodule_search_locations or ()) if spec else []
        if not places:
            raise ExtensionError(
                f"The entry point of the extension {point.name} is {point.value}, which is not a package with files.",
                f"Set the entry point to the package that contains {MANIFEST}.",
            )
        folder = Path(places[0])
        name, families = _manifest(folder)
        yield Extension(name, folder, point.module, families)


def _manifest(folder: Path) -> tuple[str, Mapping[str, str]]:
    """Read name and families of the extension in a folder."""
    if not folder.is_dir():
        raise ExtensionError(f"There is no extension folder {folder}.", f"Choose a folder that contains {MANIFEST}.")
    manifest = read_file(folder / MANIFEST)
    if manifest is None:
        raise ExtensionError(
            f"The extension folder {folder} has no {MANIFEST}.",
            'Create it with a name = "..." and a table [families], as the documentation on extending shows.',
        )
    manifest.check(Validator(_SCHEMA))
    families = manifest.table.get("families", {})
    for family in families:
        if not re.fullmatch(r"[A-Z][A-Z0-9]*", family):
            raise manifest.error(
                ("families", family), "is not a prefix of rule ids", "Use capital letters and digits, as in ACME."
            )
    return manifest.table["name"], families


def read_file(file: Path) -> TomlFile | None:
    """Return a file of an extension, ``None`` where there is none.

    Raises :class:`ExtensionError` for one that cannot be read or is not TOML.
    """
    try:
        return TomlFile(file, read_text(file), "extension file", ExtensionError)
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ExtensionError(f"Cannot read the extension file {file}: {reason}.", "Check the file.") from error


def _package_in(name: str, folder: Path) -> str:
    """Make a folder importable as a package and return its import name, which no other folder has."""
    package = f"rejoinder_extension_{name}_{sha256(str(folder).encode()).hexdigest()[:8]}"
    if package not in sys.modules:
        file = folder / "__init__.py"
        if file.is_file():
            spec = spec_from_file_location(package, file, submodule_search_locations=[str(folder)])
        else:
            spec = ModuleSpec(package, None, is_package=True)
        assert spec is not None
        module = module_from_spec(spec)
        module.__path__ = [str(folder)]
        sys.modules[package] = module
        if spec.loader is not None:
            try:
                spec.loader.exec_module(module)
            except Exception as error:
                del sys.modules[package]
                raise ExtensionError(
                    f"The extension {name} cannot be used: {file} fails to load: {type(error).__name__}: {error}.",
                    "Correct the file.",
                ) from error
    return package
