"""Quality of service: what decides whether, and how much of what is published arrives."""

from enum import IntEnum


class HistoryPolicy(IntEnum):
    SYSTEM_DEFAULT = 0
    KEEP_LAST = 1
    KEEP_ALL = 2


class ReliabilityPolicy(IntEnum):
    SYSTEM_DEFAULT = 0
    RELIABLE = 1
    BEST_EFFORT = 2


class QoSProfile:
    """Keep-last, reliable by default; `depth` must be given, as in rclpy."""

    def __init__(
        self,
        *,
        depth,
        history=HistoryPolicy.KEEP_LAST,
        reliability=ReliabilityPolicy.RELIABLE,
    ):
        assert history == HistoryPolicy.KEEP_LAST
        self.history, self.depth, self.reliability = history, depth, reliability


def profile(qos):
    """A profile, from one or from a depth."""
    return QoSProfile(depth=qos) if isinstance(qos, int) else qos


def matches(publisher, subscription):
    """Whether a subscription gets anything: a reliable one nothing from a best-effort publisher."""
    return not (
        subscription.reliability == ReliabilityPolicy.RELIABLE
        and publisher.reliability == ReliabilityPolicy.BEST_EFFORT
    )
