"""Questions of the Hub's process to the service, and the answers: nobody else can read, make or repeat them.

They travel over loopback, and a session may take the service's port in a moment in which the service is down. It then
holds a text that it can neither read nor change, and whatever it answers is refused. Both ways are Fernet tokens
(https://github.com/fernet/spec) under keys that follow from the secret of `launcher.tickets`.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.fernet import Fernet, InvalidToken

from launcher.errors import HubUnavailable, TicketInvalid
from launcher.models import Person, Username

ASK_PATH = "api/v1/spawn-form/"
"""Where questions go, below the service's prefix; their purpose follows."""
LIFETIME_SECONDS = 60
"""How old a question may be when the service reads it."""


@dataclass(frozen=True)
class Question:
    """What the Hub asks on behalf of one person's server.

    purpose: which address it is for. made: seconds since the epoch. body: JSON values, as the address reads them.
    """

    id: str
    purpose: str
    person: Person
    server_name: str
    made: float
    body: Mapping[str, Any]


class SealedTalk:
    """Makes and reads sealed questions and answers with the secret that Hub and service share."""

    def __init__(self, secret: str) -> None:
        self._questions = _fernet(b"launcher:question:", secret)
        self._answers = _fernet(b"launcher:answer:", secret)

    def ask(
        self, purpose: str, person: Person, server_name: str, body: Mapping[str, Any], *, now: float | None = None
    ) -> tuple[Question, bytes]:
        """A new question, and what to send."""
        made = time.time() if now is None else now
        question = Question(secrets.token_urlsafe(18), purpose, person, server_name, made, body)
        who: dict[str, Any] = {"name": person.name, "admin": person.admin}
        who |= {"groups": sorted(person.groups), "scopes": sorted(person.scopes)}
        wire = {"id": question.id, "for": purpose, "who": who, "server": server_name, "made": made, "body": dict(body)}
        return question, self._questions.encrypt_at_time(_packed(wire), int(made))

    def read(self, token: bytes, purpose: str, *, now: float | None = None) -> Question:
        """The question, when the Hub made it for this purpose within `LIFETIME_SECONDS`. Raises TicketInvalid."""
        try:
            at = int(time.time() if now is None else now)
            wire = _unpacked(self._questions.decrypt_at_time(token, LIFETIME_SECONDS, at))
        except (InvalidToken, ValueError) as error:
            raise _not_ours() from error
        if wire["for"] != purpose:
            raise _not_ours()
        who = wire["who"]
        groups, scopes = frozenset(who["groups"]), frozenset(who["scopes"])
        person = Person(Username(who["name"]), who["admin"], groups, scopes)
        return Question(wire["id"], purpose, person, wire["server"], wire["made"], wire["body"])

    def answer(self, question: Question, body: Mapping[str, Any]) -> bytes:
        """What to send back for this question, and no other."""
        return self._answers.encrypt(_packed({"to": question.id, "body": dict(body)}))

    def read_answer(self, question: Question, answer: bytes) -> dict[str, Any]:
        """The body of the answer. Raises HubUnavailable when it is not the launcher's answer to this question."""
        try:
            wire = _unpacked(self._answers.decrypt(answer))
        except (InvalidToken, ValueError) as error:
            raise silent_launcher() from error
        if wire["to"] != question.id:
            raise silent_launcher()
        body: dict[str, Any] = wire["body"]
        return body


class Once:
    """Remembers the questions that were read, so that each is answered once.

    A question that is older than this memory is refused too: an earlier service may have answered it.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._began = clock()
        self._seen: dict[str, float] = {}

    def take(self, question: Question) -> None:
        """Note the question. Raises TicketInvalid when it may have been answered before."""
        now = self._clock()
        self._seen = {name: until for name, until in self._seen.items() if until > now}
        if question.made < self._began or question.id in self._seen:
            raise _not_ours()
        # a token lives by whole seconds, and its clock may be ahead
        self._seen[question.id] = max(now, question.made) + LIFETIME_SECONDS + 1


def silent_launcher() -> HubUnavailable:
    """The error for a launcher that does not answer, or in whose place somebody else does."""
    return HubUnavailable("The launcher does not answer.", hint="Try again in a moment.")


def _not_ours() -> TicketInvalid:
    return TicketInvalid("This was not asked by the Hub, or too long ago.", hint="Try again.")


def _packed(wire: Mapping[str, Any]) -> bytes:
    """JSON in which a character takes no more than it must: what people type has to fit into a request."""
    return json.dumps(wire, ensure_ascii=False).encode("utf-8", "surrogatepass")


def _unpacked(packed: bytes) -> dict[str, Any]:
    wire: dict[str, Any] = json.loads(packed.decode("utf-8", "surrogatepass"))
    return wire


def _fernet(label: bytes, secret: str) -> Fernet:
    return Fernet(base64.urlsafe_b64encode(hashlib.sha256(label + secret.encode()).digest()))
