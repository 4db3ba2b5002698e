"""Grade what was handed in: `course grade hw03`.

    course grade hw03                                   every submission that is new or changed
    course grade hw03 --jobs 4                          on four processes of this machine
    course grade hw03 --scheduler tcp://127.0.0.1:8786  on the workers of a Dask cluster

A submission is repaired (cells that were deleted, doubled, retyped, moved …), run cell by cell in a sandboxed kernel, and
asked at each check cell: the questions go in, plain answers come out, and they are judged out here. nbgrader's own
autograder does it, on a gradebook of that one submission; the scores then go into the course's gradebook, so that
formgrader and `nbgrader export` work. One record a student says what came of it: course/records/<homework>/<student>.json.
Run it again at any time: only what is new, changed or unfinished takes computing time.
"""
import argparse
import ast
import concurrent.futures
import contextlib
import copy
import functools
import hashlib
import json
import logging
import math
import multiprocessing
import os
import secrets
import shutil
import sqlite3
import sys
import tempfile
import time
import warnings
import zlib
from pathlib import Path

import nbformat
from nbformat.v4 import new_output

from . import marking, sandbox
from .collect import CourseError, Student, assignment, atomic_write, read_roster
from .submission import Rejected, load, repair

VERSION = 1  # another number: everything is graded again
CELL, ASK, WALL = 30.0, 60.0, 300.0  # seconds for a student's cell, for the questions of an exercise, for a whole submission
MEMORY = "/dev/shm"  # for the small files of a run: on a disk nbgrader's gradebook waits for it thirty times a submission
MAX_ANSWER = 4_000_000  # characters that come back from an exercise
TRIES = 3  # how often a submission is tried when the machine fails, not the submission
ATTENTION = ("rejected", "crashed", "timed_out")

# Runs in the kernel, in a namespace of its own: a student may have called something `sum`, `np` or `json`.
ASKING = """
own, kept = {}, {k: space[k] for k in needs if k in space}
exec(reference, own)
try:
    space.update({k: own[k] for k in needs})
    asked = {k: space[k] for k in (name,) if k in space}
    exec(program, asked)
    out["answers"] = asked["_answers"].encode().hex()
finally:
    for k in needs:
        space.pop(k, None)
    space.update(kept)
"""


# ---- one submission ------------------------------------------------------------------------------------------------------
@functools.lru_cache(4)
def _markings(homework):
    """The markings of a homework; what is right, and what each mistake gives, is worked out once a process."""
    every = marking.markings(homework)
    for m in every.values():
        m.answers, m.program, m.groups = (functools.cache(f) for f in (m.answers, m.program, m.groups))
    return every


