"""``python -m agent`` is the ``pilotfish`` command."""

import sys

from agent.app.cli import main

sys.exit(main())
