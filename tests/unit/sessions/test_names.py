import re

from hypothesis import given
from hypothesis import strategies as st

from launcher.models import Repository, RepositoryId
from launcher.sessions.names import is_launch_server, project_name, server_name

JUPYTERHUB_6 = re.compile(r"[a-z](?:[a-z0-9-]{0,28}[a-z0-9])?")
repositories = st.builds(
    lambda identity, name: Repository(RepositoryId(identity), "gh", identity, name, ""),
    st.text(min_size=1),
    st.text(min_size=1),
)


@given(repositories)
def test_server_names_obey_jupyterhub_6(repository):
    name = server_name(repository)
    assert JUPYTERHUB_6.fullmatch(name)
    assert "--" not in name
    assert is_launch_server(name)


@given(repositories, repositories)
def test_different_repositories_never_share_a_name(one, other):
    assert (server_name(one) == server_name(other)) == (one.id == other.id and server_name(one) == server_name(other))
    if one.id != other.id:
        assert server_name(one) != server_name(other)
        assert project_name(one) != project_name(other)


@given(repositories)
def test_project_names_are_plain_directory_names(repository):
    assert re.fullmatch(r"[a-z0-9][a-z0-9-]{1,60}", project_name(repository))


def test_a_name_stays_the_same_for_ever():
    repository = Repository(RepositoryId("gh:github.com/org/notes"), "gh", "org/notes", "notes", "")
    assert server_name(repository) == "notes-xzyegstn25oix2mwg7uk"


def test_names_people_choose_are_not_taken_for_launches():
    for name in ("", "mine", "gpu-server", "notes-2024"):
        assert not is_launch_server(name)
