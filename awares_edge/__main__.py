"""`python -m awares_edge`, and the console script `awares-edge`."""

from __future__ import annotations

import sys
import warnings


def entry() -> None:
    """Run the command line and exit."""
    try:
        # Imported here, so that Ctrl-C during the imports ends as it does later.
        from awares_edge.apps.cli import main
        from awares_edge.apps.streams import fill_closed_descriptors

        fill_closed_descriptors()
        # Pillow warns about odd tags and large pictures; here a picture is used or refused.
        warnings.filterwarnings("ignore", module=r"PIL\.")
        code = main()
    except KeyboardInterrupt:
        print("awares-edge: interrupted", file=sys.stderr)
        code = 130
    sys.exit(code)


if __name__ == "__main__":
    entry()
