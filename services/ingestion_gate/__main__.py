"""`python -m services.ingestion_gate --wiring FILE`."""

import sys

from services.ingestion_gate.app import main

sys.exit(main())
