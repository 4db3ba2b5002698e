"""Homework from the author to the student: what is built, what is packed, and that nothing of an answer is in either.

A tiny assignment in a copy of the course goes through the real command, the real nbgrader and real kernels; the real ones are
then held to the same rules. Strict nbval over notebooks/homework is a part of `make test`.
"""

import ast
import base64
import binascii
import bz2
import gzip
import html
import io
import json
import lzma
import os
import re
import shutil
import struct
import subprocess
import sys
import zipfile
import zlib

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient

from course_utils.instructor import build, homework, marking

HOMEWORK = [p.stem for p in homework.sources()]
OTHERS = ("LICENSE", "LICENSE-TEXT", "Makefile", "constraints.txt", "environment.yml", "pyproject.toml")

AUTHOR = '''# %% [markdown]
# # Homework 99 · Twice
# 20 points
# %%
import numpy as np

from course_utils.checks import homework_99 as check

SEED = 2026
data = np.random.default_rng(SEED).normal(size=3)
print(f"{len(data)} numbers")
# %%
def shifted(v):
    """A helper that is given."""
    return v + 1
# %% [markdown]
# ### 1 · Twice (8 points, 5 min)
# %% exercise="twice" points=8
def twice(v):
    """Twice v."""
    ### BEGIN SOLUTION
    almost = shifted(v) + v
    return almost - np.ones_like(v)
    ### END SOLUTION
# %% check="twice"
check.twice(twice)
# %% [markdown]
# ### 2 · Four times (7 points, 5 min)
# %% exercise="four_times" points=7
def four_times(v):
    """Four times v. If your twice is not right, the marker puts the right one in its place."""
    ### BEGIN SOLUTION
    return twice(twice(v))
    ### END SOLUTION
# %% check="four_times"
check.four_times(four_times)
# %% [markdown] written="why" points=5
# ### 3 · Written: why? (5 points, 5 min)
# Say why.
# %% [markdown]
# ## Further
# %%
# a place to try
'''
CHECK = '''
from . import Check
twice = Check("twice", None, [(1.0,)], properties=[("odd", lambda f: abs(f(-3.0) + f(3.0)) < 1e-9, "what is twice −v?")])
four_times = Check("four_times", None, [(1.0,)], properties=[("odd", lambda f: abs(f(-3.0) + f(3.0)) < 1e-9, "what is it of −v?")])
'''
MARKING = '''
from course_utils.instructor.marking import Group, Marking
RUBRIC = {"why": [(3, "says that doubling is a sum of two equal parts"), (2, "gives an example of it")]}
def _cases(rng):
    return [Group("numbers", [(float(v),) for v in rng.normal(size=3)])]
twice = Marking("twice", lambda v: np.add(v, v) + 0 * np.cos(v), _cases)
four_times = Marking("four_times", lambda v: 4 * v, _cases, needs=("twice",))
'''.replace("\nfrom", "\nimport numpy as np\nfrom", 1)


