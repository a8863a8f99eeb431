"""``python -m flyscan.flight.host FOLDER``."""

import sys

from ._server import main

sys.exit(main())
