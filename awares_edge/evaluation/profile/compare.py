"""Two runs side by side, variant by variant."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from awares_edge.errors import InputError
from awares_edge.evaluation.profile.job import source_name
from awares_edge.evaluation.profile.run import FORMAT, VERSION

_MAX_BYTES = 512 << 20
_FIGURES = {
    "total_ms": "question",
    "cpu_ms": "CPU time",
    "first_token_ms": "first token",
    "ttft_ms": "TTFT",
    "tpot_ms": "TPOT",
}


def read_run(path: Path) -> dict[str, Any]:
    """A run that `awares-edge profile --json` printed.

    Raises:
        InputError: there is none, it is damaged, or of another version.
    """
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise InputError(f"{path} is too large for a profile")
        run = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not whole JSON: print the profile again") from error
    if not isinstance(run, dict) or run.get("format") != FORMAT:
        raise InputError(f"{path} is not a profile: print one with awares-edge profile --json")
    if run.get("version") != VERSION:
        raise InputError(
            f"{path} has format version {run.get('version')!r}, this awares-edge reads {VERSION}"
        )
    return run


def compare_runs(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """The variants that both measured, and what became of each.

    Raises:
        InputError: they have no variant in common, or one of them is damaged.
    """
    try:
        before = {_key(variant): variant for variant in old["variants"]}
        pairs = [(before[_key(v)], v) for v in new["variants"] if _key(v) in before]
        variants = [_variant(*pair) for pair in pairs]
        differs = {
            name: [old["machine"].get(name), new["machine"].get(name)]
            for name in old["machine"]
            if old["machine"].get(name) != new["machine"].get(name)
        }
        changed = {
            name: [old["versions"].get(name), new["versions"].get(name)]
            for name in {**old["versions"], **new["versions"]}
            if old["versions"].get(name) != new["versions"].get(name)
        }
        times = [old["started"], new["started"]]
    except (KeyError, TypeError, AttributeError, ZeroDivisionError) as error:
        raise InputError("one of the two profiles is damaged: print it again") from error
    if not variants:
        raise InputError(
            "the two profiles have no variant in common: same bundle name, mode, threads, device "
            "and max_pixels"
        )
    return {
        "format": "awares-edge-profile-comparison",
        "version": VERSION,
        "started": times,
        "machine_differs": differs,
        "versions_differ": changed,
        "variants": variants,
    }


def _key(variant: dict[str, Any]) -> tuple[Any, ...]:
    job = variant["job"]
    fields = job["variant"]
    return (
        _name(fields),
        *(fields[name] for name in ("mode", "device", "threads", "max_pixels")),
        fields.get("dtype"),  # older files lack it
        *(job[name] for name in ("side", "answer_tokens", "free")),
        tuple(job["crops"]),
    )


def _variant(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    fields = new["job"]["variant"]
    before, after = old["summary"], new["summary"]
    rows = [
        _change(title, before["figures"][name], after["figures"][name])
        for name, title in _FIGURES.items()
        if before["figures"][name] and after["figures"][name]
    ]
    phases = {(p["turn"], p["phase"]): p for p in _phases(before)}
    rows += [
        _change(f"{p['turn']}: {p['phase']}", phases[p["turn"], p["phase"]], p)
        for p in _phases(after)
        if (p["turn"], p["phase"]) in phases
    ]
    return {
        "name": _name(fields),
        **{name: fields[name] for name in ("mode", "device", "threads", "max_pixels")},
        "changes": rows,
        "peak_memory": [old["memory"]["peak"], new["memory"]["peak"]],
    }


def _name(fields: dict[str, Any]) -> str:
    """Of a folder wherever it is; older files know no models on servers."""
    model = fields.get("model")
    return Path(fields["path"]).name if model is None else source_name(fields["path"], model)


def _phases(summary: dict[str, Any]) -> list[dict[str, Any]]:
    """Whole turns, where they were seen from outside, and phases."""
    return [*summary.get("turns", []), *summary["phases"]]


def _change(name: str, old: dict[str, float], new: dict[str, float]) -> dict[str, Any]:
    return {
        "what": name,
        "old_p50": old["p50"],
        "new_p50": new["p50"],
        "ratio": new["p50"] / old["p50"],
        # Medians closer than the spread of either run say little.
        "beyond_spread": not (old["p50"] <= new["p50"] <= old["p90"])
        and not (new["p50"] <= old["p50"] <= new["p90"]),
    }
