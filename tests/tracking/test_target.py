"""Where runs go, and what is never said of it."""

from pathlib import Path

import pytest

from cnn_lstm_hyperopt.cli import main
from cnn_lstm_hyperopt.config import Settings, dump_settings, load_settings
from cnn_lstm_hyperopt.errors import ConfigError
from cnn_lstm_hyperopt.tracking.target import tracking_target

SECRET = "postgresql://me:geheim@host/db"  # noqa: S105 - a made-up one


def settings(**mlflow: object) -> Settings:
    return load_settings({"save_dir": "/data/results", "mlflow": mlflow}, environment={})


def test_runs_go_to_a_database_in_the_directory_unless_told_otherwise() -> None:
    target = tracking_target(settings(), {})
    assert target is not None
    assert target.uri == "sqlite:////data/results/mlflow.db"
    assert target.artifacts == "file:///data/results/mlartifacts"
    assert target.experiment == "CNN_LSTM_Hyperopt_Task_5_5"


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        (
            None,
            "mlflow ui --backend-store-uri sqlite:////data/results/mlflow.db\n"
            "Then open http://127.0.0.1:5000/#/experiments/7/runs?workflowType=machine_learning",
        ),
        ("https://host:5000/", "https://host:5000/#/experiments/7/runs?workflowType=machine_learning"),
    ],
)
def test_the_page_that_shows_the_runs_is_named(uri: str | None, shown: str) -> None:
    """The first page of ``mlflow ui`` lists no runs."""
    target = tracking_target(settings(tracking_uri=uri), {})
    assert target is not None
    assert target.how_to_look("7") == shown
    assert "/#/" not in target.how_to_look("")


def test_off_means_nowhere() -> None:
    assert tracking_target(settings(enabled=False), {"MLFLOW_TRACKING_URI": "http://host:1"}) is None


def test_the_variable_counts_where_no_setting_does() -> None:
    variable = {"MLFLOW_TRACKING_URI": "http://host:5000"}
    from_variable = tracking_target(settings(), variable)
    assert from_variable is not None
    assert from_variable.uri == "http://host:5000"
    assert from_variable.artifacts is None
    from_setting = tracking_target(settings(tracking_uri="https://other"), variable)
    assert from_setting is not None
    assert from_setting.uri == "https://other"


def test_a_variable_that_names_plain_files_is_refused_with_its_name() -> None:
    with pytest.raises(
        ConfigError, match=r"the variable MLFLOW_TRACKING_URI must be the URI .* got '\./mlruns'; unset it"
    ):
        tracking_target(settings(), {"MLFLOW_TRACKING_URI": "./mlruns"})


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "mlruns",
        "file:///tmp/mlruns",
        "sqlite:///",
        "sqlite://",
        "http://",
        "ftp://host",
        " http://a",
        "sqlite:///:memory:",
    ],
)
def test_what_mlflow_cannot_write_to_is_refused(uri: str) -> None:
    with pytest.raises(ConfigError, match=r"^mlflow\.tracking_uri must be "):
        settings(tracking_uri=uri)


def test_a_relative_database_stays_where_it_is_when_the_run_goes_on_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    target = tracking_target(settings(tracking_uri="sqlite:///runs.db"), {})
    assert target is not None
    assert target.uri == f"sqlite:///{tmp_path}/runs.db"
    assert target.artifacts == (tmp_path / "mlartifacts").as_uri()


def test_a_password_is_not_written_and_asked_for_when_the_run_goes_on() -> None:
    written = dump_settings(settings(tracking_uri=SECRET))
    assert "geheim" not in written
    assert "postgresql://me:***@host/db" in written
    path = {"save_dir": "/data/results", "mlflow": {"tracking_uri": "postgresql://me:***@host/db"}}
    read = load_settings(path, environment={})
    with pytest.raises(
        ConfigError, match=r"without its password \(postgresql://me:\*\*\*@host/db\).*MLFLOW_TRACKING_URI"
    ):
        tracking_target(read, {})
    target = tracking_target(read, {"MLFLOW_TRACKING_URI": SECRET})
    assert target is not None
    assert target.uri == SECRET


@pytest.mark.parametrize("password", ["geheim", "ge/heim", "ge?he#im"])
def test_no_message_has_the_password(password: str) -> None:
    uri = f"postgresql://me:{password}@host/db"
    target = tracking_target(settings(tracking_uri=uri), {})
    assert target is not None
    assert target.shown == "postgresql://me:***@host/db"
    assert password not in target.error_text(RuntimeError(f"can't reach {uri} with password {password}"))
    assert password not in dump_settings(settings(tracking_uri=uri))


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("failed with exception HTTPConnectionPool: Max retries exceeded (Connection refused)", "does not answer"),
        (
            "Max retries exceeded with url: / (Caused by ResponseError('too many 503 error responses'))",
            "with error 503",
        ),
        ("API request failed with error code 500 != 200", "with error 500"),
        ("API request failed with error code 403 != 200", "does not let us in"),
    ],
)
def test_what_is_wrong_with_a_server_is_told(said: str, told: str) -> None:
    target = tracking_target(settings(tracking_uri="http://host:5000"), {})
    assert target is not None
    assert told in target.error_text(RuntimeError(said))


def test_a_faulty_uri_on_the_command_line_is_told_with_its_flag_and_without_its_password(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["run", "--tracking-uri", "ftp://me:geheim@host", "--save-dir", str(tmp_path / "r")]) == 2
    said = capsys.readouterr().err
    assert "--tracking-uri" in said
    assert "geheim" not in said


def test_track_needs_a_study(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["track", "--save-dir", str(tmp_path)]) == 2
    assert "has no config.yaml, so there is no study to write to MLflow" in capsys.readouterr().err