# --- a course with one tiny assignment ---------------------------------------------------------------------------------
def command(tree, *args, **env):
    """Run the builder there, as `make homework` does: (exit code, what it says to the teacher)."""
    done = subprocess.run([sys.executable, "-m", "course_utils.instructor.homework", "build", *map(str, args)], cwd=tree, text=True,
                          env=dict(os.environ, PYTHONPATH=str(tree), **env), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=300)
    return done.returncode, done.stdout


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A copy of the course with its lessons, and homework 99 in place of all homework; built once. `.said` is what the build said."""
    root = tmp_path_factory.mktemp("course") / "repo"
    root.mkdir()
    skip = shutil.ignore_patterns("__pycache__", "hw[0-9]*", "homework_*", ".ipynb_checkpoints")
    for path in (homework.TOP / name for name in [*OTHERS, "course_utils", "notebooks"]):
        shutil.copytree(path, root / path.name, ignore=skip) if path.is_dir() else shutil.copy(path, root)
    for name, text in {"notebooks/source/homework/hw99_twice.py": AUTHOR, "course_utils/checks/homework_99.py": CHECK,
                       "course_utils/instructor/marking/hw99.py": MARKING, "notebooks/a_teachers_draft.ipynb": "not for students"}.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    code, said = command(root)
    assert code == 0, said
    (root / "said").write_text(said)
    return root


def student(tree):
    return tree / "notebooks/homework/hw99_twice.ipynb"


def cell(nb, grade_id):
    return next(c for c in nb.cells if c.metadata.get("nbgrader", {}).get("grade_id") == grade_id)


def test_a_build_says_what_it_made_and_nothing_else(tree):
    lines = (tree / "said").read_text().splitlines()
    assert re.fullmatch(r"\[1/1\] hw99_twice … \d+\.\d s, \d+ kB, SEED = 2026", lines[0])
    assert lines[1] == f"students' notebooks: {tree / 'notebooks/homework'}"
    assert re.fullmatch(rf"for students to download: {tree}/dist/elbo-room-student\.zip \(\d+ files, \d\.\d MB\)", lines[2])
    assert lines[3:] == [f"the teacher's course folder: {tree / 'course'}"]


def test_what_the_student_opens(tree):
    nb = nbformat.read(student(tree), 4)
    assert [c.execution_count for c in nb.cells if c.cell_type == "code"] == [1, 2, 3, 4, 5, 6, 7]
    assert nb.cells[1].outputs[0].text == "3 numbers\n"
    assert cell(nb, "twice").source == 'def twice(v):\n    """Twice v."""\n    # YOUR CODE HERE\n    raise NotImplementedError()'
    assert cell(nb, "twice-check").outputs[0].data["text/plain"] == "○ twice: not attempted yet"
    assert cell(nb, "why").source == "YOUR ANSWER HERE" and cell(nb, "why").cell_type == "markdown"
    points = {c.metadata.nbgrader.grade_id: c.metadata.nbgrader.points for c in nb.cells if c.metadata.get("nbgrader", {}).get("grade")}
    assert points == {"twice-check": 8, "four_times-check": 7, "why": 5}
    editable = [c.metadata.get("nbgrader", {}).get("grade_id") for c in nb.cells if c.metadata.get("editable", True)]
    assert editable == [None, None, "twice", None, "four_times", "why", None, None]  # exercises, the answer, prose, a place to try
    assert set(nb.metadata) == {"kernelspec", "language_info"}


def test_two_builds_are_the_same_to_the_byte(tree, tmp_path):
    code, said = command(tree, "--course", tmp_path / "course", "--out", tmp_path, "--zip", tmp_path / "z.zip")
    assert code == 0, said
    assert (tmp_path / "hw99_twice.ipynb").read_bytes() == student(tree).read_bytes()
    assert (tmp_path / "z.zip").read_bytes() == (tree / "dist/elbo-room-student.zip").read_bytes()
    for step in ("source", "release"):
        first, second = (root / "course" / step / "hw99_twice/hw99_twice.ipynb" for root in (tree, tmp_path))
        assert first.read_bytes() == second.read_bytes()


def test_another_year_has_other_data(tree, tmp_path):
    copy = shutil.copytree(tree, tmp_path / "repo")
    code, said = command(copy, "hw99", "--seed", "7")
    assert code == 0 and "SEED = 7" in said
    for path in (student(copy), copy / "course/source/hw99_twice/hw99_twice.ipynb", copy / "course/release/hw99_twice/hw99_twice.ipynb"):
        nb = nbformat.read(path, 4)
        assert homework.seed_of(nb) == 7 and "SEED = 2026" not in path.read_text()
    assert command(copy, "--check")[0] == 0  # for the seed that the notebook says
    (copy / "course/submitted/ada/hw99_twice").mkdir(parents=True)
    code, said = command(copy, "hw99", "--seed", "8")
    assert code == 1 and "submissions made with SEED = 7" in said
    assert homework.seed_of(nbformat.read(copy / "course/source/hw99_twice/hw99_twice.ipynb", 4)) == 7


def test_unknown_names_and_a_failing_cell_are_said_in_a_sentence(tree, tmp_path):
    code, said = command(tree, "hw98")
    assert code == 1 and said.strip() == "no source in notebooks/source/homework starts with 'hw98'; there are hw99_twice"
    copy = shutil.copytree(tree, tmp_path / "repo")
    path = copy / "notebooks/source/homework/hw99_twice.py"
    before = student(copy).read_bytes()
    path.write_text(path.read_text().replace("# a place to try", "1 / 0"))
    code, said = command(copy)
    line = path.read_text().splitlines().index("1 / 0") + 1
    assert code == 1 and said.strip().splitlines()[-1] == f"hw99_twice.py, line {line} (cell 13): ZeroDivisionError: division by zero"
    assert student(copy).read_bytes() == before


def test_nbgrader_grades_the_students_copy(tree, tmp_path):
    """The real autograder takes the notebook that students get, and puts back what is locked."""
    copy = shutil.copytree(tree, tmp_path / "repo")
    nb = nbformat.read(student(copy), 4)
    cell(nb, "twice").source = "def twice(v):\n    return 2 * v"
    cell(nb, "given-2").source = "def shifted(v):\n    return 0"
    path = copy / "course/submitted/ada/hw99_twice/hw99_twice.ipynb"
    path.parent.mkdir(parents=True)
    nbformat.write(nb, path)
    code = ("from nbgrader.apps import NbGraderAPI; from traitlets.config import Config; c = Config(); "
            "c.CourseDirectory.root = 'course'; c.CourseDirectory.course_id = 'elbo_room'; r = NbGraderAPI(config=c).autograde("
            "'hw99_twice', 'ada'); print(r.get('error')); assert r['success']")
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], cwd=copy, env=dict(os.environ, PYTHONPATH=str(copy)), text=True,
                          capture_output=True)
    assert done.returncode == 0, done.stdout + done.stderr
    graded = nbformat.read(copy / "course/autograded/ada/hw99_twice/hw99_twice.ipynb", 4)
    assert "return v + 1" in cell(graded, "given-2").source
    assert cell(graded, "twice-check").outputs[0].data["text/plain"].startswith("✓ twice")
    assert cell(graded, "why").metadata.nbgrader.points == 5


def test_the_students_copy_is_stable_under_strict_nbval(tree):
    done = subprocess.run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--nbval", "--nbval-current-env", student(tree)],
                          cwd=tree, env=dict(os.environ, PYTHONPATH=str(tree)), text=True, capture_output=True)
    assert done.returncode == 0 and "7 passed" in done.stdout, done.stdout


# --- what the builder refuses ------------------------------------------------------------------------------------------
@pytest.fixture
def author(tmp_path, monkeypatch):
    """`author(old, new, ...)` reads the tiny assignment with these changes, in any of its files."""
    monkeypatch.setattr(homework, "SOURCE", tmp_path)
    monkeypatch.setattr(marking, "__path__", [*marking.__path__, str(tmp_path)])

    def read(*changes):
        texts = {"hw99_twice.py": AUTHOR, "hw99.py": MARKING}
        for old, new in zip(changes[::2], changes[1::2]):
            assert any(old in text for text in texts.values()), old
            texts = {name: text.replace(old, new, 1) for name, text in texts.items()}
        for name, text in texts.items():
            (tmp_path / name).write_text(text, encoding="utf-8")
        sys.modules.pop(f"{marking.__name__}.hw99", None)
        shutil.rmtree(tmp_path / "__pycache__", ignore_errors=True)
        return homework.read("hw99_twice")

    yield read
    sys.modules.pop(f"{marking.__name__}.hw99", None)


def test_a_check_without_a_gradebook_equals_nbgraders_release(tree, author, tmp_path):
    """`--check` repeats nbgrader's steps; they give what nbgrader released. It notices an edited source or notebook."""
    author()
    out = tmp_path / "out"
    shutil.copytree(student(tree).parent, out)
    assert homework.stale(["hw99_twice"], out) == []
    author("Say why.", "Say why not.")
    assert homework.stale(["hw99_twice"], out) == ["hw99_twice.ipynb differs from hw99_twice.py, first at cell 10"]
    author()
    path = out / "hw99_twice.ipynb"
    path.write_text(path.read_text().replace('"points": 8', '"points": 9'))
    assert homework.stale(["hw99_twice"], out) == ["hw99_twice.ipynb differs from hw99_twice.py, first at cell 6"]
    path.unlink()
    assert homework.stale(["hw99_twice"], out) == ["hw99_twice.ipynb has not been built from hw99_twice.py"]


