"""What Hub and service say to each other: nobody else reads, makes, changes or repeats it."""

from __future__ import annotations

import base64

import pytest

from launcher.errors import HubUnavailable, TicketInvalid
from launcher.models import Person, Username
from launcher.sealed import LIFETIME_SECONDS, Once, SealedTalk
from launcher.sessions.session_choices import FIELDS
from launcher.tickets import new_secret
from launcher.web.settings import WebSettings

SECRET = new_secret()
ANA = Person(Username("ana"), admin=True, groups=frozenset({"staff", "physics"}), scopes=frozenset({"x"}))
TALK = SealedTalk(SECRET)


def test_a_question_is_read_as_it_was_asked() -> None:
    asked, token = TALK.ask("plan", ANA, "work", {"environment": "listed:geo"})
    assert TALK.read(token, "plan") == asked
    assert asked.person == ANA
    assert asked.server_name == "work"


def test_whatever_fits_into_the_fields_fits_into_a_request() -> None:
    choices = {name: "\N{GRINNING FACE}" * 2048 for name in FIELDS if name != "trust"}
    asked, token = TALK.ask("check", ANA, "work", {"options": choices, "start": "a" * 32, "languages": "de" * 100})
    assert len(token) < WebSettings.max_body_bytes
    assert TALK.read(token, "check") == asked


def test_half_a_character_is_passed_on_like_any_other() -> None:
    asked, token = TALK.ask("plan", ANA, "", {"environment": "\ud800"})
    assert TALK.read(token, "plan") == asked
    assert TALK.read_answer(asked, TALK.answer(asked, {"said": "\udfff"})) == {"said": "\udfff"}


def test_nobody_between_them_can_read_it() -> None:
    question, token = TALK.ask("plan", ANA, "work", {"environment": "listed:geo"})
    answer = TALK.answer(question, {"html": "private-repository"})
    seen = base64.urlsafe_b64decode(token) + base64.urlsafe_b64decode(answer)
    assert not [word for word in (b"ana", b"geo", b"private", b"staff", b"plan") if word in seen]


@pytest.mark.parametrize("purpose", ["form", "", "plan "])
def test_a_question_for_another_purpose_is_refused(purpose: str) -> None:
    _, token = TALK.ask("plan", ANA, "", {})
    with pytest.raises(TicketInvalid):
        TALK.read(token, purpose)


def test_a_question_that_was_changed_or_made_by_somebody_else_is_refused() -> None:
    _, token = TALK.ask("plan", ANA, "", {})
    _, foreign = SealedTalk(new_secret()).ask("plan", ANA, "", {})
    changed = token[:40] + (b"A" if token[40:41] != b"A" else b"B") + token[41:]
    for wrong in (changed, foreign, b"", b"no token", "ünlesbar".encode(), token[:-8]):
        with pytest.raises(TicketInvalid):
            TALK.read(wrong, "plan")


def test_a_question_is_over_after_its_time_and_not_before() -> None:
    _, token = TALK.ask("plan", ANA, "", {}, now=1000)
    assert TALK.read(token, "plan", now=1000 + LIFETIME_SECONDS)
    with pytest.raises(TicketInvalid):
        TALK.read(token, "plan", now=1001 + LIFETIME_SECONDS)


def test_an_answer_belongs_to_its_question() -> None:
    first, _ = TALK.ask("plan", ANA, "", {})
    second, _ = TALK.ask("plan", ANA, "", {})
    answer = TALK.answer(first, {"plan": {"environment": "one"}})
    assert TALK.read_answer(first, answer) == {"plan": {"environment": "one"}}
    with pytest.raises(HubUnavailable):
        TALK.read_answer(second, answer)


def test_a_question_is_no_answer_and_somebody_elses_answer_is_none() -> None:
    question, token = TALK.ask("plan", ANA, "", {})
    foreign = SealedTalk(new_secret()).answer(question, {"plan": {}})
    for wrong in (token, foreign, b"", b'{"plan": {}}'):
        with pytest.raises(HubUnavailable):
            TALK.read_answer(question, wrong)


def test_a_question_is_taken_once() -> None:
    question, _ = TALK.ask("plan", ANA, "", {})
    other, _ = TALK.ask("plan", ANA, "", {})
    once = Once(lambda: question.made)
    once.take(question)
    once.take(other)
    with pytest.raises(TicketInvalid):
        once.take(question)


def test_what_an_earlier_service_may_have_answered_is_refused_by_the_next() -> None:
    question, _ = TALK.ask("plan", ANA, "", {}, now=1000)
    with pytest.raises(TicketInvalid):
        Once(lambda: 1000.5).take(question)


def test_questions_are_remembered_as_long_as_they_could_be_repeated_and_no_longer() -> None:
    now = 1000.0
    once = Once(lambda: now)
    ahead, token = TALK.ask("plan", ANA, "", {}, now=now + 30)  # the other clock is ahead
    once.take(ahead)
    now += 30 + LIFETIME_SECONDS + 0.9
    assert TALK.read(token, "plan", now=now)
    with pytest.raises(TicketInvalid):
        once.take(ahead)
    now += LIFETIME_SECONDS
    once.take(TALK.ask("plan", ANA, "", {}, now=now)[0])
    assert len(once._seen) == 1
