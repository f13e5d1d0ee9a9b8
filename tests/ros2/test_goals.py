"""The action: results, feedback, cancelling, and goals that wait."""

import time

from awares_msgs.action import Ask
from awares_msgs.msg import Answer

import awares_edge
from tests.controller.scripted import context_of
from tests.ros2.fake_rclpy import GRAPH
from tests.ros2.support import CALL, HeldModel, change, goal, picture, show, spinning, until


def test_a_goal_has_the_answer_and_the_header_of_its_picture():
    with spinning(CALL, "EXIT") as node:
        sent = picture(frame_id="front")
        show(node, sent)
        state, result = goal("Where?").result()
    assert state == "succeeded"
    assert (result.answer.text, result.answer.question) == ("EXIT", "Where?")
    assert result.answer.header == sent.header
    assert len(result.answer.crop_names) == len(result.answer.crop_boxes) == 1


def test_feedback_tells_the_stages_in_order():
    with spinning(CALL, "EXIT") as node:
        show(node)
        sent = goal()
        _, result = sent.result()
    stages = [feedback.stage for feedback in sent.feedback]
    assert stages[0] == Ask.Feedback.LOOKING
    assert stages[-2:] == [Ask.Feedback.ZOOMING, Ask.Feedback.ANSWERING]
    zoomed = next(f for f in sent.feedback if f.stage == Ask.Feedback.ZOOMING)
    assert zoomed.crop_names == result.answer.crop_names


def test_a_goal_may_bring_its_own_picture_of_any_age():
    with spinning("EXIT", max_age_ms=100.0) as node:
        show(node, picture(frame_id="camera"))
        own = picture(age=3600, frame_id="file")
        _, result = goal(image=[own]).result()
    assert (result.answer.text, result.answer.header) == ("EXIT", own.header)


def test_a_follow_up_about_a_captured_picture_keeps_the_conversation():
    model = awares_edge.scripted(["red", "blue"])
    with spinning(model=model) as node:
        show(node)
        GRAPH.call("/awares/capture")
        goal("What?").result()
        goal("Why?", follow_up=True).result()
        text = context_of(node._asker._asking._open[1])
    assert text.index("What?") < text.index("red") < text.index("Why?") < text.index("blue")


def test_a_question_that_fails_aborts_its_goal():
    with spinning("EXIT") as node:
        show(node)
        state, result = goal(question="").result()
        assert goal().result()[0] == "succeeded"
    assert (state, result.answer.status) == ("aborted", Answer.FAILED)
    assert "question" in result.answer.error


def test_a_goal_without_any_picture_is_aborted():
    with spinning():
        state, result = goal().result()
    assert (state, result.answer.error) == ("aborted", "the source has no frame yet")


class TestWaiting:
    def test_goals_wait_without_a_thread_and_end_in_their_order(self):
        model = HeldModel(*["EXIT"] * 7)
        with spinning(model=model) as node:
            show(node)
            goals = [goal(f"{n}?") for n in range(7)]  # more than the executor has threads
            assert model.opening.wait(60)
            until(lambda: goals[0].state == "executing")
            assert {one.state for one in goals[1:]} == {"accepted"}
            show(node)  # pictures still arrive
            model.go.set()
            questions = [one.result()[1].answer.question for one in goals]
        assert questions == [f"{n}?" for n in range(7)]

    def test_a_goal_whose_question_ends_before_the_server_has_noted_it(self):
        with spinning("EXIT") as node:
            show(node)
            submit = node._goals._submit

            def slow(request):
                ticket = submit(request)
                ticket.wait(60)
                time.sleep(0.05)  # time enough for its events to be delivered, were they let
                return ticket

            node._goals._submit = slow
            state, result = goal().result()
        assert (state, result.answer.text) == ("succeeded", "EXIT")

    def test_a_goal_too_many_is_aborted(self):
        model = HeldModel("EXIT", "EXIT")
        with spinning(model=model, most_waiting=1) as node:
            show(node)
            first = goal()
            assert model.opening.wait(60)
            second, third = goal(), goal()
            state, result = third.result()
            model.go.set()
            assert [one.result()[0] for one in (first, second)] == ["succeeded"] * 2
        assert state == "aborted"
        assert "1 questions wait already" in result.answer.error


class TestCancelling:
    def test_a_running_goal_is_cancelled_at_its_next_step(self):
        model = HeldModel("EXIT", "EXIT")
        with spinning(model=model) as node:
            show(node)
            sent = goal()
            until(lambda: sent.state == "executing")
            assert sent.cancel()
            model.go.set()
            state, result = sent.result()
            assert goal().result()[0] == "succeeded"
        assert (state, result.answer.status) == ("canceled", Answer.CANCELLED)

    def test_a_waiting_goal_is_cancelled_at_once(self):
        model = HeldModel("EXIT")
        with spinning(model=model) as node:
            show(node)
            first, second = goal(), goal()
            assert model.opening.wait(60)
            assert second.cancel()
            assert second.result()[0] == "canceled"
            assert first.state == "executing"
            model.go.set()
            assert first.result()[0] == "succeeded"

    def test_a_goal_that_has_ended_cannot_be_cancelled(self):
        with spinning("EXIT") as node:
            show(node)
            sent = goal()
            sent.result()
            assert not sent.cancel()

    def test_deactivating_aborts_what_runs_and_what_waits(self):
        model = HeldModel("EXIT")
        with spinning(model=model) as node:
            show(node)
            running, waiting = goal(), goal()
            assert model.opening.wait(60)
            pending = node.change_state("deactivate")
            states = [waiting.result()[0]]
            model.go.set()
            states.append(running.result()[0])
            pending.result(60)
            assert node.state == "inactive"
            change(node, "activate")
        assert states == ["aborted", "aborted"]
