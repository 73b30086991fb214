"""Choices as flat texts, and listed environments that cannot be."""

import pytest

from launcher.errors import BadRequest, ConfigurationInvalid, NotFound
from launcher.policy.environments import ListedEnvironment, ListedEnvironments
from launcher.sessions.session_choices import FIELDS, SessionChoices, at_field
from launcher.sessions.session_plan import check_listed
from tests.support.scripted_launches import ScriptedSources


@pytest.mark.parametrize(
    "choices",
    [
        SessionChoices(),
        SessionChoices(size="large", environment="listed:geo"),
        SessionChoices(environment="repository", environment_spec="org/repo", files_spec="org/files"),
        SessionChoices(environment="image:quay.io/org/image:1"),
        SessionChoices(environment="image:"),
        SessionChoices(environment=f"recent:{'0' * 64}"),
    ],
)
def test_they_are_the_same_after_a_way_through_fields(choices):
    fields = choices.to_fields()
    assert set(fields) <= set(FIELDS)
    assert all(isinstance(value, str) and value for value in fields.values())
    assert SessionChoices.from_fields(lambda name: fields.get(name, "")) == choices


def test_trust_is_read_and_never_kept():
    choices = SessionChoices.from_fields({**dict.fromkeys(FIELDS, ""), "trust": "yes"}.__getitem__)
    assert choices.trust
    assert "trust" not in choices.to_fields()
    for text in ("no", "0", "", "maybe"):
        assert not SessionChoices.from_fields({**dict.fromkeys(FIELDS, ""), "trust": text}.__getitem__).trust


def test_what_is_too_long_is_said_of_its_field():
    with pytest.raises(BadRequest) as raised:
        SessionChoices.from_fields(lambda name: "x" * 3000 if name == "files_spec" else "")
    assert raised.value.to_dict()["field"] == "files_spec"


def test_the_innermost_field_is_the_one_that_is_named():
    with pytest.raises(NotFound) as raised, at_field("environment"), at_field("image"):
        raise NotFound("There is none.")
    assert raised.value.field == "image"


def test_a_listed_repository_that_no_provider_has_is_refused_by_its_name():
    listed = ListedEnvironments((ListedEnvironment("geo", "Geo", repository="nowhere/org/geo"),))
    with pytest.raises(ConfigurationInvalid, match="'geo': No provider found"):
        check_listed(ScriptedSources(), listed)
