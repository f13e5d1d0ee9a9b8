"""How lmms-eval finds this package: an entry point of its group `lmms_eval.models`.

lmms_eval --model awares_edge --model_args bundle=DIR,mode=awares --tasks chartqa --batch_size 1
"""

from __future__ import annotations

from typing import Any


def manifest() -> Any:
    """The registry's `ModelManifest`; called by lmms-eval (0.7 or newer), never without it."""
    from lmms_eval.models.registry_v2 import ModelManifest

    return ModelManifest(
        model_id="awares_edge",
        simple_class_path="awares_edge.evaluation.lmms_eval_model.AwaresEdge",
        aliases=("awares-edge",),
    )
