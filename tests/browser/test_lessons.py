"""Every lesson as a student meets it: run, answered, moved by keyboard and mouse, saved, and opened again."""

import shutil
import time

import nbformat
import pytest
from axe_playwright_python.sync_playwright import Axe

from .helpers import NOTEBOOKS, PANEL, Notebook

LESSONS = sorted(p.name for p in NOTEBOOKS.glob("*.ipynb"))
KEYS = ["Home", "ArrowRight", "PageUp", "End", "ArrowLeft", "PageDown"]
CUT_OFF = """(explorers) => explorers.flatMap((explorer) => {
  const page = explorer.closest(".jp-OutputArea-output").getBoundingClientRect();
  const parts = "img, button, select, input, .widget-label, .noUi-handle, .widget-readout, [role=status]";
  return [...explorer.querySelectorAll(parts)].filter((e) => e.checkVisibility()).flatMap((e) => {
    const box = e.getBoundingClientRect(), right = Math.min(page.right, innerWidth);
    const cut = box.right > right + 1 || box.left < page.left - 9 || e.scrollWidth > e.clientWidth + 1;
    return cut ? [`${e.className} ${e.textContent}: ${box.left} to ${box.right} on a page from ${page.left} to ${right}`] : [];
  });
})"""


LEVELS = 2  # grey levels: the last digit of a sum depends on where its terms lie in memory


def same_page(one, other):
    """Two looks at an explorer agree in all but the picture, which `Notebook.drift` compares."""
    return {**one, "picture": ""} == {**other, "picture": ""}


@pytest.fixture(scope="package", params=[*LESSONS, "sandbox.ipynb"])
def lesson(request, window):
    """A lesson in which Run All has ended; `.wrong` lists its errors."""
    nb = Notebook(window, request.param)
    began = time.perf_counter()
    nb.start_run_all()
    window.wait_for_function("() => window.ended || panel.node.querySelector('.elbo-explorer .noUi-handle')", timeout=120_000)
    first = time.perf_counter() - began
    nb.wait_until_idle()
    nb.wrong = nb.errors()
    print(f"\n{request.param}: first explorer after {first:.1f} s, Run All {time.perf_counter() - began:.1f} s")
    yield nb
    nb.close()


def test_run_all_ends_without_an_error(lesson):
    assert lesson.wrong == []
    assert len(lesson.state()) == lesson.explorers.count() > 0


def test_a_gate_locks_its_explorer_until_it_is_answered(lesson):
    for i, state in enumerate(lesson.state()):
        controls = lesson.explorers.nth(i).locator(".noUi-target, select, input[type=checkbox], button")
        assert set(controls.evaluate_all("(all) => all.map((c) => c.matches('[disabled]'))")) == {state["locked"]}, state["name"]
    before = [lesson.settled(i) for i in range(lesson.explorers.count())]
    locked = [i for i, state in enumerate(lesson.state()) if state["locked"]]
    lesson.answer_gates()
    for i, state in enumerate(lesson.state()):
        assert not state["locked"], state["name"]
        if i in locked and state["marked"]:
            assert lesson.settled(i)["picture"] != before[i]["picture"], f"{state['name']} does not mark the prediction"


def test_every_control_moves_its_picture_by_keyboard(lesson):
    lesson.answer_gates()
    for i, state in enumerate(lesson.state()):
        start = lesson.settled(i)
        lesson.remember(i)
        lesson.shoot("start", i)
        explorer, still = lesson.explorers.nth(i), []
        for j, before in enumerate(start["sliders"]):
            handle, seen = explorer.locator(".noUi-handle").nth(j), [lesson.settled(i)]
            handle.focus()
            for key in KEYS:
                lesson.page.keyboard.press(key)
                seen.append(lesson.settled(i))
                slider = seen[-1]["sliders"][j]
                where = f"{state['name']}, {slider['label']}, {key}: {slider}"
                assert slider["label"] and slider["valuetext"] == slider["shown"], where
                assert float(slider["valuenow"]) == slider["number"], where
                if key in ("Home", "End"):
                    bound = float(slider["valuemin" if key == "Home" else "valuemax"])
                    assert slider["number"] == pytest.approx(bound, abs=1e-9), where
            if j == 0:
                lesson.shoot("moved", i)
            assert len({s["sliders"][j]["shown"] for s in seen}) >= 3, f"{state['name']}, {before['label']}: keys do nothing"
            for what in ("picture", "readout"):
                if len({s[what] for s in seen}) < 2:
                    still.append(f"{state['name']}: {before['label']} never changes the {what}")
            explorer.get_by_role("button", name="Reset").click()
            assert same_page(lesson.settled(i, after=seen[-1]), start) and lesson.drift(i) <= LEVELS
        for menu in explorer.locator("select").all():
            seen = [start]
            for k in range(1, menu.locator("option").count()):
                menu.select_option(index=k)
                seen.append(lesson.settled(i, after=seen[-1]))
            assert len({s["picture"] for s in seen}) > 1, f"{state['name']}: a menu never changes the picture"
        for box in explorer.get_by_role("checkbox").all():
            before = lesson.settled(i)
            box.focus()
            lesson.page.keyboard.press("Space")
            assert lesson.settled(i, after=before)["picture"] != before["picture"], f"{state['name']}: a checkbox changes nothing"
        assert still == []
        before = lesson.settled(i)
        explorer.get_by_role("button", name="Reset").click()
        assert same_page(lesson.settled(i, after=before), start) and lesson.drift(i) <= LEVELS and start["error"] == ""


