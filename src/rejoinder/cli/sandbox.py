"""``rejoinder sandbox``: serve the embedded endpoint, clean or with faults."""

from __future__ import annotations

import click

from rejoinder.contract import DEFAULT_DIALECT, dialect_names


@click.command("sandbox")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8080,
    show_default=True,
    metavar="N",
    help="Port; 0 takes a free one.",
)
@click.option(
    "--dialect",
    type=click.Choice(dialect_names()),
    default=DEFAULT_DIALECT,
    show_default=True,
    help="Which specification it follows.",
)
@click.option("--fault", "faults", multiple=True, metavar="ID", help="Break one thing; may be given more than once.")
@click.option(
    "--server-fault",
    "server_faults",
    multiple=True,
    metavar="ID",
    help="Break one thing that shows under load or when clients go away; may be given more than once.",
)
@click.option(
    "--slots",
    type=click.IntRange(1),
    metavar="N",
    help="Work on N requests at a time; others wait. [default: no limit]",
)
@click.option(
    "--token-delay",
    type=click.FloatRange(0, 60),
    default=0.01,
    show_default=True,
    metavar="S",
    help="Seconds before each token.",
)
@click.option("--list-faults", is_flag=True, help="List the faults with the rules that they break, and exit.")
def command(
    host: str,
    port: int,
    dialect: str,
    faults: tuple[str, ...],
    server_faults: tuple[str, ...],
    slots: int | None,
    token_delay: float,
    list_faults: bool,
) -> int:
    r"""Serve a correct, deterministic Responses endpoint that repeats what it hears, until Ctrl-C.

    With --fault it breaks one thing, to see what rejoinder, or a client of yours, makes of it. Example:

    \b
        rejoinder sandbox --port 8080 --fault truncation-reported-as-completed
    """
    from rejoinder.sandbox import SERVER_FAULTS, Sandbox, load_faults, serve

    if list_faults:
        from rejoinder.sandbox.defects import classes_of

        for fault in load_faults().values():
            when = f"    Shows {fault.condition}.\n" if fault.condition else ""
            seen = "".join(f"    Seen as {name}.\n" for name in classes_of(fault.id))
            click.echo(f"{fault.id}  (breaks {', '.join(fault.breaks)})\n    {fault.title}\n{when}{seen}", nl=False)
        for name, title in SERVER_FAULTS.items():
            seen = "".join(f"    Seen as {known}.\n" for known in classes_of(name))
            click.echo(f"{name}  (--server-fault: shows under load)\n    {title}\n{seen}", nl=False)
        return 0
    sandbox = Sandbox(dialect, faults, token_delay)

    def ready(url: str) -> None:
        broken = f" with {', '.join((*faults, *server_faults))}" if faults or server_faults else ""
        click.echo(f"Sandbox ({dialect}){broken} at {url}/v1/responses; Ctrl-C stops it.", err=True)

    serve(sandbox, host, port, ready=ready, faults=server_faults, slots=slots or 0)
    return 0
