"""What a person chooses for a regular session, as every form, page and program says it: flat texts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from launcher.errors import BadRequest, LauncherError

FIELDS = ("size", "environment", "image", "environment_spec", "files_spec", "trust")
"""Names of the form's fields, of the API's, and of the options that the Hub keeps."""
IMAGE = "image"
LISTED = "listed"
RECENT = "recent"
REPOSITORY = "repository"
STANDARD = ""
_LONGEST = 2048
_YES = frozenset({"yes", "on", "1", "true"})


@dataclass(frozen=True)
class SessionChoices:
    """One filled-in form.

    size: name of a machine size, "" for the first one offered.
    environment: "" for the standard one, ``listed:<name>``, ``recent:<key>``, ``image:<image name>``, or
        ``repository``: then ``environment_spec`` is whatever somebody pasted.
    files_spec: whatever somebody pasted: the repository whose files are put into the home; "" for none.
    trust: the person says now that they trust the repository of ``environment_spec``, which is remembered. It is
        never read from what was kept: they may have taken it back since.
    """

    size: str = ""
    environment: str = STANDARD
    environment_spec: str = ""
    files_spec: str = ""
    trust: bool = False

    @classmethod
    def from_fields(cls, field: Callable[[str], str]) -> SessionChoices:
        """From a form: ``field`` gives the text of each of `FIELDS`, "" for a missing one.

        Raises BadRequest for what no field of ours can hold.
        """
        values = {name: field(name).strip() for name in FIELDS}
        for name, value in values.items():
            if len(value) > _LONGEST:
                with at_field(name):
                    raise BadRequest("This is too long.")
        environment = values["environment"]
        if environment == IMAGE:  # chosen by a button, named in the field beside it
            environment = f"{IMAGE}:{values['image']}"
        return cls(
            size=values["size"],
            environment=environment,
            environment_spec=values["environment_spec"],
            files_spec=values["files_spec"],
            trust=values["trust"].lower() in _YES,
        )

    def to_fields(self) -> dict[str, str]:
        """The inverse of `from_fields`, without empty ones and without ``trust``."""
        kind, name = self.parted
        fields = {
            "size": self.size,
            "environment": IMAGE if kind == IMAGE else self.environment,
            "image": name if kind == IMAGE else "",
            "environment_spec": self.environment_spec,
            "files_spec": self.files_spec,
        }
        return {name: value for name, value in fields.items() if value}

    @property
    def parted(self) -> tuple[str, str]:
        """The kind of environment and the name after its colon."""
        kind, _, name = self.environment.partition(":")
        return kind, name


@contextmanager
def at_field(name: str) -> Iterator[None]:
    """Say of an error that leaves the block which field it is about, unless that is known already."""
    try:
        yield
    except LauncherError as error:
        error.field = error.field or name
        raise