@pytest.mark.parametrize("changes, sentence", [
    (("SEED = 2026", "seed = 2026"), "hw99_twice.py: there has to be one line 'SEED = …', and there are 0"),
    (("# a place to try", "SEED = 3"), "hw99_twice.py, line 42: there has to be one line 'SEED = …', and there are 2"),
    (("points=8", "points=9"), "hw99_twice.py, line 18: the heading of 'twice' has to end in '(9 points, … min)'"),
    (("Twice (8 points, 5 min)", "Twice"), "hw99_twice.py, line 18: the heading of 'twice' has to end in"),
    (("points=8", "points=9", "(8 points", "(9 points"), "hw99_twice.py: its points add up to 21, not 20"),
    ((" points=8", ""), "hw99_twice.py, line 18: 'twice' needs points=…"),
    (('check="twice"', 'check="twice" points=8'), "hw99_twice.py, line 25: points belong to an exercise or to the written question"),
    ((' written="why" points=5', ""), "hw99_twice.py: there is no written question"),
    (("# %% [markdown]\n# ## Further", '# %% [markdown] written="b" points=1\n# ### 4 (1 point, 1 min)'),
     "hw99_twice.py, line 40: an assignment has one written question, with a name of its own; 'b' is one too many"),
    (('[markdown] written="why"', 'written="why"'), "an exercise and a check are code, a written question is [markdown]"),
    (("check.twice(twice)", "print(check.twice(twice))"), "line 25: the check of 'twice' is one cell with the one line: check.tw"),
    (('# %% check="twice"\ncheck.twice(twice)\n', ""), "the exercise 'twice' has no check"),
    (("# a place to try", "print(twice(2))"), "line 42: only check cells may use a student's function, and this cell uses twice"),
    (('needs=("twice",)', ""), "line 29: the solution of 'four_times' uses twice: it has to come earlier, and its Marking has to say"),
    (("def twice", "def thrice"), "line 18: the exercise 'twice' defines no function of that name"),
    (("    ### END SOLUTION", ""), "line 18: a solution region is not closed"),
    (("return v + 1", "return v +"), "hw99_twice.py, line 15: invalid syntax"),
    (('"twice", lambda', '"double", lambda'), "hw99_twice.py, line 18: marking/hw99.py has no Marking 'twice'"),
    (("four_times = Marking", "five = Marking('five', abs, _cases)\nfour_times = Marking"),
     "hw99_twice.py: marking/hw99.py marks 'five', and there is no such exercise"),
    (("(2, ", "(1, "), "the RUBRIC in marking/hw99.py has to give the 5 points of 'why'"),
    (('"why": [', '"whynot": ['), "the RUBRIC in marking/hw99.py has to give the 5 points of 'why'"),
    (("import numpy as np\nfrom course", "import nothing_there\nfrom course"), "py: it cannot be marked: ModuleNotFoundError: No module"),
])
def test_what_cannot_be_marked_is_refused_with_its_place(author, changes, sentence):
    with pytest.raises(build.BuildError) as refused:
        author(*changes)
    assert sentence in str(refused.value) and "\n" not in str(refused.value), refused.value


