"""What goes back to students and teacher: pages, grades.csv and the class report, from records and a real gradebook."""

import argparse
import base64
import csv
import json
import os
import re
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from nbgrader.api import Gradebook

from course_utils.instructor import build, collect, feedback, report
from course_utils.instructor.marking import markings

HW = sorted(p.stem for p in (build.ROOT / "source/homework").glob("hw*.py"))[0]
pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SAWarning")  # nbgrader's own
MARKINGS = markings(HW)
NAMES = list(MARKINGS)
MUTANT = MARKINGS[NAMES[1]].mutants[0]
EVIL = "<script>alert('&\"')</script>"
ROSTER = "id,first_name,last_name,email\n" \
    "ada,Ada,Lovelace,\nbob,Bob,<b>Ross</b>,\ncy,Cy,=1+1,\ndee,Dee,,\neve,Eve,,\nfay,Fay,,\ngus,Gus,,\nhal,Hal,,\n"


def cell(kind, grade_id=None, source="", points=None, **what):
    mark = {"schema_version": 3, "grade_id": grade_id, "grade": points is not None, "solution": False, "locked": False, "task": False}
    return {"cell_type": kind, "metadata": {"nbgrader": {**mark, "points": points, **what}} if grade_id else {}, "source": source}


def record(status="graded", **changes):
    """A record as `course grade` writes it: every exercise right but where `changes` says (share, status, failed, mutant)."""
    exercises = {}
    for name in NAMES:
        share, state, failed, mutant = changes.pop(name, (1.0, "right", [], None))
        exercises[name] = {"points": 2 * share, "max": 2, "share": share, "status": state, "failed": failed, "mutant": mutant}
    return {"student": "", "homework": HW, "status": status, "reason": "", "submitted": "2026-11-20T12:00:00+00:00", "late_s": 0,
            "seconds": 1.0, "auto": 0, "max_auto": 2 * len(NAMES), "max_written": 4, "exercises": exercises, "notes": [], **changes}


