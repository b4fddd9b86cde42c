"""Ensembles: a greedy choice that validation can't fault, weighted means, and a folder that is as strict as a model's."""

import itertools
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders.finalists import Planted, mostly, params, planted
from builders.models import own_inputs, three_seeds, untrained
from cnn_lstm_hyperopt.errors import SaveDirError
from cnn_lstm_hyperopt.inference.ensemble import Ensemble, Member, select
from cnn_lstm_hyperopt.inference.model import load_model
from cnn_lstm_hyperopt.metrics import METRICS, score
from cnn_lstm_hyperopt.pipeline.ensemble_selection import blend
from cnn_lstm_hyperopt.pipeline.linear_members import linear_members
from cnn_lstm_hyperopt.training import ValueScale


@st.composite
def libraries(draw):
    """Probabilities ``(models, windows, classes)`` of a few models, some alike, and labels."""
    models, windows, classes = draw(st.integers(1, 4)), draw(st.integers(1, 12)), draw(st.integers(2, 3))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    found = rng.dirichlet(np.full(classes, draw(st.sampled_from((0.3, 1.0, 5.0)))), (models, windows))
    if draw(st.booleans()):
        found[-1] = found[0]
    if draw(st.booleans()):
        found = found.round(1)
        found /= found.sum(axis=-1, keepdims=True)
    return found.astype(np.float32), rng.integers(0, classes, windows)


def merit(name, library, labels, taken):
    """What ``select`` maximises, in other words."""
    mean = sum((library[place] for place in taken), np.zeros(library.shape[1:])) / len(taken)
    found = score(name, labels, mean)
    log_loss = -np.log(np.maximum(mean[np.arange(len(labels)), labels], 1e-7)).mean()
    return (-np.inf if np.isnan(found) else found, -log_loss)


@settings(max_examples=60, deadline=None)
@given(libraries(), st.sampled_from(sorted(METRICS)), st.integers(1, 5))
def test_the_choice_is_the_best_prefix_of_the_greedy_path(given_library, name, rounds):
    """Followed by a search of all models at every step; and no better than the best of all multisets."""
    library, labels = given_library
    weights = select(library, labels, lambda truth, mean: score(name, truth, mean), rounds)
    assert weights.shape == (len(library),)
    assert weights.min() >= 0
    assert weights.sum() == pytest.approx(1)
    path: list[int] = []
    for _ in range(rounds):
        step = [(merit(name, library, labels, [*path, place]), -place) for place in range(len(library))]
        path.append(-max(step)[1])
    prefixes = [path[: count + 1] for count in range(rounds)]
    best = max(prefixes, key=lambda prefix: (merit(name, library, labels, prefix), -len(prefix)))
    np.testing.assert_allclose(weights, np.bincount(best, minlength=len(library)) / len(best))
    found = merit(name, library, labels, best)
    assert found >= max(merit(name, library, labels, [place]) for place in range(len(library)))
    every = itertools.chain.from_iterable(
        itertools.combinations_with_replacement(range(len(library)), count) for count in range(1, rounds + 1)
    )
    most = max(merit(name, library, labels, taken)[0] for taken in every)
    assert found[0] <= most + 1e-9


def test_the_finalists_ensemble_is_made_of_all_seeds(apple):
    validation = apple(lookback=10).validation
    labels = validation.labels.numpy()
    finalists = (
        planted(1, *[mostly(labels, 0.7, seed=seed) for seed in (1, 2)]),
        planted(2, mostly(labels, 0.65, seed=3)),
    )
    for metric in METRICS:
        found = blend(
            finalists,
            [each.predictions(validation) for each in finalists],
            validation,
            metric,
            selected_by=metric,
            method="equal",
        )
        weights = [each.weight for each in found.ensemble.members]
        assert weights == sorted(weights, reverse=True)
        assert sum(weights) == pytest.approx(1)
        for member, (finalist, run) in zip(found.ensemble.members, found.places, strict=True):
            chosen = finalists[finalist]
            assert member.model is chosen.runs[run].model
            facts = chosen.finalist.rank, chosen.finalist.trial_number, chosen.runs[run].seed
            assert (member.model_rank, member.trial_number, member.seed) == facts
        predictions = [each.predictions(validation) for each in finalists]
        mean, tempered = found.mean(predictions, validation)
        np.testing.assert_array_equal(tempered.probabilities, found.ensemble.predict_windows(validation).probabilities)
        assert found.validation_score == score(metric, labels, mean.probabilities)
        singles = [score(metric, labels, each.probabilities) for runs in predictions for each in runs]
        assert found.best_member_validation_score == max(singles)
        assert found.weighting == "equal" or found.validation_score >= max(singles)