def test_the_solutions_run_without_the_checks(author):
    author()
    source = homework.solution_source("hw99_twice", ["twice"])
    assert "def shifted" in source and "import numpy" in source and "four_times" not in source and "check" not in source
    assert homework.solved_functions("hw99_twice")["four_times"](1.5) == 6.0


# --- what students download ----------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def unpacked(tree, tmp_path_factory):
    folder = tmp_path_factory.mktemp("student")
    with zipfile.ZipFile(tree / "dist/elbo-room-student.zip") as z:
        z.extractall(folder)
    return folder / "elbo-room"


def test_the_zip_holds_what_a_student_needs_and_nothing_else(tree, unpacked):
    lessons = [p.stem for p in build.sources()]
    names = {p.relative_to(unpacked).as_posix() for p in unpacked.rglob("*") if p.is_file()}
    code = {n for n in names if n.startswith("course_utils/")}
    assert names - code == {
        "README.md", *OTHERS, "notebooks/glossary.json", "notebooks/homework/hw99_twice.ipynb",
        *(f"notebooks/{stem}.ipynb" for stem in lessons), *(f"notebooks/quizzes/{stem}.json" for stem in lessons)}
    kept = [p for p in (tree / "course_utils").rglob("*.py") if "instructor" not in p.parts]
    assert code == {p.relative_to(tree).as_posix() for p in kept}
    with zipfile.ZipFile(tree / "dist/elbo-room-student.zip") as z:
        assert {i.date_time for i in z.infolist()} == {(1980, 1, 1, 0, 0, 0)} and z.testzip() is None


