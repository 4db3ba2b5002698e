"""The teacher's one command: `course collect`, `course grade`, `course feedback`, `course report` …, each with --help.

Exit codes: 0 all is fine, 1 something needs the teacher's attention (it says what), 2 it could not begin.
"""
import argparse
import importlib
import sys
import warnings

COMMANDS = {"collect": "collect", "grade": "grading", "feedback": "feedback", "export": "feedback", "report": "report"}  # where each is


def main(argv=None):
    """Run one subcommand; returns its exit code."""
    parser = argparse.ArgumentParser(prog="course", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    subparsers = parser.add_subparsers(required=True, metavar="command")
    argv = sys.argv[1:] if argv is None else argv
    wanted = [COMMANDS[argv[0]]] if argv and argv[0] in COMMANDS else dict.fromkeys(COMMANDS.values())
    for name in wanted:  # the others' libraries take seconds
        importlib.import_module(f"{__package__}.{name}").register(subparsers)
    args = parser.parse_args(argv)
    if not sys.warnoptions:
        warnings.simplefilter("ignore")  # nbgrader's and SQLAlchemy's about each other
    try:
        return args.run(args)
    except KeyboardInterrupt:
        print("\nstopped; what was done so far is kept, and the same command goes on from there", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