class Sitting:
    """Runs a notebook in a kernel and asks each exercise's questions; nbgrader calls it where it would execute.

    Afterwards: `exercises` and `notes` for the record, `ended` (None, or why the kernel did not live to the end)."""

    def __init__(self, course, kernel):
        self.course, self.kernel, self.markings = course, kernel, _markings(course["homework"])
        self.exercises, self.notes, self.ended, self.count = {}, [], None, 0

    def __call__(self, nb, resources):
        waiting = []
        for cell in nb.cells:
            if cell.cell_type != "code":
                continue
            exercise = cell.metadata.get("nbgrader", {}).get("grade_id", "").removesuffix("-check")
            if not (cell.metadata.get("nbgrader", {}).get("grade") and exercise in self.markings):
                self._run(cell, exercise)
            elif set(self.course["references"].get(exercise, [()])[0]) <= set(self.exercises):
                self._ask(cell, exercise)
            else:  # reference solutions come into the kernel only after what they solve has been asked
                waiting.append((list(self.markings).index(exercise), cell, exercise))
        for _, cell, exercise in sorted(waiting, key=lambda w: w[0]):
            self._ask(cell, exercise)
        return nb, resources

    def _execute(self, code, seconds, expression=None):
        if self.ended is None:
            try:
                return self.kernel.run(code, seconds, expression)
            except sandbox.Ended as e:
                self.ended = e
        return None

    def _run(self, cell, name):
        if not cell.source.strip():
            return
        before = self.ended
        result = self._execute(cell.source, CELL)
        self.count += 1
        place = f"the cell {name!r}" if name else f"the cell that starts with {cell.source.strip().splitlines()[0][:60]!r}"
        if result is None:
            if before is None:
                self.notes.append(f"{place}: {self.ended}")
                cell.outputs = [new_output("stream", name="stdout", text=f"({self.ended})\n")]
            return
        cell.outputs, cell.execution_count = [nbformat.from_dict(o) for o in result.outputs], self.count
        if result.note:
            self.notes.append(f"{place}: {result.note}")

    def _ask(self, cell, name):
        """Ask an exercise's questions, judge the answers out here, and leave the points as nbgrader reads partial credit."""
        m, seed = self.markings[name], self.course["seed"]
        needs, reference = self.course["references"].get(name, ((), ""))
        out, before = f"_{secrets.token_hex(8)}", self.ended
        code = (f"{out} = {{}}\n__import__('builtins').exec({ASKING!r}, {{'space': __import__('builtins').globals(), 'out': {out}, "
                f"'name': {name!r}, 'needs': {tuple(needs)!r}, 'reference': {reference!r}, 'program': {m.program(seed)!r}}})")
        result = self._execute(code, ASK, f"{out}.get('answers')")
        answers = None
        with contextlib.suppress(Exception):  # whatever came back
            text = result.value.strip("'\"")
            answers = json.loads(bytes.fromhex(text)) if len(text) <= 2 * MAX_ANSWER else None
        try:
            judged = m.judge(answers, seed)
        except marking.MarkingError:
            raise
        except Exception:  # answers made to break the judge are no answers
            judged = m.judge(None, seed)
        failed = [list(f) for f in judged.failed]
        if judged.status == "broken":
            told = next((o for o in (result.outputs if result else []) if o["output_type"] == "error"), {})
            if before is not None:
                failed = [["not tried: the notebook had ended before this exercise", ""]]
            elif result is None or result.note:
                failed = [["trying it did not come to an end", str(self.ended or result.note)]]
            elif told.get("ename") == "NameError":
                failed = [[f"there is no function {name} in the notebook", ""]]
        if self.ended is not None and before is None:
            self.notes.append(f"trying {name!r}: {self.ended}")
        most = float(cell.metadata.nbgrader.points)
        points = round(judged.share * most, 2)
        self.exercises[name] = {"points": points, "max": most, "share": judged.share, "status": judged.status, "failed": failed,
                                "mutant": judged.mutant}
        words = "".join(f"✗ {what}{': ' if hint else ''}{hint}\n" for what, hint in failed) or "✓\n"
        self.count += 1
        cell.execution_count = self.count
        cell.outputs = [new_output("stream", name="stdout", text=words),
                        new_output("execute_result", data={"text/plain": f"{points:g}"}, execution_count=self.count)]


_spare = []  # the next submission's kernel, warming up while this one works


def close_spare():
    while _spare:
        _spare.pop()[1].close()


@functools.cache
def _close_at_exit(process):
    sandbox.at_exit(close_spare)


def _kernel(course, another):
    key = (course["sandbox"], course["warm"])
    kernel = next((k for tag, k in _spare if tag == key), None)
    if kernel:
        _spare.clear()
    else:
        close_spare()
        kernel = sandbox.Kernel(course["sandbox"], course["warm"])
    if another:
        _spare.append((key, sandbox.Kernel(course["sandbox"], course["warm"])))
        _close_at_exit(os.getpid())
    return kernel


