"""Homework, from the author's file to the student's: `make homework`, `make homework SEED=2027`. One way, never back.

    python -m course_utils.instructor.homework build                  every assignment, and what students download
    python -m course_utils.instructor.homework build hw03 --seed 2027 one assignment, with another year's data
    python -m course_utils.instructor.homework build --check          compare with the sources by content, executing nothing

A source is a jupytext percent file in notebooks/source/homework. Its cells may say `# %% exercise="name" points=3` (holds
the solution between `### BEGIN SOLUTION` and `### END SOLUTION`), `# %% check="name"`, `# %% [markdown] written="name" points=4`
and `tags=[...]`. What is right, and how it is marked, stands in instructor/marking/hwNN.py and is never released.

A build leaves nbgrader's source/, release/ and gradebook.db in the teacher's course folder (not committed), the students'
notebooks in notebooks/homework (committed) and dist/elbo-room-student.zip. Two builds are byte for byte the same.
"""

import argparse
import ast
import contextlib
import importlib
import io
import os
import re
import sys
import time
import warnings
import zipfile
from pathlib import Path

import nbformat

from .. import start
from . import build
from .build import BuildError
from .marking import markings

TOP = build.ROOT.parent
SOURCE = build.ROOT / "source" / "homework"
OUT = build.ROOT / "homework"
COURSE = TOP / "course"
ZIP = TOP / "dist" / "elbo-room-student.zip"
OPTIONS = {"exercise", "check", "points", "written", "tags"}
POINTS = 20
SEED = re.compile(r"^SEED = (\d+)", re.M)
HEADING = re.compile(r"^###? .*\((\d+(?:\.\d+)?) points?, \d+ min\)$", re.M)
ANSWER = "YOUR ANSWER HERE"
CONFIG = 'c = get_config()\nc.CourseDirectory.course_id = "elbo_room"\n'


# --- the author's file -------------------------------------------------------------------------------------------------
def sources(names=()):
    """The assignments' files whose names start with one of `names`; all of them if there are none. Raises BuildError."""
    every = sorted(SOURCE.glob("hw*.py"))
    for name in names:
        if not any(p.name.startswith(name) for p in every):
            raise BuildError(f"no source in notebooks/source/homework starts with {name!r}; there are {', '.join(p.stem for p in every)}")
    return [p for p in every if not names or p.name.startswith(tuple(names))]


def parse(name):
    """The author's file of an assignment: (path, notebook with the cells' options, line of each cell). Raises BuildError."""
    path = SOURCE / f"{name}.py"
    nb, lines = build.parse(path)
    build.validate(path, nb, lines, OPTIONS)
    return path, nb, lines


def _names(source):
    """Every name that code uses."""
    return {n.id for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Name)}


