"""nbgrader's formgrader in JupyterLab on a graded course, by mouse: a written answer is marked, and the student is told."""

import os
import re
import socket
import subprocess
import sys
import time
from types import SimpleNamespace
from urllib.error import URLError
from urllib.request import urlopen

import corpus
import pytest
from playwright.sync_api import expect

from course_utils.instructor import collect, feedback, grading, homework
from course_utils.instructor.marking import markings

from .helpers import SCREENSHOTS, VIEWPORT

HW = corpus.ASSIGNMENTS[0]
COMMENT = "Clear. <b>And</b> what is the evidence?"
pytestmark = [pytest.mark.usefixtures("sandboxed"), pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SAWarning")]  # nbgrader's own


@pytest.fixture(scope="module")
def teacher(chromium, tmp_path_factory):
    """A JupyterLab in the folder of a course that holds one graded submission: .url, .course."""
    home = tmp_path_factory.mktemp("teacher")
    course = home / "course"
    homework.generate(HW, homework.read(HW)[0], course)
    (course / "roster.csv").write_text("id,first_name,last_name\nada,Ada,Lovelace\n")
    collect.atomic_write(home / "downloads/ada" / f"{HW}.ipynb", corpus.written(corpus.solved(HW)))
    collect.Collection(course, HW).run([home / "downloads"])
    assert grading.grade(course, HW)["ada"]["status"] == "needs_manual"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}"
    env = dict(os.environ, JUPYTERLAB_SETTINGS_DIR=str(home / "settings"), JUPYTERLAB_WORKSPACES_DIR=str(home / "workspaces"))
    env |= {f"JUPYTER_{what}_DIR": str(home / what.lower()) for what in ("CONFIG", "RUNTIME", "DATA")}
    with (home / "server.log").open("w") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", "--no-browser", "--expose-app-in-browser", "--allow-root", "--ServerApp.ip=127.0.0.1",
             f"--ServerApp.port={url.rpartition(':')[2]}", "--ServerApp.port_retries=0", "--IdentityProvider.token=",
             f"--ServerApp.root_dir={course}", "--LabApp.news_url=None"], env=env, cwd=course, stdout=log, stderr=subprocess.STDOUT)
    try:
        for _ in range(600):
            try:
                urlopen(f"{url}/api", timeout=5)
                break
            except URLError:
                assert server.poll() is None, f"JupyterLab did not start:\n{(home / 'server.log').read_text()[-3000:]}"
                time.sleep(0.1)
        yield SimpleNamespace(url=url, course=course)
    finally:
        server.terminate()
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()


def test_a_written_answer_is_marked_in_formgrader_and_returned(teacher, browser):
    page = browser.new_context(viewport=VIEWPORT).new_page()
    page.goto(f"{teacher.url}/lab")
    page.wait_for_function("() => window.jupyterapp", timeout=60_000)
    page.evaluate("async () => { await jupyterapp.restored; jupyterapp.commands.execute('nbgrader:open-formgrader'); }")
    frame = page.frame_locator("iframe[src*=formgrader]")
    frame.get_by_role("link", name="Manual Grading").click(timeout=60_000)
    for _ in range(2):  # the assignment, then its only notebook
        frame.get_by_role("link", name=HW).last.click()
    frame.get_by_role("link", name="Submission #1").click()
    score, comment = frame.locator(f"#{written()}"), frame.locator("textarea.comment").last
    expect(frame.locator("input.score").first).to_have_attribute("placeholder", re.compile(r"\d"), timeout=60_000)  # it has its points
    with page.expect_response(lambda r: "/api/grade/" in r.url and r.request.method == "PUT"):
        score.fill("3.5")
        score.press("Tab")
    assert frame.locator("input.score").count() == len(markings(HW)) + 1
    comment.fill(COMMENT)
    with page.expect_response(lambda r: "/api/comment/" in r.url and r.request.method == "PUT"):
        comment.press("Tab")
    SCREENSHOTS.mkdir(exist_ok=True)
    page.screenshot(path=SCREENSHOTS / "formgrader.png")
    page.context.close()

    for _ in range(2):
        (ada,) = feedback.feedback(teacher.course, HW)
        assert (ada.status, ada.waiting, ada.total) == ("graded", "", ada.sum(ada.exercises) + 3.5)
        said = (teacher.course / "feedback/ada" / HW / f"{HW}.html").read_text(encoding="utf-8")
        assert "3.5 of 4 points" in said and "Clear. &lt;b&gt;And" in said
        _, rows = feedback.export(teacher.course)
        assert dict(zip(feedback.HEADER, rows[0]))["total"] == ada.total
        assert grading.grade(teacher.course, HW)["ada"]["status"] == "graded"  # and keeps what a person gave


def written():
    """The grade_id of the written question."""
    (name,) = (c.metadata.nbgrader.grade_id for c in homework.read(HW)[0].cells
               if c.cell_type == "markdown" and c.metadata.get("nbgrader", {}).get("grade"))
    return name
