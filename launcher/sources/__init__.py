"""Where repositories come from.

`RepositorySources` is the door: ``parse`` → ``repository`` → ``resolve`` → ``fetch``. Behind it, from the outside in:
``addresses`` decides which hosts are spoken to, ``http`` and ``git`` are the only two ways of speaking to them,
``cache`` keeps what came back as commits in bare repositories, ``tree`` reads them; one module per provider.
"""

from launcher.sources.providers import Provider, SourcesConfig, SourceTools
from launcher.sources.registry import RepositorySources
from launcher.sources.tree import GitTree

__all__ = ["GitTree", "Provider", "RepositorySources", "SourceTools", "SourcesConfig"]
