"""benchmarks/search.py: the analytic problem is what it says, faulty problem files are told of, runs and comparisons are kept."""

import csv
import math
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from scipy.stats import beta

from cnn_lstm_hyperopt.pareto import dominates, non_dominated
from cnn_lstm_hyperopt.search import random_configuration
from cnn_lstm_hyperopt.utils.rng import stream_seed

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
ANALYTIC = BENCHMARKS / "problems" / "analytic.py"
COLUMNS = "seed,number,state,reason,epochs,accuracy,seconds,size_mb,sampler_ms,pruner_ms,params,spared,on_front"

GOOD = """
SPACE = {
    "kind": {"type": "categorical", "choices": ["a", "b"]},
    "width": {"type": "int", "low": 1, "high": 64, "log": True},
    "rate": {"type": "float", "low": 1e-4, "high": 1.0, "log": True, "when": {"kind": ["a"]}},
    "depth": {"type": "int", "low": 1, "high": 4, "when": {"kind": ["b"]}},
    "constant": {"type": "categorical", "choices": ["only"]},
}
MAX_EPOCHS, CHANCE, N_VAL = 4, 0.5, 1000

def evaluate(params, seed):
    height = 0.5 + 0.005 * params["width"] + 0.01 * params.get("depth", 0)
    for epoch in range(1, MAX_EPOCHS + 1):
        yield epoch, height + 0.01 * epoch, 0.1 * params["width"] * epoch, 0.01 * params["width"]
"""


@pytest.fixture(scope="module")
def search(imported: Callable[[str], ModuleType]) -> ModuleType:
    """The benchmark."""
    return imported("search")


@pytest.fixture(scope="module")
def problem(search: ModuleType) -> Any:
    """The analytic one."""
    return search.load_problem(ANALYTIC)


@pytest.fixture(scope="module")
def analytic(problem: Any) -> ModuleType:
    """Its file as a module."""
    return sys.modules[problem.evaluate.__module__]


@pytest.fixture(scope="module")
def configurations(problem: Any) -> list[dict[str, Any]]:
    """Random ones of the analytic problem."""
    return [random_configuration(problem.space, 1, number) for number in range(3000)]


def edited(tmp_path: Path, old: str = "", new: str = "") -> Path:
    """A problem file in which something was replaced."""
    assert old in GOOD
    file = tmp_path / "problem.py"
    file.write_text(GOOD.replace(old, new), encoding="utf-8")
    return file


# ---------------------------------------------------------------------- the analytic problem


def test_no_random_configuration_dominates_the_reference_front(problem: Any, configurations: list[Any]) -> None:
    front = problem.reference * (-1, 1, 1)
    assert non_dominated(front).all()
    for params in configurations:
        accuracy, seconds, size_mb = problem.truth(params)
        row = np.array([-accuracy, seconds, size_mb])
        assert not ((row <= front).all(axis=1) & (row < front).any(axis=1)).any()


def test_the_best_of_a_capacity_is_beaten_by_no_other_of_it(
    analytic: ModuleType, problem: Any, configurations: list[Any]
) -> None:
    for params in configurations[:500]:
        best = analytic.best(params)
        assert list(problem.space.active(best)) == list(best)
        assert all(problem.space.domains[name].contains(value) for name, value in best.items())
        accuracy, seconds, size_mb = analytic.truth(best)
        capacity = tuple(params[name] for name in list(analytic.SPACE)[:6])
        assert accuracy == pytest.approx(analytic.CHANCE + analytic.SPAN * analytic.quality(*capacity))
        other = analytic.truth(params)
        assert dominates((-accuracy, seconds, size_mb), (-other[0], *other[1:]))


def test_the_front_of_a_capacity_grid_is_that_of_the_pareto_module(analytic: ModuleType) -> None:
    rows = np.random.default_rng(1).integers(0, 12, size=(400, 3)).astype(float)  # with ties
    expected = {tuple(row) for row in rows[non_dominated(rows * (-1, 1, 1))]}
    found = [tuple(row) for row in rows[analytic._front(rows)]]
    assert set(found) == expected
    assert len(found) == len(expected)


