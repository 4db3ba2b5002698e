"""What goes back: a page for each student, and grades.csv for the teacher.

    course feedback hw03        course/feedback/<student>/<homework>/<homework>.html, and grades.csv
    course export               only grades.csv

Points come from the records that `course grade` wrote, and from the gradebook what a person gave in formgrader: the written
answer, comments, and any points changed by hand. A page says what failed in words, with the hint; it holds no test and no
right value. In grades.csv, `total` stays empty as long as `waiting` says that a person has to do something.
"""

import argparse
import base64
import html
import io
import json
import re
import sys
from pathlib import Path
from typing import NamedTuple

from .collect import CourseError, Student, assignment, atomic_write, csv_bytes, read_roster

WORDS = {  # what a status means to a student
    "graded": "Your homework is marked.",
    "needs_manual": "The exercises are marked. A person still reads your written answer.",
    "rejected": "Your file could not be marked.",
    "missing": "Nothing was handed in.",
    "crashed": "Your notebook crashed on the way; what was answered before counts.",
    "timed_out": "Your notebook took too long; what was answered before counts.",
    "not graded": "This homework is not marked yet.",
}
HEADER = ("homework", "student", "first_name", "last_name", "auto", "written", "total", "max", "status", "late_hours", "waiting", "reason")
STYLE = """
:root { color-scheme: light dark; --page: #fff; --text: #1d1d1f; --soft: #595960; --line: #d6d6da; --card: #f5f5f7; --good: #00664a;
  --part: #7a4f00; --bad: #a33c00; --link: #0061a0; }
@media (prefers-color-scheme: dark) { :root { --page: #17181b; --text: #ececf0; --soft: #a9a9b2; --line: #3c3d44; --card: #212226;
  --good: #4fd0a5; --part: #f0b64e; --bad: #ff9561; --link: #7cc4f5; } }
* { box-sizing: border-box }
body { margin: 0 auto; padding: 2rem 1.2rem 4rem; max-width: 52rem; background: var(--page); color: var(--text);
  font: 1rem/1.55 system-ui, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; overflow-wrap: break-word }
h1 { margin: 0 0 .3rem; font-size: 1.7rem; line-height: 1.25 } h2 { margin: 2.2rem 0 .6rem; font-size: 1.25rem }
h3 { margin: 0; font-size: 1.05rem } p, ul { margin: .4rem 0 } .soft { color: var(--soft) }
.sum { font-size: 1.35rem; font-weight: 600; margin: 1rem 0 .2rem }
.box { border: 1px solid var(--line); border-left: .35rem solid var(--c, var(--line)); border-radius: .4rem; background: var(--card);
  padding: .7rem 1rem; margin: .7rem 0 }
.head { display: flex; gap: 1rem; justify-content: space-between; flex-wrap: wrap; align-items: baseline }
.points { color: var(--c); font-weight: 600; white-space: nowrap }
.right { --c: var(--good) } .partial { --c: var(--part) } .wrong, .broken { --c: var(--bad) } .blank, .open { --c: var(--soft) }
blockquote { margin: .5rem 0; padding-left: .8rem; border-left: .2rem solid var(--line); white-space: pre-wrap }
table { border-collapse: collapse; width: 100%; margin: .6rem 0 } th, td { text-align: left; padding: .35rem .6rem .35rem 0;
  border-bottom: 1px solid var(--line); vertical-align: top } td.n, th.n { text-align: right; font-variant-numeric: tabular-nums }
.scroll { overflow-x: auto } figure { margin: .8rem 0; background: #fff; border-radius: .4rem; padding: .4rem }
img { display: block; width: 100%; height: auto }
@media print { body { max-width: none; padding: 0 } .box { break-inside: avoid } }
"""


class Part(NamedTuple):
    """An exercise or a written answer of one student: `points` is None while nobody has given any."""

    title: str
    points: float | None
    max: float
    status: str  # right, partial, wrong, blank, broken; open: a person has to look
    failed: list
    mutant: str | None
    comment: str
    by_hand: bool = False


