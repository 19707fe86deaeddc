"""Print the report: ``python -m opifex_tutorials.environment [--json]``."""

import argparse
import json
import sys

from opifex_tutorials.environment.report import check


def main() -> int:
    """Print the report and return 0 if the book can run here, 1 if not."""
    parser = argparse.ArgumentParser(
        prog="python -m opifex_tutorials.environment",
        description="What is installed, what it can do, and what to fix. "
        "Exit status 0 only if the book can run.",
    )
    parser.add_argument("--json", action="store_true", help="print the report for machines")
    arguments = parser.parse_args()
    report = check()
    if arguments.json:
        print(json.dumps(report.to_dict(), indent=2, allow_nan=False))
    else:
        print(report)
    return 0 if report.ready else 1


if __name__ == "__main__":
    sys.exit(main())