def test_only_clearly_better_weights_replace_equal_ones(apple):
    """Three networks and two regressions: half of the weight each, if the networks are not much better or worse."""
    dataset = apple(lookback=10)
    labels = dataset.validation.labels.numpy()
    members = linear_members(dataset, seed=0, max_gap_days=10.0, decision_weights=None)
    baselines = {each: each.model.predict_windows(dataset.validation) for each in members}

    def found_with(*shares, **options):
        finalists = [planted(1 + seed, mostly(labels, share, seed=seed)) for seed, share in enumerate(shares)]
        said = [each.predictions(dataset.validation) for each in finalists]
        return blend(
            finalists,
            said,
            dataset.validation,
            "log_loss",
            selected_by="log_loss",
            baselines=baselines,
            method="equal",
            **options,
        )

    near = found_with(0.62, 0.62, 0.62)
    assert near.weighting == "equal"
    assert [each.weight for each in near.ensemble.members] == pytest.approx([1 / 4, 1 / 4, 1 / 6, 1 / 6, 1 / 6])
    assert [each.baseline is None for each in near.ensemble.members] == [False, False, True, True, True]
    good, bad = found_with(0.95, 0.95, 0.95), found_with(0.3, 0.3, 0.3)
    assert good.weighting == bad.weighting == "selected"
    assert good.ensemble.members[0].baseline is None
    assert bad.ensemble.members[0].baseline is not None
    assert found_with(0.95, 0.95, 0.95, n_trials=1000).weighting == "selected"
    assert found_with(0.71, 0.71, 0.71).weighting == "selected"
    assert found_with(0.71, 0.71, 0.71, n_trials=1000).weighting == "equal"  # the best of 1000 is better by chance


def test_greedy_weights_are_used_even_if_not_clearly_better_and_stacked_ones_keep_the_predictions_together(apple):
    """Both methods and the windows' predictions: those of the saved ensemble are those of ``mean``."""
    dataset = apple(lookback=10)
    labels, values = dataset.validation.labels.numpy(), dataset.validation.values.numpy()
    members = linear_members(dataset, seed=0, max_gap_days=10.0, decision_weights=None)
    scale = ValueScale(dataset.value_mean, dataset.value_std)
    baselines = {each: each.model.predict_windows(dataset.validation) for each in members}
    finalists = []
    for rank, share in ((1, 0.62), (2, 0.64), (3, 0.5)):
        noise = np.random.default_rng(rank).normal(size=len(labels)) * dataset.value_std
        said = replace(mostly(labels, share, seed=rank), values=values + rank * noise)
        finalists.append(planted(rank, said))
    predictions = [each.predictions(dataset.validation) for each in finalists]
    facts = {"selected_by": "log_loss", "baselines": baselines, "value_scale": scale}
    equal, greedy, stacked = (
        blend(finalists, predictions, dataset.validation, "log_loss", method=method, **facts)
        for method in ("equal", "greedy", "stack")
    )
    assert [each.weighting for each in (equal, greedy, stacked)] == ["equal", "selected", "stacked"]
    assert greedy.selection_score >= greedy.best_member_selection_score
    weights = {each.model_rank or each.baseline: each for each in stacked.ensemble.members}
    assert sum(each.weight for each in weights.values()) == pytest.approx(1)
    assert 3 not in weights or weights[3].weight < weights[2].weight
    assert weights[1].value_weight == max(each.value_weight for each in weights.values())
    pooled, calibrated = stacked.mean(predictions, dataset.validation)
    assert score("log_loss", labels, calibrated.probabilities) >= score("log_loss", labels, pooled.probabilities)
    singles = [predictions[place][0].values for place in range(3)] + [each.values for each in baselines.values()]
    assert ((pooled.values - values) ** 2).mean() < min(((each - values) ** 2).mean() for each in singles)


def test_an_ensemble_of_one_member_is_no_better_than_it_is_and_of_one_model_there_is_none(apple):
    validation = apple(lookback=10).validation
    labels = validation.labels.numpy()
    one, constant = planted(1, mostly(labels, 1.0, seed=1)), planted(2, Planted(np.full((len(labels), 2), 0.5)))
    found = blend(
        [one, constant],
        [each.predictions(validation) for each in (one, constant)],
        validation,
        "accuracy",
        selected_by="accuracy",
        method="equal",
    )
    assert found.validation_score == found.best_member_validation_score == 1.0
    assert blend([one], [one.predictions(validation)], validation, "accuracy", selected_by="accuracy") is None


