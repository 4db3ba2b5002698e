"""Grading on real parts: nbgrader, kernels in bubblewrap, a process pool, a Dask cluster on loopback. What simulated students send,
and what must come of it."""
import copy
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nbformat
import pytest

sys.path.insert(0, str(Path(__file__).parent))
import grading_course as small
from grading_course import FULL, Course, cell

from course_utils.instructor import build, cli, grading, homework, marking, submission

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("sandboxed")]


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The small homework's course folder, built once, without submissions."""
    folder, root = tmp_path_factory.mktemp("author"), tmp_path_factory.mktemp("course")
    before = homework.SOURCE, list(marking.__path__)
    small.install(folder)
    homework.build_one(small.NAME, course=root, out=folder / "student")
    yield root
    homework.SOURCE, marking.__path__[:] = before


@pytest.fixture
def course(built, tmp_path):
    shutil.copytree(built, tmp_path / "course")
    return Course(tmp_path / "course")


# ---- what students send: name -> (submission, status, points by exercise, words in the reason or the notes) ---------------------
def corpus(c):
    """All simulated submissions for the small homework; `c` is a Course."""
    every = {}

    def add(name, nb, status="needs_manual", points=FULL, words=""):
        every[name] = (nb, status, FULL | points if isinstance(points, dict) else dict.fromkeys(FULL, points), words)

    def changed(change, **replace):
        nb = c.solved(replace)
        nb.cells = list(change(nb) or nb.cells)
        return nb

    def answer(body, name="double"):
        return f"def {name}(v):\n    " + body.replace("\n", "\n    ")

    good = {"double": answer("return 2 * v"), "log_sum": "def log_sum(a):\n    return np.logaddexp.reduce(a)"}
    wrong = dict.fromkeys(FULL, 0)
    # honest
    add("solved", c.solved())
    add("blank", c.release, "graded", 0)
    add("other right ways", c.solved(good))
    add("partial", c.solved({"log_sum": "def log_sum(a):\n    return np.log(np.sum(np.exp(a)))"}), points={"log_sum": 3})
    add("wrong double", c.solved({"double": answer("return v * v")}), points={"double": 0})  # fourfold is not punished for it
    add("all wrong", c.solved({n: f"def {n}(v): return v - 1" for n in FULL}), points=wrong)
    add("syntax error", c.solved({"double": "def double(v:\n    return"}), points={"double": 0})
    add("constants", c.solved({n: f"def {n}(v): return 4.0" for n in FULL}), points=wrong)
    add("raises", c.solved({"double": answer("raise ValueError('no')")}), points={"double": 0})
    add("returns text", c.solved({"double": answer("return str(2 * v)")}), points={"double": 0})
    warn = "import sys, warnings\nprint('x', file=sys.stderr)\nwarnings.warn('w')\nreturn v + v"
    add("warns on stderr", c.solved({"double": answer(warn)}))
    add("prints much", c.solved({"double": answer("for i in range(20000): print(i)\nreturn v + v")}))
    add("no written answer", c.solved(written="YOUR ANSWER HERE"), "graded")
    add("emptied written answer", c.solved(written="  \n"), "graded")
    add("torch", c.solved({"double": "import torch\n" + answer("return torch.as_tensor(v) * 2")}))
    add("own names for builtins", changed(lambda nb: nb.cells[:2] + [nbformat.v4.new_code_cell(
        "sum = dict = list = len = repr = print = exec = str = globals = 0; json = math = copy = np.float64(1)")] + nb.cells[2:]))
    # cells
    add("check deleted", changed(lambda nb: [x for x in nb.cells if x is not cell(nb, "double-check")]), words="put back")
    add("all checks and given cells deleted", changed(lambda nb: [x for x in nb.cells if not x.metadata.get("nbgrader", {}).get("locked")]),
        words="put back")
    add("answer deleted", changed(lambda nb: [x for x in nb.cells if x is not cell(nb, "double")]), points={"double": 0}, words="deleted")
    add("written deleted", changed(lambda nb: [x for x in nb.cells if x is not cell(nb, "why")]), words="'why' had been deleted")
    add("answer copied", changed(lambda nb: [*nb.cells, copy.deepcopy(cell(nb, "double"))]), words="2 times")
    add("stub copied behind", changed(lambda nb: [*nb.cells[:5], cell(c.release, "double"), *nb.cells[5:]]), words="2 times")
    add("check copied", changed(lambda nb: [copy.deepcopy(cell(nb, "double-check")), *nb.cells]), words="2 times")
    add("check edited", c.solved({"double-check": "raise SystemExit"}), words="edited")
    add("given cell edited", c.solved({"given-1": cell(c.release, "given-1").source + "\nimport math",
                                       "double": answer("return 2 * math.fabs(1) * v")}), words="then the edited one")
    add("checks moved to the top", changed(lambda nb: sorted(nb.cells, key=lambda x: not x.metadata.get("nbgrader", {}).get("grade"))),
        words="moved behind")
    add("cells reversed", changed(lambda nb: nb.cells[:3] + nb.cells[:2:-1]))

    def retype(nb):
        for gid, kind in (("double", "markdown"), ("double-check", "raw"), ("why", "code")):
            cell(nb, gid).cell_type = kind

    def strip(nb, ids=False):
        for i, x in enumerate(nb.cells):
            x.metadata.pop("nbgrader", None)
            x.id = f"x{i}" if ids else x.id

    def meddle(nb):
        cell(nb, "double-check").metadata.nbgrader |= {"points": 100, "solution": True, "grade": False, "locked": False}
        cell(nb, "fourfold-check").metadata.nbgrader = {"grade_id": "fourfold-check", "schema_version": 1}
        cell(nb, "log_sum").metadata.nbgrader |= {"grade_id": "other"}
        cell(nb, "log_sum-check").metadata.nbgrader = "?"

    add("cells retyped", changed(retype), words="had been made a")
    add("metadata stripped", changed(strip), words="recognised")
    add("metadata and ids stripped", changed(lambda nb: strip(nb, True)), words="recognised")
    add("metadata meddled with", changed(meddle), words="recognised")
    # files
    text = json.dumps(c.solved())
    raw = json.loads(text)
    old = nbformat.convert(copy.deepcopy(c.solved()), 3)
    add("nbformat 3", nbformat.writes(old, 3))
    odd = [x | ({"outputs": [{"output_type": "?"}, 7], "execution_count": "x"} if x["cell_type"] == "code" else {}) for x in raw["cells"]]
    add("format 4.99 and other kernel and odd outputs",
        json.dumps(raw | {"nbformat_minor": 99, "metadata": {"kernelspec": {"name": "ir"}}, "cells": [*odd, 5]}))
    add("byte order mark", b"\xef\xbb\xbf" + text.encode())
    add("UTF-16", text.encode("utf-16"))
    add("latin-1", json.dumps(c.solved(written="déjà vu"), ensure_ascii=False).encode("latin-1"))
    add("empty file", "", "rejected", words="empty")
    add("truncated", text[:len(text) // 2], "rejected", words="ends too early")
    add("web page", "<!DOCTYPE html><html><body>log in</body></html>", "rejected", words="web page")
    add("merge conflict", "<<<<<<< HEAD\n" + text, "rejected", words="conflict")
    add("another notebook", nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1")]), "rejected", words="another notebook")
    add("other JSON", '{"a": 1}', "rejected", words="no cells")
    add("nbformat 5", json.dumps(raw | {"nbformat": 5}), "rejected", words="newer")
    add("deep JSON", "[" * 100_000, "rejected", words="not a notebook")
    add("half a character", json.dumps(c.solved(written="x \ud800 y")))
    # hostile and broken while running
    add("endless loop", c.solved({"double": answer("return 2 * v") + "\nwhile True: pass"}), words="stopped after")
    add("endless loop in a function", c.solved({"log_sum": "def log_sum(a):\n    while True: pass"}), points={"log_sum": 0})
    loop = "while True:\n    try:\n        while True: pass\n    except BaseException: pass"
    add("loop that cannot be interrupted", c.solved({"fourfold": loop}), None, {"fourfold": 0, "log_sum": None}, "stopped after")
    add("deaf loop", c.solved({"fourfold": "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n" + loop}), "timed_out",
        {"fourfold": 0, "log_sum": 0}, "could not be interrupted")
    add("os._exit", c.solved({"log_sum": "def log_sum(a):\n    import os; os._exit(0)"}), "crashed", {"log_sum": 0}, "ended its own")
    add("segmentation fault", c.solved({"fourfold": "import ctypes; ctypes.string_at(0)"}), "crashed", {"fourfold": 0, "log_sum": 0},
        "SIGSEGV")
    add("sys.exit", c.solved({"fourfold": "import sys\nsys.exit(0)"}), points={"fourfold": 0})
    add("input", c.solved({"fourfold": answer("return 4 * v", "fourfold") + "\ninput()"}))
    add("memory", c.solved({"double": answer("return np.ones(10**10) * 2")}), points={"double": 0})
    bomb = "import os, time\nend = time.time() + 2\nwhile time.time() < end:\n    try: os.fork()\n    except OSError: pass"
    add("fork bomb", c.solved({"fourfold": bomb}), None, {"fourfold": None, "log_sum": None})
    add("flood", c.solved({"double": answer("return 2 * v") + "\nwhile True: print('x' * 1000)"}), words="'double'")
    add("one huge line", c.solved({"double": answer("return 2 * v") + "\nprint('x' * 50_000_000)"}))
    add("huge answer", c.solved({"double": answer("return np.zeros(10**6)")}), points={"double": 0})
    twice = answer("return 2 * v") + "\n"
    add("kills its parent", c.solved({"double": twice + "import os, signal\nos.kill(os.getppid(), signal.SIGKILL)"}))
    add("child left behind", c.solved({"double": twice + "import subprocess\nsubprocess.Popen(['sleep', '4321'])"}))
    same = "np.isclose = np.allclose = lambda *a, **k: True\n"
    add("patched comparison", c.solved({n: same + answer("return v", n) for n in FULL}), points=wrong)
    add("patched json", c.solved({"double": "import json\njson.dumps = lambda *a, **k: '[' * 10**6\n" + twice}), "timed_out", 0)
    free = "import contextlib, course_utils.checks as k\nk.time_limit = lambda s: contextlib.nullcontext()\n"
    add("patched time limit", c.solved({"log_sum": free + "def log_sum(a):\n    while True: pass"}), points={"log_sum": 0})
    add("patched print", c.solved({"double": "import builtins\nbuiltins.print = None\n" + answer("return 2 * v")}))
    strip_asserts = """import ast
class T(ast.NodeTransformer):
    def visit_Assert(self, node): return None
get_ipython().ast_transformers.append(T())
"""
    add("asserts stripped", c.solved({"double": strip_asserts + answer("return v")}), points={"double": 0})
    add("run_cell replaced", c.solved({"fourfold": "ip = get_ipython()\nip.run_cell = ip.run_cell_async = lambda *a, **k: None"}),
        "timed_out", {"fourfold": 0, "log_sum": 0})
    equal = "class E:\n    __eq__ = __le__ = __ge__ = lambda s, o: True\n"
    add("always equal", c.solved({"double": equal + answer("return E()")}), points={"double": 0})
    look = """import importlib, os
FOUND = None
for name in ("course_utils.instructor.marking", "course_utils.instructor"):
    try: importlib.import_module(name); FOUND = name
    except ImportError: pass
for top, dirs, files in os.walk("/"):
    dirs[:] = set(dirs) - {"proc", "sys", "usr", "site-packages"}
    if any("gradebook" in f or f.startswith("hw") or f == "roster.csv" for f in files): FOUND = top
"""
    add("looks for the marking", c.solved({"double": look + answer("return 2 * v if FOUND is None else None")}))
    net = """import socket
try:
    socket.create_connection(("127.0.0.1", 22), 1); OPEN = True
except OSError as e:
    OPEN = "refused" not in str(e) and "unreachable" not in str(e)
OPEN = OPEN or [n for _, n in socket.if_nameindex() if n != "lo"]
"""
    add("network", c.solved({"double": net + answer("return v if OPEN else 2 * v")}))
    write = """WROTE = 0
for p in ("/usr/x", "/lib-course/x", "/lib-course/course_utils/checks/__init__.py", "/connection.json", "/work/x", "/root/x", "/etc/x"):
    try: open(p, "a"); WROTE = p
    except OSError: pass
"""
    add("writes about", c.solved({"double": write + answer("return v if WROTE else 2 * v")}))
    steal = "import builtins\n" + answer("builtins.stolen = globals()['double']\nreturn 4 * v", "fourfold")
    nb = c.solved({"double": answer("import builtins\nreturn builtins.stolen(v)"), "fourfold": steal})
    early = [x for x in nb.cells if x.metadata.get("nbgrader", {}).get("grade_id", "").startswith("fourfold")]
    nb.cells = [*nb.cells[:3], *early, *[x for x in nb.cells[3:] if x not in early]]
    add("steals the reference", nb, points={"double": 0})
    return every


@pytest.fixture(scope="module")
def graded(built, tmp_path_factory):
    """Every simulated submission graded in one run: {name: record}, with what was expected, and the course."""
    root = tmp_path_factory.mktemp("corpus") / "course"
    shutil.copytree(built, root)
    c = Course(root)
    every = corpus(c)
    for name, (nb, *_) in every.items():
        c.hand_in(name, nb)
    c.ids.append("absent")
    c.hand_in("numpy file", c.solved())
    (root / "submitted/numpy file" / c.name / "numpy.py").write_text("isclose = allclose = lambda *a: True")
    every["numpy file"] = (None, "needs_manual", FULL, "")
    patch = pytest.MonkeyPatch()
    patch.setattr(grading, "CELL", 8.0)
    patch.setattr(grading, "ASK", 8.0)
    patch.setattr(submission, "MAX_FILE", 2_000_000)
    c.hand_in("too large", json.dumps({"x": "x" * 2_000_001}))
    every["too large"] = (None, "rejected", FULL, "limit")
    scratch = tempfile.mkdtemp(prefix="t")  # a short name: sockets lie in it
    patch.setattr(grading, "MEMORY", scratch)
    records = grading.grade(root, "hw90", jobs=2)
    patch.undo()
    left = list(Path(scratch).iterdir())
    shutil.rmtree(scratch)
    return c, every, records, left


def test_every_submission_comes_to_what_was_expected(graded):
    c, every, records, _ = graded
    problems = []
    print(f"\n{'submission':42}{'status':14}{'got':24}reason, notes")
    for name, (_, status, points, words) in every.items():
        r = records[name]
        got = {n: e["points"] for n, e in r["exercises"].items()}
        print(f"{name:42}{r['status']:14}{' '.join(f'{v:g}' for v in got.values()):24}{r['reason']} {'; '.join(r['notes'])}"[:230])
        if status is not None and r["status"] != status:
            problems.append(f"{name}: {r['status']} for {status}: {r['reason']} {r['notes']}")
        elif status != "rejected" and any(v is not None and got.get(n) != v for n, v in points.items()):
            problems.append(f"{name}: {got} for {points}: {r['notes']} {[e['failed'] for e in r['exercises'].values()]}")
        elif words not in r["reason"] + "; ".join(r["notes"]):
            problems.append(f"{name}: {words!r} is not in {r['reason']!r}, {r['notes']}")
    assert not problems, "\n".join(problems)


def test_each_student_has_one_record_with_a_status_and_a_reason(graded):
    c, every, records, _ = graded
    assert set(records) == {*every, "absent"} and records["absent"]["status"] == "missing"
    for name, record in records.items():
        assert json.loads((c.root / "records" / c.name / f"{name}.json").read_text()) == record
        assert record["status"] in ("graded", "needs_manual", "rejected", "missing", "crashed", "timed_out")
        assert record["reason"] or record["status"] == "graded"
        assert (record["points"] is None) == (record["status"] in ("rejected", "missing"))


def test_nothing_of_the_marking_reaches_a_student(graded):
    c, every, *_ = graded
    for path in c.root.glob("autograded/*/*/*.ipynb"):
        text = path.read_text()
        assert not any(word in text for word in ("_probe", "logsumexp", "no shift", "square for double")), path
        assert path.stat().st_size < 200_000


def test_no_process_and_no_folder_is_left(graded):
    assert not graded[3]
    running = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True).stdout
    assert "sleep 4321" not in running


def test_nbgrader_sees_the_same_marks(graded):
    """Its gradebook, its export's figures and what formgrader lists."""
    from nbgrader.apps import NbGraderAPI
    from traitlets.config import Config

    c, every, records, _ = graded
    api = NbGraderAPI(config=Config({"CourseDirectory": {"root": str(c.root), "course_id": "elbo_room"}}))
    listed = {s["student"]: s for s in api.get_submissions(c.name)}
    for name, record in records.items():
        if record["points"] is None:
            assert not listed.get(name, {}).get("autograded"), name
        else:
            assert listed[name]["autograded"] and listed[name]["score"] == pytest.approx(record["points"]), name
            waits = record["status"] != "graded"  # a crash leaves the written answer to be read
            assert listed[name]["needs_manual_grade"] == waits, name
    with api.gradebook as book:
        assert book.find_submission(c.name, "solved").timestamp.isoformat() == records["solved"]["submitted"]


# ---- again, interrupted, broken machines ---------------------------------------------------------------------------------------
def test_only_what_changed_is_graded_again(course, capsys):
    for s in ("a", "b", "c"):
        course.hand_in(s, course.solved())
    grading.grade(course.root, "hw90", jobs=1)
    from nbgrader.api import Gradebook
    with Gradebook(f"sqlite:///{course.root}/gradebook.db") as book:
        for s in ("a", "b"):
            grade = book.find_grade("why", course.name, course.name, s)
            grade.manual_score, grade.needs_manual_grade = 4.0, False
        book.db.commit()
    calls, real = [], grading._pool

    def pool(c, todo, jobs):
        calls.append(set(todo))
        return real(c, todo, jobs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(grading, "_pool", pool)
        stamps = {p: p.stat().st_mtime_ns for p in course.root.glob("autograded/*/*/*.ipynb")}
        records = grading.grade(course.root, "hw90", jobs=1)
        assert [r["status"] for r in records.values()] == ["graded", "graded", "needs_manual"]  # a person has marked two
        course.hand_in("b", course.solved({"double": "def double(v): return v"}))
        (course.root / "submitted/c" / course.name / "timestamp.txt").write_text("2026-12-24 10:00:00 UTC")
        grading.grade(course.root, "hw90", jobs=1, only=["c"])  # leaves b for later
        records = grading.grade(course.root, "hw90", jobs=1)
        (course.root / "submitted/a" / course.name / f"{course.name}.ipynb").unlink()
        gone = grading.grade(course.root, "hw90", jobs=1)["a"]
    assert calls == [set(), set(), {"b"}, set()]
    assert gone["status"] == "missing" and "a person gave" in gone["notes"][0]
    assert records["b"]["points"] == 11 and records["b"]["status"] == "needs_manual"  # other text: a person looks again
    assert records["c"]["submitted"].startswith("2026-12-24")
    assert {p.parts[-3] for p, t in stamps.items() if p.stat().st_mtime_ns != t} == {"b"}
    with Gradebook(f"sqlite:///{course.root}/gradebook.db") as book:
        assert book.find_submission(course.name, "b").score == 15 and book.find_submission(course.name, "a").score == 18


def test_no_bubblewrap_no_grading(course, monkeypatch, capsys):
    course.hand_in("a", course.solved())
    monkeypatch.setenv("PATH", str(course.root))
    assert cli.main(["grade", "hw90", "--root", str(course.root)]) == 2
    assert "apt-get install bubblewrap" in capsys.readouterr().err
    assert not (course.root / "records").exists()
    assert cli.main(["grade", "hw90", "--root", str(course.root), "--no-sandbox", "--jobs", "1"]) == 0
    assert "your rights" in capsys.readouterr().err
    assert json.loads((course.root / "records" / course.name / "a.json").read_text())["points"] == 14


def test_a_kernel_that_does_not_start_is_not_a_zero(course, monkeypatch, tmp_path, capsys):
    course.hand_in("a", course.solved())
    fake = tmp_path / "bin/bwrap"
    fake.parent.mkdir()
    fake.write_text(f'#!/bin/sh\ncase "$*" in *connection.json*) exit 1;; esac\nexec {shutil.which("bwrap")} "$@"\n')
    fake.chmod(0o755)
    with monkeypatch.context() as patch:
        patch.setenv("PATH", f"{fake.parent}:{os.environ['PATH']}")
        assert cli.main(["grade", "hw90", "--root", str(course.root), "--jobs", "1"]) == 1
    record = json.loads((course.root / "records" / course.name / "a.json").read_text())
    assert record["status"] == "crashed" and record["points"] is None and "not the student's fault" in record["reason"]
    assert "not the student's fault" in capsys.readouterr().out
    assert cli.main(["grade", "hw90", "--root", str(course.root), "--jobs", "1"]) == 0
    assert json.loads((course.root / "records" / course.name / "a.json").read_text())["points"] == 14


def test_a_worker_that_is_killed_takes_nobody_with_it(course, monkeypatch, tmp_path):
    for s in "abcd":
        course.hand_in(s, course.solved())
    real = grading.grade_one

    def grade_one(c, student, data, another=False):
        if student == "b" and not (tmp_path / "killed").exists():
            (tmp_path / "killed").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if student == "c":
            os.kill(os.getpid(), signal.SIGKILL)
        return real(c, student, data, another)

    monkeypatch.setattr(grading, "grade_one", grade_one)
    records = grading.grade(course.root, "hw90", jobs=2)
    assert [records[s]["points"] for s in "abcd"] == [14, 14, None, 14]
    assert records["c"]["status"] == "crashed" and "lost" in records["c"]["reason"]


def test_another_homework_or_none(course, capsys):
    assert cli.main(["grade", "hw77", "--root", str(course.root)]) == 2
    assert "no homework starts with 'hw77'" in capsys.readouterr().err
    with pytest.raises(SystemExit) as stop:
        cli.main(["grade"])
    assert stop.value.code == 2


def test_dask_workers_and_one_of_them_killed(course, tmp_path):
    """A real scheduler and two real worker processes on loopback; one is killed in the middle."""
    students = [f"s{i:02}" for i in range(10)]
    for s in students:
        course.hand_in(s, course.solved({"double": f"import time\ntime.sleep(0.5)\ndef double(v): return 2 * v  # {s}"}))
    (tmp_path / "preload.py").write_text(
        f"from course_utils.instructor import marking\nmarking.__path__.append({str(Path(homework.SOURCE))!r})\n")
    (tmp_path / "t").mkdir()
    env = {**os.environ, "PYTHONPATH": str(build.ROOT.parent), "OMP_NUM_THREADS": "1", "TMPDIR": str(tmp_path / "t")}
    address, processes = tmp_path / "scheduler.json", []

    def start(*args):
        module = {"scheduler": "dask_scheduler", "worker": "dask_worker"}[args[0]]
        processes.append(subprocess.Popen([sys.executable, "-m", f"distributed.cli.{module}", *args[1:]], env=env, cwd=tmp_path,
                                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True))

    start("scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(address))
    try:
        deadline = time.monotonic() + 60
        while not address.exists() and time.monotonic() < deadline:
            time.sleep(0.2)
        url = json.loads(address.read_text())["address"]
        for i in range(2):
            start("worker", url, "--nthreads", "1", "--no-dashboard", "--host", "127.0.0.1", "--preload", str(tmp_path / "preload.py"),
                  "--local-directory", str(tmp_path / f"w{i}"))
        done = []

        def kill_one(progress, student, record):
            done.append(student)
            if len(done) == 2:
                os.killpg(processes[1].pid, signal.SIGKILL)  # the worker and its nanny

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(grading.Progress, "step", kill_one)
            records = grading.grade(course.root, "hw90", scheduler=url)
        assert sorted(done) == students  # each came back once
        assert processes[1].poll() is not None and processes[2].poll() is None
        assert {r["points"] for r in records.values()} == {14.0} and {r["status"] for r in records.values()} == {"needs_manual"}
    finally:
        for process in processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
                process.wait(20)
