"""Print the report: ``python -m opifex_tutorials.environment [--json]``."""

import argparse
import json
import sys

from opifex_tutorials.environment.report import check


def main() -> int:
    """Print the report and return 0 if the book can run here, 1 if not."""
    parser = argparse.ArgumentParser(prog="python -m opifex_tutorials.environment")
    parser.add_argument("--json", action="store_true", help="print the report for machines")
    arguments, report = parser.parse_args(), check()
    print(json.dumps(report.to_dict(), indent=2, allow_nan=False) if arguments.json else report)
    return 0 if report.ready else 1


if __name__ == "__main__":
    sys.exit(main())
