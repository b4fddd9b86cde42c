"""What an import costs, and the public names."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import cnn_lstm_hyperopt

ROOT = Path(__file__).parents[1]
HEAVY = ["torch", "optuna", "pandas", "mlflow", "sklearn", "scipy.stats", "pyarrow"]


def python(code, cwd=ROOT):
    done = subprocess.run([sys.executable, "-c", code], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def loaded(code):
    """Which heavy packages a program has loaded at its end."""
    return python(f"{code}\nimport sys; print([name for name in {HEAVY} if name in sys.modules])").splitlines()[-1]


@pytest.mark.parametrize(
    "code",
    [
        "import cnn_lstm_hyperopt",
        "from cnn_lstm_hyperopt import load_settings, Settings; load_settings()",
        "from cnn_lstm_hyperopt.cli import main; assert main(['--help']) == 0",
        "from cnn_lstm_hyperopt.cli import main; assert main(['run', '--help']) == 0",
        "from cnn_lstm_hyperopt.cli import main; assert main(['run', '--n-trials', '0']) == 2",
        "from cnn_lstm_hyperopt.cli import main; assert main(['run', '--symbols', 'AAPL']) == 2",
        "from cnn_lstm_hyperopt.cli import main; assert main(['run', '--workers', '0']) == 2",
        "from cnn_lstm_hyperopt.cli import main; assert main(['narrow', '--help']) == 0",
        "from cnn_lstm_hyperopt.cli import main; assert main(['--version']) == 0",
    ],
)
def test_light_doors_load_nothing_heavy(code):
    assert loaded(code) == "[]"


def test_the_search_loads_neither_torch_nor_pandas():
    # Optuna looks for pandas when a data frame is asked for, and for torch when TPE or a GP needs it.
    names = loaded("import cnn_lstm_hyperopt.search")
    assert "torch" not in names
    assert "pandas" not in names


def test_status_loads_no_torch(tmp_path):
    """It is asked for again and again while a run goes on."""
    names = loaded(
        f"from cnn_lstm_hyperopt.cli import main; main(['status', '--save-dir', {str(tmp_path / 'none')!r}])"
    )
    assert "torch" not in names
    assert "pandas" not in names


def test_a_worker_loads_no_statistics():
    assert not {"sklearn", "scipy.stats", "mlflow"} & set(
        ast.literal_eval(loaded("import cnn_lstm_hyperopt.execution.worker"))
    )
    assert not {"sklearn", "scipy.stats", "mlflow"} & set(
        ast.literal_eval(loaded("import cnn_lstm_hyperopt.pipeline.run"))
    )


def test_the_parts_of_settings_do_not_load_numpy_heavy_layers():
    assert loaded("import cnn_lstm_hyperopt.config, cnn_lstm_hyperopt.errors, cnn_lstm_hyperopt.progress") == "[]"


def test_public_names_are_pinned():
    assert cnn_lstm_hyperopt.__all__ == [
        "CNNLSTMHyperparameterOptimizer",
        "SavedModel",
        "Settings",
        "load_model",
        "load_settings",
        "run_cnn_lstm_hyperparameter_optimization",
    ]


@pytest.mark.parametrize("name", cnn_lstm_hyperopt.__all__)
def test_every_public_name_is_there_and_documented(name):
    assert getattr(cnn_lstm_hyperopt, name).__doc__


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        cnn_lstm_hyperopt.nothing  # noqa: B018


def test_the_seed_documents_import_works_from_the_repositorys_root():
    code = (
        "from src.ml.cnn_lstm_hyperopt import CNNLSTMHyperparameterOptimizer, run_cnn_lstm_hyperparameter_optimization\n"
        "import cnn_lstm_hyperopt\n"
        "print(CNNLSTMHyperparameterOptimizer is cnn_lstm_hyperopt.CNNLSTMHyperparameterOptimizer)"
    )
    assert python(code).strip() == "True"


def test_the_package_says_that_it_is_typed():
    assert (Path(cnn_lstm_hyperopt.__file__).parent / "py.typed").is_file()
