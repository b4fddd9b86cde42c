"""What an import costs, and the public names."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import cnn_lstm_hyperopt
from cnn_lstm_hyperopt.search import StudyStorage

ROOT = Path(__file__).parents[1]
HEAVY = ["torch", "optuna", "pandas", "mlflow", "sklearn", "scipy", "scipy.stats", "pyarrow", "ray", "sqlalchemy"]


def python(code, cwd=ROOT):
    done = subprocess.run([sys.executable, "-c", code], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


COMMANDS = ("--help", "run --help", "run --n-trials 0", "run --symbols AAPL", "narrow --help", "--version")
LIGHT = [
    "import cnn_lstm_hyperopt, cnn_lstm_hyperopt.config, cnn_lstm_hyperopt.errors, cnn_lstm_hyperopt.progress",
    "from cnn_lstm_hyperopt import load_settings, Settings; load_settings()",
    *(f"from cnn_lstm_hyperopt.cli import main; main({command.split()})" for command in COMMANDS),
]
UNUSED = {"sklearn", "scipy.stats", "mlflow", "ray"}


@pytest.mark.parametrize(
    ("code", "absent"),
    [
        ("; ".join(LIGHT), set(HEAVY)),
        # Optuna looks for pandas when a data frame is asked for, and for torch when TPE or a GP needs it.
        ("import cnn_lstm_hyperopt.search", {"torch", "pandas", "scipy"}),
        (
            "from cnn_lstm_hyperopt.cli import main; main('status --save-dir none'.split())",
            {"torch", "pandas", "scipy"},
        ),
        ("import cnn_lstm_hyperopt.reporting.status", set(HEAVY)),
        ("import cnn_lstm_hyperopt.execution.worker", UNUSED),
        ("import cnn_lstm_hyperopt.pipeline.run", UNUSED),
    ],
)
def test_what_an_import_or_a_command_does_not_load(code, absent):
    loaded = python(f"{code}\nimport sys; print([name for name in {HEAVY} if name in sys.modules])").splitlines()[-1]
    assert set(ast.literal_eval(loaded)) & absent == set()


def test_status_of_a_study_reads_it_without_its_libraries(tmp_path):
    StudyStorage(tmp_path / "study.db", create="a", attributes={"n_trials": 1}).close()
    code = f"from cnn_lstm_hyperopt.cli import main; assert main(['status', '--save-dir', {str(tmp_path)!r}]) == 0"
    loaded = python(f"{code}\nimport sys; print([name for name in {HEAVY} if name in sys.modules])").splitlines()
    assert loaded[0].startswith("Study a in ")
    assert ast.literal_eval(loaded[-1]) == []


def test_public_names_are_pinned():
    assert cnn_lstm_hyperopt.__all__ == [
        "BaselineWindows",
        "CNNLSTMClassifier",
        "CNNLSTMHyperparameterOptimizer",
        "CNNLSTMRegressor",
        "NetworkShape",
        "Profile",
        "SavedModel",
        "Settings",
        "evaluate_model",
        "load_model",
        "load_settings",
        "register_family",
        "rollback_model",
        "run_cnn_lstm_hyperparameter_optimization",
        "search_bars",
        "update_model",
    ]


def test_every_public_name_is_there_and_documented_and_can_be_completed():
    assert all(getattr(cnn_lstm_hyperopt, name).__doc__ for name in cnn_lstm_hyperopt.__all__)
    names = python("import cnn_lstm_hyperopt; print(*dir(cnn_lstm_hyperopt))").split()
    assert set(cnn_lstm_hyperopt.__all__) <= set(names)
    assert (Path(cnn_lstm_hyperopt.__file__).parent / "py.typed").is_file()


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="nothing"):
        cnn_lstm_hyperopt.nothing  # noqa: B018


def test_the_import_of_the_specification_works_from_the_repositorys_root():
    code = (
        "from src.ml.cnn_lstm_hyperopt import CNNLSTMHyperparameterOptimizer, run_cnn_lstm_hyperparameter_optimization\n"
        "import cnn_lstm_hyperopt\n"
        "print(CNNLSTMHyperparameterOptimizer is cnn_lstm_hyperopt.CNNLSTMHyperparameterOptimizer)"
    )
    assert python(code).strip() == "True"
