"""`python -m services.decision_fabric --wiring FILE`."""

import sys

from services.decision_fabric.app import main

sys.exit(main())
