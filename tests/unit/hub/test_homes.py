import re

from hypothesis import given
from hypothesis import strategies as st

from launcher.hub.homes import directory_name, make_home, project_home

names = st.text(min_size=1, max_size=300)


@given(names)
def test_a_home_is_always_one_plain_directory_below(name):
    assert re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,100}", directory_name(name))
    assert ".." not in directory_name(name)


@given(names, names)
def test_two_people_never_share_a_home(one, other):
    assert one == other or directory_name(one) != directory_name(other)


def test_a_name_that_looks_hashed_cannot_take_a_hashed_home():
    hashed = directory_name("Ana Müller")
    assert directory_name(hashed) != hashed


def test_traps_stay_inside():
    for name in ("..", ".", "../x", "/etc", "a/b", "a\0b", "ana@example.org", "A"):
        assert "/" not in directory_name(name)
        assert directory_name(name) not in {".", "..", ""}


def test_a_new_home_is_closed_to_others_and_an_old_one_is_left_alone(tmp_path):
    home = make_home(tmp_path / "homes" / "ana")
    assert home.stat().st_mode & 0o777 == 0o700
    home.chmod(0o750)
    (home / "work").write_text("mine")
    assert make_home(home).stat().st_mode & 0o777 == 0o750
    assert (home / "work").read_text() == "mine"


def test_project_homes_are_apart_by_person_and_repository(tmp_path):
    homes = {project_home(tmp_path, user, project) for user in ("ana", "bob") for project in ("x-1", "y-2")}
    assert len(homes) == 4