def _autograde(course, nb, sitting):
    """nbgrader's autograder on a course that holds this one submission: (scores, automatic comments, the graded notebook)."""
    from nbgrader.api import Gradebook
    from nbgrader.converters.autograde import Autograde
    from nbgrader.coursedir import CourseDirectory
    from nbgrader.preprocessors import CheckCellMetadata, ClearOutput, DeduplicateIds, OverwriteCells, OverwriteKernelspec, SaveAutoGrades
    from traitlets.config import Config

    homework, failure, log = course["homework"], [], logging.getLogger("course.nbgrader")
    log.propagate, log.handlers = False, [logging.NullHandler()]

    def run(nb, resources):
        try:
            return sitting(nb, resources)
        except Exception as e:
            failure.append(e)
            raise

    with tempfile.TemporaryDirectory(prefix="g-") as root:
        folder = Path(root, "submitted/s", homework)
        folder.mkdir(parents=True)
        (folder / f"{homework}.ipynb").write_text(nbformat.writes(nb), encoding="utf-8")
        Path(root, "gradebook.db").write_bytes(zlib.decompress(course["gradebook"]))
        config = Config({"CourseDirectory": {"root": root, "course_id": course["course_id"], "assignment_id": homework, "student_id": "s"}})
        warnings.filterwarnings("ignore", module="nbgrader")  # SQLAlchemy about nbgrader
        app = Autograde(coursedir=CourseDirectory(config=config), config=config, log=log)
        app.sanitize_preprocessors = [ClearOutput, DeduplicateIds, OverwriteKernelspec, OverwriteCells, CheckCellMetadata]
        app.autograde_preprocessors = [run, SaveAutoGrades, CheckCellMetadata]
        try:
            app.start()
        except Exception as e:
            raise failure[0] if failure else e
        with Gradebook(f"sqlite:///{root}/gradebook.db", course["course_id"]) as book:
            work = book.find_submission_notebook(homework, homework, "s")
            scores = {g.name: (g.auto_score, g.needs_manual_grade) for g in work.grades}
            comments = {c.name: c.auto_comment for c in work.comments}
        return scores, comments, Path(root, "autograded/s", homework, f"{homework}.ipynb").read_text(encoding="utf-8")


def grade_one(course, student, data, another=False):
    """Grade one submission (its bytes). Returns its record, and for the gradebook scores, comments and the notebook.

    Never raises: a machine that fails gives points null and a reason. `another`: warm up a kernel for the next one."""
    began, problem = time.perf_counter(), None
    record = {"student": student, "homework": course["homework"], "status": "graded", "reason": "", "points": None, "auto": None,
              "max_auto": course["max_auto"], "max_written": course["max_written"], "exercises": {}, "notes": []}
    result = {"record": record, "scores": None}
    try:
        nb, record["notes"] = repair(load(data), nbformat.reads(course["release"], 4))
    except Rejected as e:
        return result | {"record": record | {"status": "rejected", "reason": str(e), "seconds": round(time.perf_counter() - began, 2)}}
    for _ in range(TRIES):
        try:
            with _kernel(course, another) as kernel:
                kernel.ready(course["wall"])
                sitting = Sitting(course, kernel)
                scores, comments, graded = _autograde(course, copy.deepcopy(nb), sitting)
            sandbox.intact()
            result |= {"scores": scores, "comments": comments, "notebook": graded}
            break
        except Exception as e:  # the machine, or this program
            problem = e
    if result["scores"] is None:
        record |= {"status": "crashed", "reason": f"not graded, and not the student's fault: {type(problem).__name__}: {problem}"}
    else:
        total = round(sum(e["points"] for e in sitting.exercises.values()), 2)
        saved = sum(score or 0 for name, (score, _) in result["scores"].items() if name.endswith("-check"))
        assert math.isclose(saved, total, abs_tol=0.01), (saved, total)  # nbgrader read what was written
        exercises = {n: sitting.exercises[n] for n in sitting.markings}
        record |= {"points": total, "auto": total, "exercises": exercises, "notes": record["notes"] + sitting.notes}
        if sitting.ended:
            record |= {"status": sitting.ended.kind, "reason": sitting.notes[-1]}
    return result | {"record": record | {"seconds": round(time.perf_counter() - began, 2)}}


