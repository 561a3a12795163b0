"""``python -m prefopt``."""

from __future__ import annotations

import sys

from prefopt.cli import main

sys.exit(main())
