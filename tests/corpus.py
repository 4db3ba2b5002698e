"""Simulated submissions of every assignment, each with what grading must say about it.

`submissions(homework)` gives them. To add a hostile one, add a line to HOSTILE (a function that changes the solved notebook)
with the exercises that it loses and the statuses that are right for it. A mutant becomes a student's cell by pickling its
function with everything that it uses, so that the cell needs nothing of the teacher's side.
"""

import base64
import copy
import functools
import importlib
import json
from typing import NamedTuple

import cloudpickle
import nbformat

from course_utils.instructor import build, homework
from course_utils.instructor.marking import markings

ASSIGNMENTS = sorted(p.stem for p in homework.SOURCE.glob("hw*.py"))
FINE = ("graded", "needs_manual")  # graded: nothing was written that a person has to read
ANSWER = "An answer in words, to be read by a person."


class Submission(NamedTuple):
    """A file that a student hands in, and what is right: the statuses allowed, {exercise: share of its points} (None: no
    points at all, the file is not graded; empty: any, as long as it ends in a status)."""

    name: str
    kind: str  # honest, partial, mutant, blank, broken, hostile
    data: bytes
    status: tuple
    shares: dict | None


# ---- honest work -----------------------------------------------------------------------------------------------------
@functools.cache
def _notebooks(hw):
    source = homework.read(hw)[0]
    return source, homework.released(copy.deepcopy(source))


def stub(hw):
    """The notebook that students get, as nbgrader releases it."""
    return copy.deepcopy(_notebooks(hw)[1])


def cell(nb, grade_id):
    return next(c for c in nb.cells if c.metadata.get("nbgrader", {}).get("grade_id") == grade_id)


def solved(hw, answer=ANSWER):
    """The student's notebook with every exercise solved as the author does, and something written."""
    nb = stub(hw)
    for c in _notebooks(hw)[0].cells:
        mark = c.metadata.get("nbgrader", {})
        if mark.get("solution"):
            mine = cell(nb, mark["grade_id"])
            mine.source = answer if mine.cell_type == "markdown" else c.source.replace(build.BEGIN, "#").replace(build.END, "#")
    return nb


def function_source(name, function, hw):
    """Source of a cell that defines `name` as `function`, with all that it uses from the marking file."""
    module = importlib.import_module(f"course_utils.instructor.marking.{hw[:4]}")
    cloudpickle.register_pickle_by_value(module)
    try:
        data = base64.b64encode(cloudpickle.dumps(function)).decode()
    finally:
        cloudpickle.unregister_pickle_by_value(module)
    return f"import base64, pickle\n{name} = pickle.loads(base64.b64decode({data!r}))"


def written(nb):
    return json.dumps(nb).encode()


def everything(hw, **but):
    """Full shares, but for the exercises named."""
    return {name: 1.0 for name in markings(hw)} | but


def honest(hw):
    marks, names = markings(hw), list(markings(hw))
    yield Submission("solved", "honest", written(solved(hw)), FINE[1:], everything(hw))
    yield Submission("solved-nothing-written", "honest", written(solved(hw, homework.ANSWER)), FINE[:1], everything(hw))
    yield Submission("blank", "blank", written(stub(hw)), FINE[:1], dict.fromkeys(names, 0.0))
    half = solved(hw)
    for name in names[::2]:
        cell(half, name).source = cell(stub(hw), name).source
    yield Submission("every-other-exercise", "partial", written(half), FINE[1:], everything(hw, **dict.fromkeys(names[::2], 0.0)))
    other = solved(hw)
    for name, mark in marks.items():
        cell(other, name).source = function_source(name, mark.variants[0], hw)
    yield Submission("another-right-way", "honest", written(other), FINE[1:], everything(hw))


