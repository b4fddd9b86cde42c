"""No process of the package imports a file of the current directory that is named like a library."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from cnn_lstm_hyperopt.utils.processes import module_command

ROOT = Path(__file__).parents[1]
LIBRARIES = ("optuna", "torch", "mlflow", "pandas", "matplotlib", "plotly", "sklearn", "yaml", "rich", "filelock")
FEATURES = """
import helper_of_mine

def more(frame):
    import late_helper_of_mine
    return helper_of_mine.made(frame)
"""
HELPER = """
def made(frame):
    return frame[["close"]].pct_change().rename(columns={"close": "mine"})
"""


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """A directory whose files are named like libraries; each leaves a mark when it is imported."""
    folder = tmp_path / "work"
    folder.mkdir()
    for name in LIBRARIES:
        mark = f"import os\nopen({str(tmp_path / 'marks')!r}, 'a').write(f'{name} {{os.getpid()}}\\n')\nraise SystemExit(66)\n"
        (folder / f"{name}.py").write_text(mark, encoding="utf-8")
    return folder


def ran(folder: Path, *command: str) -> "subprocess.CompletedProcess[str]":
    """Run a command there; it imports none of the hostile files."""
    environment = {**os.environ, "CNN_LSTM_HYPEROPT__REPORT": "true", "CNN_LSTM_HYPEROPT__MLFLOW__ENABLED": "true"}
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=600, check=False, env=environment
    )
    assert not (folder.parent / "marks").exists()
    assert done.returncode != 66
    return done


def write_features(folder: Path, late_helper: str) -> None:
    for name, text in (("mine", FEATURES), ("helper_of_mine", HELPER), ("late_helper_of_mine", late_helper)):
        (folder / f"{name}.py").write_text(text, encoding="utf-8")


@pytest.mark.slow
def test_a_run_with_workers_mlflow_report_and_own_features_imports_none_of_them(
    hostile: Path, tiny: dict[str, Any]
) -> None:
    write_features(hostile, "")
    settings = {**tiny, "study": {"n_trials": 2, "portfolio": False}, "training": {"max_epochs": 1}, "workers": 2}
    settings["mlflow"] = {"enabled": True, "wait_seconds": 120}
    (hostile / "two.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    script = str(ROOT / "scripts" / "run_cnn_lstm_hyperopt.py")
    done = ran(hostile, sys.executable, script, "--config", "two.yaml", "--features", "mine:more")
    assert done.returncode in (0, 1), (done.stdout, done.stderr)
    save_dir = Path(tiny["save_dir"])
    assert '"mine"' in (save_dir / "data.json").read_text(encoding="utf-8")
    assert (save_dir / "report.html").is_file()
    assert (save_dir / "mlflow.db").is_file()


@pytest.mark.parametrize(
    "command",
    [
        *(module_command(f"cnn_lstm_hyperopt.{name}.worker", "nowhere", 1, 1) for name in ("execution", "tracking")),
        [sys.executable, "-m", "cnn_lstm_hyperopt", "status", "--save-dir", "nowhere"],
    ],
    ids=("worker", "MLflow", "status"),
)
def test_a_process_imports_none_of_them(hostile: Path, command: list[str]) -> None:
    ran(hostile, *command)


@pytest.mark.mostly_slow(1)
@pytest.mark.parametrize("start", ["-m", "script"])
def test_a_feature_module_of_the_current_directory_is_found_and_its_neighbours(hostile: Path, start: str) -> None:
    """With libraries that are loaded only after the directory has joined the search path."""
    write_features(hostile, "import matplotlib, sklearn\n")
    command = [sys.executable, "-m", "cnn_lstm_hyperopt"]
    if start == "script":
        command = [sys.executable, "-P", "-c", "import sys; from cnn_lstm_hyperopt.cli import main; sys.exit(main())"]
    arguments = ("--use-real-data", "--symbols", "AAPL", "--start", "2010-01-01", "--end", "2012-12-31")
    done = ran(hostile, *command, "data", *arguments, "--features", "mine:more")
    assert done.returncode == 0, (done.stdout, done.stderr)
    assert "mine" in done.stdout
