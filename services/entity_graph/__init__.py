"""The entity graph: who shares what with whom, and how near a known fraud is."""
