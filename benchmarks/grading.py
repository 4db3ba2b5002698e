"""What grading costs: seconds per submission on one core and on two, against plain `nbgrader autograde` of the same notebooks
in the same run; how the time grows with the class; the memory that all its processes need together."""
import copy
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nbformat

from course_utils.instructor import build, homework

BUDGET = {"ours / plain on one core": 1.0, "throughput of two / one": 1.8, "cost at the largest class / smallest": 1.15}
GRADE = [sys.executable, "-m", "course_utils.instructor.cli", "grade"]
PLAIN = [sys.executable, "-m", "nbgrader", "autograde"]


def students(root, name, n):
    """A course folder for `n` students: three of four have solved it, one has handed in the empty notebook."""
    shutil.rmtree(root / "course", ignore_errors=True)
    shutil.copytree(root / "built", root / "course")
    solved, blank = (nbformat.read(root / "built" / step / name / f"{name}.ipynb", 4) for step in ("source", "release"))
    ids = [f"s{i:03}" for i in range(n)]
    for i, student in enumerate(ids):
        nb = copy.deepcopy(blank if i % 4 == 3 else solved)
        nb.cells.append(nbformat.v4.new_markdown_cell(f"handed in by {student}", id=f"by-{student}"))
        target = root / "course/submitted" / student / name / f"{name}.ipynb"
        target.parent.mkdir(parents=True)
        nbformat.write(nb, target)
    (root / "course/roster.csv").write_text("id\n" + "\n".join(ids) + "\n")
    return root / "course"


def tree(pid):
    """Bytes that a process and all its descendants hold together, shared pages counted once (PSS)."""
    total, todo = 0, [pid]
    while todo:
        process = todo.pop()
        try:
            total += int(Path(f"/proc/{process}/smaps_rollup").read_text().split("\nPss:")[1].split()[0]) * 1024
            todo += [int(c) for t in Path(f"/proc/{process}/task").iterdir() for c in (t / "children").read_text().split()]
        except (OSError, IndexError):
            pass
    return total


def run(command, course, cores, memory=False):
    """(seconds, peak bytes) of a command in the course's folder, on these cores."""
    env = {**os.environ, "PYTHONPATH": str(build.ROOT.parent), "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    began, peak = time.perf_counter(), 0
    process = subprocess.Popen(command, cwd=course, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                               preexec_fn=lambda: os.sched_setaffinity(0, cores))
    while memory and process.poll() is None:
        peak = max(peak, tree(process.pid))
        time.sleep(0.5)
    errors = process.communicate()[1]
    if process.returncode not in (0, 1):
        raise RuntimeError(f"{' '.join(command[1:])}: exit code {process.returncode}\n{errors[-2000:]}")
    return time.perf_counter() - began, peak


def marked(course, name):
    """How many submissions have got points."""
    return sum(json.loads(p.read_text())["points"] is not None for p in course.glob(f"records/{name}/*.json"))


def main(which="hw01", n=12, sizes=(10, 50, 200), rounds=2):
    """Measure and print; returns what is written as JSON. `sizes`: how large the classes are of which the growth is measured."""
    cores = sorted(os.sched_getaffinity(0))[:2]
    name = next(p.stem for p in homework.sources() if p.stem.startswith(which))
    grade = [*GRADE, name, "--root", "."]
    with tempfile.TemporaryDirectory(prefix="course-bench-") as folder:
        root = Path(folder)
        (root / "built").mkdir()
        homework.build_one(name, course=root / "built", out=root / "student")
        seconds = {"plain": [], "one": [], "two": []}
        for _ in range(rounds):
            for kind, command, where in (("plain", [*PLAIN, name], cores[:1]), ("one", [*grade, "--jobs", "1"], cores[:1]),
                                         ("two", [*grade, "--jobs", "2"], cores)):
                course = students(root, name, n)
                seconds[kind].append(run(command, course, where)[0] / n)
                assert kind == "plain" and len(list(course.glob("autograded/*/*/*.ipynb"))) == n or marked(course, name) == n, kind
        plain, one, two = (statistics.median(seconds[k]) for k in ("plain", "one", "two"))
        print(f"{name}, {n} submissions, start of the program included, median of {rounds}")
        for words, value in (("plain nbgrader autograde, one core", plain), ("course grade in bubblewrap, one core", one),
                             ("course grade in bubblewrap, two cores", two)):
            print(f"  {words:42}{value:7.2f} s per submission{3600 / value:8.0f} per hour")
        growth = {}
        print(f"{'class':>8}{'seconds':>10}{'s each':>9}{'peak MiB':>10}   (two processes)")
        for size in sizes:
            course = students(root, name, size)
            took, peak = run([*grade, "--jobs", "2"], course, cores, memory=True)
            assert marked(course, name) == size
            growth[size] = {"seconds": round(took, 1), "each_s": round(took / size, 3), "peak_MiB": round(peak / 2**20)}
            print(f"{size:>8}{took:>10.1f}{took / size:>9.2f}{peak / 2**20:>10.0f}", flush=True)
    first, last = growth[min(growth)], growth[max(growth)]
    ratios = {"ours / plain on one core": round(one / plain, 2), "throughput of two / one": round(one / two, 2),
              "cost at the largest class / smallest": round(last["each_s"] / first["each_s"], 2)}
    for words, value in ratios.items():
        good = value >= BUDGET[words] if words.startswith("throughput") else value <= BUDGET[words]
        print(f"  {words:42}{value:7.2f}   aim {BUDGET[words]}{'' if good else '   MISS'}")
    return {"homework": name, "submissions": n, "seconds_each": {k: [round(v, 3) for v in vs] for k, vs in seconds.items()},
            "growth": growth, "ratios": ratios, "budget": BUDGET}