def alone(unpacked, *args, **how):
    """Run Python there, where the student's files are all there is of the course."""
    makes = ("ARGS", "MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES")
    env = {k: v for k, v in os.environ.items() if k not in makes} | {"PYTHONPATH": str(unpacked)}
    return subprocess.run(args, cwd=unpacked, text=True, capture_output=True, env=env, timeout=120, **how)


def test_all_that_lessons_import_is_in_the_zip(unpacked):
    imports = {"import importlib.util"}
    for path in unpacked.glob("notebooks/**/*.ipynb"):
        for c in nbformat.read(path, 4).cells:
            if c.cell_type == "code":
                imports |= {ast.unparse(n) for n in ast.walk(ast.parse(c.source)) if isinstance(n, (ast.Import, ast.ImportFrom))}
    files = [p.relative_to(unpacked).with_suffix("") for p in unpacked.glob("course_utils/**/*.py")]
    imports |= {"import " + ".".join(p.parts).removesuffix(".__init__") for p in files}
    code = "\n".join([*sorted(imports), "import sys, course_utils", "print(course_utils.__file__)",
                      "print(sorted(m for m in sys.modules if 'instructor' in m or m.partition('.')[0] in ('nbgrader', 'jupytext')))"])
    done = alone(unpacked, sys.executable, "-c", code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [str(unpacked / "course_utils/__init__.py"), "[]"]
    assert len(imports) > 10 and not (unpacked / "course_utils/instructor").exists()


@pytest.mark.parametrize("name", ["00_start_here.ipynb", "homework/hw99_twice.ipynb"])
def test_run_all_from_the_zip_alone(unpacked, name, monkeypatch):
    """A lesson and a homework, in real kernels that find course_utils in the zip."""
    monkeypatch.setenv("PYTHONPATH", str(unpacked))
    nb = nbformat.read(unpacked / "notebooks" / name, 4)
    nb.cells.append(nbformat.v4.new_code_cell("import course_utils; print(course_utils.__file__)"))
    folder = (unpacked / "notebooks" / name).parent
    NotebookClient(nb, timeout=120, resources={"metadata": {"path": str(folder)}}).execute()
    assert nb.cells[-1].outputs[0].text.strip() == str(unpacked / "course_utils/__init__.py")


def test_the_student_can_make_lab(unpacked, tmp_path):
    """make lists what works there, start.py starts, and the package can be built from the zip's own pyproject.toml."""
    told = alone(unpacked, "make").stdout
    assert re.findall(r"^  make (\w+)", told, re.M) == ["help", "lab", "install"]
    assert alone(unpacked, "make", "-n", "lab", "PYTHON=py").stdout.strip() == "py -m course_utils.start lab"
    assert "lab|install" in alone(unpacked, sys.executable, "-m", "course_utils.start").stderr
    assert "PORT=x is not a port" in alone(unpacked, "make", "lab", f"PYTHON={sys.executable}", "PORT=x").stderr  # said before installing
    code = f"from setuptools import build_meta as b; print(b.prepare_metadata_for_build_wheel({str(tmp_path)!r}))"
    done = alone(unpacked, sys.executable, "-c", code)
    assert done.returncode == 0, done.stderr
    metadata = (tmp_path / done.stdout.split()[-1] / "METADATA").read_text()
    assert "Requires-Dist: jupyterlab" in metadata and not (tmp_path / done.stdout.split()[-1] / "entry_points.txt").exists()


# --- leaks ---------------------------------------------------------------------------------------------------------------
def squeezed(text):
    """Text without the differences that do not hide an answer: spaces, kinds of quotes, HTML's way of writing < and &."""
    return re.sub(r"\s+", "", html.unescape(text)).replace('"', "'")


def code_pieces(source, least):
    """What code says, piece by piece: simple statements, returned values, bodies of lambdas, as written and in Python's own writing."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        part = node.value if isinstance(node, ast.Return) else node.body if isinstance(node, ast.Lambda) else node
        simple = isinstance(node, (ast.Return, ast.Lambda, ast.Assign, ast.AugAssign, ast.AnnAssign, ast.Expr))
        docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if simple and part is not None and not docstring:
            found |= {squeezed(ast.get_source_segment(source, part)), squeezed(ast.unparse(part))}
    return {piece for piece in found if len(piece) >= least}


def public_text():
    """What lessons show anyway, with their checks."""
    paths = [*build.sources(), *(homework.TOP / "course_utils/checks").glob("lesson_*.py")]
    return squeezed("\n".join(p.read_text(encoding="utf-8") for p in paths))


class Secrets:
    """What no student's file may hold: the pieces of the solutions, of the marking and of the rubrics, and the right answers."""

    def __init__(self, author, marking_source, rubric, answers):
        nb = build.jupytext.reads(author, fmt="py:percent")
        solved = [c.source for c in nb.cells if "exercise" in c.metadata]
        stubs = public_text() + squeezed("\n".join(build.REGION.sub(build.STUB, source) for source in solved))
        given = stubs + squeezed("\n".join(c.source for c in nb.cells if c.cell_type == "code" and "exercise" not in c.metadata))
        pieces = set().union(*(code_pieces(source, 12) for source in solved))
        marks = code_pieces(marking_source, 20) | {squeezed(words) for items in rubric.values() for _, words in items}
        self.pieces = {p for p in pieces if p not in stubs} | {m for m in marks if m not in given}
        self.numbers = {}  # digits -> the answers in so many, rounded and cut off
        for v in {abs(v) for v in answers if np.isfinite(v) and digits(repr(v)) >= 5}:
            for d in range(5, 18):
                exact = f"{v:.25e}"
                self.numbers.setdefault(d, set()).update({f"{v:.{d - 1}e}", exact[:d + 1] + exact[exact.index("e"):]})

    def within(self, text, where=""):
        """The secrets in a text. A lesson knows nothing of homework, and a number of five digits in it may by chance equal one
        of many hundred answers: there, only longer ones count."""
        least = 7 if re.search(r"(notebooks/|lesson_)\d\d", where) else 5
        tight = squeezed(text)
        found = {p for p in self.pieces if p in tight}
        for number in re.findall(r"(?<![\w.])(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?(?!\w)", text):
            d = digits(number)
            if d >= least and f"{float(number):.{min(d, 17) - 1}e}" in self.numbers.get(min(d, 17), ()):
                found.add(number)
        return found


def digits(number):
    """How many significant digits a decimal number is written with; 0.50 has one."""
    return len(re.sub(r"[eE].*", "", number).replace(".", "").replace("-", "").strip("0"))


def texts(name, data):
    """Every text in a file: of JSON each string, of base64, archives, compressed data and pictures what is in them: (where, text)."""
    if isinstance(data, str):
        compact = re.sub(r"\s", "", data)
        if len(compact) >= 8 and re.fullmatch(r"[A-Za-z0-9+/]+={0,2}", compact) and len(compact) % 4 == 0:
            yield from texts(f"{name} (base64)", base64.b64decode(compact))
        try:
            inside = json.loads(data)
        except ValueError:
            inside = None
        if isinstance(inside, (dict, list)):
            yield from json_texts(name, inside)
        else:
            yield name, data
        return
    if data[:4] == b"PK\x03\x04":
        with zipfile.ZipFile(io.BytesIO(data)) as z:
            for member in z.namelist():
                yield from texts(f"{name}/{member}", z.read(member))
        return
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        at = 8
        while at + 8 <= len(data):
            size, kind = struct.unpack(">I4s", data[at:at + 8])
            if kind not in (b"IHDR", b"IDAT", b"IEND"):
                chunk = data[at + 8:at + 8 + size]
                yield f"{name} ({kind.decode('latin-1')})", chunk.decode("latin-1")
                if kind == b"zTXt":
                    yield from texts(f"{name} (zTXt)", chunk[chunk.index(0) + 2:])
            at += 12 + size
        return
    packers = {b"\x1f\x8b": gzip.decompress, b"BZh": bz2.decompress, b"\xfd7zXZ": lzma.decompress, b"x": zlib.decompress}
    for magic, unpack in packers.items():
        if data.startswith(magic):
            try:
                yield from texts(f"{name} (packed)", unpack(data))
                return
            except (OSError, EOFError, zlib.error, lzma.LZMAError):
                pass
    try:
        yield from texts(name, data.decode("utf-8"))
    except UnicodeDecodeError:
        yield name, data.decode("latin-1")


def json_texts(name, value):
    if isinstance(value, str):
        yield from texts(name, value)
    elif isinstance(value, float):
        yield name, repr(value)
    elif isinstance(value, list):
        if value and all(isinstance(v, str) for v in value):
            yield from texts(name, "".join(value))  # a notebook's way to write one text
        for v in value:
            yield from json_texts(name, v)
    elif isinstance(value, dict):
        for k, v in value.items():
            yield name, k
            yield from json_texts(f"{name}.{k}", v)


def leaks(path, secrets):
    """{(where, what)} of the secrets in a file."""
    return {(where, found) for where, text in texts(path.name, path.read_bytes()) for found in secrets.within(text, where)}


def answers_of(marks, seed):
    for m in marks.values():
        for answer in m.answers(m.oracle, seed, wrap=False):
            for array in m._arrays(answer) or []:
                yield from map(float, array.ravel())


@pytest.fixture(scope="module")
def tiny():
    """The secrets of the tiny assignment."""
    space = {}
    exec(MARKING, space)
    marks = {name: space[name] for name in ("twice", "four_times")}
    return Secrets(AUTHOR, MARKING, space["RUBRIC"], answers_of(marks, 2026)), list(answers_of(marks, 2026))


def test_no_leak_from_the_tiny_assignment(tree, tiny):
    secrets, answers = tiny
    assert len(answers) == 6 and len(secrets.pieces) >= 5
    for path in [student(tree), tree / "dist/elbo-room-student.zip"]:
        assert leaks(path, secrets) == set()
    assert leaks(tree / "notebooks/source/homework/hw99_twice.py", secrets)
    assert leaks(tree / "course/source/hw99_twice/hw99_twice.ipynb", secrets)
    assert leaks(tree / "course_utils/instructor/marking/hw99.py", secrets)


def picture_with(text):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", binascii.crc32(kind + data))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", b"\0" * 13) + chunk(b"zTXt", b"Comment\0\0" + zlib.compress(text.encode()))
            + chunk(b"IEND", b""))


