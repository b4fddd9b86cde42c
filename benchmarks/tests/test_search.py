"""benchmarks/search.py and its companions: the analytic problem, problem files, runs, measures and comparisons."""

import csv
import math
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import beta

import paired
import plots
import replay
import search
import workers
from cnn_lstm_hyperopt.pareto import dominates, non_dominated
from cnn_lstm_hyperopt.search import random_configuration
from cnn_lstm_hyperopt.utils.rng import stream_seed
from problems import load_problem

ANALYTIC = Path(search.__file__).parent / "problems" / "analytic.py"
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
def problem():
    return load_problem(ANALYTIC)


@pytest.fixture(scope="module")
def configurations(problem):
    return [random_configuration(problem.space, 1, number) for number in range(3000)]


def written(folder, text=GOOD, old="", new=""):
    """A problem file with ``old`` replaced by ``new``."""
    assert old in text
    (folder / "problem.py").write_text(text.replace(old, new) if old else text + new, encoding="utf-8")
    return folder / "problem.py"


def row(number, params, state="COMPLETE", reason="", *, seed=1, accuracy=0.6, seconds=1.0, ms=0.0, **flags):
    if isinstance(params, int):
        params = {"kind": "a", "width": params, "rate": 0.1}
    return search.Row(seed, number, state, reason, 4.0, accuracy, seconds, 1.0, ms, 0.0, params, **flags)


def measured_of(problem, rows):
    run = search.Run(rows)
    return search.Measured(problem, run, search.Ruler.of(problem, [run]))


def cells(text):
    """Rows of a Markdown table."""
    return [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]


# ---------------------------------------------------------------------- the analytic problem


def test_no_random_configuration_dominates_the_reference_front(problem, configurations):
    front = problem.reference * (-1, 1, 1)
    assert non_dominated(front).all()
    for params in configurations:
        accuracy, *costs = problem.truth(params)
        value = np.array([-accuracy, *costs])
        assert not ((value <= front).all(axis=1) & (value < front).any(axis=1)).any()


def test_the_best_of_a_capacity_dominates_others_of_it(problem, configurations):
    analytic = sys.modules[problem.evaluate.__module__]
    for params in configurations[:500]:
        best = analytic.best(params)
        assert list(problem.space.active(best)) == list(best)
        assert all(problem.space.domains[name].contains(value) for name, value in best.items())
        capacity = tuple(params[name] for name in list(analytic.SPACE)[:6])
        accuracy, *costs = analytic.truth(best)
        assert accuracy == pytest.approx(analytic.CHANCE + analytic.SPAN * analytic.quality(*capacity))
        other, *other_costs = analytic.truth(params)
        assert dominates((-accuracy, *costs), (-other, *other_costs))


def test_measured_values_are_binomial_around_the_truth_and_correlated(problem, configurations):
    at_chance = next(params for params in configurations if problem.truth(params)[0] == problem.skill.chance)
    for params in [at_chance, *configurations[:4]]:
        runs = np.array([list(problem.evaluate(params, seed)) for seed in range(300)])
        accuracy, seconds, size_mb = problem.truth(params)
        error = problem.skill.standard_error(accuracy)
        assert runs[:, -1, 0].tolist() == [problem.max_epochs] * 300
        assert runs[:, -1, 1].mean() == pytest.approx(accuracy, abs=4 * error / math.sqrt(300))
        assert runs[:, -1, 1].std() == pytest.approx(error, rel=0.2)
        assert runs[:, -1, 2].mean() == pytest.approx(seconds, rel=4 * 0.01 / math.sqrt(300))
        assert (runs[:, :, 3] == size_mb).all()
        assert np.corrcoef(runs[:, -2, 1], runs[:, -1, 1])[0, 1] == pytest.approx(0.3, abs=0.2)
        assert list(problem.evaluate(params, 7)) == list(problem.evaluate(dict(reversed(params.items())), 7))


def test_costs_are_heavy_tailed_and_random_search_finds_some_skill(problem, configurations):
    accuracy, seconds, _ = np.array([problem.truth(params) for params in configurations]).T
    assert len(problem.space.domains) > 30
    assert 8 < np.quantile(seconds, 0.9) / np.median(seconds) < 14
    assert seconds.max() / seconds.min() > 1000
    assert 1 / 3 < np.mean(accuracy > problem.skill.threshold) < 1 / 2
    assert accuracy.max() < problem.reference[:, 0].max() - 0.05