# ---- the class -----------------------------------------------------------------------------------------------------------
def prepare(root, homework, no_sandbox=False, wall=WALL):
    """What a worker must know to grade a homework; the same for every submission. Raises CourseError."""
    from . import homework as author

    files = [root / step / homework / f"{homework}.ipynb" for step in ("source", "release")] + [root / "gradebook.db"]
    for path in files:
        if not path.is_file():
            raise CourseError(f"{path} is missing; run make homework first")
    source, release = (nbformat.read(path, 4) for path in files[:2])
    every, graded = _markings(homework), [c.metadata.nbgrader for c in release.cells if c.metadata.get("nbgrader", {}).get("grade")]
    checks = {g.grade_id.removesuffix("-check"): float(g.points) for g in graded if g.grade_id.endswith("-check")}
    if set(checks) != set(every):
        raise CourseError(f"{homework}: the marking and the released notebook differ in {', '.join(sorted(set(checks) ^ set(every)))}; "
                          "run make homework again")
    references = {}
    for name, m in every.items():
        needs = list(m.needs)
        for needed in needs:
            needs += [n for n in every[needed].needs if n not in needs]
        if needs:
            references[name] = (tuple(n for n in every if n in needs), author.solution_source(homework, needs))
    with tempfile.TemporaryDirectory() as folder:
        with contextlib.closing(sqlite3.connect(files[2])) as book, contextlib.closing(sqlite3.connect(f"{folder}/g")) as bare:
            book.backup(bare)  # the definitions only: nobody's name and nobody's marks leave the course's gradebook
            for table in ("grade", "comment", "submitted_notebook", "submitted_assignment", "student"):
                bare.execute(f"DELETE FROM {table}")
            bare.commit()
            bare.execute("VACUUM")
            course_id = bare.execute("SELECT course_id FROM assignment WHERE name = ?", (homework,)).fetchone()
        gradebook = zlib.compress(Path(folder, "g").read_bytes())
    if course_id is None:
        raise CourseError(f"{files[2]} does not know {homework}; run make homework first")
    given = [c.source for c in release.cells if c.cell_type == "code" and c.metadata.get("nbgrader", {}).get("locked")]
    imports = [ast.unparse(s) for text in given for s in ast.parse(text).body if isinstance(s, (ast.Import, ast.ImportFrom))]
    text = files[1].read_text(encoding="utf-8")
    course = {"homework": homework, "course_id": course_id[0], "release": text, "gradebook": gradebook, "seed": author.seed_of(source),
              "references": references, "sandbox": not no_sandbox, "wall": wall, "max_auto": sum(checks.values()),
              "max_written": sum(float(g.points) for g in graded) - sum(checks.values()),
              "warm": f"exec({chr(10).join(imports)!r}, {{}})"}
    digest = hashlib.sha256(json.dumps([VERSION, text, course["seed"], references]).encode())
    modules = [Path(marking.__file__), Path(sys.modules[f"{marking.__name__}.{homework[:4]}"].__file__)]
    for path in [*modules, *sorted((sandbox.COURSE_UTILS).glob("*.py")), sandbox.COURSE_UTILS / "checks/__init__.py"]:
        digest.update(path.read_bytes())
    return course | {"digest": digest.hexdigest()[:16]}


def _pool(course, todo, jobs):
    """(student, result) for each as it is done, on processes of this machine. A process that dies takes nobody with it."""
    method = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    tries = dict.fromkeys(todo, 0)
    while tries:
        batch = list(tries) if max(tries.values()) < 2 else [next(iter(tries))]  # alone, once somebody broke the pool twice
        scratch = tempfile.mkdtemp(prefix="course-", dir=MEMORY if os.access(MEMORY, os.W_OK) else None)
        pool = concurrent.futures.ProcessPoolExecutor(min(jobs, len(batch)), method, _into, (scratch,))
        try:
            futures = {pool.submit(_submitted, course, student, todo[student], i + jobs < len(batch)): student
                       for i, student in enumerate(batch)}
            for future in concurrent.futures.as_completed(futures):
                student = futures.pop(future)
                try:
                    result = future.result()
                except Exception as e:  # its process was killed, and with it all that were in the pool
                    tries[student] += 1
                    if tries[student] < TRIES + 2:
                        continue
                    result = lost(course, student, e)
                del tries[student]
                yield student, result
        finally:
            pool.shutdown(cancel_futures=True)
            shutil.rmtree(scratch, ignore_errors=True)


def _into(scratch):
    tempfile.tempdir = scratch


def _submitted(course, student, path, another):
    return grade_one(course, student, path.read_bytes(), another)


def _dask(course, todo, address):
    """The same on the workers of a Dask cluster; they need this course and bubblewrap, but not the course's folder."""
    from dask.distributed import Client, as_completed

    with Client(address, timeout=30, set_as_default=False) as client:
        futures = {}
        for student, path in todo.items():
            future = client.submit(grade_one, course, student, path.read_bytes(), True, pure=False, retries=TRIES)
            futures[future] = student
        try:
            for future in as_completed(futures, loop=client.loop):
                student = futures.pop(future)
                yield student, future.result() if future.status == "finished" else lost(course, student, future.exception())
        finally:
            with contextlib.suppress(Exception):
                client.run(close_spare)


