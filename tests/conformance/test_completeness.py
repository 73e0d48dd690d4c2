"""Every rule has its row, check, fault, features and sources, each where its family's name says; in words if not.

Reads what is declared, and sends nothing: that the checks find the faults is for ``proof`` to show.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from rejoinder.conformance import checks
from rejoinder.conformance.checks import checks_by_rule
from rejoinder.conformance.judging.registry import Registered, Subject
from rejoinder.conformance.running import cases
from rejoinder.contract import FAMILIES, Rule, dialect_names, load_rules
from rejoinder.model.verdict import Level
from rejoinder.sandbox import FAULTS, Fault, faults

STEMS = frozenset(family.lower() for family in FAMILIES)


def names_in(package: ModuleType) -> list[str]:
    return [module.name for module in pkgutil.iter_modules(package.__path__)]


@dataclass(frozen=True)
class Declared:
    """All that is declared about rules, read from where the product reads it."""

    rules: Mapping[str, Rule] = field(default_factory=load_rules)
    checks: Mapping[str, Sequence[Registered]] = field(default_factory=checks_by_rule)
    faults: Mapping[str, Fault] = field(default_factory=lambda: FAULTS)
    check_modules: Sequence[str] = field(default_factory=lambda: names_in(checks))
    case_modules: Sequence[str] = field(default_factory=lambda: names_in(cases))
    fault_modules: Mapping[str, Sequence[Fault]] = field(
        default_factory=lambda: {
            name: getattr(faults, name).FAULTS if hasattr(faults, name) else () for name in names_in(faults)
        }
    )
    test_modules: Sequence[str] = field(
        default_factory=lambda: [path.stem for path in (Path(__file__).parent / "checks").glob("test_*.py")]
    )

    def gaps(self) -> list[str]:
        """Return what is missing or in the wrong place, one sentence for each."""
        return [*self._of_rules(), *self._of_sources(), *self._of_places()]

    def _of_rules(self) -> Iterator[str]:
        for rule in self.rules.values():
            stem = rule.family.lower()
            found = self.checks.get(rule.id, ())
            if not rule.features and found and all(check.subject is Subject.STREAM for check in found):
                yield f"{rule.id} looks at streams only: add streaming to its features in rules/{stem}.toml."
            if rule.unchecked:
                if found:
                    yield f"{rule.id} says why it has no check, and has one: take one of the two away."
                continue
            if not found:
                yield f"{rule.id} has no check: add one to conformance/checks/{stem}.py."
            if any(not check.doc for check in found):
                yield f"{rule.id} has a check without a docstring that says how it checks."
            on = [name for name in dialect_names() if rule.level_in(name) is not Level.OFF]
            breaking = [fault for fault in self.faults.values() if rule.id in fault.breaks]
            if not any(set(fault.dialects or on) & set(on) for fault in breaking):
                yield (
                    f"{rule.id} has no fault that makes it fail: add one to sandbox/faults/{stem}.py, or unchecked to "
                    "its row."
                )

    def _of_sources(self) -> Iterator[str]:
        named: dict[str, set[tuple[str, str]]] = {}
        for rule in self.rules.values():
            if not rule.sources and not rule.argument:
                yield f"{rule.id} has neither sources nor an argument: add them in rules/{rule.family.lower()}.toml."
            for source in rule.sources:
                address = source.url.partition("#")[0].removesuffix("?plain=1")
                named.setdefault(address, set()).add((source.name, source.revision))
        for address, names in named.items():
            if len(names) > 1:
                yield f"{address} is named in several ways: {', '.join(map(str, sorted(names)))}."

    def _of_places(self) -> Iterator[str]:
        for fault in self.faults.values():
            for rule in fault.breaks:
                if rule not in self.rules:
                    yield f"The fault {fault.id} breaks {rule}, which has no row in rules/."
        for rule, found in self.checks.items():
            for check in found:
                module = check.run.__module__.rpartition(".")[2]
                if module != stem_of(rule):
                    yield f"A check of {rule} stands in checks/{module}.py: move it to checks/{stem_of(rule)}.py."
        for module, kept in self.fault_modules.items():
            for fault in kept:
                if module != stem_of(fault.breaks[0]):
                    right = stem_of(fault.breaks[0])
                    yield f"The fault {fault.id} stands in faults/{module}.py: move it to faults/{right}.py."
        for folder, modules in (
            ("checks", self.check_modules),
            ("running/cases", self.case_modules),
            ("sandbox/faults", self.fault_modules),
            ("tests/conformance/checks", [name.split("_")[1] for name in self.test_modules]),
        ):
            for module in modules:
                if module not in STEMS:
                    yield f"{folder} has a file {module} that is named for no rule family."


def stem_of(rule: str) -> str:
    return rule.partition("-")[0].lower()


BUILDERS = ("Problem", "at_event", "in_exchange", "in_response", "_problem")
"""The functions by which checks make problems, but for ``differing``, which always says what was expected."""


def problems_without_expected(source: str) -> list[int]:
    """Return the lines on which a check makes a problem without a value for ``expected``."""
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    return [
        call.lineno
        for call in calls
        if isinstance(call.func, ast.Name)
        and call.func.id in BUILDERS
        and not any(keyword.arg in ("expected", None) and not is_absent(keyword.value) for keyword in call.keywords)
    ]


def is_absent(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id == "ABSENT"


@pytest.mark.parametrize("family", names_in(checks))
def test_every_problem_says_what_was_expected(family: str) -> None:
    """Reports show it beside what came; a value that should not be there is expected to be "absent"."""
    source = inspect.getsource(importlib.import_module(f"{checks.__name__}.{family}"))
    lines = problems_without_expected(source)
    assert lines == [], f"Add expected= to the problems on these lines of conformance/checks/{family}.py: {lines}."


def test_a_problem_without_expected_is_found() -> None:
    assert problems_without_expected("Problem('a')") == [1]
    assert problems_without_expected("at_event(event, 'a', expected=ABSENT)") == [1]
    assert problems_without_expected("in_response(view, 'a', expected='absent')") == []


DECLARED = Declared()


def test_every_rule_is_complete_and_everything_is_where_its_family_says() -> None:
    gaps = DECLARED.gaps()
    assert not gaps, "\n".join(gaps)


def without(rows: Mapping[str, object], *names: str) -> dict[str, object]:
    return {name: row for name, row in rows.items() if name not in names}


def breaking(rule: str) -> Iterable[str]:
    return [fault.id for fault in FAULTS.values() if rule in fault.breaks]


def changed(rule: str, **values: Any) -> dict[str, Rule]:
    return {**DECLARED.rules, rule: replace(DECLARED.rules[rule], **values)}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            {"checks": without(DECLARED.checks, "LIF-09")},
            "LIF-09 has no check: add one to conformance/checks/lif.py.",
        ),
        (
            {"faults": without(FAULTS, *breaking("HTTP-16"))},
            "HTTP-16 has no fault that makes it fail: add one to sandbox/faults/http.py, or unchecked to its row.",
        ),
        (
            {"rules": changed("SSE-03", features=())},
            "SSE-03 looks at streams only: add streaming to its features in rules/sse.toml.",
        ),
        (
            {"rules": changed("SSE-03", unchecked="It is hard.")},
            "SSE-03 says why it has no check, and has one: take one of the two away.",
        ),
        (
            {"rules": changed("ITM-05", argument="", sources=())},
            "ITM-05 has neither sources nor an argument: add them in rules/itm.toml.",
        ),
        (
            {"rules": without(DECLARED.rules, "USG-02")},
            f"The fault {next(iter(breaking('USG-02')))} breaks USG-02, which has no row in rules/.",
        ),
        (
            {"checks": {**DECLARED.checks, "ITM-05": DECLARED.checks["LIF-09"]}},
            "A check of ITM-05 stands in checks/lif.py: move it to checks/itm.py.",
        ),
        (
            {"fault_modules": {"usg": [FAULTS[next(iter(breaking("HTTP-16")))]]}},
            f"The fault {next(iter(breaking('HTTP-16')))} stands in faults/usg.py: move it to faults/http.py.",
        ),
        ({"case_modules": ["roundtrip"]}, "running/cases has a file roundtrip that is named for no rule family."),
        (
            {
                "rules": changed(
                    "HTTP-02", sources=(replace(DECLARED.rules["HTTP-01"].sources[0], name="The specification"),)
                )
            },
            "is named in several ways",
        ),
    ],
)
def test_a_gap_is_told_in_words(change: dict[str, Any], sentence: str) -> None:
    (gap,) = [gap for gap in replace(DECLARED, **change).gaps() if sentence in gap]
    assert gap
