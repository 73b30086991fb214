"""What operators list, and for whom."""

import dataclasses
import json

import pytest
from traitlets.config import Config

import launcher
from launcher.config import Settings
from launcher.config_files import read_settings
from launcher.errors import ConfigurationInvalid, EnvironmentNotFound
from launcher.models import Person, Username
from launcher.policy.environments import ListedEnvironment, ListedEnvironments, read_environments
from launcher.runtimes import regular_sessions

GEO = {"name": "geo", "title": "Geospatial", "description": "GDAL", "repository": "gh/org/geo/main"}
RUNTIMES = ("process", "container")
ALICE = Person(Username("alice"), groups=frozenset({"staff"}))
BOB = Person(Username("bob"))
ADMIN = Person(Username("root"), admin=True)


def test_entries_become_values_in_their_order():
    found = read_environments([GEO, {"name": "cuda", "image": "quay.io/org/cuda:1", "groups": ["gpu"]}], images=True)
    assert found == (
        ListedEnvironment("geo", "Geospatial", "GDAL", repository="gh/org/geo/main"),
        ListedEnvironment("cuda", "cuda", image="quay.io/org/cuda:1", groups=("gpu",)),
    )
    assert [ListedEnvironment.from_json(json.loads(json.dumps(dataclasses.asdict(one)))) for one in found] == [*found]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"name": "Geo"}, "entry 1.*lower-case"),
        ({"name": None}, "entry 1.*lower-case"),
        ({"repository": ""}, "'geo'.*either a repository or an image"),
        ({"image": "quay.io/a"}, "'geo'.*either a repository or an image"),
        ({"repository": "", "image": "quay.io/a"}, "'geo'.*starts no sessions from images"),
        ({"repository": "geo"}, "'geo'.*a spec such as"),
        ({"repository": "gh/org/geo main"}, "'geo'.*a spec such as"),
        ({"repository": ["gh/org/geo"]}, "'geo'.*repository must be text"),
        ({"title": 3}, "'geo'.*title must be text"),
        ({"groups": "staff"}, "'geo'.*groups must be a list"),
        ({"spec": "gh/org/geo"}, "'geo'.*no 'spec'"),
    ],
)
def test_a_bad_entry_is_refused_with_a_sentence_that_names_it(changes, words):
    with pytest.raises(ConfigurationInvalid, match=words):
        read_environments([{**GEO, **changes}], images=False)


def test_two_of_one_name_are_refused():
    with pytest.raises(ConfigurationInvalid, match="two called 'geo'"):
        read_environments([GEO, GEO], images=False)


def test_people_are_offered_what_is_for_their_groups():
    listed = ListedEnvironments(read_environments([GEO, {**GEO, "name": "staff", "groups": ["staff"]}], images=False))
    assert [[one.name for one in listed.offered(person)] for person in (ALICE, BOB, ADMIN)] == [
        ["geo", "staff"],
        ["geo"],
        ["geo", "staff"],
    ]
    assert listed.choose("staff", ALICE).name == "staff"
    for name in ("staff", "nothing", ""):
        with pytest.raises(EnvironmentNotFound):
            listed.choose(name, BOB)


def test_the_setting_reaches_the_service():
    config = Config({"Launcher": {"environments": [{**GEO, "groups": ["staff"]}]}})
    settings = read_settings(config)
    assert settings.environments[0].groups == ("staff",)
    assert Settings.from_json(settings.to_json()) == settings
    with pytest.raises(ConfigurationInvalid, match="starts no sessions from images"):
        read_settings(Config({"Launcher": {"environments": [{"name": "x", "image": "y"}]}}))


def test_a_hub_whose_regular_sessions_are_its_own_spawners_cannot_list_any(tmp_path):
    def listing(**settings):
        launcher.enable(Config(), environments=[GEO], state_directory=str(tmp_path), **settings)

    with pytest.raises(ConfigurationInvalid, match=r"c\.Launcher\.environments: .* not the launcher's"):
        listing()
    listing(homes_directory=str(tmp_path / "homes"))
    listing(runtime="container")


def test_whose_regular_sessions_they_are_decides_the_runtime():
    own = {
        runtime: regular_sessions(read_settings(Config({"Launcher": {"runtime": runtime}}))).own for runtime in RUNTIMES
    }
    assert own == {"process": False, "container": True}
    allowed = Config(
        {"Launcher": {"runtime": "container"}, "LauncherContainers": {"allowed_images": ["quay.io/org/*"]}}
    )
    allows = regular_sessions(read_settings(allowed)).allows_image
    assert [allows(name) for name in ("quay.io/org/a:1", "quay.io/other/a", "quay.io/org/a b", "")] == [
        True,
        False,
        False,
        False,
    ]