def mutants(hw):
    """Every mutant of every exercise, spread over a few submissions: in each at least one exercise is right, and none has two."""
    marks = markings(hw)
    every = [(name, m) for name, mark in marks.items() for m in mark.mutants]
    n = max(-(-len(every) // (len(marks) - 1)), *(len(mark.mutants) for mark in marks.values()))
    for k in range(n):
        nb, mine = solved(hw), every[k::n]
        for name, m in mine:
            cell(nb, name).source = function_source(name, m.wrong, hw)
        lost = {name: marks[name].partial.get(m.name, 0.0) for name, m in mine}
        yield Submission(f"mutants-{k + 1}", "mutant", written(nb), FINE[1:], everything(hw, **lost)), {name: m.name for name, m in mine}


# ---- hostile and broken work -----------------------------------------------------------------------------------------
def _first(nb, hw):
    return cell(nb, next(iter(markings(hw))))


def body(code):
    """Replaces the body of the first exercise."""
    def change(nb, hw):
        name = next(iter(markings(hw)))
        _first(nb, hw).source = f"def {name}(*args, **kwargs):\n" + "".join(f"    {line}\n" for line in code.splitlines())
        return nb
    return change


def before(code):
    """Adds a cell above the first exercise."""
    def change(nb, hw):
        nb.cells.insert(nb.cells.index(_first(nb, hw)), nbformat.v4.new_code_cell(code))
        return nb
    return change


def both(*changes):
    def change(nb, hw):
        for one in changes:
            nb = one(nb, hw)
        return nb
    return change


def on_check(what):
    """Changes the check cell of the first exercise."""
    def change(nb, hw):
        what(nb, cell(nb, f"{next(iter(markings(hw)))}-check"))
        return nb
    return change


def on_exercise(what):
    def change(nb, hw):
        what(nb, _first(nb, hw))
        return nb
    return change


def raw(make):
    """Changes the file's bytes instead of its cells."""
    return lambda nb, hw: make(written(nb))


def all_metadata_gone(nb, hw):
    for c in nb.cells:
        c.metadata = {}
    return nb


def checks_first(nb, hw):
    checks = [c for c in nb.cells if c.metadata.get("nbgrader", {}).get("grade_id", "").endswith("-check")]
    nb.cells = checks + [c for c in nb.cells if c not in checks]
    return nb


def imports_gone(nb, hw):
    nb.cells.remove(next(c for c in nb.cells if c.cell_type == "code"))
    return nb


def last_crashes(code):
    """The middle exercise ends the process; what comes before is kept."""
    def change(nb, hw):
        names = list(markings(hw))
        cell(nb, names[len(names) // 2]).source = f"def {names[len(names) // 2]}(*args, **kwargs):\n    {code}"
        return nb
    return change


def nbformat_3(nb, hw):
    return json.dumps(nbformat.convert(nb, 3)).encode()


def edit(**changes):
    """Changes the notebook's top level."""
    return lambda nb, hw: json.dumps({**nb, **changes}).encode()


def without_ids(nb, hw):
    return json.dumps({**nb, "nbformat_minor": 4, "cells": [{k: v for k, v in c.items() if k != "id"} for c in nb.cells]}).encode()


def bogus_outputs(nb, hw):
    for c in nb.cells:
        if c.cell_type == "code":
            c.outputs = [nbformat.v4.new_output("display_data", {"text/html": "<script>alert(1)</script>", "image/png": "!!"})]
            c.execution_count = -7
    return nb


WRONG = "return 0.0"
EQUAL = """
class Always(float):
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    __lt__ = __le__ = __gt__ = __ge__ = __eq__
    def __sub__(self, other): return 0.0
    __rsub__ = __sub__
    def __hash__(self): return 0
return Always(1.0)
"""
STRIP = """
import ast
class Strip(ast.NodeTransformer):
    def visit_Assert(self, node): return None
get_ipython().ast_transformers.append(Strip())
"""
SNEAK = """
import glob, os, subprocess
for path in ["../../../source", "/course", "/etc/shadow", os.path.expanduser("~")]:
    for file in glob.glob(path + "/**/*.db", recursive=True) + glob.glob(path + "/**/*.ipynb", recursive=True):
        open(file, "a").write("x")
import socket
socket.setdefaulttimeout(2)
for act in (lambda: socket.create_connection(("127.0.0.1", 22)), lambda: open("/usr/evil", "w"), lambda: os.remove("/etc/passwd"),
            lambda: os.kill(os.getppid(), 9), lambda: subprocess.Popen(["sleep", "4321"])):
    try:
        act()
    except Exception:
        pass
"""
FORGE = """
import builtins, json
_answers = json.dumps([{"value": [[[], ["0.0"]]]}] * 10)
class Forged(str):
    pass
builtins.__dict__.setdefault("_answers", _answers)
"""
PEEK = """
import gc, sys
for thing in gc.get_objects():
    if type(thing).__name__ in ("Marking", "Group") or "course_utils.instructor" in sys.modules:
        raise SystemExit("found the marking")
return 0.0
"""
PATCH = """
import numpy as np, math
from course_utils import checks
np.isclose = np.allclose = math.isclose = checks._same = lambda *args, **kwargs: True
"""
DEAF = "get_ipython().run_cell = get_ipython().run_cell_async = lambda *args, **kwargs: None"
FLOODED = (*FINE, "timed_out", "crashed")
LOST = "first"  # the points of the first exercise
AFTER = "after"  # the points of the middle exercise and of those behind it
NONE = "none"  # not graded

# name: (change, what it loses, the statuses that are right)
HOSTILE = {
    # wrong Python
    "syntax-error": (body("return ("), LOST, FINE),
    "name-error": (body("return no_such_name"), LOST, FINE),
    "error-above": (before("1 / 0"), None, FINE),
    "returns-none": (body("pass"), LOST, FINE),
    "returns-text": (body("return 'see above'"), LOST, FINE),
    "returns-nan": (body("return float('nan')"), LOST, FINE),
    "warns-on-stderr": (before("import sys, warnings\nwarnings.warn('careful')\nprint('careful', file=sys.stderr)"), None, FINE),
    "function-is-a-number": (on_exercise(lambda nb, c: c.update(source=f"{c.metadata.nbgrader.grade_id} = 3")), LOST, FINE),
    # loops, crashes, floods
    "loop-in-function": (body("while True: pass"), LOST, FINE),
    "loop-that-swallows": (body("while True:\n    try:\n        while True: pass\n    except BaseException: pass"), LOST, FLOODED),
    "loop-on-top": (before("while True: pass"), None, FLOODED),
    "too-much-memory": (body("import numpy as np\nreturn np.ones(10**11).sum()"), LOST, FINE),
    "exit-in-function": (body("import sys; sys.exit(0)"), LOST, FINE),
    "exit-on-top": (before("import sys; sys.exit(0)"), None, FINE),
    "input-on-top": (before("input('name? ')"), None, FINE),
    "os-exit": (last_crashes("import os; os._exit(0)"), AFTER, ("crashed",)),
    "segfault": (last_crashes("import ctypes; ctypes.string_at(0)"), AFTER, ("crashed",)),
    "print-without-end": (before("while True: print('x' * 1000)"), None, FLOODED),
    "hundred-megabytes": (before("print('x' * 10**8)"), None, FLOODED),
    "a-million-lines": (before("print('x\\n' * 10**6)"), None, FLOODED),
    "fork-bomb": (before("import os\nfor _ in range(300):\n    try:\n        if os.fork() == 0:\n            import time; time.sleep(600)\n"
                         "    except OSError: break"), "any", FLOODED),
    # cheating
    "patched-comparisons": (both(before(PATCH), body(WRONG)), LOST, FINE),
    "stripped-asserts": (both(before(STRIP), body(WRONG)), LOST, FINE),
    "always-equal": (body(EQUAL), LOST, FINE),
    "forged-answers": (both(before(FORGE), body(WRONG)), LOST, FINE),
    "peeks-for-answers": (body(PEEK), LOST, FINE),
    "sneaks-about": (before(SNEAK), None, FLOODED),
    "shadows-numpy": (both(before("open('numpy.py', 'w').write('array = None'); open('json.py', 'w').write('dumps = print')"),
                           body(WRONG)), LOST, FINE),
    "deaf-kernel": (both(before(DEAF), body(WRONG)), "all", FLOODED),
    "points-100": (on_check(lambda nb, c: c.metadata.nbgrader.update(points=100)), None, FINE),
    "check-edited": (both(on_check(lambda nb, c: c.update(source="print('✓')")), body(WRONG)), LOST, FINE),
    # cells that are not as they were
    "check-deleted": (on_check(lambda nb, c: nb.cells.remove(c)), None, FINE),
    "check-moved-up": (checks_first, None, FINE),
    "check-retyped": (on_check(lambda nb, c: c.update(cell_type="raw")), None, FINE),
    "exercise-retyped": (on_exercise(lambda nb, c: c.update(cell_type="markdown")), None, FINE),
    "check-renamed": (on_check(lambda nb, c: c.metadata.nbgrader.update(grade_id="other")), None, FINE),
    "exercise-copied": (on_exercise(lambda nb, c: nb.cells.insert(nb.cells.index(c), copy.deepcopy(c))), None, FINE),
    "exercise-deleted": (on_exercise(lambda nb, c: nb.cells.remove(c)), LOST, FINE),
    "exercise-split": (on_exercise(lambda nb, c: (nb.cells.insert(nb.cells.index(c), nbformat.v4.new_code_cell(c.source)),
                                                  c.update(source="# see above"))), None, FINE),
    "imports-deleted": (imports_gone, None, FINE),
    "metadata-flipped": (on_check(lambda nb, c: c.metadata.nbgrader.update(solution=True, grade=False, locked=False)), None, FINE),
    "metadata-gone": (all_metadata_gone, None, FINE),
    "another-homework": (lambda nb, hw: nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("x = 1")]), NONE, ("rejected",)),
    "other-kernel": (edit(metadata={"kernelspec": {"name": "conda-env-foo-py", "display_name": "Foo", "language": "julia"}}), None, FINE),
    "bogus-outputs": (bogus_outputs, None, FINE),
    # files that are not as they should be
    "truncated": (raw(lambda data: data[:len(data) // 2]), NONE, ("rejected",)),
    "empty": (raw(lambda data: b""), NONE, ("rejected",)),
    "login-page": (raw(lambda data: b"<!DOCTYPE html><html>Please log in</html>"), NONE, ("rejected",)),
    "merge-conflict": (raw(lambda data: b"<<<<<<< HEAD\n" + data + b"\n=======\n>>>>>>> b\n"), NONE, ("rejected",)),
    "not-a-notebook": (raw(lambda data: b'{"a": 1}'), NONE, ("rejected",)),
    "null": (raw(lambda data: b"null"), NONE, ("rejected",)),
    "byte-order-mark": (raw(lambda data: b"\xef\xbb\xbf" + data), None, FINE),
    "nbformat-3": (nbformat_3, None, (*FINE, "rejected")),
    "no-cell-ids": (without_ids, None, FINE),
    "minor-99": (edit(nbformat_minor=99), None, FINE),
    "nbformat-5": (edit(nbformat=5), NONE, ("rejected",)),
}
QUICK = ["syntax-error", "os-exit", "check-deleted", "exercise-copied", "truncated", "always-equal", "exit-on-top", "metadata-flipped"]


def hostile(hw, names=None):
    marks = list(markings(hw))
    for name in names or HOSTILE:
        change, lost, status = HOSTILE[name]
        data = change(solved(hw), hw)
        lost = {None: [], LOST: marks[:1], AFTER: marks[len(marks) // 2:], "all": marks, "any": "any"}.get(lost)
        shares = None if lost is None else {} if lost == "any" else everything(hw, **dict.fromkeys(lost, 0.0))
        kind = "broken" if isinstance(data, bytes) or shares is None else "hostile"
        yield Submission(name, kind, data if isinstance(data, bytes) else written(data), status, shares)


@functools.cache
def submissions(hw):
    """The corpus of an assignment as [(Submission, {exercise: mutant's name})]; the first one has all of HOSTILE, others two."""
    at = ASSIGNMENTS.index(hw)
    few = [QUICK[(2 * at + k) % len(QUICK)] for k in range(2)]
    return [*((s, {}) for s in honest(hw)), *mutants(hw), *((s, {}) for s in hostile(hw, few if at else None))]
