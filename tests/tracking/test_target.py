"""Where runs go, and that no message has the password."""

from pathlib import Path

import pytest

from builders.errors import raises
from cnn_lstm_hyperopt.cli import main
from cnn_lstm_hyperopt.config import Settings, dump_settings, load_settings
from cnn_lstm_hyperopt.errors import ConfigError
from cnn_lstm_hyperopt.tracking.trackers.mlflow.target import MlflowTarget, mlflow_target

VARIABLE = "MLFLOW_TRACKING_URI"


def settings(**mlflow: object) -> Settings:
    return load_settings({"save_dir": "/data/results", "mlflow": mlflow}, environment={})


def target_of(environment: dict[str, str] | None = None, **mlflow: object) -> MlflowTarget:
    return mlflow_target(settings(**mlflow), environment or {})


def test_the_default_is_a_database_in_the_directory_and_a_setting_comes_before_the_variable() -> None:
    target, variable = target_of(), {VARIABLE: "http://host:5000"}
    assert (target.uri, target.artifacts) == ("sqlite:////data/results/mlflow.db", "file:///data/results/mlartifacts")
    assert target.experiment == "CNN_LSTM_Hyperopt_Task_5_5"
    assert (target_of(variable).uri, target_of(variable).artifacts) == ("http://host:5000", None)
    assert target_of(variable, tracking_uri="https://other").uri == "https://other"


@pytest.mark.parametrize(
    ("uri", "host"), [(None, "http://127.0.0.1:5000"), ("https://host:5000/", "https://host:5000")]
)
def test_the_page_that_shows_the_runs(uri: str | None, host: str) -> None:
    target = target_of(tracking_uri=uri)
    assert target.how_to_look("7").endswith(f"{host}/#/experiments/7/runs?workflowType=machine_learning")
    assert "/#/" not in target.how_to_look("")
    assert (f"mlflow ui --backend-store-uri {target.uri}" in target.how_to_look("7")) == (uri is None)
    assert target_of(tracking_uri="databricks").how_to_look("7").endswith("databricks")


WRONG = ("", "mlruns", "file:///tmp/mlruns", "sqlite:///", "sqlite://", "http://", "ftp://host", " http://a")


@pytest.mark.parametrize("uri", [*WRONG, "sqlite:///:memory:"])
def test_uris_that_mlflow_can_not_write_to_are_refused(uri: str) -> None:
    with pytest.raises(ConfigError, match=r"^mlflow\.tracking_uri "):
        settings(tracking_uri=uri)
    if uri:
        with raises(ConfigError, "not-a-tracking-uri", VARIABLE):
            target_of({VARIABLE: uri})


def test_a_relative_database_becomes_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    target = target_of(tracking_uri="sqlite:///runs.db")
    assert target.uri == f"sqlite:///{tmp_path}/runs.db"
    assert target.artifacts == (tmp_path / "mlartifacts").as_uri()


@pytest.mark.parametrize("password", ["geheim", "ge/heim", "ge?he#im"])
def test_a_password_is_in_no_message_and_no_file_and_asked_for_on_resume(password: str) -> None:
    secret, hidden = f"postgresql://me:{password}@host/db", "postgresql://me:***@host/db"
    target = target_of(tracking_uri=secret)
    written = dump_settings(settings(tracking_uri=secret))
    assert target.shown == hidden
    assert hidden in written
    assert password not in written + target.error_text(RuntimeError(f"can't reach {secret} with password {password}"))
    with raises(ConfigError, "password-missing", "mlflow.tracking_uri") as text:
        target_of(tracking_uri=hidden)
    assert VARIABLE in text[0]
    assert target_of({VARIABLE: secret}, tracking_uri=hidden).uri == secret


def test_errors_of_a_server_become_one_of_three_reasons() -> None:
    target = target_of(tracking_uri="http://host:5000")
    silent = "failed with exception HTTPConnectionPool: Max retries exceeded (Connection refused)"
    busy = "Max retries exceeded with url: / (Caused by ResponseError('too many 503 error responses'))"
    faulty, closed = (f"API request failed with error code {code} != 200" for code in (500, 403))
    texts = [target.error_text(RuntimeError(text)) for text in (silent, busy, faulty, closed)]
    assert ["503" in text for text in texts] == [False, True, False, False]
    assert ["500" in text for text in texts] == [False, False, True, False]
    assert ["TOKEN" in text for text in texts] == [False, False, False, True]
    assert not any("HTTPConnectionPool" in text or "API request" in text for text in texts)


def test_commands_refuse_a_wrong_uri_without_its_password_and_track_without_a_study(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["run", "--tracking-uri", "ftp://me:geheim@host", "--save-dir", str(tmp_path / "r")]) == 2
    err = capsys.readouterr().err
    assert "--tracking-uri" in err
    assert "geheim" not in err
    assert main(["track", "--save-dir", str(tmp_path)]) == 2
    assert "config.yaml" in capsys.readouterr().err
