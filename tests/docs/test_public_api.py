"""What the package promises to others: one function."""

import inspect

import launcher


def test_the_package_exports_the_feature_flag_and_nothing_else():
    assert launcher.__all__ == ["enable"]
    public = {
        name for name in vars(launcher) if not name.startswith("_") and not inspect.ismodule(vars(launcher)[name])
    }
    assert public - {"annotations", "TYPE_CHECKING", "Any", "Config"} == {"enable"}


def test_the_feature_flag_takes_the_configuration_and_settings_by_name():
    assert str(inspect.signature(launcher.enable)) == "(c: 'Config', **settings: 'Any') -> 'None'"