def _validate(path, nb, lines):
    """Refuse an assignment that could not be marked as it says. What every notebook needs, build.validate has seen to."""
    def fail(i, sentence):
        raise BuildError(f"{path.name}, line {lines[i]}: {sentence}")

    try:
        marks = markings(path.stem)
        rubric = getattr(importlib.import_module(f"{markings.__module__}.{path.stem[:4]}"), "RUBRIC", {})
    except Exception as e:
        raise BuildError(f"{path.name}: it cannot be marked: {type(e).__name__}: {e}") from None
    exercises = {c.metadata["exercise"]: i for i, c in enumerate(nb.cells) if "exercise" in c.metadata}
    written, seeds, checks, total, heading = None, [], set(), 0, None
    for i, cell in enumerate(nb.cells):
        options, code = cell.metadata, cell.cell_type == "code"
        name = options.get("exercise") or options.get("check") or options.get("written")
        if not code:
            heading = (HEADING.findall(cell.source) or [heading])[-1]
        if ("exercise" in options or "check" in options) != (code and name is not None):
            fail(i, "an exercise and a check are code, a written question is [markdown]")
        if code:
            try:
                tree = ast.parse(cell.source)
            except SyntaxError as e:
                raise BuildError(f"{path.name}, line {lines[i] + e.lineno}: {e.msg}") from None
            seeds += [i] * len(SEED.findall(cell.source))
            if "check" in options:
                if name in checks or cell.source.strip() != f"check.{name}({name})":
                    fail(i, f"the check of {name!r} is one cell with the one line: check.{name}({name})")
                checks.add(name)
            elif used := sorted(_names(cell.source) & set(exercises) - {options.get("exercise")}):
                if "exercise" not in options:
                    fail(i, f"only check cells may use a student's function, and this cell uses {', '.join(used)}")
                missing = [u for u in used if name in marks and u not in marks[name].needs]
                if missing or any(exercises[u] > i for u in used):
                    fail(i, f"the solution of {name!r} uses {', '.join(missing or used)}: it has to come earlier, and its Marking has to "
                            f"say needs=({', '.join(map(repr, used))},)")
            if "exercise" in options and not any(isinstance(n, ast.FunctionDef) and n.name == name for n in tree.body):
                fail(i, f"the exercise {name!r} defines no function of that name")
        if "exercise" in options or "written" in options:
            points = options.get("points")
            if not isinstance(points, (int, float)) or points <= 0:
                fail(i, f"{name!r} needs points=…")
            if heading is None or float(heading) != points:
                fail(i, f"the heading of {name!r} has to end in '({points:g} points, … min)'")
            total, heading = total + points, None
        elif "points" in options:
            fail(i, "points belong to an exercise or to the written question")
        if "written" in options:
            if written is not None or name in exercises:
                fail(i, f"an assignment has one written question, with a name of its own; {name!r} is one too many")
            written = i
    if written is None:
        raise BuildError(f"{path.name}: there is no written question; add a cell # %% [markdown] written=\"name\" points=4")
    if len(seeds) != 1:
        raise BuildError(f"{path.name}{f', line {lines[seeds[1]]}' if seeds else ''}: there has to be one line 'SEED = …', "
                         f"and there are {len(seeds)}")
    if total != POINTS:
        raise BuildError(f"{path.name}: its points add up to {total:g}, not {POINTS}")
    file, question = f"marking/{path.stem[:4]}.py", nb.cells[written].metadata
    for name, i in exercises.items():
        if name not in marks:
            fail(i, f"{file} has no Marking {name!r}")
    for name in marks:
        if name not in exercises:
            raise BuildError(f"{path.name}: {file} marks {name!r}, and there is no such exercise")
    if list(marks) != list(exercises):
        raise BuildError(f"{path.name}: {file} names the exercises in another order")
    if set(rubric) != {question["written"]} or sum(points for points, _ in rubric[question["written"]]) != question["points"]:
        raise BuildError(f"{path.name}: the RUBRIC in {file} has to give the {question['points']:g} points of {question['written']!r}")


# --- the solutions, for tests and for the grader -----------------------------------------------------------------------
def _bound(statement):
    """The names that a top-level statement gives the notebook."""
    if isinstance(statement, (ast.FunctionDef, ast.ClassDef)):
        return {statement.name}
    if isinstance(statement, (ast.Import, ast.ImportFrom)):
        return {(a.asname or a.name).partition(".")[0] for a in statement.names}
    return {n.id for n in ast.walk(statement) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}


def solution_source(name, exercises=None):
    """Python source of an assignment's solutions (of all, or of these `exercises`) and of what they use: imports, helpers,
    data; no checks, no pictures."""
    _, nb, _ = parse(name)
    statements, needed = [], set()
    for cell in nb.cells:
        if cell.cell_type == "code" and "check" not in cell.metadata:
            asked = "exercise" in cell.metadata and (exercises is None or cell.metadata["exercise"] in exercises)
            for statement in ast.parse(cell.source).body:
                statements.append(statement)
                needed |= _bound(statement) if asked else set()
    while True:
        chosen = [s for s in statements if _bound(s) & needed]
        more = {n.id for s in chosen for n in ast.walk(s) if isinstance(n, ast.Name)} - needed
        if not more:
            return "\n\n".join(map(ast.unparse, chosen)) + "\n"
        needed |= more


