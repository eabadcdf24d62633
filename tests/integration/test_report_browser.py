"""The HTML dashboard in a real browser: what is drawn, what pointing and clicking do, and that nothing is fetched."""

from argparse import Namespace
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from browser import Browser, showing
from difflogic_tonic.config import StoragePaths
from difflogic_tonic.report.dashboard_command import draw_dashboard
from difflogic_tonic.report.table import SAME, pareto_front, points_of, read_table

pytestmark = pytest.mark.integration

CSV = """# 7 runs
# energy_nj_per_recording is an estimate
job_id,state,reason,dataset,model_type,recipe,seed,accuracy,spikes_per_sample,parameters,energy_nj_per_recording
logic,finished,,NMNIST,DiffLogic,a,1,0.90,,500,0.02
snn_1,finished,,NMNIST,SNN,b,1,0.96,4000,36000,900
snn_2,finished,,NMNIST,SNN,b,2,0.98,4400,36000,1000
mlp,finished,,NMNIST,MLP,c,1,0.955,,1200000,5000
<b>cnn</b>,finished,,NMNIST,CNN,d,1,0.975,,546000,9000
tiny,finished,,DIGITS_DVS,MLP,c,1,1.0,,100,1
dead,failed,out of memory,NMNIST,CNN,e,1,,,,
"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dashboard")
    csv, page = folder / "runs.csv", folder / "dashboard.html"
    csv.write_text(CSV)
    draw_dashboard(Namespace(csv=csv, output=page), StoragePaths(folder, folder))
    return page


@pytest.fixture(scope="module")
def one_browser(page: Path, program: Callable[[str], str]) -> Iterator[Browser]:
    with showing(program("chromium"), page.parent / "profile", page) as browser:
        yield browser


@pytest.fixture
def browser(one_browser: Browser) -> Iterator[Browser]:
    one_browser.load()
    yield one_browser
    assert one_browser.errors == []


def column(browser: Browser, number: int = 1) -> list[str]:
    return browser.run(f"[...document.querySelectorAll('tbody tr td:nth-child({number})')].map((c) => c.textContent)")


def header(browser: Browser, name: str) -> int:
    """The place of a column, from 0."""
    names = browser.run("[...document.querySelectorAll('thead th')].map((c) => c.textContent)")
    return names.index(name)


def test_points_are_drawn_with_their_front_and_nothing_is_fetched(browser: Browser, page: Path) -> None:
    assert browser.run("document.querySelectorAll('.point').length") == 4
    assert browser.run("performance.getEntriesByType('resource').length") == 0
    assert "http" not in page.read_text().replace("http://www.w3.org/2000/svg", "")
    rows = [row for row in read_table(page.parent / "runs.csv").rows if row["accuracy"] and row["dataset"] == "NMNIST"]
    points = points_of(rows, SAME, ["accuracy", "energy_nj_per_recording"])
    front = pareto_front((p.means["energy_nj_per_recording"], p.means["accuracy"]) for p in points)
    best = {p.jobs[0] for p in points if (p.means["energy_nj_per_recording"], p.means["accuracy"]) in front}
    drawn = browser.run("[...document.querySelectorAll('.point.best')].map((p) => JSON.parse(p.dataset.jobs)[0])")
    assert set(drawn) == best == {"logic", "snn_1", "<b>cnn</b>"}


def test_pointing_at_a_mark_tells_its_numbers_and_lights_its_rows(browser: Browser) -> None:
    assert browser.run("getComputedStyle(tip).display") == "none"
    number = browser.run("[...document.querySelectorAll('.point')].findIndex((p) => p.dataset.jobs.includes('snn_1'))")
    browser.point_at(".point", number)
    told = browser.run("tip.textContent")
    assert browser.run("getComputedStyle(tip).display") == "block"
    assert "2 seeds: snn_1, snn_2" in told
    assert "test recordings right (%): 97 ± 1.414" in told
    assert "spikes per sample: 4,200 ± 282.8" in told
    assert browser.run("[...document.querySelectorAll('tr.lit')].map((r) => r.dataset.job)") == ["snn_1", "snn_2"]
    browser.point_at("h1")
    assert browser.run("getComputedStyle(tip).display") == "none"


def test_a_row_lights_its_mark(browser: Browser) -> None:
    browser.point_at("tbody tr", column(browser).index("snn_2"))
    assert browser.run("document.querySelector('.point.lit').dataset.jobs") == '["snn_1","snn_2"]'


def test_a_click_on_a_heading_sorts_by_number_with_empty_cells_last_both_ways(browser: Browser) -> None:
    place = header(browser, "test recordings right (%)")
    browser.click("thead th button", place)
    down = column(browser)
    assert down == ["tiny", "snn_2", "<b>cnn</b>", "snn_1", "mlp", "logic", "dead"]
    assert browser.run(f"document.querySelectorAll('th')[{place}].ariaSort") == "descending"
    browser.click("thead th button", place)
    assert column(browser) == [*reversed(down[:-1]), "dead"]


def test_choosing_another_cost_and_dataset_draws_what_has_them(browser: Browser) -> None:
    browser.run("cost.value = 'spikes_per_sample'; cost.dispatchEvent(new Event('change'))")
    assert browser.run("document.querySelectorAll('.point').length") == 1
    assert "spikes per sample" in browser.run("plot.textContent")
    browser.run("dataset.value = 'DIGITS_DVS'; dataset.dispatchEvent(new Event('change'))")
    assert browser.run("[...cost.options].map((o) => o.value)") == ["energy_nj_per_recording", "parameters"]
    assert browser.run("document.querySelectorAll('.point').length") == 1
    # all recordings are right there: nothing is above
    left = "[...document.querySelectorAll('#plot text')].filter((t) => t.getAttribute('text-anchor') === 'end')"
    assert browser.run(f"Math.max(...{left}.map((t) => Number(t.textContent)))") == 100


def test_a_family_can_be_hidden_and_shown(browser: Browser) -> None:
    browser.click("#legend button", 1)
    assert browser.run("document.querySelectorAll('.point').length") == 3
    browser.click("#legend button", 1)
    assert browser.run("document.querySelectorAll('.point').length") == 4


def test_searching_leaves_the_rows_that_have_all_words(browser: Browser) -> None:
    browser.run("search.value = 'nmnist snn'; search.dispatchEvent(new Event('input'))")
    assert column(browser) == ["snn_1", "snn_2"]


def test_labels_do_not_overlap_and_stay_inside(browser: Browser) -> None:
    boxes = browser.run(
        "[...document.querySelectorAll('#plot text')].map((t) => t.getBoundingClientRect())"
        ".map(({left, right, top, bottom}) => [left, right, top, bottom])"
    )
    frame = browser.run("(({left, right, top, bottom}) => [left, right, top, bottom])(plot.getBoundingClientRect())")
    assert len(boxes) > 6
    for n, (left, right, top, bottom) in enumerate(boxes):
        assert frame[0] <= left < right <= frame[1]
        assert frame[2] <= top < bottom <= frame[3]
        for other in boxes[n + 1 :]:
            assert right <= other[0] or other[1] <= left or bottom <= other[2] or other[3] <= top


def test_a_name_with_markup_stays_text(browser: Browser) -> None:
    assert browser.run("document.querySelectorAll('td b').length") == 0
    assert "<b>cnn</b>" in column(browser)


def test_without_any_run_to_draw_the_table_still_lists_them(tmp_path: Path, program: Callable[[str], str]) -> None:
    csv, empty = tmp_path / "dead.csv", tmp_path / "empty.html"
    head, dead = CSV.splitlines()[2], CSV.splitlines()[-1]
    csv.write_text(f"{head}\n{dead}\n")
    draw_dashboard(Namespace(csv=csv, output=empty), StoragePaths(tmp_path, tmp_path))
    with showing(program("chromium"), tmp_path / "profile", empty) as browser:
        assert (browser.errors, column(browser)) == ([], ["dead"])
        assert not browser.run("document.getElementById('none').hidden")