def test_some_slow_starters_end_above_fast_ones(problem, configurations):
    skilled = [params for params in configurations[:300] if problem.skill.passes(problem.truth(params)[0])]
    runs = [[[value[1] for value in problem.evaluate(params, seed)] for seed in range(5)] for params in skilled]
    curves = np.mean(runs, axis=1)
    behind = curves[:, 4][:, None] < curves[:, 4] - 0.02
    ahead = curves[:, -1][:, None] > curves[:, -1] + 0.02
    assert (behind & ahead).any(axis=1).mean() > 0.05


def test_predicted_seconds_are_off_by_a_constant_factor_of_each_configuration(problem, configurations):
    off = []
    for params in configurations:
        seconds, size_mb = problem.cost(params)
        assert (seconds, size_mb) == problem.cost(dict(reversed(params.items())))
        assert size_mb == problem.truth(params)[2]
        off.append(math.log(seconds / problem.truth(params)[1]))
    assert np.std(off) == pytest.approx(sys.modules[problem.evaluate.__module__].COST_ERROR, rel=0.1)
    assert abs(np.mean(off)) < 0.1


# ---------------------------------------------------------------------- problem files


@pytest.mark.wording
@pytest.mark.parametrize(
    ("old", "new", "part"),
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
        ("MAX_EPOCHS,", "REFERENCE_FRONT = [[0.4, 1, 1]]\nMAX_EPOCHS,", "no row of the reference front is above"),
        ("MAX_EPOCHS,", "1 / 0\nMAX_EPOCHS,", "can't be run: ZeroDivisionError: division by zero"),
        ("    height =", "    return\n    height =", "evaluate yields nothing for"),
        ("    height =", "    1 / 0\n    height =", "evaluate fails with ZeroDivisionError"),
    ],
)
def test_an_invalid_problem_file_is_one_line(old, new, part, tmp_path, capsys):
    file = written(tmp_path, old=old, new=new)
    assert search.main(["--problem", str(file), "--sampler", "random", "--n-trials", "3"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"Error: {file}")
    assert part in line


def test_all_errors_of_a_problem_file_are_listed(tmp_path):
    text = GOOD.replace('"low": 1, "high": 64', '"low": 2, "high": 1').replace("0.5, 1000", "0.5, -1")
    with pytest.raises(search.InputError) as caught:
        load_problem(written(tmp_path, text))
    assert ["width" in line for line in str(caught.value).splitlines()] == [True, False]


# ---------------------------------------------------------------------- runs


@pytest.mark.parametrize(("storage", "seeds"), [("memory", "1,2"), pytest.param("sqlite", "3", marks=pytest.mark.slow)])
def test_a_run_writes_a_row_a_trial(storage, seeds, problem, tmp_path, capsys):
    file = tmp_path / "trials.csv"
    command = ["--problem", str(ANALYTIC), "--sampler", "random", "--pruner", "median", "--pruner-startup-trials", "5"]
    command += ["--n-trials", "25", "--seeds", seeds, "--workers", "2", "--storage", storage, "--trials-out", str(file)]
    assert search.main(command) == 0
    assert file.read_text(encoding="utf-8").splitlines()[0] == COLUMNS
    with file.open(newline="", encoding="utf-8") as opened:
        rows = list(csv.DictReader(opened))
    assert [each["seed"] for each in rows] == [seed for seed in seeds.split(",") for _ in range(25)]
    assert sorted(int(each["number"]) for each in rows[:25]) == list(range(25))
    assert {each["state"] for each in rows} == {"COMPLETE", "PRUNED"}
    assert all((each["reason"].split(":")[0] == "median") == (each["state"] == "PRUNED") for each in rows)
    table = {each[0]: each[1:] for each in cells(capsys.readouterr().out)}
    assert {len(table[name]) for name in ("pruned: median", "training seconds")} == {len(seeds.split(",")) + 1}
    assert search.read_rows(file)[0].params.keys() <= problem.space.domains.keys()


@pytest.mark.parametrize(
    "flags",
    [
        ["--out", "x"],
        ["--compare"],
        ["--compare", "--out", "x", "--trials-out", "y"],
        ["--sampler", "moasha", "--pruner", "front"],
    ],
)
def test_contradicting_flags_are_refused(flags):
    with pytest.raises(SystemExit) as caught:
        search.main(["--problem", str(ANALYTIC), *flags])
    assert caught.value.code == 2


@pytest.mark.parametrize("sampler", ["random", "optuna-random"])
def test_our_samplers_and_optuna_s_see_the_same_values(sampler, problem):
    rows = search.run(problem, sampler, "none", 5, search.Setup(n_trials=6, workers=2), lambda begun: None).rows
    assert [each.state for each in rows] == ["COMPLETE"] * 6
    for each in rows:
        seed = stream_seed(5, each.number, "evaluation") % 2**31
        expected = list(problem.evaluate(each.params, seed))[-1]
        assert (each.epochs, each.accuracy, each.seconds, each.size_mb) == pytest.approx(expected)


@pytest.mark.parametrize(("known", "setup", "seconds"), [(True, {}, 4.0), (True, {"priced": False}, 0), (False, {}, 0)])
def test_samplers_get_predicted_costs_if_known_and_allowed(known, setup, seconds, tmp_path):
    cost = 'def cost(params):\n    return 0.5 * params["width"], 0.01 * params["width"]\n'
    made = load_problem(written(tmp_path, new=cost if known else ""))
    plan = search.plan_of(made, "gp", "none", 1, search.Setup(n_trials=5, **setup))
    assert plan.cheap_cost == (seconds > 0)
    found = plan.cost({"kind": "b", "width": 8, "depth": 1, "constant": "only"})
    assert not known or (found.seconds, found.size_mb) == (seconds, 0.08)


# ---------------------------------------------------------------------- measures


def test_the_measures_of_a_run(tmp_path):
    """Two trials of the true front are pruned, and two others that are dominated."""
    text = GOOD + "\ndef truth(params):\n    return TRUE[params['width']]\n"
    text += "TRUE = {1: (.6, 1, 1), 2: (.7, 2, 1), 3: (.8, 3, 1), 4: (.9, 4, 1), 5: (.65, 5, 1)}\n"
    problem = load_problem(written(tmp_path, text, new="REFERENCE_FRONT = [(.6, 1, 1), (.9, 4, 1)]\n"))
    trials = [(2, "PRUNED", "limit: why"), (5, "PRUNED", "limit: why"), (1,), (3, "PRUNED", "front: why")]
    trials += [(5, "PRUNED", "front: why"), (4,)]
    rows = [row(number, *trial, seconds=10.0 if number == 5 else 1.0, ms=2.0) for number, trial in enumerate(trials)]
    measured = measured_of(problem, rows)
    assert measured.front_lost == measured.wrongly_pruned == pytest.approx(2 / 4)
    assert measured.pruned == pytest.approx(4 / 6)
    assert measured.hypervolume == pytest.approx(1.0)  # of the reference front, which has these two only
    assert measured.regret > 0
    half = measured.after_trials(3)
    assert 0 < half < 1
    assert measured.after_trials(7) is None
    assert [measured.after_seconds(seconds) for seconds in (2.5, 3.0, 14.9, 99.0)] == [0.0, half, half, 1.0]
    assert [measured.seconds_to(share) for share in (half, 1.01)] == [pytest.approx(3.0), math.inf]
    assert measured.reasons() == {"limit": 2, "front": 2}
    assert measured.ms_a_trial == pytest.approx(2.0)
    assert measured.estimated is measured.covered is None  # no control trials


def test_the_estimated_share_of_false_prunes_is_that_of_the_control_trials(problem, configurations, tmp_path):
    """Two of six control trials are on the front (beta-binomial, summed by hand); one of two pruned trials is best."""
    params = sorted(configurations[:40], key=lambda each: problem.truth(each)[0])
    rows = [row(i, each, spared=True, on_front=i < 2) for i, each in enumerate(params[1:7])]
    rows += [row(10 + i, each, "PRUNED", "front: why") for i, each in enumerate((params[-1], params[0]))]
    search.write_rows(tmp_path / "rows.csv", rows)
    measured = measured_of(problem, search.read_rows(tmp_path / "rows.csv"))
    neither, both = beta.expect(lambda p: (1 - p) ** 2, (2.5, 4.5)), beta.expect(lambda p: p**2, (2.5, 4.5))
    assert min(neither, both) > 0.025  # so both ends are in the interval
    assert measured.estimated == pytest.approx((2 / 6, 0.0, 1.0))
    assert measured.wrongly_pruned == 0.5
    assert measured.covered == 1.0


def test_the_shown_front_uses_the_noise_that_pruned_trials_would_have_had(tmp_path):
    """True front: widths 1, 2, 3, 4. With noise, 2 (pruned) dominates 3, and 4 is below the threshold.

    The run shows 1 and 5; without pruning it would show 2 instead of 5.
    """
    numbers = {1: 0, 2: 3, 3: 4, 4: 2, 5: 5}
    seeds = {width: [0, stream_seed(7, number, "evaluation") % 2**31] for width, number in numbers.items()}
    body = """
def evaluate(params, seed):
    assert seed in SEEDS[params["width"]], (params, seed)
    measured = MEASURED[params["width"]]
    yield 1.0, 0.55, 0.5, measured[2]
    yield 4.0, *measured
TRUE = {1: (.6, 1, 1), 2: (.7, 2, 1), 3: (.8, 3, 1), 4: (.9, 4, 1), 5: (.65, 5, 1)}
MEASURED = {1: (.6, 1, 1), 2: (.72, 2, 1), 3: (.71, 3, 1), 4: (.5, 4, 1), 5: (.65, 5, 1)}
truth = lambda params: TRUE[params["width"]]
"""
    problem = load_problem(written(tmp_path, GOOD.split("def evaluate")[0] + body, new=f"SEEDS = {seeds}\n"))
    complete = {1: (1.0, 0.6), 4: (4.0, 0.5), 5: (5.0, 0.65)}
    rows = [
        row(number, width, seed=7, seconds=complete[width][0], accuracy=complete[width][1])
        if width in complete
        else row(number, width, "PRUNED", "front: why", seed=7, seconds=0.5, accuracy=0.55)
        for width, number in sorted(numbers.items(), key=lambda item: item[1])
    ]
    measured = measured_of(problem, rows)
    assert measured.front_lost == pytest.approx(2 / 4)
    assert measured.true_front_shown == pytest.approx(1 / 4)
    assert measured.shown_front_lost == pytest.approx(1 / 2)
    assert search.Measured(problem, search.Run([rows[-1]]), measured.ruler).shown_front_lost is None


# ---------------------------------------------------------------------- comparisons


def test_an_interrupted_comparison_resumes_with_the_missing_runs(tmp_path, monkeypatch, capsys):
    out, made, original = tmp_path / "out", [], search.run

    def counting(stop_at):
        def run(problem, *pair_and_seed_and_rest):
            if len(made) == stop_at:
                raise KeyboardInterrupt
            made.append(pair_and_seed_and_rest[:3])
            return original(problem, *pair_and_seed_and_rest)

        return run

    command = ["--problem", str(written(tmp_path)), "--compare", "--samplers", "random,optuna-random"]
    command += ["--pruners", "none,median", "--n-trials", "12", "--seeds", "1,2", "--out", str(out)]
    monkeypatch.setattr(search, "run", counting(stop_at=3))
    assert search.main(command) == 130
    before = {file.name: file.read_bytes() for file in out.glob("*.csv")}
    assert len(before) == 3

    monkeypatch.setattr(search, "run", counting(stop_at=-1))
    assert search.main(command) == 0
    assert len(made) == len(set(made)) == 10  # 2 seeds × (2 forms of TPE, Optuna's random, ours with 2 pruners)
    assert before.items() <= {file.name: file.read_bytes() for file in out.glob("*.csv")}.items()
    ours = [("random", "none"), ("random", "median")]
    optuna = [("optuna-tpe", "none"), ("optuna-tpe-mv", "none"), *ours, ("optuna-random", "none")]
    assert [tuple(each[:2]) for each in cells(capsys.readouterr().out)[1:]] == optuna
    assert search.main([*command, "--n-trials", "13"]) == 2  # the runs in --out have 12
    assert len(made) == 10


def test_plots_use_the_seeds_that_all_pairs_have(tmp_path):
    problem, out, pairs = str(written(tmp_path)), tmp_path / "out", ["optuna-tpe+none", "random+median"]
    command = ["--problem", problem, "--compare", "--samplers", "random", "--pruners", "none,median", "--out", str(out)]
    assert search.main([*command, "--pruner-startup-trials", "2", "--n-trials", "30", "--seeds", "1,2"]) == 0
    drawn = ["--problem", problem, "--runs", str(out), "--pairs", ",".join(pairs), "--pruned", "random+median"]
    plots.main([*drawn, "--out", str(tmp_path)])
    assert {file.name for file in tmp_path.glob("*.svg")} == {"problem_hypervolume.svg", "problem_pruned.svg"}
    assert {pair: len(runs) for pair, runs in plots.runs_of(out, pairs).items()} == dict.fromkeys(pairs, 2)
    (out / "optuna-tpe+none-seed1.csv").unlink()
    assert [run.rows[0].seed for runs in plots.runs_of(out, pairs).values() for run in runs] == [2, 2]
    (out / "random+median-seed2.csv").unlink()
    for missing in (pairs, ["gp+none"]):
        with pytest.raises(SystemExit):
            plots.runs_of(out, missing)


def test_one_worker_s_share_of_itself_is_one(tmp_path, capsys):
    command = ["--problem", str(ANALYTIC), "--pruner", "none", "--n-trials", "14", "--seeds", "1,2", "--workers", "2"]
    tables = []
    for _ in range(2):  # the second time from the files
        workers.main([*command, "--out", str(tmp_path)])
        tables.append(cells(capsys.readouterr().out)[-2:])
    assert tables[0] == tables[1]
    assert [each[0] for each in tables[0]] == ["1", "2"]
    assert set(tables[0][0][1:4]) == {"1.000 (1.000 to 1.000)"}
    assert len(list(tmp_path.glob("*/*.csv"))) == 4


@pytest.mark.parametrize("pruner", ["front", pytest.param("median", marks=pytest.mark.slow)])
def test_a_replayed_pruner_decides_as_in_a_study(problem, pruner):
    """For random proposals, which do not depend on pruning."""
    setup = search.Setup(n_trials=160, pruner={"n_startup_trials": 20, "n_warmup_steps": 5})
    records, rows = replay.unpruned(problem, "random", 3, setup)
    rule = replay.RULES[pruner](search.plan_of(problem, "random", pruner, 3, setup))
    again = replay.replayed(rule, 3, records, rows).rows
    study = search.run(problem, "random", pruner, 3, setup, lambda begun: None).rows
    finished = [
        [(each.number, each.state, each.epochs, each.accuracy, each.seconds) for each in run if each.finished]
        for run in (again, study)
    ]
    assert finished[0] == finished[1]
    assert sum(each.pruned for each in again) > 15


@pytest.mark.slow
def test_rules_are_compared_on_the_same_trials(problem, capsys, tmp_path):
    command = ["--problem", str(ANALYTIC), "--sampler", "random", "--n-trials", "160", "--seeds", "1,2"]
    assert replay.main(command) == 0
    rows = cells(capsys.readouterr().out)
    rules = {each[0]: dict(zip(rows[0], each, strict=True)) for each in rows[1:]}
    assert len(rules) == len(replay.RULES) + len(replay.PAUSED)
    share = {name: float(each["saved"].rstrip("%")) for name, each in rules.items()}
    assert 0 < share["2% of the recent gain"] < share["front"]  # the audit ends a stricter rule earlier
    assert share["front, at every epoch"] > share["front, after the first epoch only"] > 0
    with pytest.raises(SystemExit):
        replay.main(["--problem", str(written(tmp_path))])  # without true values


def test_a_paired_comparison_has_the_figures_of_the_other_table(tmp_path, capsys):
    command = ["--problem", str(ANALYTIC), "--n-trials", "40", "--seeds", "1,2", "--out", str(tmp_path / "out")]
    assert paired.main([*command, "--sampler", "random", "--budget", "5000"]) == 0
    table = {each[0]: each[1:] for each in cells(capsys.readouterr().out)}
    compare = ["--compare", "--samplers", "random", "--pruners", "front,none", "--budget", "5000"]
    assert search.main([*command, *compare]) == 0
    rows = cells(capsys.readouterr().out)
    front, none = (dict(zip(rows[0], each, strict=True)) for each in rows[1:] if each[0] == "random")
    assert table["seconds of training"][0] == front["seconds spent"]
    assert table["without pruning"][0] == none["seconds spent"]
    assert table["direct regret"][0] == front["direct regret"]
    saved = [
        float(each.rstrip("%")) for each in (table["saved of the same trials"][0], front["saved of the same trials"])
    ]
    assert saved[0] == pytest.approx(saved[1], abs=0.5)
    for share in ("10%", "100%"):
        assert table[share][:2] == [each[f"HV at {share} of the budget"] for each in (front, none)]
        assert 0 < float(table[share][4]) <= 1
    assert paired.main([*command, "--sampler", "random", "--n-trials", "41"]) == 2  # the runs in --out have 40
