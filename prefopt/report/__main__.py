"""``python -m prefopt.report record.json report.html``: draw the report of a record that was written before."""

from __future__ import annotations

import sys
from pathlib import Path

from prefopt.errors import UserError
from prefopt.report.record import RunRecord
from prefopt.report.render import write_report


def main(argv: list[str]) -> int:
    """Read the record named first and write the report named second."""
    if len(argv) != 2:
        print("usage: python -m prefopt.report RECORD.json REPORT.html", file=sys.stderr)
        return 2
    try:
        record = RunRecord.from_json(Path(argv[0]).read_text(encoding="utf-8"))
        print(write_report(record, argv[1]))
    except OSError as error:
        print(f"{error.filename}: {error.strerror}", file=sys.stderr)
        return 2
    except UserError as error:
        print(f"{argv[0]}: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
