"""The report in a real browser: what a person sees and does."""

import json
import shutil
import subprocess
from dataclasses import replace

import pytest

from builders.studies import plant_finals, searched
from cnn_lstm_hyperopt.reporting.html import write_report
from cnn_lstm_hyperopt.reporting.html.page import render
from cnn_lstm_hyperopt.reporting.html.study_files import read_content
from cnn_lstm_hyperopt.reporting.html.trial_table import TrialTable

browsing = pytest.importorskip("browsing", reason="playwright is not installed")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(browsing.CHROMIUM is None, reason="chromium is not installed")]

MARKS = """Object.fromEntries([...document.querySelectorAll('main [data-chart]')].map((place) => [place.dataset.chart,
  place.querySelectorAll('.scatterlayer path, .contourlayer path, .heatmaplayer image').length]))"""
"""Lines, points and fields in each chart."""
CUT_OFF = """[...document.querySelectorAll('main :is(svg.main-svg, h2, h3, p, figcaption, select, dt, dd)')]
  .filter((each) => each.offsetParent !== null || each.closest('svg'))
  .filter((each) => { const box = each.getBoundingClientRect();
    return box.width > 0 && (box.right > document.documentElement.clientWidth + 1 || box.left < -1
      || (each.matches('svg') && box.right > each.closest('.chart').getBoundingClientRect().right + 1)); })
  .map((each) => each.outerHTML.slice(0, 80))"""
"""What reaches beyond the page or its chart."""
LEGENDS = """[...document.querySelectorAll('main [data-chart]')]
  .filter((place) => place.querySelector('.legend') && place.querySelector('.xtitle'))
  .map((place) => ({ chart: place.dataset.chart, legend: place.querySelector('.legend').getBoundingClientRect().top,
    title: place.querySelector('.xtitle').getBoundingClientRect().bottom }))"""
LOG_TICKS = """[...document.querySelectorAll('main [data-chart]')].flatMap((place) => ['x', 'y'].filter((axis) =>
  place._fullLayout[axis + 'axis'].type === 'log').map((axis) => [`${place.dataset.chart} ${axis}`,
    [...place.querySelectorAll(`.${axis}tick text`)].map((tick) => tick.textContent)]))"""
AXES = """([chart, x, y]) => { const axes = document.querySelector(`[data-chart=${chart}]`).layout;
  return axes.xaxis.title.text === x && axes.yaxis.title.text === y; }"""


def number(text):
    """The value that a tick shows."""
    text = text.replace("−", "-")
    unit = {"k": 1e3, "M": 1e6, "G": 1e9}.get(text[-1], 1)
    return float(text.rstrip("kMG")) * unit


HOSTILE = "<img src=x onerror=alert(1)>"
METRICS = {"test_class_acc": 0.61, "test_class_acc_interval": [0.57, 0.65], "test_mcc": 0.2, "test_auc": 0.64}
FINALS = {
    "verdict": {"skill": False, "grade": HOSTILE, "sentence": f"No: {HOSTILE}", "metric": "accuracy", "model_rank": 1},
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
    with browsing.drawn(browser, folder / "report.html") as page:
        yield page


def front_chart(page):
    return page.wait_for_function(
        """() => { const chart = document.querySelector('[data-chart=front]');
        const front = chart.calcdata && chart.calcdata[1];
        return front && { x: front.map((point) => 10 ** chart._fullLayout.xaxis.c2l(point.x)),
          y: front.map((point) => point.y), numbers: [...chart.data[1].customdata] }; }"""
    ).json_value()


def click(page, point):
    box = point.bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)


def fits(page, width):
    return page.evaluate("document.documentElement.scrollWidth") <= width and page.evaluate(CUT_OFF) == []


def undrawn(page):
    return {name for name, count in page.evaluate(MARKS).items() if count == 0}


def test_it_opens_without_an_error_a_request_or_a_dialogue(browser, folder):
    path, seen = folder / "report.html", []
    with browsing.drawn(browser, path, seen=seen) as page:
        assert [each for each in seen if not each.startswith("data:")] == [path.as_uri()]
        assert page.locator("h1").inner_text() == HOSTILE  # names of the user are text
        assert HOSTILE in page.locator("#verdict p").inner_text()
        assert page.locator("img").count() == 0


