"""Build notebooks/*.ipynb, which students open, from notebooks/source/*.py, which authors edit. One way, never back.

    python -m course_utils.instructor.build             every lesson, executed, with its outputs
    python -m course_utils.instructor.build 03          the lessons whose names start with 03
    python -m course_utils.instructor.build --check     compare with the sources by content, executing nothing

A source is a jupytext percent file. Its cells may say `# %% exercise="name"` (holds the solution between
`### BEGIN SOLUTION` and `### END SOLUTION`), `# %% check="name"`, `# %% [markdown] solutions` (where the solutions are
folded in) and `tags=[...]`. Two builds of one source are byte for byte the same.
"""

import argparse
import hashlib
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

ROOT = Path(__file__).resolve().parents[2] / "notebooks"
VIEW = "application/vnd.jupyter.widget-view+json"
METADATA = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
            "language_info": {"name": "python"}}
OPTIONS = {"exercise", "check", "solutions", "tags"}
BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"
REGION = re.compile(rf"^([ \t]*){BEGIN}\n.*?^[ \t]*{END}", re.M | re.S)
STUB = r"\1# YOUR CODE HERE\n\1raise NotImplementedError()"
MAX_BYTES = 1_000_000


class BuildError(Exception):
    """One sentence: which file, which line, what is wrong."""


def _marker_lines(text):
    """The line number of each `# %%` in a percent file."""
    return [i for i, line in enumerate(text.splitlines(), 1) if re.match(r"# %%( |$)", line)]


def validate(path, nb, lines, options=OPTIONS):
    """Refuse a source that would build a notebook nobody can work with."""
    def fail(i, sentence):
        raise BuildError(f"{path.name}, line {lines[i]}: {sentence}")

    exercises, checks, folded = {}, set(), None
    for i, cell in enumerate(nb.cells):
        unknown = set(cell.metadata) - options
        if unknown:
            fail(i, f"unknown cell option {', '.join(sorted(unknown))}; a cell may say {', '.join(sorted(options))}")
        name = cell.metadata.get("exercise")
        if cell.source.count(BEGIN) != cell.source.count(END) or len(REGION.findall(cell.source)) != cell.source.count(BEGIN):
            fail(i, f"a solution region is not closed: every '{BEGIN}' needs its '{END}'")
        if name is None and BEGIN in cell.source:
            fail(i, 'a solution stands in a cell that is no exercise; write # %% exercise="name"')
        if name is not None:
            if name in exercises:
                fail(i, f"the exercise {name!r} stands here a second time; the first is at line {lines[exercises[name]]}")
            if BEGIN not in cell.source:
                fail(i, f"the exercise {name!r} has no '{BEGIN}' … '{END}' region")
            exercises[name] = i
        if "check" in cell.metadata:
            if cell.metadata["check"] not in exercises:
                fail(i, f"a check for {cell.metadata['check']!r}, but no exercise of that name stands before it")
            checks.add(cell.metadata["check"])
        if "solutions" in cell.metadata:
            if folded is not None:
                fail(i, f"a second cell for the folded solutions; the first is at line {lines[folded]}")
            folded = i
    for name, i in exercises.items():
        if name not in checks:
            fail(i, f'the exercise {name!r} has no check; add a cell # %% check="{name}"')
        if folded is None and "solutions" in options:
            fail(i, "there are exercises but no cell '# %% [markdown] solutions' to fold their solutions into")


def _fold(cells):
    """The solutions of a lesson's exercises, each behind a summary line."""
    for cell in cells:
        if "exercise" in cell.metadata:
            code = re.sub(rf"^[ \t]*({BEGIN}|{END})\n?", "", cell.source, flags=re.M).rstrip()
            yield (f"<details><summary>Solution: <code>{cell.metadata['exercise']}</code></summary>\n\n"
                   f"```python\n{code}\n```\n\n</details>")


def parse(path):
    """A source as its author wrote it, options in the cells' metadata: (notebook, line of each cell in the source).

    Raises BuildError."""
    path = Path(path)
    text = path.read_text(encoding="utf-8")
    lines = _marker_lines(text)
    try:
        nb = jupytext.reads(text, fmt="py:percent")
    except Exception as e:
        raise BuildError(f"{path.name}: jupytext cannot read it: {e}") from None
    if not lines or len(lines) != len(nb.cells):
        raise BuildError(f"{path.name}: every cell must begin with a line '# %%' ({len(lines)} such lines, {len(nb.cells)} cells)")
    for cell in nb.cells:  # jupytext's own notes: spacing, and `solutions` read as a title
        cell.metadata.pop("lines_to_next_cell", None)
        if cell.metadata.get("title") == "solutions":
            cell.metadata["solutions"] = bool(cell.metadata.pop("title"))
    return nb, lines


def finish(nb, kept=("tags",)):
    """Give each cell the id that its source makes, no outputs, and of its metadata only what is `kept`."""
    seen = {}
    for cell in nb.cells:
        cell.metadata = {k: v for k, v in cell.metadata.items() if k in kept}
        digest = hashlib.sha1(cell.source.encode()).hexdigest()[:12]
        seen[digest] = seen.get(digest, 0) + 1
        cell.id = digest if seen[digest] == 1 else f"{digest}-{seen[digest]}"
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    nb.metadata, nb.nbformat, nb.nbformat_minor = METADATA, 4, 5
    return nb