def solved_functions(name):
    """{exercise: the author's solution} of an assignment such as "hw03_kl_divergence"."""
    space = {"__name__": name}
    exec(compile(solution_source(name), f"<{name}>", "exec"), space)
    _, nb, _ = parse(name)
    return {e: space[e] for e in (cell.metadata.get("exercise") for cell in nb.cells) if e}


# --- nbgrader's form ---------------------------------------------------------------------------------------------------
def _graded(grade_id, **what):
    cell = {"schema_version": 3, "grade_id": grade_id, "grade": False, "solution": False, "locked": True, "task": False}
    return cell | what


def read(name, seed=None):
    """What nbgrader calls the source: (notebook with solutions and nbgrader's metadata, line of each cell in the author's file).

    `seed` takes the place of the author's. All code is locked but the exercises; prose is the student's to write on."""
    path, nb, lines = parse(name)
    _validate(path, nb, lines)
    points, cells, where, given = {}, [], [], 0
    for cell, line in zip(nb.cells, lines):
        options = cell.metadata
        if seed is not None and cell.cell_type == "code":
            cell.source = SEED.sub(f"SEED = {seed}", cell.source)
        mark, answer = None, None
        if "exercise" in options:
            points[options["exercise"]] = options["points"]
            mark = _graded(options["exercise"], solution=True, locked=False)
        elif "check" in options:
            mark = _graded(f"{options['check']}-check", grade=True, points=points[options["check"]])
        elif "written" in options:
            mark = _graded(f"{options['written']}-question")
            answer = nbformat.v4.new_markdown_cell(ANSWER)
            answer.metadata["nbgrader"] = _graded(options["written"], grade=True, solution=True, locked=False, points=options["points"])
        elif cell.cell_type == "code" and ast.parse(cell.source).body:
            given += 1  # its number, not its text: a corrected cell stays the same cell in the gradebook
            mark = _graded(f"given-{given}")
        if mark:
            cell.metadata["nbgrader"] = mark
        cells += [cell, answer] if answer else [cell]
        where += [line, line] if answer else [line]
    nb.cells = cells
    solved = [cell.source for cell in cells]
    for cell in cells:
        cell.source = build.REGION.sub(build.STUB, cell.source)
    build.finish(nb, ("nbgrader", "tags"))  # ids come from what students see, and so do not change with a solution
    for cell, source in zip(cells, solved):
        cell.source = source
    return nb, where


def released(nb):
    """What nbgrader makes of a source for the students, without its gradebook: by its own steps, in its order."""
    with _quiet():
        from nbgrader.preprocessors import ClearOutput, ClearSolutions, ComputeChecksums, LockCells

        for step in (LockCells, ClearSolutions, ClearOutput, ComputeChecksums):
            nb, _ = step().preprocess(nb, {})
    return nb


@contextlib.contextmanager
def _quiet():
    """Nothing of nbgrader's log and of its libraries' warnings reaches the teacher, who gets a sentence when something is wrong."""
    path = os.environ.get("PATH", "")
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), path])  # nbgrader starts `alembic` by name
    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        os.environ["PATH"] = path


def generate(name, nb, course):
    """Put a source into the teacher's course folder and let nbgrader release it: the notebook that students get, not executed."""
    source, release = (course / step / name / f"{name}.ipynb" for step in ("source", "release"))
    if source.exists() and any(course.glob(f"submitted/*/{name}")) and seed_of(nbformat.read(source, 4)) != seed_of(nb):
        raise BuildError(f"{name}: there are submissions made with SEED = {seed_of(nbformat.read(source, 4))} in {course}; "
                         "take another course folder (--course) for another seed")
    source.parent.mkdir(parents=True, exist_ok=True)
    if not (course / "nbgrader_config.py").exists():
        (course / "nbgrader_config.py").write_text(CONFIG, encoding="utf-8")
    source.write_text(nbformat.writes(nb) + "\n", encoding="utf-8")
    with _quiet():
        from nbgrader.apps import NbGraderAPI
        from traitlets.config import Config

        config = Config()
        config.CourseDirectory.root = str(course)
        config.CourseDirectory.course_id = "elbo_room"
        result = NbGraderAPI(config=config).generate_assignment(name, force=True)
    if not result["success"]:
        told = re.findall(r"^ *([\w.]*(?:Error|Exception): .*)$", result.get("log", "") + result["error"], re.M)  # the first is the cause
        raise BuildError(f"{name}: nbgrader does not release it: {told[0] if told else result['error']}")
    return nbformat.read(release, 4)


