"""The first line of a run file: what was run against what, and by what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal

from msgspec import Meta, Struct

from rejoinder.model.base_form import USUAL_FORM, BaseForm
from rejoinder.model.effect import Effect
from rejoinder.model.samples import RunFileLine, Seconds, about
from rejoinder.model.verdict import Level

FORMAT: Final = "rejoinder-run"
VERSION: Final = 1


class RequestRecord(Struct, kw_only=True, omit_defaults=True, frozen=True):
    """What the user added to every request; `rejoinder replay` adds it again. It holds no value of a credential."""

    extra_body: Annotated[dict[str, Any], about("fields of each create body")] = {}
    headers: Annotated[list[tuple[str, str]], about("headers, as name and value")] = []
    header_env: Annotated[
        dict[str, str], about("environment variables with the values of headers, by header name")
    ] = {}
    api_key_header: Annotated[str, about("header with the API key; absent for Authorization")] = ""


class RunTarget(Struct, kw_only=True, omit_defaults=True):
    """The endpoint that was tested."""

    url: Annotated[str, about("full URL of the create endpoint")]
    model: Annotated[str | None, about("the requested model; null if requests name none")]
    dialect: Annotated[str, about("the dialect that the endpoint was checked against")]
    server: Annotated[str, about("value of the Server response header, if present")] = ""
    form: Annotated[BaseForm, about("form of the requests that the endpoint accepts, if it is not the usual one")] = (
        USUAL_FORM
    )
    request: Annotated[RequestRecord | None, about("what was added to every request, if anything")] = None
    dialect_reason: Annotated[str, about("why rejoinder chose the dialect (--dialect auto)")] = ""


class ReplayedFinding(Struct, kw_only=True):
    """The finding of another run that was replayed."""

    run: Annotated[str, about("path of that run")]
    fingerprint: Annotated[str, about('fingerprint of the finding, or "all" for all findings')]


class RecheckedRun(Struct, kw_only=True):
    """The recorded run that was rechecked. A recheck sends nothing."""

    run: Annotated[str, about("path of the recorded run")]
    started_at: Annotated[Seconds, about("when it was recorded, in Unix time")]
    rejoinder: Annotated[str, about("version of rejoinder that recorded it")]
    dialect: Annotated[str, about("dialect of the recorded run")]


class ExtensionRule(Struct, kw_only=True):
    """A rule of an extension, with the fields that reports show."""

    id: Annotated[str, about("id of the rule")]
    title: Annotated[str, about("the rule in a few words")]
    statement: Annotated[str, about("the rule in a sentence")]
    level: Annotated[Level, about("level of the rule")]
    levels: Annotated[dict[str, Level], about("level by dialect, where it differs")]
    features: Annotated[list[str], about("features that the endpoint needs for the rule to apply")]
    sources: Annotated[list[dict[str, str]], about("documents that state the rule")]
    argument: Annotated[str, about("why every correct endpoint follows the rule, where no document states it")]
    unchecked: Annotated[str, about("why the rule has no check; empty if it has one")]
    takes: Annotated[str, about("what a run needs to test the rule; empty if nothing special")]
    related: Annotated[list[dict[str, str]], about("further documents about the subject")] = []
    effect: Annotated[Effect, about("what a failure does to a client")] = Effect.MISLEADING
    follows: Annotated[list[dict[str, Any]], about("rules whose failure causes this one, and where")] = []
    fields_are_places: Annotated[bool, about("whether failures at several fields are one defect")] = False
    loses_content_at: Annotated[list[str] | None, about("fields at which a failure means lost content; null: any")] = (
        None
    )


class ExtensionRecord(Struct, kw_only=True):
    """An extension that the run used."""

    name: Annotated[str, about("name of the extension")]
    families: Annotated[dict[str, str], about("title of each rule family, by prefix")]
    rules: Annotated[list[ExtensionRule], about("rules of the extension")]


class Header(RunFileLine, kw_only=True, tag_field="kind", tag="header"):
    """The run: its command, its endpoint and the versions that produced it."""

    format: Annotated[Literal["rejoinder-run"], about("marks the file as a run file")]
    version: Annotated[int, Meta(ge=1, description="version of the format")]
    started_at: Annotated[Seconds, about("start of the run, in Unix time")]
    tool: Annotated[dict[str, str], about("versions of the software that produced the run, by name")]
    command: Annotated[list[str], about("the command line, one argument per element")]
    target: Annotated[RunTarget, about("the endpoint that was tested")]
    catalogue: Annotated[str, about("version of the rule catalogue that the responses were checked against")] = ""
    plan: Annotated[str, about("name of the test plan; absent for load runs")] = ""
    select: Annotated[str, about("patterns of the ids of the rules that were checked; * for all")] = "*"
    seed: Annotated[int | None, about("seed of the random choices")] = None
    required: Annotated[list[str], about("features that the endpoint must support")] = []
    extensions: Annotated[list[ExtensionRecord], about("the extensions that the run used")] = []
    cases: Annotated[dict[str, str], about("purpose of each case of the plan, by case id")] = {}
    load: Annotated[dict[str, Any], about("settings of the load: mode, concurrency or rate, duration")] = {}
    replayed: Annotated[ReplayedFinding | None, about("the finding of another run that was replayed")] = None
    rechecked: Annotated[RecheckedRun | None, about("the recorded run that was rechecked")] = None


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
