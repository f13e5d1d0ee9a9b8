"""`python -m awares_edge`."""

from awares_edge.apps.cli import entry

entry()
