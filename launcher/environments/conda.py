"""environment.yml: only whether it can make a build read other files of the repository."""

from __future__ import annotations

import re

_PLAIN = re.compile(
    r"""
    \s* (-\s+)?                                     # a list item or not
    (
        [\w-]+ \s* :                                # a key of its own: name, channels, dependencies, pip
        | (prefix|name) \s* : \s* [\w./-]+          # never read by `env update`
        | ["']? https:// [\w./:-]+ ["']?            # a channel
        | ["']? ([\w.-]+::)? \w [\w.-]* (\[[\w,-]*\])?  # a package, with channel and extras
          [\s\w.,=<>!~*|+]* ["']?                   # and versions
    )?
    \s* (\#.*)?
    """,
    re.VERBOSE,
)
_ARCHIVE = re.compile(r"\.(whl|zip|tgz|tar|conda|gz|bz2|xz)\b", re.IGNORECASE)


def conda_reaches_files(text: str) -> bool:
    """Whether an environment.yml may read further files: True unless every line provably is none of that.

    The file is not parsed: lines in the one plain shape everybody writes cannot name a place (``.``, ``-e``, ``-r``,
    ``file:``, an archive, an environment variable, a folded or aliased value); any other line may.
    """
    return any(_PLAIN.fullmatch(line) is None or _ARCHIVE.search(line) for line in text.splitlines())
