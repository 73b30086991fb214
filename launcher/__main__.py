"""``python -m launcher``: the same as the ``launcher`` command."""

from __future__ import annotations

import sys

from launcher.cli import main

sys.exit(main())