def packed_zip(text):
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w", zipfile.ZIP_DEFLATED) as z:
        z.writestr("notes.txt", text)
    return inner.getvalue()


def shown(nb, kind, value):
    nb.cells[1].outputs.append(nbformat.v4.new_output("display_data", {kind: value}))


def attached(nb, data):
    nb.cells[0]["attachments"] = {"a": {"application/octet-stream": base64.b64encode(data).decode()}}


HIDING_PLACES = {
    "source": lambda nb, text: nb.cells[0].update(source=f"Hint: {text}"),
    "printed": lambda nb, text: nb.cells[1].outputs[0].update(text=f"{text}\n"),
    "html": lambda nb, text: shown(nb, "text/html", f"<b>{html.escape(text)}</b>"),
    "picture": lambda nb, text: shown(nb, "image/png", base64.b64encode(picture_with(text)).decode()),
    "cell metadata": lambda nb, text: nb.cells[1].metadata.update(solution=text),
    "notebook metadata": lambda nb, text: nb.metadata.update(author={text: 1}),
    "attachment": lambda nb, text: attached(nb, text.encode()),
    "packed attachment": lambda nb, text: attached(nb, zlib.compress(text.encode())),
}


@pytest.mark.parametrize("place", HIDING_PLACES)
def test_a_leak_in_a_notebook_is_found(tree, tiny, tmp_path, place):
    """The leak test can fail: every kind of secret, planted in every place, is found."""
    secrets, answers = tiny
    for text in ("almost=shifted( v ) + v", "return np.add(v, v) + 0*np.cos(v)", "says that doubling is a sum of two equal parts",
                 f"{answers[0]:.5g}", f"{answers[-1]:.8f}", repr(answers[1])):
        nb = nbformat.read(student(tree), 4)
        HIDING_PLACES[place](nb, text)
        nbformat.write(nb, tmp_path / "leaky.ipynb")
        assert leaks(tmp_path / "leaky.ipynb", secrets), text


