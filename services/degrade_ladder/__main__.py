"""`python -m services.degrade_ladder --wiring FILE`."""

import sys

from services.degrade_ladder.app import main

sys.exit(main())
