"""An operator's translations: what is missing is English, and what no page could show is refused with a sentence."""

from __future__ import annotations

import json

import pytest

from launcher.app import ServiceAddress, _web_settings
from launcher.builders.fake import FakeBuilder
from launcher.check import check
from launcher.config import Settings
from launcher.config_files import read_settings_of
from launcher.errors import ConfigurationInvalid
from launcher.translations import english, keys, read_translations, translation_findings


@pytest.fixture
def directory(tmp_path):
    """Writes files of words; gives their directory."""

    def _write(**files):
        for name, groups in files.items():
            text = groups if isinstance(groups, str) else json.dumps(groups)
            (tmp_path / f"{name}.json").write_text(text, encoding="utf-8")
        return str(tmp_path)

    return _write


def test_what_is_missing_stays_english(directory):
    days = {"one": "{count} Datei", "other": "{count} Dateien"}
    (german,) = read_translations(directory(de={"mine": {"stop": "Beenden", "files": days}}))
    assert german.complete["mine"]["stop"] == "Beenden"
    assert german.complete["mine"]["open"] == english()["mine"]["open"]
    assert keys(german.complete) == keys(english())
    assert set(german.missing) == keys(english()) - {"mine.stop", "mine.files"}


def test_the_files_own_name_is_its_language(directory):
    (brazilian,) = read_translations(directory(**{"pt-BR": {}}))
    assert brazilian.language == "pt-BR"


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"nonsense": {}}, "'nonsense' is no language"),
        ({"de": "{"}, "cannot be read as JSON"),
        ({"de": "[" * 100_000}, "cannot be read as JSON"),
        ({"de": []}, "does not hold groups of words"),
        ({"de": {"mine": "x"}}, "does not hold groups of words"),
        ({"de": {"mine": {"nope": "x"}}}, "mine.nope is none of the launcher's words"),
        ({"de": {"nope": {"x": "x"}}}, "nope.x is none of the launcher's words"),
        ({"de": {"mine": {"stop": 3}}}, "mine.stop must be a text"),
        ({"de": {"mine": {"stop": " "}}}, "mine.stop must be a text"),
        ({"de": {"mine": {"open_name": "{nme} öffnen"}}}, "mine.open_name has {nme}, which nothing fills in"),
        ({"de": {"mine": {"open_name": "Öffnen"}}}, "mine.open_name lacks {name}"),
        ({"de": {"mine": {"files": "Dateien"}}}, "mine.files depends on a number"),
        ({"de": {"mine": {"files": {"one": "eine Datei"}}}}, "mine.files must have the plural form 'other'"),
        ({"de": {"mine": {"files": {"few": "x", "other": "{count}"}}}}, "none but the language's: one, other"),
        ({"de": {"mine": {"files": {"other": "Dateien"}}}}, "mine.files lacks {count}"),
    ],
)
def test_what_no_page_could_show_is_refused_when_the_hub_starts(directory, files, said):
    with pytest.raises(ConfigurationInvalid) as refused:
        read_settings_of(None, translations_directory=directory(**files))
    assert said in str(refused.value)
    assert refused.value.hint


def test_a_directory_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ConfigurationInvalid, match="is not a directory"):
        read_settings_of(None, translations_directory=str(tmp_path / "nope"))


def test_the_service_reads_what_the_hub_checked(directory):
    settings = read_settings_of(None, translations_directory=directory(fr={"mine": {"stop": "Arrêter"}}))
    again = Settings.from_json(settings.to_json())
    assert [one.language for one in read_translations(again.translations_directory)] == ["fr"]
    assert read_translations("") == ()


def test_the_check_says_how_complete_each_language_is(directory):
    everything = len(keys(english()))
    found = list(translation_findings(directory(de={"mine": {"stop": "Beenden"}}, en=english())))
    assert all(finding.good for finding in found)
    said = [str(finding) for finding in found]
    assert f"translation de: 1 of {everything} words; in English: " in said[0]
    assert said[1].endswith(f"translation en: {everything} of {everything} words")


def test_the_pages_of_the_service_speak_them(directory, tmp_path):
    directory(de={"mine": {"stop": "Beenden"}})
    settings = read_settings_of(None, state_directory=str(tmp_path), translations_directory=str(tmp_path))
    web = _web_settings(settings, ServiceAddress(1, "/services/binder/", "/", "http://127.0.0.1:1"), FakeBuilder())
    assert [web.languages.best(asked).t("mine.stop") for asked in ("de-CH", "fr")] == ["Beenden", "Stop"]


def test_launcher_check_tells_it_too(directory, tmp_path, capsys):
    words = directory(de={"mine": {"stop": "Beenden"}})
    configuration = tmp_path / "jupyterhub_config.py"
    configuration.write_text(f"import launcher\nlauncher.enable(c, translations_directory={words!r})\n")
    check(config=configuration, state=tmp_path / "state", runtime="process")
    assert "ok      translation de: 1 of " in capsys.readouterr().out
