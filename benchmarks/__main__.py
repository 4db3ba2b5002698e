"""`python -m benchmarks [sliders|course|grading] [--rounds 3]`: measure, print tables, write benchmarks/results/<name>.json."""
import argparse
import importlib.metadata
import json
import os
import platform
import sys
import time
from pathlib import Path

from . import course, grading, sliders

RESULTS = Path(__file__).parent / "results"


def environment():
    """What the figures depend on."""
    versions = {p: importlib.metadata.version(p) for p in ("jupyterlab", "ipykernel", "ipywidgets", "matplotlib", "numpy", "torch")}
    return {"date": time.strftime("%Y-%m-%d"), "python": platform.python_version(), "machine": platform.machine(),
            "cores": os.cpu_count(), "load_before": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None, **versions}


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("which", nargs="*", help="sliders, course or grading; none means all")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of the slider benchmark (default 3)")
    args = parser.parse_args()
    jobs = {"sliders": lambda: sliders.main(rounds=args.rounds), "course": course.main, "grading": grading.main}
    for name in args.which:
        if name not in jobs:
            parser.error(f"there is no benchmark {name!r}; there are {', '.join(jobs)}")
    where = environment()
    print(", ".join(f"{k} {v}" for k, v in where.items()), flush=True)
    for name in args.which or jobs:
        print(flush=True)
        result = jobs[name]()
        if result is not None:
            RESULTS.mkdir(exist_ok=True)
            (RESULTS / f"{name}.json").write_text(json.dumps({"environment": where, **result}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
