"""The report in a real browser: what a person sees and does."""

import json

import pytest

from cnn_lstm_hyperopt.reporting.report import write_report
from searched import plant_finals, searched

browsing = pytest.importorskip("browsing", reason="playwright is not installed")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        browsing.CHROMIUM is None, reason="there is no chromium here (Debian: apt-get install chromium)"
    ),
]

HOSTILE = "<img src=x onerror=alert(1)>"
METRICS = {"test_class_acc": 0.61, "test_class_acc_interval": [0.57, 0.65], "test_mcc": 0.2, "test_auc": 0.64}
FINALS = {
    "verdict": {"skill": False, "sentence": f"No skill: {HOSTILE}", "metric": "accuracy", "model_rank": 1},
    "baselines": [{"name": f"majority {HOSTILE}", "test_metrics": METRICS}],
}


@pytest.fixture(scope="module")
def browser():
    with browsing.chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """With a retrained model and data whose names are of the worst."""
    folder = searched(tmp_path_factory.mktemp("browser") / "study", 60, name=HOSTILE, **FINALS)
    plant_finals(folder, names=(HOSTILE, "x" * 200))
    write_report(folder)
    return folder


@pytest.fixture(scope="module")
def results(folder):
    return json.loads((folder / "results.json").read_text(encoding="utf-8"))


@pytest.fixture
def page(browser, folder):
    page = browsing.opened(browser, folder / "report.html")
    yield page
    page.close()


def front_chart(page):
    return page.wait_for_function(
        "() => { const chart = document.querySelector('[data-chart=front]'); return chart.data && chart.data[1] && "
        "{ x: [...chart.data[1].x], y: [...chart.data[1].y], numbers: [...chart.data[1].customdata] }; }"
    ).json_value()


def test_it_opens_without_an_error_a_request_or_a_dialogue(browser, folder):
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.set_default_timeout(browsing.PATIENCE_MS)
    said, asked = [], []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("dialog", lambda dialog: (said.append(dialog.message), dialog.dismiss()))
    page.on("request", lambda request: asked.append(request.url))
    page.goto((folder / "report.html").as_uri())
    browsing.scroll_through(page)
    assert said == []
    assert [url for url in asked if not url.startswith("data:")] == [(folder / "report.html").as_uri()]
    page.close()


def test_what_a_user_named_is_text(page):
    assert page.locator("h1").inner_text() == HOSTILE
    assert HOSTILE in page.locator("#verdict p").inner_text()
    assert page.locator("img").count() == 0


def test_each_slider_has_a_name_and_says_its_limit(page):
    for name, words in (("seconds", "of training"), ("mb", "At most")):
        slider = page.locator(f"#{name}")
        assert words in page.locator(f"label[for={name}]").inner_text()
        assert slider.get_attribute("aria-valuetext") == page.locator(f"#{name}-out").inner_text() != ""


def test_every_chart_has_something_in_it(page):
    browsing.scroll_through(page)
    charts = page.evaluate(
        "[...document.querySelectorAll('[data-chart]')].map((each) => [each.dataset.chart,"
        " each.data.some((trace) => (trace.x || []).length > 0)])"
    )
    assert {name for name, filled in charts if not filled} == set()
    assert {"front", "curves", "efficiency", "calibration", "parallel", "size"} <= {name for name, _ in charts}


def test_the_points_of_the_front_are_those_of_the_results(page, results):
    page.locator("#front").scroll_into_view_if_needed()
    drawn = front_chart(page)
    assert drawn["numbers"] == [trial["trial_number"] for trial in results["best_trials"]]
    assert drawn["y"] == pytest.approx([trial["values"][0] for trial in results["best_trials"]], rel=1e-5)
    assert drawn["x"] == pytest.approx([trial["values"][1] for trial in results["best_trials"]], rel=1e-5)


def test_the_sliders_pick_the_best_trial_within_both_limits(page, results):
    front = [(trial["trial_number"], *trial["values"]) for trial in results["best_trials"]]
    times, sizes = (sorted({each[k] for each in front}) for k in (2, 3))
    steps = [(len(times) - 1, len(sizes) - 1), (0, len(sizes) - 1), (len(times) // 2, len(sizes) // 2), (0, 0)]
    for at_time, at_size in steps:
        for name, step in (("seconds", at_time), ("mb", at_size)):
            page.locator(f"#{name}").evaluate(
                "(slider, step) => { slider.value = step; slider.dispatchEvent(new Event('input')); }", step
            )
        within = [each for each in front if each[2] <= times[at_time] and each[3] <= sizes[at_size]]
        best = min(within, key=lambda each: (-each[1], each[2], each[3]), default=None)
        assert page.locator("#picked").get_attribute("data-trial") == ("" if best is None else str(best[0]))


def test_a_click_on_a_point_marks_its_trial_in_the_table(page, results):
    page.locator("[data-chart=front]").scroll_into_view_if_needed()
    numbers = front_chart(page)["numbers"]
    last = len(numbers) - 1
    assert last > 0
    box = page.locator("[data-chart=front] .scatterlayer .trace").nth(1).locator("path.point").nth(last).bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.wait_for_function("document.querySelectorAll('#front-table tr.chosen').length === 1")
    page.wait_for_function(
        "first => Number(document.querySelector('#front-table tr.chosen').dataset.trial) !== first", arg=numbers[0]
    )  # which the sliders had chosen
    chosen = int(page.locator("#front-table tr.chosen").get_attribute("data-trial"))
    assert chosen in numbers  # points may lie upon each other: the one on top is chosen
    assert page.locator("#detail h3").inner_text().startswith(f"Trial {chosen}:")


def test_the_keyboard_chooses_a_trial(page, results):
    number = results["best_trials"][-1]["trial_number"]
    page.locator(f"#front-table tr[data-trial='{number}'] button").focus()
    page.keyboard.press("Enter")
    assert page.locator("#front-table tr.chosen").get_attribute("data-trial") == str(number)
    shown = page.locator("#detail dl").inner_text()
    assert "training.learning_rate" in shown


def test_all_trials_can_be_paged_and_filtered(page, results):
    assert page.locator("#page").inner_text() == "1–25 of 60"
    page.locator("#on").click()
    assert page.locator("#all tbody tr").first.locator("td").first.inner_text() == "25"
    page.locator("#state").select_option("PRUNED")
    assert page.locator("#page").inner_text().endswith(f"of {results['counts']['PRUNED']}")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_overflows_on_a_phone(browser, folder, scheme):
    page = browsing.opened(browser, folder / "report.html", width=390, height=844, scheme=scheme)
    browsing.scroll_through(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.close()


def test_a_thousand_trials_stay_small(browser, tmp_path):
    folder = searched(tmp_path / "thousand", 1000)
    path = write_report(folder)
    assert path.stat().st_size <= 8_000_000
    page = browsing.opened(browser, path)
    browsing.scroll_through(page)
    assert page.evaluate("document.querySelectorAll('*').length") < 20_000
    page.close()