def test_readings_are_binomial_around_the_truth_and_correlated(problem: Any, configurations: list[Any]) -> None:
    collapsing = next(params for params in configurations if problem.truth(params)[0] == problem.skill.chance)
    for params in [collapsing, *configurations[:4]]:
        runs = np.array([list(problem.evaluate(params, seed)) for seed in range(300)])
        accuracy, seconds, size_mb = problem.truth(params)
        error = problem.skill.standard_error(accuracy)
        assert runs[:, -1, 0].tolist() == [problem.max_epochs] * 300
        assert runs[:, -1, 1].mean() == pytest.approx(accuracy, abs=4 * error / math.sqrt(300))
        assert runs[:, -1, 1].std() == pytest.approx(error, rel=0.2)
        assert runs[:, -1, 2].mean() == pytest.approx(seconds, rel=4 * 0.01 / math.sqrt(300))
        assert (runs[:, :, 3] == size_mb).all()
        first, last = runs[:, -2, 1], runs[:, -1, 1]
        assert np.corrcoef(first, last)[0, 1] == pytest.approx(0.3, abs=0.2)
        assert list(problem.evaluate(params, 7)) == list(problem.evaluate(dict(reversed(params.items())), 7))


def test_costs_are_heavy_tailed_and_random_search_finds_some_skill(problem: Any, configurations: list[Any]) -> None:
    accuracy, seconds, _ = np.array([problem.truth(params) for params in configurations]).T
    assert len(problem.space.domains) > 30
    assert 8 < np.quantile(seconds, 0.9) / np.median(seconds) < 14
    assert seconds.max() / seconds.min() > 1000
    assert 1 / 3 < np.mean(accuracy > problem.skill.threshold) < 1 / 2
    assert accuracy.max() < problem.reference[:, 0].max() - 0.05


def test_some_slow_starters_end_above_fast_ones(problem: Any, configurations: list[Any]) -> None:
    def mean_curve(params: dict[str, Any]) -> Any:
        return np.mean([[reading[1] for reading in problem.evaluate(params, seed)] for seed in range(5)], axis=0)

    skilled = [params for params in configurations[:300] if problem.skill.passes(problem.truth(params)[0])]
    curves = np.array([mean_curve(params) for params in skilled])
    behind = curves[:, 4][:, None] < curves[:, 4] - 0.02
    ahead = curves[:, -1][:, None] > curves[:, -1] + 0.02
    assert (behind & ahead).any(axis=1).mean() > 0.05