def test_names_of_parameters_are_text_in_every_chart(browser, tmp_path):
    """The parameters and choices of a space of one's own."""
    content = read_content(searched(tmp_path / "study", 24, pruner="none"))
    other = f"{HOSTILE}.rate"
    records = [
        replace(record, params={HOSTILE: ["<b>a</b>", HOSTILE][record.number % 2], other: 0.1 + record.number})
        for record in content.records
    ]
    table = TrialTable(replace(content, records=records, importances={"score": {HOSTILE: 0.6, other: 0.4}}))
    path, seen = tmp_path / "report.html", []
    path.write_text(render(table), encoding="utf-8")
    with browsing.drawn(browser, path, seen=seen) as page:
        page.locator("#front-table tbody tr button").first.click()
        page.locator("#trial").wait_for(state="visible")
        assert [each for each in seen if not each.startswith("data:")] == [path.as_uri()]
        assert page.locator("img").count() == 0
        assert HOSTILE in page.locator("#trial-params").inner_text()
        assert HOSTILE in page.locator("[data-chart=slice]").text_content()


def test_every_chart_is_drawn_without_scrolling_and_has_a_name_and_whole_ticks(page, results):
    assert page.evaluate("scrollY") == 0
    marks = page.evaluate(MARKS)
    assert undrawn(page) == set()
    assert {"front", "history", "slice", "contour", "timeline", "curves", "efficiency", "calibration"} <= set(marks)
    assert {"parallel", "size", "states", "volume-trials", "volume-seconds"} <= set(marks)
    charts = page.evaluate(
        "[...document.querySelectorAll('[data-chart]')].map((place) =>"
        " [place.getAttribute('role'), place.getAttribute('aria-label')])"
    )
    assert all(role == "img" and label for role, label in charts)
    assert page.evaluate("[...document.querySelectorAll('select')].every((each) => each.labels.length > 0)")
    for name in ("seconds", "mb"):
        assert page.locator(f"label[for={name}]").inner_text()
        shown = page.locator(f"#{name}-out").inner_text()
        assert page.locator(f"#{name}").get_attribute("aria-valuetext") == shown != ""
    axes = page.evaluate(LOG_TICKS)
    assert {name for name, _ in axes} >= {"front x", "efficiency x", "efficiency y", "size x"}
    for name, ticks in axes:  # never "2 5 10 2 5", where 20 and 50 look like 2 and 5
        values = [number(text) for text in ticks]
        assert len(values) >= 2, name
        assert values in (sorted(set(values)), sorted(set(values), reverse=True)), (name, ticks)
    drawn, best = front_chart(page), results["best_trials"]
    assert drawn["numbers"] == [trial["trial_number"] for trial in best]
    assert drawn["y"] == pytest.approx([trial["values"][0] for trial in best], rel=1e-5)
    assert drawn["x"] == pytest.approx([trial["values"][1] for trial in best], rel=1e-5)
    chart = page.locator("[data-chart=front]")
    chart.evaluate("(place) => Plotly.relayout(place, {'xaxis.range': [Math.log10(2), Math.log10(3)]})")
    page.wait_for_function("document.querySelector('[data-chart=front]')._fullLayout.xaxis.range[1] < Math.log10(3.01)")
    ticks = [number(text) for text in chart.locator(".xtick text").all_text_contents()]
    assert len(ticks) >= 3
    assert 2 <= min(ticks) <= max(ticks) <= 3


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


