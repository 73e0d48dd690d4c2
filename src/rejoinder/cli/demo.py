"""``rejoinder demo``: a check and a load of the sandbox."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

from rejoinder.cli._help import Page
from rejoinder.cli._progress import Steps
from rejoinder.cli._run import close_run, out_option, quiet_option, recording
from rejoinder.cli.check import check_endpoint
from rejoinder.cli.load import exit_code, load_endpoint
from rejoinder.errors import ExitCode

SECONDS: Final = 6.0
STREAMS: Final = 16
TOKEN_DELAY: Final = 0.01


@click.command(
    "demo",
    cls=Page,
    examples=[
        ("Show a clean endpoint.", "rejoinder demo"),
        ("Show an endpoint with a fault.", "rejoinder demo --fault truncation-reported-as-completed"),
    ],
)
@click.option(
    "--fault",
    "faults",
    multiple=True,
    metavar="FAULT",
    help="Start the sandbox with this fault. Can be given more than once. See `rejoinder sandbox --list-faults`.",
)
@out_option
@quiet_option
def command(faults: tuple[str, ...], out: Path | None, quiet: bool) -> int:
    """Start the sandbox (the built-in test endpoint), check it, load it for 6 seconds and write one report.

    Takes less than a minute and needs no server, network or API key.
    """
    from rejoinder.contract import DEFAULT_DIALECT
    from rejoinder.load.settings import LoadSettings
    from rejoinder.sandbox import Sandbox, running
    from rejoinder.wire.target import Target

    sandbox = Sandbox(DEFAULT_DIALECT, faults, min_tokens=0)
    with running(sandbox) as url, recording(out) as recorder, Steps(quiet=quiet) as steps:
        broken = f" with {'fault' if len(faults) == 1 else 'faults'} {', '.join(faults)}" if faults else ""
        steps.say(f"Started the sandbox{broken} at {url}")
        checked = check_endpoint(
            recorder, steps, url, dialect=DEFAULT_DIALECT, plan_name="quick", concurrency=4, timeout=20.0
        )
        # As slow as a model: one token every 10 ms.
        sandbox.token_delay, sandbox.min_tokens = TOKEN_DELAY, 64
        target = Target(url=f"{url}/v1/responses", model="parrot")
        settings = LoadSettings(url=target.url, model="parrot", concurrency=STREAMS, duration=SECONDS)
        loaded = load_endpoint(recorder, steps, target, settings)
        interrupted = checked.interrupted or loaded.interrupted
        code = ExitCode.INTERRUPTED if interrupted else max(checked.exit_code, exit_code(loaded))
        recorder.footer(
            code, **{**checked.footer, "interrupted": interrupted, "warnings": [*checked.warnings, *loaded.warnings]}
        )
    close_run(recorder)
    return code