def read(path, solved=False):
    """The notebook of a source, not executed: (notebook, line of each cell in the source).

    Students get stubs for solutions; `solved=True` keeps them in. Raises BuildError."""
    path = Path(path)
    nb, lines = parse(path)
    validate(path, nb, lines)
    for cell in nb.cells:
        if "solutions" in cell.metadata and not solved:
            cell.source = "\n\n".join([cell.source, *_fold(nb.cells)])
    for cell in nb.cells:
        if not solved and "exercise" in cell.metadata:
            cell.source = REGION.sub(STUB, cell.source)
    return finish(nb), lines


def _where(path, lines, i, message):
    """`03_kl.py, line 57 (cell 9)`: the failing line if the traceback names it, else the cell's first."""
    inside = re.findall(r"Cell In\[\d+\], line (\d+)", re.sub(r"\x1b\[[0-9;]*m", "", message))
    return f"{path.name}, line {lines[i] + int(inside[-1] if inside else 0)} (cell {i + 1})"


def execute(path, nb, lines, cwd=ROOT, timeout=600):
    """Run every cell in a fresh kernel with `cwd` as its folder. Raises BuildError naming the cell and its source line."""
    os.environ.update(PYTHONHASHSEED="0", OMP_NUM_THREADS="1", PYDEVD_DISABLE_FILE_VALIDATION="1")
    client = NotebookClient(nb, timeout=timeout, record_timing=False, store_widget_state=False, coalesce_streams=True,
                            resources={"metadata": {"path": str(cwd)}})
    with client.setup_kernel(stderr=subprocess.DEVNULL):  # ipykernel 7 warns there of its loopback sockets
        for i, cell in enumerate(nb.cells):
            try:
                client.execute_cell(cell, i)
            except CellExecutionError as e:
                raise BuildError(f"{_where(path, lines, i, e.traceback)}: {e.ename}: {e.evalue}") from None
            except CellTimeoutError:
                raise BuildError(f"{_where(path, lines, i, '')}: not done after {timeout} seconds") from None
            except DeadKernelError:
                raise BuildError(f"{_where(path, lines, i, '')}: the kernel died") from None
            outputs = []
            for output in cell.get("outputs", []):
                if output.get("name") == "stderr":
                    raise BuildError(f"{_where(path, lines, i, '')}: writes to stderr: {output.text.strip()[:300]}")
                if "data" in output:
                    output.data.pop(VIEW, None)  # a live view is nothing without its kernel, and hides the picture
                if output.get("data", True):
                    outputs.append(output)
            if cell.cell_type == "code":
                cell.outputs = outputs
    nb.metadata = METADATA
    return nb


def build(path, out=ROOT):
    """Build one source into `out`; returns (path written, seconds). Nothing is written when a cell fails."""
    began = time.perf_counter()
    nb, lines = read(path)
    execute(path, nb, lines)
    nbformat.validate(nb)
    text = nbformat.writes(nb) + "\n"
    if len(text.encode()) > MAX_BYTES:
        raise BuildError(f"{path.name}: its notebook has {len(text.encode()):,} bytes; the limit is {MAX_BYTES:,}")
    target = Path(out) / f"{path.stem}.ipynb"
    target.write_text(text, encoding="utf-8")
    return target, time.perf_counter() - began


def content(nb):
    """What a notebook says, without its outputs: type, id, source and metadata of each cell."""
    return [(c.cell_type, c.id, c.source, dict(c.metadata)) for c in nb.cells]


def stale(sources, out=ROOT):
    """One sentence for each notebook that does not say what its source says, or has none."""
    found = []
    for path in sources:
        target = Path(out) / f"{path.stem}.ipynb"
        if not target.exists():
            found.append(f"{target.name} has not been built from {path.name}")
            continue
        mine, theirs = content(read(path)[0]), content(nbformat.read(target, 4))
        if mine != theirs:
            first = next((i for i, (a, b) in enumerate(zip(mine, theirs), 1) if a != b), min(len(mine), len(theirs)) + 1)
            found.append(f"{target.name} differs from {path.name}, first at cell {first}")
    return found


def sources(names=()):
    """The source files whose names start with one of `names`; all of them if there are none. Raises BuildError."""
    every = sorted((ROOT / "source").glob("*.py"))
    for name in names:
        if not any(p.name.startswith(name) for p in every):
            raise BuildError(f"no source in notebooks/source starts with {name!r}; there are {', '.join(p.stem for p in every)}")
    return [p for p in every if not names or p.name.startswith(tuple(names))]


def main(argv=None):
    parser = argparse.ArgumentParser(prog="python -m course_utils.instructor.build", description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="how the lessons' file names start, for instance 03; none means all")
    parser.add_argument("--check", action="store_true", help="only compare the notebooks with their sources")
    parser.add_argument("--out", type=Path, default=ROOT, help="folder to write to (default: notebooks)")
    args = parser.parse_args(argv)
    try:
        paths = sources(args.names)
        if args.check:
            problems = stale(paths, args.out)
            if not args.names:
                known = {p.stem for p in paths}
                problems += [f"{p.name} has no source" for p in sorted(args.out.glob("*.ipynb")) if p.stem not in known]
            if problems:
                raise BuildError("\n".join([*problems, "Edit the source, then run: make notebooks"]))
            print(f"{len(paths)} notebooks say what their sources say")
            return 0
        for i, path in enumerate(paths, 1):
            print(f"[{i}/{len(paths)}] {path.stem} …", end="", flush=True)
            target, seconds = build(path, args.out)
            print(f" {seconds:.1f} s, {target.stat().st_size / 1000:.0f} kB", flush=True)
        return 0
    except BuildError as e:
        print(f"\n{e}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
