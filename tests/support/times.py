"""Files of times without a measurement."""

from __future__ import annotations

from awares_edge.export.times import MatrixTime, Times, timed_shapes
from awares_edge.spec import ModelSpec


def made_up_times(spec: ModelSpec) -> Times:
    """As CPUs are: for long prompts int8 is fastest and fp16 slowest, for single tokens (the head)
    4 bits are fastest. 100 ms beside the products."""
    matrices = {}
    for name, shape in timed_shapes(spec).items():
        one = shape[0] * shape[1] / 4096
        if "layers" in name or "visual" in name:
            matrices[name] = MatrixTime(shape, fp16=3 * one, int8=one, int4=2 * one)
        else:
            matrices[name] = MatrixTime(shape, fp16=4 * one, int8=2 * one, int4=one)
    machine = {"cpu": "made up", "threads": 2, "onnxruntime": "1.32.0", "precision": "int8"}
    return Times.of(**machine, question_ms=200.0, rest_ms=100.0, matrices=matrices)
