import pytest

from meter.config import Settings, load_settings
from meter.errors import ConfigError


def test_arguments_win_over_environment_and_environment_over_file(tmp_path):
    file = tmp_path / "own.toml"
    file.write_text('database_url = "sqlite:///file.db"\nhold_seconds = 5\ndrain_seconds = 6\n')
    environment = {
        "METER_CONFIG": str(file),
        "METER_DATABASE_URL": "sqlite:///env.db",
        "METER_DRAIN_SECONDS": "7",
    }
    settings = load_settings({"database_url": "sqlite:///arg.db"}, environment=environment)
    assert settings.database_url == "sqlite:///arg.db"
    assert settings.hold_seconds == 5
    assert settings.drain_seconds == 7


def test_an_argument_of_none_counts_as_not_given():
    assert load_settings({"database_url": None}, environment={}) == Settings()


def test_hosts_come_as_pairs_from_the_environment():
    settings = load_settings(environment={"METER_HOSTS": "proxy:8080=openai, other=auto"})
    assert settings.hosts == {"proxy:8080": "openai", "other": "auto"}


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        ({"METER_DURABILITY": "maybe"}, "found 'maybe' for durability, expected 'full'"),
        ({"METER_HOLD_SECONDS": "soon"}, "found 'soon' for METER_HOLD_SECONDS"),
        ({"METER_HOLD_SECONDS": "0"}, "expected a whole number from 1 on"),
        ({"METER_INJECT_USAGE": "perhaps"}, "expected true or false"),
        ({"METER_HOSTS": "proxy"}, "expected names with texts"),
        ({"METER_CONFIG": "absent.toml"}, "cannot read the settings file absent.toml"),
    ],
)
def test_a_wrong_setting_is_named_with_what_was_expected(environment, sentence):
    with pytest.raises(ConfigError, match=sentence):
        load_settings(environment=environment)


def test_an_unknown_setting_in_the_file_is_refused(tmp_path):
    file = tmp_path / "own.toml"
    file.write_text("hold_secondz = 5\n")
    with pytest.raises(ConfigError, match="found setting 'hold_secondz', expected one of"):
        load_settings(environment={"METER_CONFIG": str(file)})


def test_a_file_that_is_not_toml_is_refused_in_one_sentence(tmp_path):
    file = tmp_path / "own.toml"
    file.write_text("this is not toml")
    with pytest.raises(ConfigError, match=r"is not TOML") as caught:
        load_settings(environment={"METER_CONFIG": str(file)})
    assert "\n" not in str(caught.value)