def test_linear_baselines_are_members_and_predict_from_disk(apple, tmp_path):
    dataset = apple(lookback=10)
    labels, nothing = dataset.validation.labels.numpy(), np.full((len(dataset.validation), 2), 0.5)
    baselines = linear_members(dataset, seed=0, max_gap_days=10.0, decision_weights=None)
    assert [each.name for each in baselines] == ["logistic regression", "ridge regression"]
    baselines = {each: each.model.predict_windows(dataset.validation) for each in baselines}
    unknowing = [planted(rank, Planted(nothing, nothing[:, 0])) for rank in (1, 2)]
    predictions = [each.predictions(dataset.validation) for each in unknowing]
    facts = {"selected_by": "log_loss", "baselines": baselines, "method": "equal"}
    found = blend(unknowing, predictions, dataset.validation, "log_loss", **facts)
    members = found.ensemble.members
    assert {each.baseline for each in members} & {"logistic regression", "ridge regression"}
    only = [replace(each, weight=1 / len(members)) for each in members if each.baseline]
    kept = Ensemble(tuple(replace(each, weight=1 / len(only)) for each in only), conformal=found.ensemble.conformal)
    kept.save(tmp_path / "ensemble")
    loaded = load_model(tmp_path / "ensemble")
    assert [each.baseline for each in loaded.members] == [each.baseline for each in only]
    saved, again = (each.predict_windows(dataset.validation) for each in (kept, loaded))
    np.testing.assert_array_equal(saved.probabilities, again.probabilities)
    np.testing.assert_array_equal(saved.values, again.values)
    assert score("auc", labels, again.probabilities) > 0.6


def test_a_linear_model_of_another_lookback_is_refused(apple, tmp_path):
    linear_members(apple(lookback=10), seed=0, max_gap_days=10.0, decision_weights=None)[0].model.save(tmp_path)
    raw = json.loads((tmp_path / "model.json").read_text())
    (tmp_path / "model.json").write_text(json.dumps(raw | {"lookback": 11}))
    assert error_of(tmp_path) == ("params.linear.steps", "value-error")


def model(number, **changed):
    features = {"params": params(number), "value_name": "ln range"}
    return untrained(own_inputs(**{**features, **changed}), seed=number)


@pytest.fixture
def ensemble() -> Ensemble:
    return Ensemble((Member(model(1), 0.75, 1, 10, 2), Member(model(2), 0.25, 2, 20, 1)))


@pytest.fixture
def folder(ensemble, tmp_path) -> Path:
    ensemble.save(tmp_path / "ensemble")
    return tmp_path / "ensemble"


def windows(count: int = 5) -> np.ndarray:
    return np.random.default_rng(count).normal(size=(count, 6, 2)).astype(np.float32)


def test_an_ensemble_says_the_mean_of_what_its_members_say(ensemble):
    found, (first, second) = ensemble.predict(windows()), (each.model.predict(windows()) for each in ensemble.members)
    for name in ("probability_0", "probability_1", "value"):
        np.testing.assert_allclose(found[name], 0.75 * first[name] + 0.25 * second[name], rtol=1e-5)
    assert found.columns.tolist() == first.columns.tolist()


def test_a_loaded_ensemble_is_the_saved_one_and_needs_nothing_else(ensemble, folder, tmp_path):
    moved = folder.rename(tmp_path / "elsewhere")
    loaded = load_model(moved)
    assert isinstance(loaded, Ensemble)
    assert [replace(each, model=None) for each in loaded.members] == [replace(e, model=None) for e in ensemble.members]
    assert loaded.description == ensemble.description
    np.testing.assert_array_equal(loaded.predict(windows())["value"], ensemble.predict(windows())["value"])
    assert {str(path.relative_to(moved)) for path in moved.rglob("*") if path.is_file()} == {
        "ensemble.json",
        *(f"member_{k}/{name}" for k in (1, 2) for name in ("model.json", "model.safetensors")),
    }


@pytest.fixture
def stacked() -> Ensemble:
    members = Member(model(1), 0.75, 1, 10, 2, value_weight=0.6), Member(model(2), 0.25, 2, 20, 1, value_weight=0.0)
    return Ensemble(members, temperature=0.8, pooling="logarithmic")


