"""`python -m benchmarks [sliders|course|grading|training|iwae]`: measure, print tables, write benchmarks/results/<name>.json.

training and iwae need MNIST: ELBO_ROOM_DATA says where it is, else it is downloaded. iwae takes an hour or more on a CPU; it goes on
where it was stopped.
"""
import argparse
import importlib.metadata
import json
import os
import platform
import sys
import time
from pathlib import Path

from . import course, grading, iwae, sliders, training

RESULTS = Path(__file__).parent / "results"


def environment():
    """What the figures depend on."""
    versions = {p: importlib.metadata.version(p) for p in ("jupyterlab", "ipykernel", "ipywidgets", "matplotlib", "numpy", "torch")}
    return {"date": time.strftime("%Y-%m-%d"), "python": platform.python_version(), "machine": platform.machine(),
            "cores": os.cpu_count(), "load_before": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None, **versions}


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("which", nargs="*", help="sliders, course, grading, training or iwae; none means all")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of the sliders' and of the training benchmark (default 3)")
    parser.add_argument("--passes", type=int, default=20, help="iwae: passes over the training data; the paper made 3280 (default 20)")
    parser.add_argument("--images", type=int, default=2000, help="iwae: test images, drawn at random from 10000 (default 2000)")
    parser.add_argument("--device", default="auto", help="training, iwae: cpu, cuda, …; auto takes an accelerator if there is one")
    args = parser.parse_args()
    jobs = {"sliders": lambda: sliders.main(rounds=args.rounds), "course": course.main, "grading": grading.main,
            "training": lambda: training.main(args.rounds, args.device),
            "iwae": lambda: iwae.main(args.passes, args.images, args.device)}
    for name in args.which:
        if name not in jobs:
            parser.error(f"there is no benchmark {name!r}; there are {', '.join(jobs)}")
    where = environment()
    print(", ".join(f"{k} {v}" for k, v in where.items()), flush=True)
    for name in args.which or jobs:
        print(flush=True)
        try:
            result = jobs[name]()
        except (ConnectionError, FileNotFoundError) as error:  # no MNIST: the sentence says what to do
            parser.exit(1, f"{name}: {error}\n")
        if result is not None:
            RESULTS.mkdir(exist_ok=True)
            (RESULTS / f"{name}.json").write_text(json.dumps({"environment": where, **result}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
