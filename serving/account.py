"""What outlives a live session: equity, peak and drawdown state by mode, and how far people's instructions were obeyed."""

import json
import os
from pathlib import Path

from marketdata.paths import DataRoot
from serving.executor import Mode
from trading.engine import Account


def load_account(root: DataRoot, mode: Mode) -> Account | None:
    """Return what the last live session of a mode left: equity, peak and drawdown state; None before the first."""
    return _load(root, mode)[0]


def obeyed_by(root: DataRoot, mode: Mode) -> int:
    """Return the number of the last instruction that the account has gone through; 0 before the first."""
    return _load(root, mode)[1]


def save_account(root: DataRoot, mode: Mode, account: Account, obeyed: int = 0) -> None:
    """Keep an account for the next session: a drawdown survives restarts."""
    path = _account_file(root, mode)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(json.dumps({**account._asdict(), "instruction": obeyed}) + "\n", encoding="utf-8")
    os.replace(temporary, path)


def _load(root: DataRoot, mode: Mode) -> tuple[Account | None, int]:
    try:
        values = json.loads(_account_file(root, mode).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None, 0
    obeyed = int(values.pop("instruction", 0))
    return Account(**values), obeyed


def _account_file(root: DataRoot, mode: Mode) -> Path:
    return root.journals / f"account-{mode}.json"