def test_a_stacked_ensemble_multiplies_powers_of_probabilities_and_survives_the_disk(stacked, tmp_path):
    stacked.save(tmp_path / "stacked")
    found, (first, second) = stacked.predict(windows()), (each.model.predict(windows()) for each in stacked.members)
    columns = ["probability_0", "probability_1"]
    product = (first[columns].to_numpy() ** 0.75 * second[columns].to_numpy() ** 0.25) ** (1 / 0.8)
    np.testing.assert_allclose(found[columns], product / product.sum(axis=1, keepdims=True), rtol=1e-5)
    mean = stacked.description.value_scale.mean
    np.testing.assert_allclose(found["value"], mean + 0.6 * (first["value"] - mean), rtol=1e-5)
    again = load_model(tmp_path / "stacked")
    assert [replace(each, model=None) for each in again.members] == [replace(e, model=None) for e in stacked.members]
    np.testing.assert_array_equal(again.predict(windows())["value"], found["value"])
    np.testing.assert_array_equal(again.predict(windows())[columns], found[columns])


def test_a_stacked_ensemble_with_other_weights_or_networks_than_it_needs_is_refused(stacked, ensemble, tmp_path):
    for name, given_ensemble, change, field, code in (
        ("some", stacked, {"value_weight": None}, "members", "value-weights"),
        ("linear", ensemble, {"value_weight": 0.5}, "members", "value-weights"),
        ("negative", stacked, {"value_weight": -0.1}, "value_weight", "greater-than-equal"),
    ):
        folder = tmp_path / name
        given_ensemble.save(folder)
        raw = json.loads((folder / "ensemble.json").read_text())
        raw["members"][0].update(change)
        (folder / "ensemble.json").write_text(json.dumps(raw))
        assert error_of(folder) == (field, code)
    none = Ensemble(tuple(replace(each, value_weight=None) for each in stacked.members), pooling="logarithmic")
    none.save(tmp_path / "none")
    assert error_of(tmp_path / "none") == ("ensemble.json", "value-weights")
    seeds = replace(stacked.members[1], model=three_seeds(model(2).description))
    Ensemble((stacked.members[0], seeds), pooling="logarithmic").save(tmp_path / "seeds")
    assert error_of(tmp_path / "seeds") == ("ensemble.json", "member-has-seeds")
    stacked.save(tmp_path / "other")
    raw = json.loads((tmp_path / "other" / "ensemble.json").read_text())
    (tmp_path / "other" / "ensemble.json").write_text(json.dumps(raw | {"pooling": "median"}))
    assert error_of(tmp_path / "other") == ("pooling", "literal-error")


def error_of(folder):
    with pytest.raises(SaveDirError) as caught:
        load_model(folder)
    return caught.value.field, caught.value.code


FIRST, SECOND = 0, 1


@pytest.mark.parametrize(
    ("member", "change", "field", "code"),
    [
        (None, {"format": 2}, "format", "unknown-format"),
        (None, {"members": []}, "members", "too-short"),
        (None, {"members": [1]}, "members.0", "dict-type"),
        (None, {"more": 1}, "more", "extra-forbidden"),
        *((FIRST, {"folder": path}, "folder", "value-error") for path in ("../m", "/etc", ".", "member_1/../..")),
        (FIRST, {"folder": "member_2"}, "members", "shared-folder"),
        (FIRST, {"folder": "member_7"}, "model.json", "file-missing"),
        (FIRST, {"weight": 0.5}, "members", "weight-sum"),
        (FIRST, {"weight": -0.5}, "weight", "greater-than"),
        (FIRST, {"weight": "0.75"}, "weight", "float-type"),
        (FIRST, {"seed": True}, "seed", "int-type"),
        (FIRST, {"seed": None}, "baseline", "value-error"),
        (FIRST, {"baseline": "ridge regression"}, "baseline", "value-error"),
        (SECOND, {"path": "/etc"}, "path", "extra-forbidden"),
    ],
)
def test_an_invalid_ensemble_is_refused(folder, member, change, field, code):
    raw = json.loads((folder / "ensemble.json").read_text())
    (raw if member is None else raw["members"][member]).update(change)
    (folder / "ensemble.json").write_text(json.dumps(raw))
    assert error_of(folder) == (field, code)


@pytest.mark.parametrize("difference", [{"class_names": ("calm", "wild")}, {"value_scale": ValueScale(0.0, 1.0)}])
def test_a_member_that_is_a_link_or_answers_another_question_is_refused(folder, difference, tmp_path):
    model(2, **difference).save(folder / "member_2")
    assert error_of(folder) == ("ensemble.json", "members-differ")
    (folder / "member_2").rename(tmp_path / "outside")
    (folder / "member_2").symlink_to(tmp_path / "outside")
    assert error_of(folder) == ("ensemble.json", "member-is-link")