class Result(NamedTuple):
    """Everything about one student's homework."""

    student: Student
    record: dict
    status: str
    exercises: dict  # name -> Part
    written: dict
    waiting: str  # what a person has to do before there is a total

    def sum(self, parts):
        """The points of some parts, or None when nobody has given any yet."""
        points = [p.points for p in parts.values()]
        return None if None in points or not points else round(sum(points), 2)

    @property
    def reason(self):
        """Why the status is what it is, where that is more than routine."""
        return "" if self.status in ("graded", "needs_manual") else self.record.get("reason") or ""

    @property
    def total(self):
        return None if self.waiting else round(sum(p.points for p in [*self.exercises.values(), *self.written.values()]), 2)


# ---- reading ---------------------------------------------------------------------------------------------------------
class Outline(NamedTuple):
    """An assignment as its teacher's notebook says: its title, and (heading, points) of each exercise and written answer."""

    title: str
    exercises: dict
    written: dict


def outline(root, homework):
    """The Outline of an assignment of course/source."""
    nb = json.loads((Path(root) / "source" / homework / f"{homework}.ipynb").read_text(encoding="utf-8"))
    title, heading, exercises, written = homework, "", {}, {}
    for cell in nb["cells"]:
        mark, source = cell["metadata"].get("nbgrader", {}), "".join(cell["source"])
        if cell["cell_type"] == "markdown" and (m := re.findall(r"^(#{1,3}) +(.+)$", source, re.M)):
            title, heading = (m[0][1] if len(m[0][0]) == 1 else title), re.sub(r" *\([^()]*points?[^()]*\)$", "", m[-1][1])
        if mark.get("grade"):
            name = mark["grade_id"].removesuffix("-check")
            (written if mark.get("solution") else exercises)[name] = (heading, float(mark["points"]))
    return Outline(title, exercises, written)


def gradebook(root, homework):
    """{student: {cell: (points, whether a person gave them, whether a person must, comment)}} from course/gradebook.db."""
    path = Path(root) / "gradebook.db"
    if not path.is_file():
        return {}
    from nbgrader.api import Gradebook, MissingEntry

    found = {}
    with Gradebook(f"sqlite:///{path.resolve()}") as book:
        try:
            submissions = book.find_assignment(homework).submissions
        except MissingEntry:
            return {}
        for notebook in (n for s in submissions for n in s.notebooks):
            comments = {c.name: c.manual_comment for c in notebook.comments}
            for g in notebook.grades:
                by_hand = g.manual_score is not None or g.extra_credit is not None
                name = g.name.removesuffix("-check")
                found.setdefault(notebook.student.id, {})[name] = (
                    g.score, by_hand, bool(g.needs_manual_grade), comments.get(g.name) or comments.get(name) or "")
    return found


def result(student, record, plan, book):
    """Put the record (or None) and the gradebook's cells of one student together."""
    status = record["status"] if record else "not graded"
    record = record or {"status": status, "exercises": {}, "reason": "", "notes": []}
    exercises, written = {}, {}
    for name, (title, most) in plan.exercises.items():
        mine = record["exercises"].get(name, {})
        points, by_hand, _, comment = book.get(name, (None, False, False, ""))
        state = mine.get("status", "open")
        if by_hand:
            state = "right" if points >= most else "partial" if points else state
        else:
            points = None if status in ("missing", "rejected") else mine.get("points")
        exercises[name] = Part(title, points, most, state, mine.get("failed", []), mine.get("mutant"), comment, by_hand)
    for name, (title, most) in plan.written.items():
        points, by_hand, needed, comment = book.get(name, (None, False, True, ""))
        state = "open" if needed else "blank" if not by_hand else "right" if points >= most else "partial" if points else "wrong"
        written[name] = Part(title, None if needed else points, most, state, [], None, comment)
    waiting = ""
    if status == "not graded":
        waiting = "run course grade"
    elif status == "missing":
        waiting = "nothing handed in"
    elif any(p.points is None for p in exercises.values()):
        waiting = "the file could not be graded: look at it" if status == "rejected" else "grade again: no result"
    elif any(p.points is None for p in written.values()):
        waiting = "written answer"
    elif status == "needs_manual":
        status = "graded"  # a person has been there since
    return Result(student, record, status, exercises, written, waiting)


