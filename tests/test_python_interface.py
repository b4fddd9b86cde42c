"""The package as a script, a notebook and an interactive session use it."""

import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from jupyter_client.manager import start_new_kernel

from builders.errors import raises
from cnn_lstm_hyperopt import run_cnn_lstm_hyperparameter_optimization
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


@pytest.mark.slow
@pytest.mark.parametrize("tracked", [True, False], ids=["tracked", "untracked"])
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


@pytest.mark.parametrize(
    ("arguments", "field", "code"),
    [
        ({"config": 5}, "config", "not-settings"),
        ({"config": ""}, "config", "empty-path"),
        ({"config": "nowhere.yaml"}, "--config", "unreadable"),
        ({"config": "smal"}, "config", "unknown-profile"),
        ({"config": {1: 2}}, "1", "invalid-key"),
        ({"config": {"studdy": None}}, "studdy", "unknown-setting"),
        *(({"config": config}, "data.source", "no-data") for config in (None, "small", {"study": {"n_trials": 5}})),
        ({"save_dir": ""}, "save_dir", "empty-path"),
        ({"save_dir": 5}, "save_dir", "path-type"),
        ({"save_dir": "http://x/y"}, "save_dir", "not-local"),
        ({"study_name": "a\x00b"}, "study.name", "name-not-printable"),
        ({"study_name": 5}, "study.name", "string-type"),
        ({"resume": "no"}, "resume", "not-boolean"),
        ({"quiet": 1}, "quiet", "not-boolean"),
        ({"retrain_best": None}, "retrain_best", "not-boolean"),
        ({"input_dim": 3}, "input_dim", "needs-loaders"),
        ({"groups": [1]}, "groups", "needs-loaders"),
    ],
    ids=str,
)
def test_wrong_arguments(
    arguments: dict[str, Any], field: str, code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with raises(ConfigError, code, field):
        run_cnn_lstm_hyperparameter_optimization(**{"quiet": True, **arguments})
    assert list(tmp_path.iterdir()) == []


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
