"""Where things are inside a sandbox or container, the same on every runtime: environments know their own path."""

from __future__ import annotations

ENVIRONMENT = "/srv/environment"
"""Where an environment's virtualenv is, in builds and in sessions: a venv knows its own path."""
REPOSITORY = "/srv/repository"
"""Where the repository's files are in a build; in a session, a link to the person's copy."""
REPOSITORY_LEADS_TO = "/run/repository"
"""Where `REPOSITORY` leads in an image, whose own directories a session cannot change: the session makes this one."""
OVERLAY = "/srv/environment-overlay"
"""What a postBuild made beside the environment, for sessions: below ``repository`` and ``home``."""
HOME = "/home/jovyan"
USER_ID = 1000
"""The user inside, ``jovyan``; the group has the same number."""