def lost(course, student, problem):
    """The result for a submission whose worker never came back: no points, which is not 0 points."""
    return {"scores": None, "record": {
        "student": student, "homework": course["homework"], "status": "crashed", "points": None, "auto": None, "exercises": {}, "notes": [],
        "max_auto": course["max_auto"], "max_written": course["max_written"], "seconds": 0.0,
        "reason": f"not graded, and not the student's fault: its worker was lost {TRIES} times ({type(problem).__name__}: {problem})"}}


def _save(book, course, student, result, changed):
    """Put one result into the course's gradebook. What a person has marked stays; if the text is `changed`, a person looks again."""
    homework = course["homework"]
    book.update_or_create_student(student.id, **{k: v for k, v in student._asdict().items() if k != "id" and v})
    book.update_or_create_submission(homework, student.id)
    for name, (score, needs) in result["scores"].items():
        grade = book.find_grade(name, homework, homework, student.id)
        by_hand = grade.manual_score is not None
        grade.needs_manual_grade = (needs or grade.auto_score != score) if by_hand and changed else needs and not by_hand
        grade.auto_score = score
    for name, text in result["comments"].items():
        book.find_comment(name, homework, homework, student.id).auto_comment = text
    book.db.commit()


def grade(root, homework, *, jobs=None, scheduler=None, no_sandbox=False, again=False, wall=WALL, only=(), report=print):
    """Grade every submission of a homework that is new or changed; returns {student id: record}. Raises CourseError."""
    import nbgrader.converters.autograde  # noqa: F401  (slow: before the pool's processes part)
    from nbgrader.api import Gradebook, MissingEntry
    from nbgrader.utils import parse_utc

    warnings.filterwarnings("ignore", module="nbgrader")  # SQLAlchemy's, about nbgrader
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: as many processes as cores, one thread each
    root = Path(root).resolve()
    homework = assignment(root, homework)
    if not no_sandbox and not scheduler:
        try:
            sandbox.check()
        except sandbox.SandboxError as e:
            raise CourseError(str(e)) from None
    course = prepare(root, homework, no_sandbox, wall)
    roster = {s.id: s for s in read_roster(root)}
    for folder in sorted(root.glob(f"submitted/*/{homework}")):  # somebody who is not on the roster is graded too
        roster.setdefault(folder.parent.name, Student(folder.parent.name))
    records, settled, todo, facts = {}, {}, {}, {}
    if not scheduler:
        sandbox.stage()
    for student in roster:
        folder = root / "submitted" / student / homework
        path, stamp, target = folder / f"{homework}.ipynb", folder / "timestamp.txt", root / "records" / homework / f"{student}.json"
        submitted = None
        with contextlib.suppress(OSError, ValueError, OverflowError):
            submitted = parse_utc(stamp.read_text().strip())
        try:
            old = json.loads(target.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            old = {}
        inputs = f"{hashlib.sha256(path.read_bytes()).hexdigest()[:16]}-{course['digest']}" if path.is_file() else None
        facts[student] = (target, submitted, old, inputs)
        unfinished = old.get("inputs") != inputs or old.get("status") == "crashed" and old.get("points") is None
        if only and student not in only:
            records[student] = old
        elif inputs and (again or unfinished):
            todo[student] = path
        else:
            settled[student] = old if inputs else lost(course, student, None)["record"] | {
                "status": "missing", "reason": "nothing was handed in" if not folder.is_dir() else f"its folder holds no {path.name}"}
    with Gradebook(f"sqlite:///{root / 'gradebook.db'}", course["course_id"]) as book:
        due = book.find_assignment(homework).duedate

        def keep(student, record):
            target, submitted, old, inputs = facts[student]
            late, waiting = max(0.0, (submitted - due).total_seconds()) if submitted and due else 0.0, False
            with contextlib.suppress(MissingEntry):
                row = book.find_submission(homework, student)
                if record["status"] in ("missing", "rejected"):
                    if any(g.manual_score is not None for n in row.notebooks for g in n.grades):
                        record["notes"] = ["the gradebook still has the marks that a person gave for what was handed in before"]
                    else:
                        book.remove_submission(homework, student)
                elif record["points"] is not None:
                    row.timestamp = submitted
                    book.db.commit()
                    late, waiting = row.total_seconds_late, row.needs_manual_grade  # knows extensions, and what a person did
            if record["status"] in ("graded", "needs_manual"):
                record["status"] = "needs_manual" if waiting else "graded"
                record["reason"] = "the written answer waits for a person" if waiting else ""
            record |= {"submitted": submitted and submitted.isoformat(), "late_s": late, "inputs": inputs}
            records[student] = record
            if record != old:
                atomic_write(target, json.dumps(record, indent=1, ensure_ascii=False).encode())

        for student, record in settled.items():
            keep(student, dict(record))
        results = _dask(course, todo, scheduler) if scheduler else _pool(course, todo, jobs or os.cpu_count() or 1)
        with Progress(len(todo), report) as progress:
            for student, result in results:
                old, inputs = facts[student][2:]
                changed = str(old.get("inputs")).split("-")[0] != inputs.split("-")[0]
                if result["scores"] is not None:
                    _save(book, course, roster[student], result, changed)
                    folder = root / "autograded" / student / homework
                    shutil.rmtree(folder, ignore_errors=True)
                    atomic_write(folder / f"{homework}.ipynb", result["notebook"].encode())
                    stamp = root / "submitted" / student / homework / "timestamp.txt"
                    if stamp.is_file():
                        shutil.copy(stamp, folder)
                keep(student, result["record"])
                progress.step(student, result["record"])
    return {s: records[s] for s in roster}


class Progress:
    """A bar on a terminal; elsewhere one line for each submission that is not simply graded."""

    def __init__(self, total, report=print):
        self.total, self.done, self.report, self.began = total, 0, report, time.monotonic()
        self.bar = sys.stderr.isatty()

    def step(self, student, record):
        self.done += 1
        each = (time.monotonic() - self.began) / self.done
        if self.bar:
            filled = 30 * self.done // self.total
            left = f"{each:.1f} s each, {each * (self.total - self.done):.0f} s left "
            print(f"\r{'█' * filled}{'·' * (30 - filled)} {self.done}/{self.total}  {left}", end="", file=sys.stderr, flush=True)
        elif self.done % 50 == 0 and self.report:
            self.report(f"{self.done} of {self.total} graded, {each:.1f} s each")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.bar and self.done:
            print(file=sys.stderr)


def register(subparsers):
    parser = subparsers.add_parser("grade", help="grade what was handed in", description=__doc__,
                                   formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("homework", help="how its name starts, for instance hw03")
    parser.add_argument("students", nargs="*", help="ids of students; none means all")
    parser.add_argument("--root", type=Path, default=Path("course"), help="the course's folder (default: course)")
    parser.add_argument("--jobs", type=int, help="processes on this machine (default: one for each core)")
    parser.add_argument("--scheduler", help="address of a Dask scheduler, tcp://… or tls://…")
    parser.add_argument("--again", action="store_true", help="also what has not changed")
    parser.add_argument("--wall", type=float, default=WALL, help="seconds that one submission may take (default: %(default)g)")
    parser.add_argument("--no-sandbox", action="store_true", help="run students' code with your own rights: it can then read and change "
                        "your files and other students' work, and use the network. Only on a machine that has nothing to lose")
    parser.set_defaults(run=run)


def run(args):
    """Exit code: 0 all graded, 1 the teacher should look at something, 2 it could not begin."""
    try:
        if args.no_sandbox:
            print("without a sandbox: students' code runs with your rights on this machine", file=sys.stderr)
        records = grade(args.root, args.homework, jobs=args.jobs, scheduler=args.scheduler, no_sandbox=args.no_sandbox, again=args.again,
                        wall=args.wall, only=args.students)
    except CourseError as e:
        print(e, file=sys.stderr)
        return 2
    count = {}
    for student, record in records.items():
        count[record.get("status")] = count.get(record.get("status"), 0) + 1
        if record.get("status") not in ("graded", "needs_manual"):
            print(f"{student}: {record.get('status', 'not graded yet')}: {record.get('reason', '')}")
    print(", ".join(f"{n} {status or 'not graded yet'}" for status, n in sorted(count.items(), key=str)))
    return 1 if any(r.get("status") in ATTENTION for r in records.values()) else 0
