"""How long every lesson takes from Run All to its end, when its first explorer is there, and what its kernel needs in memory."""
import resource
import subprocess
import time

import nbformat
from nbclient import NotebookClient

from course_utils.instructor import build

MEMORY = "import resource; print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
BUDGET = {"seconds": 60, "first_explorer_s": 10}  # promised on 2 cores


def run(path):
    """Execute one committed notebook in a fresh kernel; returns what was measured."""
    nb = nbformat.read(path, 4)
    nb.cells.append(nbformat.v4.new_code_cell(MEMORY))
    client = NotebookClient(nb, timeout=600, resources={"metadata": {"path": str(path.parent)}})
    began, first = time.perf_counter(), None
    with client.setup_kernel(stderr=subprocess.DEVNULL):
        for i, cell in enumerate(nb.cells[:-1]):
            client.execute_cell(cell, i)
            if first is None and "explore(" in cell.source:
                first = time.perf_counter() - began
        seconds = time.perf_counter() - began
        client.execute_cell(nb.cells[-1], len(nb.cells) - 1)
    return {"seconds": round(seconds, 1), "first_explorer_s": round(first, 1), "size_kB": round(path.stat().st_size / 1000),
            "peak_MiB": round(int(nb.cells[-1].outputs[0].text) / 1024)}  # kB on Linux


def main():
    """Measure, print the table; returns what is written as JSON."""
    rows = {}
    print(f"{'lesson':32}{'Run All s':>10}{'first explorer s':>18}{'peak MiB':>10}{'size kB':>9}")
    for path in sorted(build.ROOT.glob("*.ipynb")):
        rows[path.stem] = row = run(path)
        over = [k for k, most in BUDGET.items() if row[k] > most]
        print(f"{path.stem:32}{row['seconds']:>10.1f}{row['first_explorer_s']:>18.1f}{row['peak_MiB']:>10}{row['size_kB']:>9}"
              + (f"   MISS: {', '.join(over)}" if over else ""), flush=True)
    total = sum(r["seconds"] for r in rows.values())
    print(f"{'all lessons':32}{total:>10.1f}   (the machine: {resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime:.0f} s of CPU time)")
    return {"lessons": rows, "total_s": round(total, 1), "budget": BUDGET}