def test_a_click_and_the_keyboard_choose_a_trial_of_the_front(page, results):
    page.locator("[data-chart=front]").scroll_into_view_if_needed()
    numbers = front_chart(page)["numbers"]
    last = len(numbers) - 1
    assert last > 0
    click(page, page.locator("[data-chart=front] .scatterlayer .trace").nth(1).locator("path.point").nth(last))
    page.wait_for_function(
        """first => { const chosen = document.querySelectorAll('#front-table tr.chosen');
        return chosen.length === 1 && Number(chosen[0].dataset.trial) !== first; }""",
        arg=numbers[0],  # which the sliders chose
    )
    chosen = int(page.locator("#front-table tr.chosen").get_attribute("data-trial"))
    assert chosen in numbers  # of points at the same place the top one is chosen
    assert page.locator("#detail h3").inner_text().startswith(f"Trial {chosen}:")
    page.keyboard.press("Escape")
    best = results["best_trials"][0]["trial_number"]
    page.locator(f"#front-table tr[data-trial='{best}'] button").focus()
    page.keyboard.press("Enter")
    assert page.locator("#front-table tr.chosen").get_attribute("data-trial") == str(best)
    assert "training.learning_rate" in page.locator("#detail dl").inner_text()


def column(page, place):
    """The numbers of a column of all trials, as they are shown."""
    return [float(text) for text in page.locator(f"#all tbody td:nth-child({place})").all_inner_texts() if text != "–"]


def test_all_trials_can_be_paged_sorted_and_filtered(page, results):
    shown = page.locator(".dt-info")
    assert shown.inner_text() == "1–25 of 60 trials"
    page.locator(".dt-paging-button.next").click()
    assert page.locator("#all tbody tr").first.locator("td").first.inner_text() == "25"
    page.locator("#all thead th").nth(2).click()
    page.wait_for_selector("#all th:nth-child(3)[aria-sort=descending]")
    scores = column(page, 3)
    assert scores == sorted(scores, reverse=True)
    page.locator("#all thead th").nth(3).locator("[role=button]").focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("#all th:nth-child(4)[aria-sort=ascending]")
    times = column(page, 4)
    assert times == sorted(times)
    page.locator("#state").select_option("PRUNED")
    assert f"of {results['counts']['PRUNED']} trials" in shown.inner_text()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 800, 1280])
def test_nothing_is_cut_off_or_covered_at_any_width(browser, folder, width, scheme):
    with browsing.drawn(browser, folder / "report.html", width=width, height=844, scheme=scheme) as page:
        assert fits(page, width)
        boxes = page.evaluate(LEGENDS)
        assert len(boxes) >= 6
        assert [box for box in boxes if box["legend"] < box["title"] - 1] == []  # legends are below the plots
        bars = page.evaluate(
            "[...document.querySelectorAll('.modebar-group')].map((bar) => getComputedStyle(bar).opacity)"
        )
        assert {float(opacity) for opacity in bars} <= {0}
        cells = page.evaluate(
            "[...document.querySelectorAll('.board td[data-label=\\'95 % interval\\']')].map((cell) =>"
            " [cell.innerText, cell.getBoundingClientRect().left, cell.getBoundingClientRect().right])"
        )
        assert len(cells) == 2
        assert all("0.570 to 0.650" in text and left >= 0 and right <= width for text, left, right in cells)
        page.set_viewport_size({"width": 500, "height": 900})  # charts follow the window
        page.wait_for_function(
            "[...document.querySelectorAll('main [data-chart]')].every((place) =>"
            " place._fullLayout.width === place.clientWidth)"
        )
        assert fits(page, 500)


def test_bars_are_as_long_as_their_shares(page):
    bars = page.evaluate(
        "[...document.querySelectorAll('#importance dl.bars')].map((list) => [...list.querySelectorAll('.track span')].map("
        "(bar) => [bar.getBoundingClientRect().width, parseFloat(bar.style.width)]))"
    )
    assert len(bars) == 4
    for drawn in bars:
        longest = max(width for width, _ in drawn)
        assert [width for width, _ in drawn] == pytest.approx(
            [longest * percent / 100 for _, percent in drawn], abs=1.5
        )


