"""One check run from beginning to end, for callers in Python."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rejoinder.conformance.assess import CheckResult
from rejoinder.conformance.baseline import Baseline
from rejoinder.conformance.running.limits import affordable_search
from rejoinder.conformance.running.plan import build_plan
from rejoinder.conformance.running.session import run_plan
from rejoinder.contract import DEFAULT_DIALECT, load_dialect
from rejoinder.model.runfile import Run, RunWriter, read_run
from rejoinder.recorder import RunRecorder
from rejoinder.settings import Budget
from rejoinder.wire.request_options import RequestOptions
from rejoinder.wire.target import Target


def examine(
    url: str,
    *,
    model: str | None = None,
    dialect: str = DEFAULT_DIALECT,
    plan: str = "quick",
    key: str | None = None,
    second_key: str | None = None,
    request: RequestOptions | None = None,
    select: str = "*",
    required: Iterable[str] = (),
    baseline: Baseline | None = None,
    concurrency: int = 4,
    budget: Budget | None = None,
    deadline: float = 120.0,
    resend: bool = False,
    limits: bool = False,
    folder: Path | str | None = None,
) -> Run:
    """Send a plan to the endpoint at ``url``, judge every reply, and return the recorded run.

    ``model`` is by default the first that the endpoint lists; ``dialect`` the name or file of the specification;
    ``plan`` smoke, quick or full; ``key`` and ``second_key`` are sent as bearer tokens, the second as another tenant's.
    ``request`` is what every request has besides, such as headers. ``select`` are patterns of rule ids; ``required``
    names features that must be there; what ``baseline`` expects is known. ``concurrency`` is how many requests are in
    flight, ``deadline`` how many seconds one may take, ``budget`` what all of them may cost, ``resend`` whether one
    that may have reached the endpoint is sent once more when its connection is lost before a response. ``limits`` is
    whether a search for the limits of the endpoint follows the plan. ``run.ndjson`` is written into ``folder`` as the
    run goes, or nowhere that stays.

    Blocks until the run has ended, so async code calls it with :func:`asyncio.to_thread`. Nothing that the endpoint
    does raises, except that there is none: :class:`~rejoinder.errors.TargetError`. Raises
    :class:`~rejoinder.errors.UsageError` for arguments that cannot be used.
    """
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(folder or temporary)
        with RunWriter(place / "run.ndjson") as writer:
            recorder = RunRecorder(place, writer, ["rejoinder.conformance.examine", url])
            target = recorder.discover(
                url, key=key, second_key=second_key, request=request, model=model, dialect=dialect
            )
            record_plan(
                recorder,
                target,
                plan,
                select=select,
                required=required,
                baseline=baseline,
                concurrency=concurrency,
                budget=budget,
                deadline=deadline,
                resend=resend,
                limits=limits,
            )
        return read_run(place)


def record_plan(
    recorder: RunRecorder,
    target: Target,
    name: str,
    *,
    select: str = "*",
    required: Iterable[str] = (),
    limits: bool = False,
    budget: Budget | None = None,
    **options: Any,
) -> CheckResult:
    """Send the plan of that name to a target and write all lines of the run file; ``options`` are those of run_plan.

    ``limits`` is whether a search for limits follows. Raises :class:`~rejoinder.errors.UsageError` where it may cost
    more than the budget allows.
    """
    required = sorted(required)
    plan = build_plan(name, load_dialect(target.dialect), model=target.model, form=target.form, models=target.models)
    search = affordable_search(target, recorder.found, budget) if limits else None
    recorder.header(
        target,
        url=target.url,
        model=target.model,
        dialect=target.dialect,
        plan=plan.name,
        cases={**(search.intents if search is not None else {}), **{case.id: case.intent for case in plan.cases}},
        select=select,
        **({"required": required} if required else {}),
    )
    result = run_plan(
        target, plan, recorder.writer, select=select, required=required, limits=search, budget=budget, **options
    )
    recorder.footer(result.exit_code, **result.footer)
    return result