@pytest.fixture(scope="module")
def alembic():
    """nbgrader starts the program `alembic` by its name when it makes a gradebook."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
        yield


@pytest.fixture(scope="module")
def course(tmp_path_factory, alembic):
    """A graded course: eight students, each with another fate, and what a person entered in formgrader."""
    root = tmp_path_factory.mktemp("course")
    cells = [cell("markdown", source="# Homework 99 · Trial & error")]
    for i, name in enumerate(NAMES, 1):
        cells += [cell("markdown", source=f"### {i} · About {name} (2 points, 5 min)\n\nText"), cell("code", name, solution=True),
                  cell("code", f"{name}-check", points=2)]
    cells += [cell("markdown", source="### 9 · Written: why? (4 points, 5 min)"), cell("markdown", "why", points=4, solution=True)]
    collect.atomic_write(root / "source" / HW / f"{HW}.ipynb", json.dumps({"cells": cells}).encode())
    (root / "roster.csv").write_text(ROSTER)
    wrong = (0.0, "wrong", [["the other direction", MUTANT.hint]], MUTANT.name)
    half = (0.5, "partial", [["zero probabilities", "what is 0 log 0?"]], None)
    records = {
        "ada": record("needs_manual"),
        "bob": record("needs_manual", **{NAMES[0]: half, NAMES[1]: wrong}, late_s=93_600, notes=[f"note {EVIL}"]),
        "cy": record("graded", **{name: (0.0, "blank", [["not attempted", ""]], None) for name in NAMES}),
        "dee": record("rejected", reason=f"it is no notebook {EVIL}", exercises={}),
        "eve": record("missing", reason="no file", exercises={}),
        "hal": record("crashed", reason="not graded, and not the student's fault: no kernel", points=None, exercises={}),
        "fay": record("crashed", reason="the kernel died in cell 7", **{NAMES[-1]: (0.0, "broken", [[EVIL, EVIL]], None)})}
    for student, one in records.items():
        collect.atomic_write(root / "records" / HW / f"{student}.json", json.dumps({**one, "student": student}).encode())
    with Gradebook(f"sqlite:///{root}/gradebook.db") as book:
        book.add_assignment(HW)
        book.add_notebook(HW, HW)
        for name in NAMES:
            book.add_grade_cell(f"{name}-check", HW, HW, max_score=2, cell_type="code")
            book.add_solution_cell(name, HW, HW)
        book.add_grade_cell("why", HW, HW, max_score=4, cell_type="markdown")
        book.add_solution_cell("why", HW, HW)
        for student, one in records.items():
            book.add_student(student)
            if not one["exercises"]:
                continue
            submission = book.add_submission(HW, student).notebooks[0]
            for grade in submission.grades:
                exercise = one["exercises"].get(grade.name.removesuffix("-check"))
                grade.auto_score, grade.needs_manual_grade = (exercise["points"], False) if exercise else (None, student != "cy")
                if not exercise and student == "cy":
                    grade.auto_score = 0
        book.db.commit()
    return root


def by_hand(root, student, cell, points=None, comment=None):
    """What formgrader does when a person types points or a comment."""
    with Gradebook(f"sqlite:///{root}/gradebook.db") as book:
        notebook = book.find_submission_notebook(HW, HW, student)
        if points is not None:
            grade = next(g for g in notebook.grades if g.name == cell)
            grade.manual_score, grade.needs_manual_grade = points, False
        if comment is not None:
            next(c for c in notebook.comments if c.name == cell).manual_comment = comment
        book.db.commit()


def lines(root):
    path, _ = feedback.export(root)
    return {row["student"]: row for row in csv.DictReader(path.read_text(encoding="utf-8-sig").splitlines())}


def text(data):
    """What a page says, without its tags; fails where tags do not match."""
    out, open_ = [], []

    class Reader(HTMLParser):
        def handle_starttag(self, tag, attrs):
            assert tag not in ("script", "link", "iframe") and not any(k.startswith("on") or str(v).startswith("http") for k, v in attrs)
            if tag not in ("meta", "img"):
                open_.append(tag)

        def handle_endtag(self, tag):
            assert open_.pop() == tag

        def handle_data(self, data):
            if open_ and open_[-1] != "style":
                out.append(data)
    Reader().feed(data.decode())
    assert not open_ and b"@import" not in data and b"url(" not in data
    return re.sub(r"\s+", " ", " ".join(out))


def pages(root):
    feedback.feedback(root, HW)
    return {p.parent.parent.name: text(p.read_bytes()) for p in (root / "feedback").glob(f"*/{HW}/{HW}.html")}


def test_every_student_gets_a_page_that_says_what_happened(course):
    said = pages(course)
    assert set(said) == {"ada", "bob", "cy", "dee", "eve", "fay", "gus", "hal"}
    most = 2 * len(NAMES) + 4
    assert f"{most - 4} of {most} points so far; the written answer can add up to 4" in said["ada"] and "Ada Lovelace" in said["ada"]
    assert f"About {NAMES[0]} 1 of 2 points" in said["bob"] and "zero probabilities : what is 0 log 0?" in said["bob"]
    assert f"About {NAMES[1]} 0 of 2 points" in said["bob"] and MUTANT.hint in said["bob"] and "1 d 2 h late" in said["bob"]
    assert f"0 of {most} points" in said["cy"] and said["cy"].count("Not attempted.") == len(NAMES)
    assert "No answer was written" in said["cy"]
    assert "could not be marked" in said["dee"] and "It is no notebook" in said["dee"] and "points" not in said["dee"]
    assert "Nothing was handed in" in said["eve"] and "not marked yet" in said["gus"]
    assert "not marked yet. Not graded, and not the student's fault" in said["hal"] and "crashed" not in said["hal"]
    assert "crashed" in said["fay"] and "The kernel died in cell 7." in said["fay"]
    assert f"{2 * len(NAMES) - 2} of {most} points so far" in said["fay"]
    assert EVIL in said["bob"] and EVIL in said["dee"] and EVIL in said["fay"] and "<b>Ross</b>" in said["bob"], "escaped, so read as text"


def test_no_page_holds_a_question_or_a_right_value(course):
    pages(course)
    for path in (course / "feedback").rglob("*.html"):
        page = path.read_text()
        assert "_probe" not in page and "check." not in page and "def " not in page and MUTANT.name not in page


def test_grades_csv_never_says_a_silent_zero(course):
    rows = lines(course)
    assert list(next(iter(rows.values()))) == list(feedback.HEADER)
    auto = 2 * len(NAMES)
    want = {"ada": (f"{auto}.0", "", "", "needs_manual", "written answer"),
            "bob": (f"{auto - 3}.0", "", "", "needs_manual", "written answer"), "cy": ("0.0", "0.0", "0.0", "graded", ""),
            "dee": ("", "", "", "rejected", "the file could not be graded: look at it"),
            "eve": ("", "", "", "missing", "nothing handed in"), "gus": ("", "", "", "not graded", "run course grade"),
            "hal": ("", "", "", "crashed", "grade again: no result"), "fay": (f"{auto - 2}.0", "", "", "crashed", "written answer")}
    assert {s: (r["auto"], r["written"], r["total"], r["status"], r["waiting"]) for s, r in rows.items()} == want
    assert rows["bob"]["late_hours"] == "26.0" and rows["ada"]["late_hours"] == "" and rows["cy"]["last_name"] == "'=1+1"


def test_what_a_person_enters_in_formgrader_is_returned(course):
    by_hand(course, "ada", "why", 3.5, f"good {EVIL}")
    by_hand(course, "bob", f"{NAMES[1]}-check", 1.5)
    by_hand(course, "bob", NAMES[1], comment="the idea was right")
    said, rows, auto = pages(course), lines(course), 2 * len(NAMES)
    assert f"{auto + 3.5} of {auto + 4} points" in said["ada"] and "so far" not in said["ada"] and f"Comment: good {EVIL}" in said["ada"]
    assert "Your homework is marked." in said["ada"]
    assert [rows["ada"][k] for k in ("written", "total", "status", "waiting")] == ["3.5", f"{auto + 3.5}", "graded", ""]
    assert f"About {NAMES[1]} 1.5 of 2 points" in said["bob"] and "the idea was right" in said["bob"]
    assert rows["bob"]["auto"] == f"{auto - 1.5}"
    by_hand(course, "ada", "why", 0)
    assert lines(course)["ada"]["total"] == f"{auto}.0"


def test_pages_are_not_rewritten_when_nothing_changed(course):
    pages(course)
    before = {p: p.stat().st_mtime_ns for p in course.rglob("*.html")}
    pages(course)
    assert {p: p.stat().st_mtime_ns for p in course.rglob("*.html")} == before


def test_the_class_report(course):
    data = report.class_page(course, HW)
    said = text(data)
    assert data == report.class_page(course, HW)
    assert "8 students, 4 marked" in said and MUTANT.name in said and MUTANT.hint in said
    assert "1 of 2 wrong or partly right answers are mistakes with a name" in said
    assert f"About {NAMES[0]}" in said and "rejected 1" in said and "dee rejected the file could not be graded: look at it" in said
    pictures = re.findall(rb'<img alt="([^"]+)" src="data:image/svg\+xml;base64,([^"]+)"', data)
    assert len(pictures) == 2 and all(base64.b64decode(p).startswith(b"<?xml") and len(alt) > 60 for alt, p in pictures)
    points = [r.sum(r.exercises) for r in feedback.results(course, HW)]
    assert f"median {feedback.number(np.median([p for p in points if p is not None]))} of".encode() in pictures[0][0]


def test_a_class_that_nobody_graded_has_a_report(course, tmp_path):
    collect.atomic_write(tmp_path / "source" / HW / f"{HW}.ipynb", (course / "source" / HW / f"{HW}.ipynb").read_bytes())
    (tmp_path / "roster.csv").write_text(ROSTER)
    assert "8 students, 0 marked, 8 wait" in text(report.class_page(tmp_path, HW))


def test_commands_and_exit_codes(course, capsys):
    parser = argparse.ArgumentParser()
    subparsers = parser.add_subparsers()
    feedback.register(subparsers)
    report.register(subparsers)

    def command(*words):
        args = parser.parse_args([*words, "--root", str(course)])
        return args.run(args)

    assert command("feedback", HW[:4]) == 1 and "look at it: dee\n" in capsys.readouterr().out
    assert command("export") == 1 and "wait for a person" in capsys.readouterr().out
    assert command("report", HW[:4]) == 0 and (course / "report" / f"{HW}.html").is_file()
    for name in ("feedback", "report"):
        assert command(name, "hw42") == 2 and "no homework starts with 'hw42'" in capsys.readouterr().err