def results(root, homework):
    """The Result of every student of the roster, in its order, then of students who have a record but left the roster."""
    plan, book, folder = outline(root, homework), gradebook(root, homework), Path(root) / "records" / homework
    records = {p.stem: json.loads(p.read_text(encoding="utf-8")) for p in sorted(folder.glob("*.json"))}
    students = {s.id: s for s in read_roster(root)} if (Path(root) / "roster.csv").exists() else {}
    students |= {id: Student(id) for id in records if id not in students}
    return [result(s, records.get(s.id), plan, book.get(s.id, {})) for s in students.values()]


# ---- writing ---------------------------------------------------------------------------------------------------------
def number(points):
    """Points as people write them: 3, 2.5, 1.33, or – for none yet."""
    return "–" if points is None else f"{points:.2f}".rstrip("0").rstrip(".")


def late(seconds):
    """Lateness in words, or "" for on time."""
    minutes = int(-(-(seconds or 0) // 60))
    days, hours = minutes // 1440, minutes // 60 % 24
    parts = [f"{days} d", f"{hours} h"] if days else [f"{hours} h", f"{minutes % 60} min"]
    return " ".join(p for p in parts if p[0] != "0") + " late" if minutes > 0 else ""


def sentence(text):
    """Text that begins as a sentence does and ends as one."""
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")


def page(title, body):
    """A whole HTML page that needs nothing else, readable in light and in dark. `title` is text, `body` is HTML."""
    return (f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">\n'
            '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; style-src \'unsafe-inline\'; img-src data:">\n'
            f"<title>{html.escape(title)}</title>\n<style>{STYLE}</style></head>\n<body>\n{body}\n</body></html>\n").encode(errors="replace")


def picture(fig, alt):
    """A figure as an HTML image that holds its own SVG."""
    import matplotlib as mpl

    out = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": "elbo-room"}):
        fig.savefig(out, format="svg", metadata={"Date": None})
    data = base64.b64encode(out.getvalue()).decode()
    return f'<figure><img alt="{html.escape(alt)}" src="data:image/svg+xml;base64,{data}"></figure>'


def _part(part):
    hints = {}  # hint -> what failed for that reason
    for words, hint in part.failed:
        hints.setdefault(hint, []).append(f"<strong>{html.escape(words)}</strong>")
    if part.status in ("right", "blank", "open") or not hints:
        said = {"right": "All cases are right.", "blank": "Not attempted."}.get(part.status, "")
        return _box(part, f"<p>{said}</p>" if said and not part.by_hand else "")
    failed = [f"<li>{', '.join(words)}{': ' + html.escape(hint) if hint else ''}</li>" for hint, words in hints.items()]
    begin = "Some cases are right; these are not" if part.status == "partial" and not part.by_hand else "What did not work"
    return _box(part, f"<p>{begin}:</p><ul>{''.join(failed)}</ul>")


def _written(part):
    return _box(part, {"open": "<p>A person still reads this answer.</p>", "blank": "<p>No answer was written.</p>"}.get(part.status, ""))


def _box(part, text):
    if part.by_hand:
        text += "<p>A person gave these points.</p>"
    if part.comment:
        text += f"<p>Comment:</p><blockquote>{html.escape(part.comment)}</blockquote>"
    return (f'<section class="box {part.status}"><div class="head"><h3>{html.escape(part.title)}</h3>'
            f'<span class="points">{number(part.points)} of {number(part.max)} points</span></div>{text}</section>')


def student_page(result, title):
    """The page of one student, as bytes."""
    record, written = result.record, sum(p.max for p in result.written.values())
    most = written + sum(p.max for p in result.exercises.values())
    name = result.student.name or result.student.id
    got = result.total if result.total is not None else result.sum(result.exercises)
    lines = [f'<p class="soft">{html.escape(title)}</p><h1>{html.escape(name)}</h1>']
    if got is not None:
        so_far = f" so far; the written answer can add up to {number(written)}" if result.total is None else ""
        lines.append(f'<p class="sum">{number(got)} of {number(most)} points{so_far}</p>')
    unknown = all(p.points is None for p in result.exercises.values())
    lines.append(f"<p>{WORDS['not graded' if unknown and result.status in ('crashed', 'timed_out') else result.status]}</p>")
    if result.reason:
        lines.append(f"<p>{html.escape(sentence(result.reason))}</p>")
    if record.get("submitted"):
        when = html.escape(str(record["submitted"]).replace("T", " ")[:16])
        lines.append(f'<p class="soft">Handed in {when} UTC{", " + late(record.get("late_s")) if late(record.get("late_s")) else ""}.</p>')
    if notes := [str(n) for n in record.get("notes", []) if n != result.reason]:
        lines.append("<ul>" + "".join(f"<li>{html.escape(sentence(n))}</li>" for n in notes) + "</ul>")
    if unknown:
        return page(f"{title}: {name}", "\n".join(lines))
    lines += ["<h2>Exercises</h2>", *map(_part, result.exercises.values())]
    if result.written:
        lines += ["<h2>Written answer</h2>", *map(_written, result.written.values())]
    return page(f"{title}: {name}", "\n".join(lines))


def feedback(root, homework):
    """Write the pages of a homework; returns its results. A page that would say the same is not touched."""
    title, every = outline(root, homework).title, results(root, homework)
    for r in every:
        path = Path(root) / "feedback" / r.student.id / homework / f"{homework}.html"
        data = student_page(r, title)
        if not path.exists() or path.read_bytes() != data:
            atomic_write(path, data)
    return every


def export(root):
    """Write grades.csv: a line for every student and every homework that has been graded; returns its path and its lines."""
    rows = []
    for folder in sorted((Path(root) / "records").glob("*")):
        for r in results(root, folder.name) if (Path(root) / "source" / folder.name).is_dir() else ():
            most = sum(p.max for p in [*r.exercises.values(), *r.written.values()])
            values = ["" if v is None else v for v in (r.sum(r.exercises), r.sum(r.written), r.total)]
            hours = round((r.record.get("late_s") or 0) / 3600, 1) or ""
            rows.append([folder.name, r.student.id, r.student.first_name, r.student.last_name, *values, most, r.status, hours, r.waiting,
                         r.reason])
    path = Path(root) / "grades.csv"
    atomic_write(path, csv_bytes(HEADER, rows))
    return path, rows


def register(subparsers):
    text = dict(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    one = subparsers.add_parser("feedback", aliases=["return"], help="a page for each student, and grades.csv", **text)
    one.add_argument("homework", help="how its name starts, for instance hw03")
    one.set_defaults(run=run_feedback)
    two = subparsers.add_parser("export", help="grades.csv of all homework", **text)
    two.set_defaults(run=run_export)
    for parser in (one, two):
        parser.add_argument("--root", type=Path, default=Path("course"), help="the course's folder (default: course)")


def run_feedback(args):
    """Exit code: 0 everybody has a total, 1 somebody waits for a person, 2 it could not begin."""
    try:
        homework = assignment(args.root, args.homework)
        every = feedback(args.root, homework)
    except CourseError as e:
        print(e, file=sys.stderr)
        return 2
    waiting = [r for r in every if r.waiting]
    print(f"{len(every)} pages in {args.root}/feedback/<student>/{homework}; {len(every) - len(waiting)} students have their total")
    for what in dict.fromkeys(r.waiting for r in waiting):
        print(f"  {what}: {', '.join(r.student.id for r in waiting if r.waiting == what)}")
    return run_export(args, {homework})


def run_export(args, homeworks=None):
    """Exit code: 0 everybody has a total, 1 somebody waits for a person, 2 it could not begin."""
    try:
        path, rows = export(args.root)
    except CourseError as e:
        print(e, file=sys.stderr)
        return 2
    rows = [row for row in rows if homeworks is None or row[0] in homeworks]
    waiting = sum(bool(row[HEADER.index("waiting")]) for row in rows)
    print(f"{path}: {len(rows)} lines, {waiting} wait for a person (column waiting)")
    return 1 if waiting else 0