def seed_of(nb):
    """The seed that a notebook's data come from."""
    return next(int(seed) for c in nb.cells if c.cell_type == "code" for seed in SEED.findall(c.source))


def build_one(name, seed=None, course=COURSE, out=OUT):
    """Build one assignment; returns (the student's notebook, its seed, seconds). It is not written when a cell fails."""
    began = time.perf_counter()
    nb, lines = read(name, seed)
    student = generate(name, nb, Path(course))
    build.execute(SOURCE / f"{name}.py", student, lines)
    nbformat.validate(student)
    text = nbformat.writes(student) + "\n"
    if len(text.encode()) > build.MAX_BYTES:
        raise BuildError(f"{name}: its notebook has {len(text.encode()):,} bytes; the limit is {build.MAX_BYTES:,}")
    target = Path(out) / f"{name}.ipynb"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text, encoding="utf-8")
    return target, seed_of(student), time.perf_counter() - began


def stale(names, out=OUT):
    """One sentence for each student's notebook that does not say what its source says for its seed, or that is not there."""
    found = []
    for name in names:
        target = Path(out) / f"{name}.ipynb"
        if not target.exists():
            found.append(f"{target.name} has not been built from {name}.py")
            continue
        theirs = nbformat.read(target, 4)
        mine = build.content(released(read(name, seed_of(theirs))[0]))
        if mine != build.content(theirs):
            first = next((i for i, (a, b) in enumerate(zip(mine, build.content(theirs)), 1) if a != b), len(theirs.cells) + 1)
            found.append(f"{target.name} differs from {name}.py, first at cell {first}")
    return found


# --- what students download --------------------------------------------------------------------------------------------
README = """# ELBO Room

A course in deep variational inference that is worked through in Jupyter. You need Python 3.11 to 3.14 and about 2.5 GB of disk.

    make lab      # the first time it installs everything into .venv here (minutes); then it opens the course

Without `make` (Windows): `python -m course_utils.start lab`. With conda: `conda env create -f environment.yml`, then
`conda activate elbo-room` and `jupyter lab notebooks/00_start_here.ipynb`.
Once installed, nothing needs a network, and nothing leaves your machine.

Linux without an NVIDIA GPU: torch's default build brings several GB of GPU libraries. For the small one, take the index address
that PyTorch's "Get Started" page shows for *Linux · Pip · CPU*, and run once: `PIP_EXTRA_INDEX_URL=<that address> make lab`.

Lessons are in `notebooks/`, homework is in `notebooks/homework/`. Open one, *Run › Run All Cells*, and read from the top.
In homework, replace `# YOUR CODE HERE` and the line below it; the cell after each exercise answers ✓, ✗ with a hint, or ○ not attempted.
Do not rename functions or files. Before you hand in: *Kernel › Restart Kernel and Run All Cells*, save, and upload that one `.ipynb` file.
"""