@pytest.mark.parametrize("name, pack", [
    ("course_utils/models.py", lambda text: f"# {text}".encode()), ("notebooks/homework/notes.zip", packed_zip),
    ("notebooks/notes.json.gz", lambda text: gzip.compress(json.dumps([{"a": text}]).encode())),
    ("notebooks/notes.txt", lambda text: base64.b64encode(lzma.compress(text.encode())))])
def test_a_leak_in_the_zip_is_found(tree, tiny, tmp_path, name, pack):
    secrets, answers = tiny
    for text in ("almost = shifted(v) + v", repr(answers[0])):
        path = shutil.copy(tree / "dist/elbo-room-student.zip", tmp_path / "leaky.zip")
        with zipfile.ZipFile(path, "a") as z:
            z.writestr(f"elbo-room/{name}.more", pack(text))
        assert leaks(path, secrets)


# --- the course's own homework -------------------------------------------------------------------------------------------
def test_committed_homework_is_fresh():
    assert homework.stale(HOMEWORK) == []
    assert sorted(p.stem for p in homework.OUT.glob("*.ipynb")) == HOMEWORK


@pytest.mark.parametrize("name", HOMEWORK)
def test_committed_homework_ran_to_its_end(name):
    path = homework.OUT / f"{name}.ipynb"
    nb = nbformat.read(path, 4)
    code = [c for c in nb.cells if c.cell_type == "code" and c.source]  # a cell to try things in is empty
    assert path.stat().st_size < build.MAX_BYTES and set(nb.metadata) == {"kernelspec", "language_info"}
    assert [c.execution_count for c in code] == list(range(1, len(code) + 1))
    assert all(o.output_type != "error" and o.get("name") != "stderr" for c in code for o in c.outputs)
    checks = [c for c in code if c.metadata.get("nbgrader", {}).get("grade")]
    assert [c.outputs[0].data["text/plain"][0] for c in checks] == ["○"] * len(marking.markings(name))
    assert 5 <= len(checks) <= 8


