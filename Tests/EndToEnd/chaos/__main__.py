"""python -m chaos: see scripts/chaos."""

import sys

from .run import main

sys.exit(main())
