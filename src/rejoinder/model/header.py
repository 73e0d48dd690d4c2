"""The first line of a run file: what was run against what, and by what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal

from msgspec import Meta, Struct

from rejoinder.model.samples import RunFileLine, Seconds, about
from rejoinder.model.verdict import Level

FORMAT: Final = "rejoinder-run"
VERSION: Final = 1


class RunTarget(Struct, kw_only=True, omit_defaults=True):
    """The endpoint that was tested."""

    url: Annotated[str, about("the full address of the create endpoint")]
    model: Annotated[str | None, about("the model that was asked for; null: none was named")]
    dialect: Annotated[str, about("the specification that it was held to")]
    server: Annotated[str, about("the Server header, if one came")] = ""


class ReplayedFinding(Struct, kw_only=True):
    """The finding of another run that was sent again."""

    run: Annotated[str, about("where that run was read")]
    fingerprint: Annotated[str, about("that of the finding")]


class RecheckedRun(Struct, kw_only=True):
    """The recording that was judged again; nothing was sent for this run."""

    run: Annotated[str, about("where the recording was read")]
    started_at: Annotated[Seconds, about("when it was recorded, Unix time")]
    rejoinder: Annotated[str, about("the version that recorded it")]
    dialect: Annotated[str, about("the dialect that it was recorded under")]


class ExtensionRule(Struct, kw_only=True):
    """A rule of an extension, as reports need it."""

    id: Annotated[str, about("id of the rule")]
    title: Annotated[str, about("in a few words")]
    statement: Annotated[str, about("in a sentence")]
    level: Annotated[Level, about("how binding it is")]
    levels: Annotated[dict[str, Level], about("by dialect, where it differs")]
    features: Annotated[list[str], about("features without which it cannot be judged")]
    sources: Annotated[list[dict[str, str]], about("documents that state it")]
    argument: Annotated[str, about("why any correct endpoint keeps it, where no document states it")]
    unchecked: Annotated[str, about("why there is no check, else empty")]
    takes: Annotated[str, about("what a run must be given to judge it, else empty")]
    related: Annotated[list[dict[str, str]], about("documents that describe the matter")] = []


class ExtensionRecord(Struct, kw_only=True):
    """An extension in use."""

    name: Annotated[str, about("name of the extension")]
    families: Annotated[dict[str, str], about("title of each rule family, by prefix")]
    rules: Annotated[list[ExtensionRule], about("its rules")]


class Header(RunFileLine, kw_only=True, tag_field="kind", tag="header"):
    """What was run against what, and by what."""

    format: Annotated[Literal["rejoinder-run"], about("tells a run file from others")]
    version: Annotated[int, Meta(ge=1, description="version of the format")]
    started_at: Annotated[Seconds, about("when the run began, Unix time")]
    tool: Annotated[dict[str, str], about("versions that produced the run, of rejoinder and python among others")]
    command: Annotated[list[str], about("the command line, one word an element")]
    target: Annotated[RunTarget, about("the endpoint that was tested")]
    plan: Annotated[str, about("name of the conformance plan; absent for pure load runs")] = ""
    seed: Annotated[int | None, about("seed of what was drawn at random")] = None
    required: Annotated[list[str], about("features that the endpoint must have")] = []
    extensions: Annotated[list[ExtensionRecord], about("the extensions in use")] = []
    cases: Annotated[dict[str, str], about("what each case of the plan is for, by case id")] = {}
    load: Annotated[dict[str, Any], about("settings of the load: mode, concurrency or rate, duration")] = {}
    replayed: Annotated[ReplayedFinding | None, about("the finding of another run that was sent again")] = None
    rechecked: Annotated[RecheckedRun | None, about("the recording that was judged again")] = None


def new_header(
    target: RunTarget,
    *,
    started_at: float = 0.0,
    command: Sequence[str] = (),
    tool: Mapping[str, str] = MappingProxyType({}),
    **fields: Any,
) -> Header:
    """Return a header in today's format; ``fields`` are the optional ones."""
    return Header(
        format=FORMAT,
        version=VERSION,
        started_at=started_at,
        tool=dict(tool),
        command=list(command),
        target=target,
        **fields,
    )