def _student_files(out):
    """{path in the zip: bytes}: what a student needs, and nothing else."""
    lessons, homework = [p.stem for p in build.sources()], [p.stem for p in sources()]  # not what else lies about
    own = [*(build.ROOT / f"{stem}.ipynb" for stem in lessons), *(build.ROOT / f"quizzes/{stem}.json" for stem in lessons),
           build.ROOT / "glossary.json", *(TOP / "course_utils").glob("*.py"), *(TOP / "course_utils/checks").glob("*.py"),
           *(TOP / name for name in ("LICENSE", "LICENSE-TEXT", "constraints.txt", "environment.yml"))]
    placed = {p.relative_to(TOP).as_posix(): p for p in own}
    placed |= {f"notebooks/homework/{stem}.ipynb": Path(out) / f"{stem}.ipynb" for stem in homework}
    for name, path in placed.items():
        if not path.exists():
            raise BuildError(f"{name} is not there: build the lessons with  make notebooks  and all homework with  make homework")
    files = {name: path.read_bytes() for name, path in placed.items()}
    files["README.md"] = README.encode()
    makefile = (TOP / "Makefile").read_text(encoding="utf-8")
    for verb in (v for v, extras in start.EXTRAS.items() if extras):  # these need what only the repository has
        makefile = re.sub(rf"^{verb}:.*\n(\t.*\n)+", "", re.sub(rf"^(\.PHONY:.*) {verb}\b", r"\1", makefile, flags=re.M), flags=re.M)
    files["Makefile"] = makefile.encode()
    project = (TOP / "pyproject.toml").read_text(encoding="utf-8")  # commands that live in course_utils/instructor go
    files["pyproject.toml"] = re.sub(r"^\[project\.scripts\]\n(?:(?!\[).*\n)*", "", project, flags=re.M).encode()
    return files


def pack(target=ZIP, out=OUT):
    """Write the students' zip; the same files give the same bytes."""
    target = Path(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as z:
        for name, data in sorted(_student_files(out).items()):
            entry = zipfile.ZipInfo(f"elbo-room/{name}")  # of 1980-01-01
            entry.external_attr, entry.compress_type = 0o644 << 16, zipfile.ZIP_DEFLATED
            z.writestr(entry, data)
    return target


def main(argv=None):
    parser = argparse.ArgumentParser(prog="python -m course_utils.instructor.homework", description=__doc__.splitlines()[0])
    sub = parser.add_subparsers(required=True, metavar="build").add_parser("build", help="author's files -> students' notebooks and zip")
    sub.add_argument("names", nargs="*", help="how the assignments' names start, for instance hw03; none means all")
    sub.add_argument("--seed", type=int, help="another number for the line SEED = …: other data, other right answers")
    sub.add_argument("--check", action="store_true", help="only compare the students' notebooks with their sources")
    sub.add_argument("--course", type=Path, default=COURSE, help="the teacher's folder (default: course)")
    sub.add_argument("--out", type=Path, default=OUT, help="folder for the students' notebooks (default: notebooks/homework)")
    sub.add_argument("--zip", type=Path, default=ZIP, help="what students download (default: dist/elbo-room-student.zip)")
    args = parser.parse_args(argv)
    try:
        names = [p.stem for p in sources(args.names)]
        if args.check:
            problems = stale(names, args.out)
            if not args.names:
                problems += [f"{p.name} has no source" for p in sorted(args.out.glob("*.ipynb")) if p.stem not in names]
            if problems:
                raise BuildError("\n".join([*problems, "Edit the source, then run: make homework"]))
            print(f"{len(names)} students' notebooks say what their sources say")
            return 0
        for i, name in enumerate(names, 1):
            print(f"[{i}/{len(names)}] {name} …", end="", flush=True)
            target, seed, seconds = build_one(name, args.seed, args.course.resolve(), args.out)
            print(f" {seconds:.1f} s, {target.stat().st_size / 1000:.0f} kB, SEED = {seed}", flush=True)
        pack(args.zip, args.out)
        with zipfile.ZipFile(args.zip) as z:
            size = f"{len(z.namelist())} files, {args.zip.stat().st_size / 1e6:.1f} MB"
        print(f"students' notebooks: {args.out}\nfor students to download: {args.zip} ({size})\nthe teacher's course folder: {args.course}")
        return 0
    except BuildError as e:
        print(f"\n{e}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
