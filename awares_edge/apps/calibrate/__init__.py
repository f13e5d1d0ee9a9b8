"""`awares-edge calibrate`: fit a bundle to questions of its task, without changing its weights."""

from __future__ import annotations

import typer

from awares_edge.apps.calibrate import confidence, decisions

app = typer.Typer(
    name="calibrate",
    help="Fit when a bundle zooms, and how far its answers can be trusted.",
    no_args_is_help=True,
)
app.command("decisions", epilog=decisions.EPILOG)(decisions.fit_decisions)
app.command("confidence", epilog=confidence.EPILOG)(confidence.fit_confidence)
