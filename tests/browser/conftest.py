"""A real JupyterLab on the loopback address and a real Chromium, one of each for all browser tests."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import uuid
from pathlib import Path
from types import SimpleNamespace
from urllib.error import URLError
from urllib.request import urlopen

import nbformat
import pytest

from course_utils.instructor import build

from .helpers import BROKEN, NOTEBOOKS, SANDBOX, SCREENSHOTS, VIEWPORT

SETTINGS = {  # every cell is on the page, and nothing pops up over it
    "notebook-extension/tracker": {"windowingMode": "none"},
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
}
# The package is the scope: Playwright's event loop must not outlive these tests, or others could start none of theirs.


def pytest_collection_modifyitems(items):
    here = Path(__file__).parent
    for item in items:
        if here in Path(item.path).parents:
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="package")
def chromium():
    """The path of a browser; without one the tests skip, or fail where a browser is required."""
    names = ("chromium", "chromium-browser", "google-chrome")
    found = os.environ.get("ELBO_ROOM_CHROMIUM") or next(filter(None, map(shutil.which, names)), None)
    if found is None or shutil.which(found) is None:
        reason = f"no browser: none of {', '.join(names)} is on the PATH, and ELBO_ROOM_CHROMIUM names no program"
        required = os.environ.get("ELBO_ROOM_REQUIRE_BROWSER") == "1" or os.environ.get("CI") == "true"
        (pytest.fail if required else pytest.skip)(reason)
    return found


@pytest.fixture(scope="package")
def lab(chromium, tmp_path_factory):
    """A JupyterLab over copies of the notebooks, with settings of its own: .url, .root (the folder it serves)."""
    home = tmp_path_factory.mktemp("lab")
    root = shutil.copytree(NOTEBOOKS, home / "root", ignore=shutil.ignore_patterns("source", ".ipynb_checkpoints"))
    for name, cells in {"sandbox": SANDBOX, "broken": BROKEN}.items():
        nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c.strip()) for c in cells], metadata=build.METADATA)
        nbformat.write(nb, root / f"{name}.ipynb")
    SCREENSHOTS.mkdir(exist_ok=True)
    for name, values in SETTINGS.items():
        file = home / "settings/@jupyterlab" / f"{name}.jupyterlab-settings"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(values))
    env = dict(os.environ, OMP_NUM_THREADS="1", JUPYTERLAB_SETTINGS_DIR=str(home / "settings"),
               JUPYTERLAB_WORKSPACES_DIR=str(home / "workspaces"), JUPYTER_NO_CONFIG="1")
    env |= {f"JUPYTER_{what}_DIR": str(home / what.lower()) for what in ("CONFIG", "RUNTIME", "DATA")}
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = home / "server.log"
    with log.open("w") as out:
        server = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", "--no-browser", "--expose-app-in-browser", "--allow-root",
             "--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}", "--ServerApp.port_retries=0",
             "--IdentityProvider.token=", f"--ServerApp.root_dir={root}", "--LabApp.news_url=None",
             "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"],
            env=env, cwd=root, stdout=out, stderr=subprocess.STDOUT)
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            try:
                urlopen(f"{url}/api", timeout=5)
                break
            except URLError:
                assert server.poll() is None, f"JupyterLab did not start:\n{log.read_text()[-3000:]}"
                time.sleep(0.1)
        else:
            pytest.fail(f"JupyterLab did not answer within a minute:\n{log.read_text()[-3000:]}")
        yield SimpleNamespace(url=url, root=root, log=log)
    finally:
        server.terminate()  # ends its kernels too
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()


@pytest.fixture(scope="package")
def browser(chromium):
    from playwright.sync_api import sync_playwright

    arguments = ["--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-sync",
                 "--no-first-run"]
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=chromium, args=arguments, env={**os.environ, "LC_ALL": "C"})
        yield running
        running.close()


@pytest.fixture(scope="package")
def new_window(lab, browser):
    """`new_window()` -> a page with JupyterLab on it, in a browser context that knows nothing of the others."""

    def open_one():
        page = browser.new_context(viewport=VIEWPORT, reduced_motion="reduce").new_page()
        page.set_default_timeout(120_000)  # the machine may be busy
        page.goto(f"{lab.url}/lab/workspaces/{uuid.uuid4().hex}")
        page.wait_for_function("() => window.jupyterapp", timeout=60_000)
        return page

    return open_one


@pytest.fixture(scope="package")
def window(new_window):
    """The window in which the lessons are run, one after the other."""
    return new_window()


@pytest.fixture(scope="package")
def other_window(new_window):
    """The window for notebooks that are run while a lesson is still open."""
    return new_window()


@pytest.fixture(scope="package")
def reader(new_window):
    """A window in which no notebook has ever run."""
    return new_window()
