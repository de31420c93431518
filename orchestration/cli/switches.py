"""Commands with which a person steers the executor: ``kill``, ``pause``, ``resume``, ``rearm``, ``scale``, ``deposit``."""

import getpass
from typing import TYPE_CHECKING, Annotated

import typer

from orchestration.cli.console import out
from orchestration.cli.roots import chosen

if TYPE_CHECKING:  # the serving side brings numba
    from serving.instructions import Verb

By = Annotated[str, typer.Option("--by", help="Name of the person who asks for it (default: the user name).")]
Reason = Annotated[str, typer.Option("--reason", help="Why; kept in the log of instructions.")]
Hold = Annotated[bool, typer.Option("--hold", help="Keep what is held instead of closing it.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this file to the command line."""
    app.command("kill")(kill)
    app.command("pause")(pause)
    app.command("resume")(resume)
    app.command("rearm")(rearm)
    app.command("scale")(scale)
    app.command("deposit")(deposit)


def kill(context: typer.Context, reason: Reason, by: By = "", hold: Hold = False) -> None:
    """Cancel every order and close every position; only reducing orders pass until `rearm`, also in later sessions."""
    _instruct(context, "kill", by, reason, flatten=not hold)


def pause(context: typer.Context, reason: Reason, by: By = "", hold: Hold = False) -> None:
    """Cancel resting orders and open nothing until `resume`, also in later sessions."""
    _instruct(context, "pause", by, reason, flatten=not hold)


def resume(context: typer.Context, reason: Reason, by: By = "") -> None:
    """Take a pause back."""
    _instruct(context, "resume", by, reason)


def rearm(
    context: typer.Context,
    reason: Reason,
    by: Annotated[str, typer.Option("--by", help="Name of the person who answers for it.")],
) -> None:
    """Leave HALTED or a kill: the equity of that moment is the new peak of the drawdown ladder."""
    _instruct(context, "rearm", by, reason)


def scale(
    context: typer.Context,
    share: Annotated[float, typer.Argument(min=0.0, max=1.0, help="Of every new order's size; 1 takes it back.")],
    reason: Reason,
    symbol: Annotated[str | None, typer.Option(help="Of one instrument (default: of each).")] = None,
    by: By = "",
) -> None:
    """Let only a share of every new order's size pass, also in later sessions; what reduces a position always passes."""
    _, settings = chosen(context).open()
    number = -1 if symbol is None else settings.instrument(symbol).instrument_id
    _instruct(context, "scale", by, reason, value=round(share * 1e6), instrument_id=number)


def deposit(
    context: typer.Context,
    amount: Annotated[float, typer.Argument(help="Quote currency; negative: paid out.")],
    reason: Reason,
    by: By = "",
) -> None:
    """Pay into the account, or out of it: equity, its peak and the base of the daily loss move alike, no drawdown comes of it."""
    _instruct(context, "deposit", by, reason, value=round(amount * 1e9))


def _instruct(
    context: typer.Context,
    verb: "Verb",
    by: str,
    reason: str,
    *,
    flatten: bool = True,
    value: int = 0,
    instrument_id: int = -1,
) -> None:
    from serving.heartbeat import read_heartbeat
    from serving.instructions import instruct

    root, _ = chosen(context).open()
    name = by or getpass.getuser()
    given = instruct(root, verb, name, reason, flatten=flatten, value=value, instrument_id=instrument_id)
    beat = read_heartbeat(root)
    alive = beat is not None and beat["alive"]
    when = "the executor obeys it within a second" if alive else "no executor is running: the next one obeys it"
    out.print(f"instruction {given.number}: {verb} by {given.by}; {when}", markup=False)
