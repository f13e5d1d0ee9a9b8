"""Does a model decide and answer as its reference does, and where do they begin to differ?

`record` asks a model and keeps what it said and computed; `save` and `load` carry that from one
machine to another; `compare` sets two recordings side by side.
"""

from awares_edge.evaluation.parity.collect import record
from awares_edge.evaluation.parity.compare import Limits, compare
from awares_edge.evaluation.parity.recording import Recording
from awares_edge.evaluation.parity.storage import load, save

__all__ = ["Limits", "Recording", "compare", "load", "record", "save"]
