"""What every test may use: lessons executed once in their solved form, and no figure left open."""

import os
import shutil
import sys
from types import SimpleNamespace

os.environ.setdefault("OMP_NUM_THREADS", "1")

import matplotlib

matplotlib.use("Agg")

import pytest

from course_utils import explore as explore_module
from course_utils.instructor import build

LESSONS = [p.stem for p in build.sources(os.environ.get("LESSONS", "").split())]  # LESSONS=03 tests one lesson alone


def run_solved(path):
    """Execute a source's code cells in order, with its solutions, as a kernel would, and keep every explorer it makes."""
    nb, lines = build.read(path, solved=True)
    namespace, explorers, seconds = {"__name__": "__lesson__"}, {}, 0.0
    make = explore_module.Explorer.__init__

    def remember(self, setup, **kw):
        make(self, setup, **kw)
        assert self.name not in explorers, f"{path.name}: two explorers are called {self.name}"
        explorers[self.name] = self

    explore_module.Explorer.__init__ = remember
    folder = os.getcwd()
    os.chdir(build.ROOT)
    try:
        for cell, line in zip(nb.cells, lines):
            if cell.cell_type == "code":  # blank lines in front make line numbers those of the source
                exec(compile("\n" * line + cell.source, str(path), "exec"), namespace)
    finally:
        os.chdir(folder)
        explore_module.Explorer.__init__ = make
    return SimpleNamespace(namespace=namespace, explorers=explorers, notebook=nb, path=path, seconds=seconds)


@pytest.fixture(scope="session")
def lesson():
    """`lesson("03")`: the solved lesson, executed once a session: .namespace, .explorers (by name), .notebook."""
    done = {}

    def get(number):
        (path,) = build.sources([number])
        if path not in done:
            done[path] = run_solved(path)
        return done[path]

    return get


@pytest.fixture(scope="session")
def sandboxed():
    """Grading needs bubblewrap: without it these tests skip, or fail in CI; a machine that forbids sandboxes skips, and says why."""
    from course_utils.instructor import sandbox

    try:
        sandbox.check()
    except sandbox.SandboxError as e:
        installed = shutil.which("bwrap") is not None
        (pytest.fail if os.environ.get("CI") == "true" and not installed else pytest.skip)(str(e))


@pytest.fixture(autouse=True)
def no_open_figures():
    """No test, lesson or explorer may leave a pyplot figure open."""
    yield
    if "matplotlib.pyplot" in sys.modules:
        open_figures = sys.modules["matplotlib.pyplot"].get_fignums()
        assert open_figures == [], f"pyplot figures left open: {open_figures}"
