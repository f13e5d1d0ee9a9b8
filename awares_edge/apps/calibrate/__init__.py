"""`awares-edge calibrate`: what is measured on questions, before and after an export."""

from __future__ import annotations

import typer

from awares_edge.apps.calibrate import confidence, decisions, times, weights

app = typer.Typer(
    name="calibrate",
    help="Measure a checkpoint's inputs and a device's times for exports; fit when a bundle zooms, "
    "and how far its answers can be trusted.",
    no_args_is_help=True,
)
app.command("weights", epilog=weights.EPILOG)(weights.measure)
app.command("times", epilog=times.EPILOG)(times.measure)
app.command("decisions", epilog=decisions.EPILOG)(decisions.fit_decisions)
app.command("confidence", epilog=confidence.EPILOG)(confidence.fit_confidence)
