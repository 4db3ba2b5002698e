"""How the class did: one page for the teacher, course/report/<homework>.html.

    course report hw03

The distribution of the points, how each exercise went, the commonest wrong answers by name, and who waits for a person.
The page holds students' ids: it is not for the beamer.
"""

import argparse
import html
import importlib
import sys
from collections import Counter
from pathlib import Path

import numpy as np

from .. import plots
from .collect import CourseError, assignment, atomic_write
from .feedback import number, outline, page, picture, results
from .marking import markings

# status of an answer -> (word, look of its bar); hatches, so that colour is not alone
LOOKS = {"right": ("right", dict(color=plots.GREEN)),
         "partial": ("partly right", dict(facecolor="white", edgecolor=plots.BLUE, hatch="//")),
         "wrong": ("wrong", dict(facecolor="white", edgecolor=plots.VERMILLION, hatch="xx")),
         "broken": ("no usable answer", dict(color=plots.BLACK)),
         "blank": ("not attempted", dict(facecolor="white", edgecolor=plots.GREY, hatch=".."))}


def tabulate(header, rows, right=()):
    """An HTML table of text; the columns numbered in `right` are numbers."""
    def line(tag, cells):
        each = (f"<{tag}{' class=n' if i in right else ''}>{html.escape(str(c))}</{tag}>" for i, c in enumerate(cells))
        return f"<tr>{''.join(each)}</tr>"

    body = "".join(line("td", row) for row in rows)
    return f'<div class="scroll"><table><thead>{line("th", header)}</thead><tbody>{body}</tbody></table></div>'


def distribution(points, most):
    """(figure, alt) of the points of a class: one bar a point, the median marked."""
    points = np.asarray(points, float)
    fig, median = plots.figure(8.5, 3.2), float(np.median(points))
    ax = fig.subplots()
    counts, _, _ = ax.hist(points, bins=np.arange(-0.5, most + 1), color=plots.BLUE, edgecolor="white", linewidth=1)
    ax.axvline(median, **plots.style("q", linewidth=2))
    top = max(counts.max(), 1)
    plots.label(ax, median, top * 1.06, f" median {number(median)} ", "q", ha="right" if median > most / 2 else "left")
    ax.set(xlim=(-0.7, most + 0.7), ylim=(0, top * 1.2), xlabel="points in the exercises", ylabel="students",
           title=f"Half of {len(points)} students have {number(median)} of {number(most)} points or more")
    ax.yaxis.get_major_locator().set_params(integer=True)
    full, none = int((points >= most).sum()), int((points == 0).sum())
    return fig, (f"Histogram of the points of {len(points)} students: median {number(median)} of {number(most)}, lowest "
                 f"{number(points.min())}, highest {number(points.max())}; {full} have all points and {none} have none")


def success(counts, titles):
    """(figure, alt) of how each exercise went; `counts`: {exercise: Counter of statuses}."""
    fig = plots.figure(8.5, 1.2 + 0.5 * len(counts))
    ax, names = fig.subplots(), list(counts)
    left = np.zeros(len(names))
    for status, (word, look) in LOOKS.items():
        width = np.array([counts[n][status] for n in names], float)
        if width.any():
            ax.barh(range(len(names)), width, left=left, height=0.66, label=word, linewidth=1, **look)
        left += width
    ax.set(yticks=range(len(names)), yticklabels=[titles[n] for n in names], xlabel="students", xlim=(0, max(left.max(), 1)))
    ax.invert_yaxis()
    ax.xaxis.get_major_locator().set_params(integer=True)
    fig.legend(loc="outside upper left", ncols=5, fontsize=10)
    share = {n: counts[n]["right"] / max(counts[n].total(), 1) for n in names}
    worst, best = min(share, key=share.get), max(share, key=share.get)
    return fig, (f"Bars of how {len(names)} exercises went; most right answers in {titles[best]} ({share[best]:.0%}), "
                 f"fewest in {titles[worst]} ({share[worst]:.0%}); the table below has the numbers")


