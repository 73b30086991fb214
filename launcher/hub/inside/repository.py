"""Where builds saw the repository. Editable installs point there, so in a session it leads to the person's copy."""

from __future__ import annotations

import os
from pathlib import Path

PLACE = Path("/srv/repository")


def lead_to(content: Path) -> None:
    """Let `PLACE` lead to a directory, where it can be made to.

    In a sandbox it is missing and can be made. An image that needs it has a link there, to a place outside the image.
    """
    place = Path(os.readlink(PLACE)) if PLACE.is_symlink() else PLACE
    if os.access(place.parent, os.W_OK) and not os.path.lexists(place):
        place.symlink_to(content)
