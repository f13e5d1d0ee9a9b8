"""`awares-edge calibrate`: what is measured on questions, before and after an export."""

from __future__ import annotations

import typer

from awares_edge.apps.calibrate import confidence, decisions, weights

app = typer.Typer(
    name="calibrate",
    help="Measure a checkpoint's inputs for its exports; fit when a bundle zooms, and how far its "
    "answers can be trusted.",
    no_args_is_help=True,
)
app.command("weights", epilog=weights.EPILOG)(weights.measure)
app.command("decisions", epilog=decisions.EPILOG)(decisions.fit_decisions)
app.command("confidence", epilog=confidence.EPILOG)(confidence.fit_confidence)