@pytest.mark.skipif(shutil.which("pdftotext") is None, reason="pdftotext is not installed (Debian: poppler-utils)")
def test_on_paper_every_chart_is_drawn_within_the_sheet(browser, tmp_path):
    folder = searched(tmp_path / "study", 140)
    plant_finals(folder, names=("calm", "wild"))
    with browsing.drawn(browser, write_report(folder), scheme="dark") as page:
        titles = [title.split(" of ")[0] for title in page.locator("figure.plot figcaption").all_inner_texts()]
        pdf = tmp_path / "report.pdf"
        page.pdf(path=pdf, format="A4")
        converted = subprocess.run(["pdftotext", "-layout", pdf, "-"], capture_output=True, text=True, check=True)
        text = " ".join(converted.stdout.split())
        assert len(titles) >= 13
        assert [title for title in titles if " ".join(title.split()) not in text] == []
        assert "1–100 of 140 trials" in text
        assert page.locator(".dt-info").inner_text() == "1–25 of 140 trials"  # and the screen is as before
        assert page.evaluate("document.documentElement.dataset.theme") is None
        page.evaluate("dispatchEvent(new Event('beforeprint'))")
        page.emulate_media(media="print")
        page.set_viewport_size({"width": 703, "height": 1000})  # A4 within margins of 12 mm, in CSS pixels
        assert undrawn(page) == set()
        assert fits(page, 703)


def test_a_point_and_a_row_open_their_trial_by_mouse_and_keyboard(page):
    for chart in ("history", "size", "front", "slice"):
        page.locator(f"[data-chart={chart}]").scroll_into_view_if_needed()
        click(page, page.locator(f"[data-chart={chart}] .scatterlayer path.point").last)
        page.locator("#trial").wait_for(state="visible")
        shown = page.locator("#trial").inner_text()
        assert all(words in shown for words in ("accuracy", "training.learning_rate"))
        assert page.locator("#trial-curve path.point").count() > 0
        page.keyboard.press("Escape")
        assert page.locator("#trial").is_hidden()
    page.locator("#state").select_option("PRUNED")
    first, second = (page.locator("#all tbody tr").nth(place) for place in (0, 1))
    number, reason = second.locator("td").first.inner_text(), second.locator("td").last.inner_text()
    second.locator("td").nth(3).click()
    assert page.locator("#trial-name").inner_text() == f"Trial {number}"
    assert reason in page.locator("#trial-facts").inner_text()
    page.locator("#trial-close").click()
    button = first.locator("button")
    button.focus()
    page.keyboard.press("Enter")
    assert page.locator("#trial-name").inner_text() == f"Trial {button.inner_text()}"
    page.keyboard.press("Escape")
    assert button.evaluate("(button) => button === document.activeElement")


def test_slice_and_contour_are_of_the_parameters_that_are_chosen(page):
    page.locator("#slice-1").select_option("seconds")
    page.locator("#slice-2").select_option("lstm.hidden_dim")
    page.wait_for_function(AXES, arg=["slice", "lstm.hidden_dim", "training time (s)"])
    pairs = [text.split(" × ") for text in page.locator("#contour-2 option").all_inner_texts()]
    many = ("dropout", "learning_rate", "weight_decay", "classification_weight", "label_smoothing")  # of many values
    pair = next(each for each in pairs if all(name.endswith(many) for name in each))
    page.locator("#contour-2").select_option(" × ".join(pair))
    page.wait_for_function(AXES, arg=["contour", *pair])
    field = page.evaluate(
        "(() => { const field = document.querySelector('[data-chart=contour]')._fullData[0];"
        " return [field.type, [...field.z].flatMap((row) => [...row].map((value) => (isNaN(value) ? null : value)))]; })()"
    )
    assert field[0] == "contour"
    known = [value for value in field[1] if value is not None]
    assert 0.45 < min(known) < max(known) < 0.75


@pytest.mark.parametrize("n_trials", [1, 30, 1000])
def test_a_study_that_is_at_work_or_beats_nothing_or_is_large_has_a_page(browser, tmp_path, n_trials):
    """Without a front, or with one trial, empty charts give way to a line."""
    space = None if n_trials > 30 else {"training": {"learning_rate": 1e-5}}
    folder, seen = searched(tmp_path / "study", n_trials, space=space), []
    (folder / "results.json").unlink()
    path = write_report(folder, running=True)
    assert path.stat().st_size <= 8_000_000
    with browsing.drawn(browser, path, seen=seen) as page:
        assert [each for each in seen if not each.startswith("data:")] == [path.as_uri()]
        assert undrawn(page) == set()
        assert page.evaluate("document.querySelectorAll('*').length") < 20_000
