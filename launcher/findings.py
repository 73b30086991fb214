"""What a look at this machine or at a configuration found."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One line of the report of ``launcher check``. ``hint`` says how to mend what is not ``good``."""

    good: bool
    what: str
    hint: str = ""

    def __str__(self) -> str:
        mark = "ok      " if self.good else "MISSING "
        return f"{mark}{self.what}" + (f". {self.hint}" if self.hint and not self.good else "")
