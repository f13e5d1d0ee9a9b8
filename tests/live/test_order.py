"""What holds for every order of questions, frames and cancels."""

import threading

from hypothesis import given, settings
from hypothesis import strategies as st

import awares_edge
from awares_edge import QueueFull, live
from awares_edge.live import LiveAsker
from tests.live.support import Clock, Events, asking, frame, well_formed, worker_held

STEPS = st.lists(
    st.tuples(st.sampled_from(["frame", "source", "cancel"]), st.integers(0, 5)), max_size=12
)


def play(asker, steps):
    """Submit and cancel while the worker is held; the tickets, and which were cancelled."""
    frames, tickets, cancelled = [frame(float(n)) for n in range(6)], [], set()
    for action, number in steps:
        if action == "cancel":
            if tickets:
                ticket = tickets[number % len(tickets)]
                cancelled |= {ticket} if ticket.status == "waiting" else set()
                ticket.cancel()
            continue
        about = frames[number]
        tickets.append(asker.submit(about if action == "frame" else lambda f=about: f, "?"))
    return tickets, cancelled


@given(steps=STEPS, policy=st.sampled_from(["newest", "queue"]))
@settings(max_examples=60)
def test_every_question_ends_once_and_in_order(steps, policy):
    with asking(*["red"] * 13, policy=policy, most_waiting=12) as (asker, events):
        with worker_held(asker):
            tickets, cancelled = play(asker, steps)
            waited = [t for t in tickets if t.status == "waiting"]
        endings = [ticket.wait(30) for ticket in tickets]
    assert well_formed(events)
    assert len(events.threads) == 1
    assert {t for t in tickets if t.status == "cancelled"} == cancelled
    answered = [e.ticket for e in events if isinstance(e, live.Answered)]
    assert answered[1:] == waited
    for ticket, ending in zip(tickets, endings, strict=True):
        assert events.of(ticket) == list(ticket.events(0))
        assert events.of(ticket)[-1] is ending
    superseded = [t for t in tickets if t.status == "superseded"]
    assert not superseded or policy == "newest"


@given(times=st.lists(st.integers(0, 5), min_size=1, max_size=12))
@settings(max_examples=40)
def test_only_the_newest_frame_is_left_waiting(times):
    with asking(*["red"] * 13, most_waiting=12) as (asker, _):
        with worker_held(asker):
            tickets = [asker.submit(frame(float(taken)), "?") for taken in times]
            waiting = [t.frame.taken for t in tickets if t.status == "waiting"]
        assert waiting == [max(times)] * times.count(max(times))


def test_many_threads_submit_cancel_and_read_at_once():
    model, events = awares_edge.scripted(["red"] * 400), Events()
    tickets, refused = [], []

    def client(number):
        for turn in range(20):
            try:
                ticket = asker.submit(frame(float(turn)), "?")
            except QueueFull as error:
                refused.append(error)
                continue
            tickets.append(ticket)
            if (turn + number) % 5 == 0:
                ticket.cancel()
            elif turn % 3 == 0:
                ticket.wait(60)

    with model, LiveAsker(model, clock=Clock(), most_waiting=3) as asker:
        asker.subscribe(events)
        threads = [threading.Thread(target=client, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        for ticket in tickets:
            ticket.wait(60)
        counts = asker.counts()
    assert well_formed(events)
    assert sum(counts.values()) == len(tickets) == 160 - len(refused)
    assert counts["answered"] > 0
    assert {status: sum(t.status == status for t in tickets) for status in counts} == counts
