"""The package as a script, a notebook and an interactive session use it."""

import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from jupyter_client.manager import start_new_kernel

import cnn_lstm_hyperopt
from cnn_lstm_hyperopt import (
    load_settings,
    run_cnn_lstm_hyperparameter_optimization,
)
from cnn_lstm_hyperopt.errors import ConfigError

LOADERS = """
import torch
from torch.utils.data import DataLoader, TensorDataset

def loader(windows, seed):
    generator = torch.Generator().manual_seed(seed)
    x, y = torch.randn(windows, 8, 3, generator=generator), torch.randint(0, 2, (windows,), generator=generator)
    return DataLoader(TensorDataset(x + y[:, None, None], y, x[:, 0, 0]), batch_size=32)

LOADERS = loader(120, 0), loader(60, 1), loader(60, 2)
"""
CONFIG: dict[str, Any] = {
    "study": {"portfolio": False},
    "training": {"max_epochs": 1},
    "mlflow": {"enabled": False},
    "report": False,
    "search_space": {
        "cnn": {"num_filters": 4, "attention": False},
        "lstm": {"hidden_dim": 8, "num_layers": 1, "attention": False},
        "fusion": {"dim": 8, "method": "concatenation"},
    },
}


def script(tmp_path: Path, body: str) -> "subprocess.CompletedProcess[str]":
    """Run a program that has ``LOADERS``, ``CONFIG`` and ``SAVE_DIR``, without a ``__main__`` guard."""
    head = f"{LOADERS}\nCONFIG = {CONFIG!r}\nSAVE_DIR = {str(tmp_path / 'results')!r}\n"
    path = tmp_path / "user.py"
    path.write_text(head + textwrap.dedent(body), encoding="utf-8")
    return subprocess.run([sys.executable, str(path)], capture_output=True, text=True, check=False, timeout=200)


@pytest.mark.parametrize(
    "tracked", [pytest.param(True, marks=pytest.mark.slow, id="tracked"), pytest.param(False, id="untracked")]
)
def test_a_script_that_never_closes_ends_without_a_word_on_stderr(tmp_path: Path, tracked: bool) -> None:
    done = script(
        tmp_path,
        f"""
        import torch
        from cnn_lstm_hyperopt import CNNLSTMHyperparameterOptimizer
        CONFIG.update(workers=1, mlflow={{"enabled": {tracked}}})
        torch.optimizer = CNNLSTMHyperparameterOptimizer(LOADERS, 3, SAVE_DIR, config=CONFIG)  # outlives every module of ours
        print(torch.optimizer.optimize(n_trials=1)["n_trials_completed"])
        """,
    )
    assert done.returncode == 0
    assert done.stderr == ""
    assert [path.name for path in (tmp_path / "results").iterdir() if path.name.startswith(".")] == []


@pytest.mark.slow
def test_an_optimizer_that_is_dropped_frees_its_directory(tmp_path: Path) -> None:
    done = script(
        tmp_path,
        """
        from cnn_lstm_hyperopt import CNNLSTMHyperparameterOptimizer as Optimizer
        CONFIG["workers"] = 1
        Optimizer(LOADERS, 3, SAVE_DIR, config=CONFIG, quiet=True).optimize(n_trials=1)
        with Optimizer(LOADERS, 3, SAVE_DIR, config=CONFIG, quiet=True, resume=True) as again:
            print(again.optimize(n_trials=2)["n_trials_completed"])
        """,
    )
    assert (done.stdout, done.stderr) == ("2\n", "")


@pytest.mark.slow
def test_workers_share_the_windows_of_loaders_and_need_no_main_guard(tmp_path: Path) -> None:
    done = script(
        tmp_path,
        """
        from cnn_lstm_hyperopt import CNNLSTMHyperparameterOptimizer
        optimizer = CNNLSTMHyperparameterOptimizer(LOADERS, 3, SAVE_DIR, config={**CONFIG, "workers": 2}, quiet=True)
        optimizer.optimize(n_trials=6)
        print(sorted({trial.user_attrs["worker"] for trial in optimizer.study.trials}))
        """,
    )
    assert (done.stdout, done.stderr) == ("[1, 2]\n", "")


def test_workers_are_auto_in_python_and_on_the_command_line() -> None:
    template = Path(__file__).parents[1] / "configs/hyperopt/cnn_lstm_hyperopt_config.yaml"
    assert load_settings().workers == load_settings(template).workers == "auto"


# ---------------------------------------------------------------------- settings


@pytest.mark.parametrize("value", ["no", 1, None])
def test_whether_to_retrain_is_true_or_false(tmp_path: Path, value: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        run_cnn_lstm_hyperparameter_optimization(save_dir=tmp_path / "out", n_trials=0, retrain_best=value)
    assert (caught.value.field, caught.value.code) == ("retrain_best", "not-boolean")


# ---------------------------------------------------------------------- interactive sessions


def test_public_names_can_be_completed() -> None:
    code = "import cnn_lstm_hyperopt; print(*dir(cnn_lstm_hyperopt))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(cnn_lstm_hyperopt.__all__) <= set(done.stdout.split())


def test_in_a_notebook_a_table_is_shown_once_and_if_quiet_not_at_all() -> None:
    manager, client = start_new_kernel(kernel_name="python3")
    try:
        shown: list[str] = []

        def hear(message: dict[str, Any]) -> None:
            if message["msg_type"] == "display_data":
                shown.append(message["content"]["data"]["text/plain"])

        code = (
            "from rich.table import Table\n"
            "from cnn_lstm_hyperopt.reporting.console.terminal import Terminal\n"
            "table = Table('column'); table.add_row('of the notebook')\n"
            "Terminal({}).table(table)"
        )
        for quiet, expected in (("", 1), ("quiet=True", 0)):
            shown.clear()
            reply = client.execute_interactive(code.format(quiet), timeout=100, output_hook=hear)
            assert reply["content"]["status"] == "ok", reply["content"]
            assert [text.count("of the notebook") for text in shown] == [1] * expected
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
