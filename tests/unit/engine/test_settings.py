"""Settings of containers, and what the base image is called."""

import pytest
from traitlets.config import Config

from launcher.config import Settings
from launcher.config_files import read_settings
from launcher.engine.base_image import base_image_name
from launcher.engine.config import LauncherContainers
from launcher.errors import ConfigurationInvalid


def settings_of(**containers) -> Settings:
    return read_settings(Config({"Launcher": {"runtime": "container"}, "LauncherContainers": containers}))


def test_settings_survive_the_way_to_the_service():
    settings = settings_of(engine="unix:///run/e.sock", base_packages=["gcc"])
    assert Settings.from_json(settings.to_json()) == settings
    assert settings.containers is not None


def test_other_runtimes_have_none():
    settings = read_settings(Config())
    assert settings.containers is None
    assert Settings.from_json(settings.to_json()).containers is None


@pytest.mark.parametrize("address", ["tcp://192.0.2.1:2375", "/run/podman.sock", "unix://relative.sock"])
def test_an_engine_must_be_a_socket_of_this_machine(address):
    with pytest.raises(ConfigurationInvalid, match="must be a socket of this machine"):
        settings_of(engine=address)


def test_a_misspelt_setting_is_refused():
    with pytest.raises(ConfigurationInvalid, match="no setting called 'base_imgae'"):
        settings_of(base_imgae="x")


def test_the_name_of_the_base_image_changes_with_what_goes_in():
    plain = LauncherContainers().settings()
    more = LauncherContainers(base_packages=["gcc"]).settings()
    other = LauncherContainers(base_from="docker.io/library/ubuntu:24.04").settings()
    assert len({base_image_name(one) for one in (plain, more, other)}) == 3
    assert base_image_name(plain) == base_image_name(LauncherContainers(base_packages=["git"]).settings())


def test_the_operators_own_name_is_the_name():
    assert base_image_name(LauncherContainers(base_image="registry.example.org/base:1").settings()) == (
        "registry.example.org/base:1"
    )
