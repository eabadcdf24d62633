"""What the doctor says."""

from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "note", "warning", "failure"]


@dataclass(frozen=True)
class Finding:
    """One row: `note` is nothing to mend, `warning` costs something, `failure` keeps a run from working; `fix`: how."""

    name: str
    status: Status
    text: str
    fix: str = ""