def class_page(root, homework):
    """The class report of a homework, as bytes of HTML."""
    plan, every = outline(root, homework), results(root, homework)
    marked = [r for r in every if r.sum(r.exercises) is not None]
    titles = {name: title for name, (title, _) in plan.exercises.items()}
    most = sum(points for _, points in plan.exercises.values())
    body = [f'<p class="soft">{html.escape(plan.title)}</p><h1>Class report</h1>',
            f"<p>{len(every)} students, {len(marked)} marked, {sum(bool(r.waiting) for r in every)} wait for a person.</p>"]
    if marked:
        body += ["<h2>Points</h2>", picture(*distribution([r.sum(r.exercises) for r in marked], most))]
        totals = [r.total for r in marked if r.total is not None]
        if totals:
            whole = most + sum(points for _, points in plan.written.values())
            body.append(f"<p>With the written answer {len(totals)} students have a total: median {number(float(np.median(totals)))} of "
                        f"{number(whole)}.</p>")
        counts = {name: Counter(r.exercises[name].status for r in marked) for name in plan.exercises}
        rows = [[titles[name], f"{np.mean([r.exercises[name].points for r in marked]):.2f} of {number(plan.exercises[name][1])}",
                 *(counts[name][status] for status in LOOKS)] for name in counts]
        body += ["<h2>Exercises</h2>", picture(*success(counts, titles)),
                 tabulate(["exercise", "mean points", *(word for word, _ in LOOKS.values())], rows, range(1, 7))]
        body += ["<h2>Commonest wrong answers</h2>", mistakes(homework, marked, titles)]
    body += ["<h2>Statuses</h2>", tabulate(["status", "students"], Counter(r.status for r in every).most_common(), [1])]
    look = [[r.student.id, r.status, r.waiting, r.reason] for r in every if r.reason or r.waiting and r.status != "needs_manual"]
    if look:
        body += ["<h2>To look at</h2>", tabulate(["student", "status", "waits for", "reason"], look)]
    body += ["<h2>Written answer</h2>", *written(homework, every, plan)]
    return page(f"{plan.title}: class report", "\n".join(body))


def written(homework, every, plan):
    """What a marker looks for in the written answers, and who still waits, as HTML."""
    rubric = getattr(importlib.import_module(f"{markings.__module__}.{homework[:4]}"), "RUBRIC", {})
    for name, (title, points) in plan.written.items():
        answers = {r.student.id: r.written[name] for r in every if r.sum(r.exercises) is not None}
        given = [p.points for p in answers.values() if p.points is not None]
        mean = f"; mean {np.mean(given):.2f} of {number(points)} points" if given else ""
        yield f"<p>{html.escape(title)}: {len(given)} of {len(answers)} answers are marked{mean}.</p>"
        yield tabulate(["points", "for an answer that"], [(number(p), words) for p, words in rubric.get(name, [])], [0])
        if waiting := [student for student, p in answers.items() if p.points is None]:
            yield f"<p>To read in formgrader: {html.escape(', '.join(waiting))}.</p>"


def mistakes(homework, marked, titles):
    """The named mistakes of a class as an HTML table, the commonest first, with how many wrong answers had no name."""
    named = Counter((name, p.mutant) for r in marked for name, p in r.exercises.items() if p.mutant)
    lost = sum(p.status in ("wrong", "partial") for r in marked for p in r.exercises.values())
    hints = {(name, m.name): m.hint for name, marking in markings(homework).items() for m in marking.mutants}
    text = f"<p>{named.total()} of {lost} wrong or partly right answers are mistakes with a name.</p>"
    rows = [[n, titles[name], mutant, hints.get((name, mutant), "")] for (name, mutant), n in named.most_common(15)]
    return text + (tabulate(["students", "exercise", "the mistake", "what the student was told"], rows, [0]) if rows else "")


def register(subparsers):
    parser = subparsers.add_parser("report", help="a page about the class", description=__doc__,
                                   formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("homework", help="how its name starts, for instance hw03")
    parser.add_argument("--root", type=Path, default=Path("course"), help="the course's folder (default: course)")
    parser.set_defaults(run=run)


def run(args):
    """Exit code: 0 written, 2 it could not begin."""
    try:
        homework = assignment(args.root, args.homework)
        path = args.root / "report" / f"{homework}.html"
        plots.set_style()
        atomic_write(path, class_page(args.root, homework))
    except CourseError as e:
        print(e, file=sys.stderr)
        return 2
    print(path)
    return 0
