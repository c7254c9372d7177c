"""`python -m services.entity_graph --wiring FILE`."""

import sys

from services.entity_graph.app import main

sys.exit(main())