def test_a_first_reading_costs_one_epoch(
    problem: Any, analytic: ModuleType, configurations: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The size of every candidate is asked for by it."""
    epochs: list[int] = []
    accuracy = analytic._Known.accuracy

    def counted(known: Any, epoch: int) -> float:
        epochs.append(epoch)
        return float(accuracy(known, epoch))

    monkeypatch.setattr(analytic._Known, "accuracy", counted)
    problem.size_mb(configurations[0])
    assert epochs == [1]


# ---------------------------------------------------------------------- problem files


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("MAX_EPOCHS, CHANCE, N_VAL = 4, 0.5, 1000", "MAX_EPOCHS = 4", "does not define CHANCE, N_VAL"),
        ('"type": "int", "low": 1, "high": 64', '"type": "whole", "low": 1, "high": 64', "the type 'whole'"),
        ('"low": 1, "high": 64', '"low": 64, "high": 64', "SPACE['width'] must have low < high"),
        ('"low": 1, "high": 64', '"low": 0, "high": 64', "needs low > 0, but has low=0"),
        ('"low": 1, "high": 64', '"low": 1.5, "high": 64', "needs a whole number as low, but has 1.5"),
        ('"low": 1, "high": 64', '"lower": 1, "high": 64', "is int and has no lower"),
        ('"choices": ["a", "b"]', '"choices": ["a", "a"]', "has a choice twice"),
        ('"choices": ["a", "b"]', '"choices": []', "needs a list of choices"),
        ('{"kind": ["a"]}', '{"sort": ["a"]}', "depends on 'sort', which is no parameter"),
        ('{"kind": ["a"]}', '{"depth": [1]}', "depends on 'depth', which must stand before it"),
        ('{"kind": ["b"]}', '{"rate": [0.1]}', "only int and categorical parameters can be parents"),
        ('{"kind": ["a"]}', '{"kind": "a"}', "needs a list of values of 'kind'"),
        ('{"kind": ["a"]}', '{"kind": ["c"]}', "depends on 'kind' being 'c', which it never is"),
        ("N_VAL = 4, 0.5, 1000", "N_VAL = 4, 0.5, 0", "N_VAL must be a whole number from 1, but is 0"),
        ("N_VAL = 4, 0.5, 1000", "N_VAL = 4, 50, 1000", "CHANCE must be a share in [0, 1), but is 50"),
        ("def evaluate(params, seed):", "evaluate = 3\ndef other(params, seed):", "evaluate must be a function"),
        ("MAX_EPOCHS,", "REFERENCE_FRONT = [[0.6, 1.0]]\nMAX_EPOCHS,", "must have the shape (rows, 3), but has (1, 2)"),
        (
            "MAX_EPOCHS,",
            "REFERENCE_FRONT = [[0.4, 1, 1]]\nMAX_EPOCHS,",
            "no row of the reference front is above CHANCE",
        ),
        ("MAX_EPOCHS,", "1 / 0\nMAX_EPOCHS,", "can't be run: ZeroDivisionError: division by zero"),
        ("    height =", "    return\n    height =", "evaluate yields nothing for"),
        ("    height =", "    1 / 0\n    height =", "evaluate fails with ZeroDivisionError"),
    ],
)
def test_a_faulty_problem_file_is_told_of_in_one_line(
    old: str, new: str, told: str, search: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = edited(tmp_path, old, new)
    assert search.main(["--problem", str(file), "--sampler", "random", "--n-trials", "3"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith(f"Error: {file}")
    assert told in lines[0]


def test_all_faults_of_a_problem_file_are_told(search: ModuleType, tmp_path: Path) -> None:
    file = edited(tmp_path, '"low": 1, "high": 64', '"low": 2, "high": 1')
    file.write_text(file.read_text(encoding="utf-8").replace("0.5, 1000", "0.5, -1"), encoding="utf-8")
    with pytest.raises(search.InputError, match=r"low < high(.|\n)*N_VAL"):
        search.load_problem(file)


# ---------------------------------------------------------------------- runs


def read(file: Path) -> list[dict[str, str]]:
    with file.open(newline="", encoding="utf-8") as opened:
        return list(csv.DictReader(opened))


@pytest.mark.parametrize(("storage", "seeds"), [("memory", "1,2"), pytest.param("sqlite", "3", marks=pytest.mark.slow)])
def test_a_run_writes_a_row_a_trial(
    storage: str, seeds: str, search: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "trials.csv"
    command = ["--problem", str(ANALYTIC), "--sampler", "random", "--pruner", "median", "--pruner-startup-trials", "5"]
    command += ["--n-trials", "25", "--seeds", seeds, "--workers", "2", "--storage", storage, "--trials-out", str(file)]
    assert search.main(command) == 0
    assert file.read_text(encoding="utf-8").splitlines()[0] == COLUMNS
    rows = read(file)
    assert [row["seed"] for row in rows] == [seed for seed in seeds.split(",") for _ in range(25)]
    assert sorted(int(row["number"]) for row in rows[:25]) == list(range(25))
    assert {row["state"] for row in rows} == {"COMPLETE", "PRUNED"}
    assert all((row["reason"].split(":")[0] == "median") == (row["state"] == "PRUNED") for row in rows)
    printed = capsys.readouterr().out
    assert f"| | {' | '.join(f'seed {seed}' for seed in seeds.split(','))} | median |" in printed
    for name in ("pruned: median", "training seconds", "hypervolume of true values, share of the reference front"):
        assert f"| {name} |" in printed
    assert ("| ms in the storage, a trial |" in printed) == (storage == "sqlite")
    assert search.read_rows(file)[0].params.keys() <= search.load_problem(ANALYTIC).space.domains.keys()


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--out", "x"], "--out is of --compare; the trials of a single sampler go to --trials-out FILE"),
        (["--compare"], "--compare needs --out DIR, where its runs are kept"),
        (["--compare", "--out", "x", "--trials-out", "y"], "--trials-out is of a single sampler"),
        (["--sampler", "moasha", "--pruner", "front"], "--sampler moasha is a peer and brings its own pruning"),
    ],
)
def test_flags_that_do_not_go_together_are_refused(
    search: ModuleType, capsys: pytest.CaptureFixture[str], flags: list[str], told: str
) -> None:
    with pytest.raises(SystemExit):
        search.main(["--problem", str(ANALYTIC), *flags])
    assert told in capsys.readouterr().err


def test_ours_and_optuna_s_see_the_same_readings(search: ModuleType, problem: Any) -> None:
    for sampler in ("random", "optuna-random"):
        made = search.run(problem, sampler, "none", 5, search.Setup(n_trials=6, workers=2), lambda begun: None)
        assert [row.state for row in made.rows] == ["COMPLETE"] * 6
        for row in made.rows:
            seed = stream_seed(5, row.number, "evaluation") % 2**31
            epoch, accuracy, seconds, size_mb = list(problem.evaluate(row.params, seed))[-1]
            assert (row.epochs, row.accuracy, row.seconds) == (epoch, accuracy, pytest.approx(seconds))
            assert row.size_mb == size_mb


def test_samplers_are_told_what_the_problem_predicts_unless_it_is_forbidden(search: ModuleType, tmp_path: Path) -> None:
    file = edited(tmp_path)
    silent = search.load_problem(file)
    text = (
        file.read_text(encoding="utf-8")
        + 'def cost(params):\n    return 0.5 * params["width"], 0.01 * params["width"]\n'
    )
    file.write_text(text, encoding="utf-8")
    priced, params = search.load_problem(file), {"kind": "b", "width": 8, "depth": 1, "constant": "only"}
    for told, setup, seconds in ((priced, {}, 4.0), (priced, {"priced": False}, 0.0), (silent, {}, 0.0)):
        plan = search.plan_of(told, "gp", "none", 1, search.Setup(n_trials=5, **setup))
        assert plan.cheap_cost == (seconds > 0)
        if told is priced:
            assert (plan.cost(params).seconds, plan.cost(params).size_mb) == (seconds, 0.08)


def test_the_measures_of_a_run(search: ModuleType, tmp_path: Path) -> None:
    """Two on the true front are lost: two pruned; two other pruned ones are worthless."""
    text = GOOD + "\ndef truth(params):\n    return TRUE[params['width']]\n"
    text += "TRUE = {1: (.6, 1, 1), 2: (.7, 2, 1), 3: (.8, 3, 1), 4: (.9, 4, 1), 5: (.65, 5, 1)}\n"
    text += "REFERENCE_FRONT = [(.6, 1, 1), (.9, 4, 1)]\n"
    (tmp_path / "problem.py").write_text(text, encoding="utf-8")
    problem = search.load_problem(tmp_path / "problem.py")

    def row(number: int, width: int, state: str, reason: str = "", seconds: float = 1.0) -> Any:
        params = {"kind": "a", "width": width, "rate": 0.1}
        return search.Row(1, number, state, reason, 4.0, 0.6, seconds, 1.0, 2.0, 0.0, params)

    rows = [
        row(0, 2, "PRUNED", "limit: why"),
        row(1, 5, "PRUNED", "limit: why"),
        row(2, 1, "COMPLETE"),
        row(3, 3, "PRUNED", "front: why"),
        row(4, 5, "PRUNED", "front: why"),
        row(5, 4, "COMPLETE", seconds=10.0),
    ]
    run = search.Run(rows)
    measured = search.Measured(problem, run, search.Ruler.of(problem, [run]))
    assert measured.front_lost == pytest.approx(2 / 4)
    assert measured.wrongly_pruned == pytest.approx(2 / 4)
    assert measured.pruned == pytest.approx(4 / 6)
    assert measured.hypervolume == pytest.approx(1.0)  # of the reference front, which has these two only
    assert measured.regret > 0
    half = measured.after_trials(3)
    assert 0 < half < 1
    assert measured.after_trials(7) is None
    assert [measured.after_seconds(seconds) for seconds in (2.5, 3.0, 14.9, 99.0)] == [0.0, half, half, 1.0]
    assert measured.seconds_to(half) == pytest.approx(3.0)
    assert measured.seconds_to(1.01) == math.inf
    assert measured.reasons() == {"limit": 2, "front": 2}
    assert measured.ms_a_trial == pytest.approx(2.0)
    assert measured.estimated is measured.covered is None  # nothing was spared


def test_the_estimated_share_wrongly_pruned_is_that_of_the_spared_trials(
    search: ModuleType, analytic: ModuleType, problem: Any, configurations: list[Any], tmp_path: Path
) -> None:
    """Of six spared ones two are on the study's front, Jeffreys' interval as SciPy has it; of two pruned ones one is best."""
    params = sorted(configurations[:40], key=lambda each: problem.truth(each)[0])
    best, worst = params[-1], params[0]
    spared = [
        search.Row(1, i, "COMPLETE", "", 30.0, 0.6, 1.0, 1.0, 0.0, 0.0, each, spared=True, on_front=i < 2)
        for i, each in enumerate(params[1:7])
    ]
    pruned = [
        search.Row(1, 10 + i, "PRUNED", "front: why", 5.0, 0.5, 1.0, 1.0, 0.0, 0.0, each)
        for i, each in enumerate((best, worst))
    ]
    search.write_rows(tmp_path / "rows.csv", [*spared, *pruned])
    run = search.Run(search.read_rows(tmp_path / "rows.csv"))
    measured = search.Measured(problem, run, search.Ruler.of(problem, [run]))
    low, high = beta.ppf([0.025, 0.975], 2.5, 4.5)
    assert measured.estimated == pytest.approx((2 / 6, low, high))
    assert measured.wrongly_pruned == 0.5
    assert measured.covered == float(low <= 0.5 <= high) == 1.0


def test_what_a_run_shows_goes_by_readings_and_by_the_luck_that_pruned_trials_would_have_had(
    search: ModuleType, tmp_path: Path
) -> None:
    """True front: widths 1, 2, 3 and 4. By readings, 3 was unlucky and is beaten by 2, pruned as it is; 4 is below the threshold.

    So the run shows 1 and 5; had it pruned nothing it would show 2 instead of 5.
    """
    text = (
        GOOD.split("def evaluate")[0]
        + """
def evaluate(params, seed):
    assert seed in SEEDS[params["width"]], (params, seed)
    read = READ[params["width"]]
    yield 1.0, 0.55, 0.5, read[2]
    yield 4.0, *read
TRUE = {1: (.6, 1, 1), 2: (.7, 2, 1), 3: (.8, 3, 1), 4: (.9, 4, 1), 5: (.65, 5, 1)}
READ = {1: (.6, 1, 1), 2: (.72, 2, 1), 3: (.71, 3, 1), 4: (.5, 4, 1), 5: (.65, 5, 1)}
truth = lambda params: TRUE[params["width"]]
"""
    )
    numbers = {1: 0, 2: 3, 3: 4, 4: 2, 5: 5}
    text += f"SEEDS = { ({width: [0, stream_seed(7, n, 'evaluation') % 2**31] for width, n in numbers.items()}) }\n"
    (tmp_path / "problem.py").write_text(text, encoding="utf-8")
    problem = search.load_problem(tmp_path / "problem.py")

    def row(number: int, width: int, state: str, reason: str, seconds: float, accuracy: float) -> Any:
        params = {"kind": "a", "width": width, "rate": 0.1}
        return search.Row(7, number, state, reason, 1.0, accuracy, seconds, 1.0, 0.0, 0.0, params)

    rows = [
        row(0, 1, "COMPLETE", "", 1.0, 0.6),
        row(2, 4, "COMPLETE", "", 4.0, 0.5),
        row(3, 2, "PRUNED", "front: why", 0.5, 0.55),
        row(4, 3, "PRUNED", "front: why", 0.5, 0.55),
        row(5, 5, "COMPLETE", "", 5.0, 0.65),
    ]
    run = search.Run(rows)
    measured = search.Measured(problem, run, search.Ruler.of(problem, [run]))
    assert measured.front_lost == pytest.approx(2 / 4)
    assert measured.true_front_shown == pytest.approx(1 / 4)
    assert measured.shown_front_lost == pytest.approx(1 / 2)
    unpruned = search.Measured(problem, search.Run([rows[-1]]), measured.ruler)
    assert unpruned.shown_front_lost is None


def test_what_is_predicted_of_the_analytic_problem_is_off_by_a_factor_of_its_own(
    analytic: ModuleType, problem: Any, configurations: list[Any]
) -> None:
    off = []
    for params in configurations:
        seconds, size_mb = problem.cost(params)
        assert (seconds, size_mb) == problem.cost(dict(reversed(params.items())))
        assert size_mb == problem.truth(params)[2]
        off.append(math.log(seconds / problem.truth(params)[1]))
    assert np.std(off) == pytest.approx(analytic.COST_ERROR, rel=0.1)
    assert abs(np.mean(off)) < 0.1


# ---------------------------------------------------------------------- comparisons


def test_an_interrupted_comparison_goes_on_with_the_runs_that_are_missing(
    search: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out, made, whole = tmp_path / "out", [], search.run

    def counting(stop_at: int) -> Callable[..., Any]:
        def run(problem: Any, sampler: str, pruner: str, seed: int, *rest: Any) -> Any:
            if len(made) == stop_at:
                raise KeyboardInterrupt
            made.append((sampler, pruner, seed))
            return whole(problem, sampler, pruner, seed, *rest)

        return run

    command = ["--problem", str(edited(tmp_path)), "--compare", "--samplers", "random,optuna-random"]
    command += ["--pruners", "none,median", "--n-trials", "12", "--seeds", "1,2", "--out", str(out)]
    monkeypatch.setattr(search, "run", counting(stop_at=3))
    assert search.main(command) == 130
    assert "goes on" in capsys.readouterr().err
    before = {file.name: file.read_bytes() for file in out.glob("*.csv")}
    assert len(before) == 3

    monkeypatch.setattr(search, "run", counting(stop_at=-1))
    assert search.main(command) == 0
    assert len(made) == len(set(made)) == 10  # 2 seeds × (2 forms of TPE, Optuna's random, ours with 2 pruners)
    assert before.items() <= {file.name: file.read_bytes() for file in out.glob("*.csv")}.items()
    table = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert len({line.count("|") for line in table}) == 1
    pairs = [tuple(cell.strip() for cell in line.split("|")[1:3]) for line in table[2:]]
    assert pairs == [
        ("optuna-tpe", "none"),
        ("optuna-tpe-mv", "none"),
        ("random", "none"),
        ("random", "median"),
        ("optuna-random", "none"),
    ]

    assert search.main([*command[:-1], str(out), "--n-trials", "13"]) == 2
    assert "was made with n_trials=12, not 13; choose another --out" in capsys.readouterr().err
    assert len(made) == 10


def test_two_pictures_are_drawn_of_a_comparison(
    search: ModuleType, imported: Callable[[str], ModuleType], tmp_path: Path
) -> None:
    plots, problem, out = imported("plots"), str(edited(tmp_path)), str(tmp_path / "out")
    command = ["--problem", problem, "--compare", "--samplers", "random", "--pruners", "none,median"]
    assert (
        search.main([*command, "--pruner-startup-trials", "2", "--n-trials", "30", "--seeds", "1,2", "--out", out]) == 0
    )
    drawn = ["--runs", out, "--pairs", "optuna-tpe+none,random+median", "--pruned", "random+median"]
    plots.main(["--problem", problem, *drawn, "--out", str(tmp_path)])
    assert {file.name for file in tmp_path.glob("*.svg")} == {"problem_hypervolume.svg", "problem_pruned.svg"}
    assert {
        pair: len(runs) for pair, runs in plots.runs_of(Path(out), ["optuna-tpe+none", "random+median"]).items()
    } == {
        "optuna-tpe+none": 2,
        "random+median": 2,
    }
    (Path(out) / "optuna-tpe+none-seed1.csv").unlink()  # then the other's run on it is left out, too
    runs = plots.runs_of(Path(out), ["optuna-tpe+none", "random+median"])
    assert [run.rows[0].seed for each in runs.values() for run in each] == [2, 2]
    (Path(out) / "random+median-seed2.csv").unlink()
    with pytest.raises(SystemExit, match=r"no seed on which all of optuna-tpe\+none, random\+median were run"):
        plots.runs_of(Path(out), ["optuna-tpe+none", "random+median"])
    with pytest.raises(SystemExit, match=r"has no runs of gp\+none"):
        plots.main(["--problem", problem, "--runs", out, "--pairs", "gp+none", "--pruned", "gp+none", "--out", out])


def test_workers_are_compared_at_the_seconds_that_both_have_had(
    search: ModuleType, imported: Callable[[str], ModuleType], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One worker's rows are those of a plain run, and its share of itself is one."""
    workers = imported("workers")
    command = ["--problem", str(ANALYTIC), "--pruner", "none", "--n-trials", "14", "--seeds", "1,2", "--workers", "2"]
    workers.main([*command, "--out", str(tmp_path)])
    first = capsys.readouterr().out
    one, two = (line.split(" | ") for line in first.splitlines()[-2:])
    assert one[0] == "| 1"
    assert set(one[1:4]) == {"1.000 (1.000 to 1.000)"}
    assert two[0] == "| 2"
    assert len(list(tmp_path.glob("*/*.csv"))) == 4
    workers.main([*command, "--out", str(tmp_path)])  # from the files
    assert capsys.readouterr().out.splitlines()[-2:] == first.splitlines()[-2:]


@pytest.mark.mostly_slow(1)
@pytest.mark.parametrize("pruner", ["front", "median"])
def test_what_is_replayed_is_what_a_study_with_the_pruner_does(
    search: ModuleType, imported: Callable[[str], ModuleType], problem: Any, pruner: str
) -> None:
    """Of random proposals, which do not depend on what was pruned."""
    replay = imported("replay")
    setup = search.Setup(n_trials=160, pruner={"n_startup_trials": 20, "n_warmup_steps": 5})
    records, rows = replay.unpruned(problem, "random", 3, setup)
    rule = replay.RULES[pruner](search.plan_of(problem, "random", pruner, 3, setup))
    again = replay.replayed(rule, 3, records, rows).rows
    study = search.run(problem, "random", pruner, 3, setup, lambda begun: None).rows
    told = [
        [(row.number, row.state, row.epochs, row.accuracy, row.seconds) for row in run if row.finished]
        for run in (again, study)
    ]
    assert told[0] == told[1]
    assert sum(row.pruned for row in again) > 40


def read_table(text: str) -> dict[str, dict[str, str]]:
    """Rows of a Markdown table by their first cell."""
    lines = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    return {line[0]: dict(zip(lines[0], line, strict=True)) for line in lines[1:]}


@pytest.mark.slow
def test_rules_are_compared_on_the_same_trials(
    search: ModuleType, imported: Callable[[str], ModuleType], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    replay = imported("replay")
    command = ["--problem", str(ANALYTIC), "--sampler", "random", "--n-trials", "160", "--seeds", "1,2"]
    assert replay.main(command) == 0
    rules, chances = capsys.readouterr().out.split("true front in the end")
    table = read_table(rules)
    assert list(table) == [*replay.RULES, *(f"front, {count} go on in the end" for count in replay.PAUSED)]
    share = {name: float(row["saved"].rstrip("%")) for name, row in table.items()}
    assert 0 < share["below 2%"] < share["below 5%"] < share["below 10%"]
    harder = share["below 8% for half the usual seconds"]
    assert 0 < share["below 2% for half the usual seconds"] < share["front"] < harder
    assert share["front, beaten by half a standard error"] > share["front"]
    assert share["front, at every epoch"] > share["front"] > share["front, after the first epoch only"] > 0
    assert share["front"] > share["front, up to the end of the first epoch"] > 0
    assert share["front, from the first curves on"] > share["front"]
    assert share["front, after half of the first epoch and the first"] == share["front"]  # it reports at whole epochs
    assert share["front, up to four fifths of the epochs"] >= share["front"]
    assert share["front"] > share["front, 20 go on in the end"] >= 0
    # Of every trial that 60 others had ended before, once a rung; this problem has no parts of epochs.
    told = read_table(chances)
    cells = {key: [row[key] for row in told.values() if row[key] != "–"] for key in list(next(iter(told.values())))[1:]}
    assert list(cells) == ["at epoch 1", "at epoch 5", "at epoch 8"]
    assert all(sum(int(cell.split(" of ")[1]) for cell in column) == 2 * (160 - 60) for column in cells.values())
    problem, late = search.load_problem(ANALYTIC), 0
    for seed in (1, 2):
        _, rows = replay.unpruned(problem, "random", seed, search.usual_setup(problem, 160))
        truth = [problem.truth(row.params) for row in rows]
        for index in range(60, 160):
            a, t, m = truth[index]
            beaten = any(x >= a and y <= t and z <= m and (x, y, z) != (a, t, m) for x, y, z in truth)
            late += problem.skill.passes(a) and not beaten
    for column in cells.values():
        split = [cell.split("% of ") for cell in column]
        assert sum(float(part) / 100 * int(count) for part, count in split) == pytest.approx(late, abs=0.1)
    without_truth = tmp_path / "problem.py"
    without_truth.write_text(GOOD)
    with pytest.raises(SystemExit):
        replay.main(["--problem", str(without_truth)])
    assert "knows no true values" in capsys.readouterr().err


def test_a_pruner_is_compared_with_none_seed_by_seed(
    search: ModuleType, imported: Callable[[str], ModuleType], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The runs of a comparison are taken, and the figures are those of the other table."""
    paired, out = imported("paired"), str(tmp_path / "out")
    command = ["--problem", str(ANALYTIC), "--n-trials", "40", "--seeds", "1,2", "--out", out]
    assert paired.main([*command, "--sampler", "random", "--budget", "5000"]) == 0
    captured = capsys.readouterr()
    assert captured.err.count("40 trials in") == 4
    lines = [line.strip("| ").split(" | ") for line in captured.out.splitlines() if line.startswith("| ")]
    table = {line[0]: line[1:] for line in lines}
    compare = ["--compare", "--samplers", "random", "--pruners", "front,none", "--budget", "5000"]
    assert search.main([*command, *compare]) == 0
    captured = capsys.readouterr()
    assert captured.err.count("40 trials in") == 4  # Optuna's two TPEs
    rows = [line.strip("| ").split(" | ") for line in captured.out.splitlines() if line.startswith("| ")]
    front, none = (dict(zip(rows[0], row, strict=True)) for row in rows[1:] if row[0] == "random")
    assert table["seconds of training"][0] == front["seconds spent"]
    assert table["without pruning"][0] == none["seconds spent"]
    assert table["direct regret"][0] == front["direct regret"]
    assert float(table["saved of the same trials"][0].rstrip("%")) == pytest.approx(
        float(front["saved of the same trials"].rstrip("%")), abs=0.5
    )
    for share in ("10%", "100%"):
        assert table[share][:2] == [row[f"HV at {share} of the budget"] for row in (front, none)]
        assert 0 < float(table[share][4]) <= 1
    assert paired.main([*command, "--sampler", "random"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    assert f"| of {none['seconds spent']} s |" in captured.out
    assert paired.main([*command[:3], "41", *command[4:]]) == 2
    assert "n_trials=40, not 41" in capsys.readouterr().err
