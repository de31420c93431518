"""Commands with which a person stops and restarts the executor's trading: ``kill``, ``pause``, ``resume``, ``rearm``."""

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


def _instruct(context: typer.Context, verb: "Verb", by: str, reason: str, *, flatten: bool = True) -> None:
    from serving.heartbeat import read_heartbeat
    from serving.instructions import instruct

    root, _ = chosen(context).open()
    given = instruct(root, verb, by or getpass.getuser(), reason, flatten=flatten)
    beat = read_heartbeat(root)
    alive = beat is not None and beat["alive"]
    when = "the executor obeys it within a second" if alive else "no executor is running: the next one obeys it"
    out.print(f"instruction {given.number}: {verb} by {given.by}; {when}", markup=False)
