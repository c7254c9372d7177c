"""`python -m services.online_features --wiring FILE`."""

import sys

from services.online_features.app import main

sys.exit(main())
