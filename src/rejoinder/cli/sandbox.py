"""``rejoinder sandbox``: serve the built-in endpoint, correct, with freedoms or with faults."""

from __future__ import annotations

import click

from rejoinder.cli._help import Page
from rejoinder.cli._run import FiniteRange
from rejoinder.cli._terminal import echo
from rejoinder.contract import DEFAULT_DIALECT, dialect_label, dialect_names
from rejoinder.errors import UsageError


@click.command(
    "sandbox",
    cls=Page,
    examples=[
        ("Serve a correct endpoint.", "rejoinder sandbox"),
        ("Serve one with a fault.", "rejoinder sandbox --port 8000 --fault truncation-reported-as-completed"),
        ("Serve one that does what the dialect leaves open.", "rejoinder sandbox --freedom lines-end-with-crlf"),
        ("Serve an upstream for a gateway.", "rejoinder sandbox --chat"),
        ("Serve a slow one that processes 4 requests at a time.", "rejoinder sandbox --slots 4 --token-delay 0.02"),
    ],
)
@click.option("--host", metavar="ADDRESS", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8080,
    show_default=True,
    metavar="N",
    help="Port to listen on. Use 0 for any free port.",
)
@click.option(
    "--dialect",
    metavar="DIALECT",
    default=DEFAULT_DIALECT,
    show_default=True,
    help="Dialect of the API that the sandbox implements: a name from the list below, or a dialect file.",
)
@click.option(
    "--fault",
    "faults",
    multiple=True,
    metavar="FAULT",
    help="Start with this fault. Can be given more than once. See --list-faults.",
)
@click.option(
    "--freedom",
    "freedoms",
    multiple=True,
    metavar="FREEDOM",
    help="Start with this freedom, which the dialect leaves open. Can be given more than once. See --list-freedoms.",
)
@click.option(
    "--mutant",
    "mutants",
    multiple=True,
    metavar="MUTANT",
    help="Start with this generated mutant, such as field-deleted:create/usage. Can be given more than once.",
)
@click.option(
    "--server-fault",
    "server_faults",
    multiple=True,
    metavar="FAULT",
    help="Start with this fault, which shows only under load or when clients disconnect. Can be given more than once.",
)
@click.option(
    "--slots",
    type=click.IntRange(1),
    metavar="N",
    help="Process at most N requests at a time and queue the others. Default: no limit.",
)
@click.option(
    "--token-delay",
    type=FiniteRange(0, 60),
    default=0.01,
    show_default=True,
    metavar="SECONDS",
    help="Delay before each token, in seconds.",
)
@click.option(
    "--chat",
    is_flag=True,
    help="Serve POST /v1/chat/completions instead: a strict upstream for gateways that translate Responses requests.",
)
@click.option("--list-faults", is_flag=True, help="List the faults and the rules that each one breaks.")
@click.option("--list-freedoms", is_flag=True, help="List the freedoms, their dialects and their sources.")
def command(
    host: str,
    port: int,
    dialect: str,
    faults: tuple[str, ...],
    freedoms: tuple[str, ...],
    mutants: tuple[str, ...],
    server_faults: tuple[str, ...],
    slots: int | None,
    token_delay: float,
    chat: bool,
    list_faults: bool,
    list_freedoms: bool,
) -> int:
    """Serve the sandbox: a built-in, deterministic Responses endpoint whose model repeats its input.

    Use it to try rejoinder, to test a client, or to see how rejoinder reports a fault. Ctrl-C stops it.
    """
    from rejoinder.sandbox import SERVER_FAULTS, ChatSandbox, Sandbox, load_faults, load_freedoms, serve
    from rejoinder.sandbox.mutants import find_mutant

    if list_freedoms:
        for freedom in load_freedoms().values():
            where = f"    Shows {freedom.condition}.\n" if freedom.condition else ""
            basis = "".join(f"    Source: {cited}.\n" for cited in freedom.sources)
            basis += f"    Argument: {freedom.argument}\n" if freedom.argument else ""
            scope = ", ".join(freedom.dialects or dialect_names())
            echo(f"{freedom.id}  ({scope})\n    {freedom.title}\n{where}{basis}", nl=False)
        return 0
    if list_faults:
        from rejoinder.sandbox.defects import classes_of

        for fault in load_faults().values():
            when = f"    Shows {fault.condition}.\n" if fault.condition else ""
            seen = "".join(f"    Real-world defect: {name}.\n" for name in classes_of(fault.id))
            echo(f"{fault.id}  (breaks {', '.join(fault.breaks)})\n    {fault.title}\n{when}{seen}", nl=False)
        for name, title in SERVER_FAULTS.items():
            seen = "".join(f"    Real-world defect: {known}.\n" for known in classes_of(name))
            echo(f"{name}  (--server-fault: shows under load)\n    {title}\n{seen}", nl=False)
        return 0
    if chat and (faults or freedoms or mutants or server_faults or dialect != DEFAULT_DIALECT):
        raise UsageError(
            "--chat serves chat completions, which have no dialects, faults, freedoms and mutants.",
            "Omit --dialect, --fault, --freedom, --mutant and --server-fault.",
        )
    if chat:

        def ready_to_chat(url: str) -> None:
            echo(f"Sandbox at {url}/v1/chat/completions. Ctrl-C stops it.", err=True)

        serve(ChatSandbox(token_delay), host, port, ready=ready_to_chat, slots=slots or 0)
        return 0
    variations = [find_mutant(name, dialect) for name in mutants]
    sandbox = Sandbox(dialect, faults, token_delay, freedoms=freedoms, variations=variations)

    def ready(url: str) -> None:
        names = ", ".join((*freedoms, *faults, *mutants, *server_faults))
        varied = f" with {names}" if names else ""
        echo(f"Sandbox{varied} at {url}/v1/responses, dialect {dialect_label(dialect)}. Ctrl-C stops it.", err=True)

    serve(sandbox, host, port, ready=ready, faults=server_faults, slots=slots or 0)
    return 0
