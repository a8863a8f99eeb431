"""``python -m flyscan_sim`` is ``flyscan-sim``."""

import sys

from .cli import main

sys.exit(main())