def test_the_last_value_wins_after_a_fast_drag(lesson):
    lesson.answer_gates()
    mouse = lesson.page.mouse
    for i, state in enumerate(lesson.state()):
        for j in range(min(1, len(state["values"]))):
            track = lesson.explorers.nth(i).locator(".noUi-target").nth(j)
            track.scroll_into_view_if_needed()
            handle, box = track.locator(".noUi-handle").bounding_box(), track.bounding_box()
            y = handle["y"] + handle["height"] / 2
            mouse.move(handle["x"] + handle["width"] / 2, y)
            mouse.down()
            for turn in (0.95, 0.1, 0.7):
                mouse.move(box["x"] + turn * box["width"], y, steps=12)
            mouse.up()
            page = lesson.settled(i)
            number, low, high = (float(page["sliders"][j][k]) for k in ("number", "valuemin", "valuemax"))
            step = state["values"][j][1]
            assert abs(number - low - 0.7 * (high - low)) <= step + 0.05 * (high - low), (state["name"], page["sliders"][j])
            lesson.remember(i)
            lesson.kernel(f"[ex for _, o in _w._shown.values() for ex in o if hasattr(ex, 'controls')][{i}].set()")
            again = lesson.settled(i)  # drawn anew from the same values
            assert same_page(again, page) and lesson.drift(i) <= LEVELS, state["name"]


def test_every_visible_picture_has_a_name(lesson):
    names = lesson.pictures()
    assert len(names) >= lesson.explorers.count() and all(names)


@pytest.mark.parametrize("theme", ["Light", "Dark"])
def test_axe_finds_nothing_serious_in_our_widgets(lesson, theme):
    lesson.theme(f"JupyterLab {theme}")
    try:
        found = Axe().run(lesson.page, context={"include": [[".elbo-live"]]})
        lesson.shoot(theme.lower())
    finally:
        lesson.theme("JupyterLab Light")
    worst = [v for v in found.response["violations"] if v["impact"] in ("serious", "critical")]
    assert not worst, "\n".join(f"{v['id']}: {v['help']}\n  " + "\n  ".join(
        f"{n['html'][:300]} {n['failureSummary']}" for n in v["nodes"][:4]) for v in worst)


def test_there_is_room_to_type_an_answer(lesson):
    entries = lesson.page.locator(f"{PANEL} .elbo-live input[type=text]")
    assert [w for w in entries.evaluate_all("(all) => all.map((e) => e.clientWidth)") if w < 80] == []


def test_nothing_is_cut_off_at_200_percent_zoom(lesson):
    """Zoom halves the window in CSS pixels and doubles their density; JupyterLab's side bar is folded away."""
    with lesson.zoomed():
        for i in range(lesson.explorers.count()):
            lesson.shoot("zoom", i)
        assert lesson.explorers.evaluate_all(CUT_OFF) == []


def read_without_kernel(reader, path, figures):
    """Opens a notebook that has no kernel; returns the number of pictures it shows, and its errors."""
    nb = Notebook(reader, path, kernel=False)
    assert reader.evaluate("() => panel.sessionContext.session") is None
    for _ in range(100):
        if len(nb.pictures()) >= figures:
            break
        reader.wait_for_timeout(100)
    seen, errors = len(nb.pictures()), nb.errors()
    nb.close()
    return seen, errors


def test_the_saved_notebook_shows_every_figure_without_a_kernel(lesson, lab, reader):
    figures = len(lesson.pictures())
    lesson.save()
    shutil.copy(lab.root / lesson.path, lab.root / f"saved_{lesson.path}")
    assert read_without_kernel(reader, f"saved_{lesson.path}", figures)[0] == figures > 0


@pytest.mark.parametrize("name", LESSONS)
def test_the_committed_notebook_shows_every_figure_without_a_kernel(name, lab, reader):
    shutil.copy(NOTEBOOKS / name, lab.root / f"committed_{name}")
    outputs = [o for c in nbformat.read(NOTEBOOKS / name, 4).cells for o in c.get("outputs", [])]
    figures = sum("image/png" in o.get("data", {}) for o in outputs)
    assert figures > 0
    assert read_without_kernel(reader, f"committed_{name}", figures) == (figures, [])


def test_an_error_in_update_is_shown_to_the_student_and_goes_away(other_window):
    nb, keyboard = Notebook(other_window, "broken.ipynb"), other_window.keyboard
    assert nb.run_all() == []
    alert, handle = nb.explorers.get_by_role("alert"), nb.explorers.locator(".noUi-handle")
    assert alert.count() == 0
    handle.focus()
    for _ in range(3):
        keyboard.press("ArrowRight")
    alert.wait_for()
    assert "ZeroDivisionError" in alert.inner_text() and "1 / (k - 3)" in alert.inner_text()
    assert handle.bounding_box()["y"] < alert.bounding_box()["y"] < nb.explorers.locator("img").bounding_box()["y"]
    nb.shoot("error", 0)
    keyboard.press("ArrowRight")
    alert.wait_for(state="detached")
    assert nb.settled(0)["readout"] == "1 / (k - 3) = 1.000"
    nb.close()


@pytest.mark.parametrize("name", ["sandbox.ipynb", *LESSONS[:1]])
def test_running_every_cell_again_leaks_no_widget(name, lab, other_window):
    shutil.copy(lab.root / name, lab.root / f"again_{name}")  # a kernel of its own
    nb, alive = Notebook(other_window, f"again_{name}"), []
    for _ in range(3):
        assert nb.run_all() == []
        alive.append(int(nb.kernel("import ipywidgets.widgets.widget as _i; print(len(_i._instances))")))
    assert alive[2] == alive[1] > 0, f"widgets alive after run 1, 2, 3: {alive}"
    nb.close()
