"""The corpus of simulated submissions through the real pipeline: nbgrader, kernels in bubblewrap, records, gradebook."""

from collections import Counter
from pathlib import Path

import corpus
import pytest

from course_utils.instructor import collect, feedback, grading, homework
from course_utils.instructor.marking import markings

TABLE = Path(__file__).parents[1] / "benchmarks/results/corpus.md"  # submission × expected × got, of the last run
HEADER = "| homework | submission | kind | expected | got | |\n|---|---|---|---|---|---|\n"
# nbgrader warns of itself
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("sandboxed"), pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SAWarning")]


def share_text(shares):
    """{exercise: share} in a few words."""
    if shares is None:
        return "no points"
    if not shares:
        return "any points"
    lost = [name if share == 0 else f"{name} to {share:g}" for name, share in shares.items() if share != 1]
    return "all" if not lost else "none" if all(share == 0 for share in shares.values()) else f"all but {', '.join(lost)}"


@pytest.fixture(scope="module")
def table():
    lines = []
    yield lines
    TABLE.parent.mkdir(parents=True, exist_ok=True)
    TABLE.write_text(HEADER + "".join(lines), encoding="utf-8")


@pytest.fixture(scope="module", params=corpus.ASSIGNMENTS)
def graded(request, tmp_path_factory, table):
    """(assignment, its course folder, [(submission, mutants, record)]): everything handed in, collected and graded."""
    hw, root = request.param, tmp_path_factory.mktemp("corpus") / "course"
    homework.generate(hw, homework.read(hw)[0], root)
    every = corpus.submissions(hw)
    collect.atomic_write(root / "roster.csv", "\n".join(["id", *(s.name for s, _ in every)]).encode())
    for s, _ in every:
        collect.atomic_write(root.parent / "downloads" / s.name / f"{hw}.ipynb", s.data)
    got = collect.Collection(root, hw).run([root.parent / "downloads"])
    assert {line.state for line in got.lines} == {"collected"} and not got.orphans and not got.refused
    with pytest.MonkeyPatch.context() as patch:  # what waits for a limit should not wait for minutes here
        patch.setattr(grading, "CELL", 20.0)
        patch.setattr(grading, "ASK", 45.0)  # a question may take 10 s, and two are tried
        records = grading.grade(root, hw, wall=200.0)
    results = {r.student.id: r for r in feedback.results(root, hw)}
    rows = [(s, mutants, records[s.name]) for s, mutants in every]
    for s, _, record in rows:
        shares = {name: e["share"] for name, e in record["exercises"].items()} or None
        got = f"{record['status']}, {share_text(shares)}, {feedback.number(record['points'])} points"
        table.append(f"| {hw} | {s.name} | {s.kind} | {' or '.join(s.status)}, {share_text(s.shares)} | {got} | "
                     f"{'' if right(s, record) else 'WRONG'} |\n")
    return hw, root, rows, results


def right(s, record):
    """Whether a record says what it should about a submission."""
    shares = {name: e["share"] for name, e in record["exercises"].items()}
    points = all(e["points"] == pytest.approx(e["share"] * e["max"], abs=0.005) for e in record["exercises"].values())
    graded = record["points"] is None if s.shares is None else not s.shares or shares == pytest.approx(s.shares)
    return record["status"] in s.status and points and graded


def test_every_submission_is_graded_as_it_should_be(graded):
    wrong = [(s.name, s.status, s.shares, record) for s, _, record in graded[2] if not right(s, record)]
    assert not wrong, f"{len(wrong)} of {len(graded[2])}: {[w[0] for w in wrong]}\n" + "\n".join(map(str, wrong[:5]))


def test_mutants_are_named_and_explained(graded):
    for s, mutants, record in graded[2]:
        for name, mutant in mutants.items():
            assert record["exercises"][name]["mutant"] == mutant and record["exercises"][name]["failed"], (s.name, name)


def test_points_reach_the_gradebook_and_the_pages(graded):
    hw, root, rows, results = graded
    full = sum(e["max"] for e in rows[0][2]["exercises"].values())
    book = feedback.gradebook(root, hw)
    for s, _, record in rows:
        if s.shares is not None:
            assert sum(book[s.name][name][0] for name in record["exercises"]) == pytest.approx(record["points"], abs=0.005), s.name
            assert results[s.name].sum(results[s.name].exercises) == pytest.approx(record["points"], abs=0.005), s.name
        else:
            assert s.name not in book and results[s.name].waiting and record["reason"]
    assert results["solved"].sum(results["solved"].exercises) == full == results["solved-nothing-written"].total
    assert results["blank"].total == 0 and results["blank"].status == "graded" and results["solved"].waiting == "written answer"


def test_no_page_tells_a_right_value(graded):
    hw, root, rows, _ = graded
    feedback.feedback(root, hw)
    seed = homework.seed_of(homework.read(hw)[0])
    answers = [a for m in markings(hw).values() for a in m.answers(m.oracle, seed, wrap=False)]
    long = {v[:10] for a in answers for _, flat in a["value"] for v in flat if len(v) > 10}
    assert len(long) > 5
    for s, _, _ in rows:
        page = (root / "feedback" / s.name / hw / f"{hw}.html").read_text(encoding="utf-8")
        assert not [v for v in long if v in page] and "_probe" not in page, s.name


def test_the_corpus_is_large_and_of_every_kind():
    every = {hw: [s for s, _ in corpus.submissions(hw)] for hw in corpus.ASSIGNMENTS}
    assert all(len(of) >= 5 and len({s.name for s in of}) == len(of) for of in every.values())
    assert sum(map(len, every.values())) >= 40
    assert set(Counter(s.kind for of in every.values() for s in of)) == {"honest", "partial", "mutant", "blank", "broken", "hostile"}
    for hw, of in every.items():
        named = {(name, mutant) for _, mutants in corpus.submissions(hw) for name, mutant in mutants.items()}
        assert named == {(name, m.name) for name, marking in markings(hw).items() for m in marking.mutants}
