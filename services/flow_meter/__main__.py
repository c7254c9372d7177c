"""`python -m services.flow_meter --wiring FILE`."""

import sys

from services.flow_meter.app import main

sys.exit(main())