@pytest.mark.parametrize("name", HOMEWORK)
def test_a_stub_differs_from_its_solution_only_inside_the_region(name):
    source = homework.read(name)[0]
    student_copy = nbformat.read(homework.OUT / f"{name}.ipynb", 4)
    for mine, theirs in zip(source.cells, student_copy.cells, strict=True):
        if build.BEGIN not in mine.source:
            assert mine.source == theirs.source
            continue
        given = re.split(rf"^[ \t]*{build.BEGIN}\n.*?^[ \t]*{build.END}", mine.source, flags=re.M | re.S)
        stub = r"[ \t]*# YOUR CODE HERE\n[ \t]*raise NotImplementedError\(\)"
        assert re.fullmatch(stub.join(map(re.escape, given)), theirs.source), theirs.source


@pytest.fixture(scope="module")
def released(tmp_path_factory):
    """Every text in what students download, built from what is committed."""
    return list(texts("zip", homework.pack(tmp_path_factory.mktemp("dist") / "student.zip").read_bytes()))


@pytest.mark.parametrize("name", HOMEWORK)
def test_nothing_released_gives_an_answer(name, released):
    marks, path = marking.markings(name), homework.OUT / f"{name}.ipynb"
    module = sys.modules[f"{marking.__name__}.{name[:4]}"]
    answers = list(answers_of(marks, homework.seed_of(nbformat.read(path, 4))))
    secrets = Secrets((homework.SOURCE / f"{name}.py").read_text(encoding="utf-8"), open(module.__file__, encoding="utf-8").read(),
                      module.RUBRIC, answers)
    assert len(secrets.pieces) > 5 * len(marks) and len(secrets.numbers[5]) > 5
    assert {(where, found) for where, text in released for found in secrets.within(text, where)} == set()


def test_all_homework_builds_the_same_twice(tmp_path):
    """Every assignment executed twice; Run All takes less than twenty seconds of a core, start of the kernel and all."""
    for out in (tmp_path / "first", tmp_path / "second"):
        for name in HOMEWORK:
            before = os.times()
            homework.build_one(name, course=out / "course", out=out)
            after = os.times()
            assert sum(after[2:4]) - sum(before[2:4]) < 20, name
    for name in HOMEWORK:
        first, second = ((tmp_path / out / f"{name}.ipynb").read_bytes() for out in ("first", "second"))
        assert first == second, f"{name} differs between two builds"
