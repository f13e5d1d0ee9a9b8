"""The node: lifecycle, topics, services, parameters, diagnostics."""

import pytest
from awares_msgs.msg import Answer
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.lifecycle import TransitionCallbackReturn
from sensor_msgs.msg import CompressedImage
from std_msgs.msg import String

import awares_edge
from awares_edge.errors import BundleError
from awares_ros import main
from awares_ros.node import AwaresNode
from tests.ros2.fake_rclpy import GRAPH
from tests.ros2.support import (
    BEST_EFFORT,
    CALL,
    PIXELS,
    change,
    goal,
    listen,
    picture,
    show,
    spinning,
    until,
)


class TestTopics:
    def test_a_query_is_answered_about_the_newest_picture(self):
        expected = awares_edge.scripted([CALL, "EXIT"]).ask(PIXELS, "Where?")
        with spinning(CALL, "EXIT") as node:
            answers, crops, texts = listen()
            sent = picture(frame_id="front")
            show(node, sent)
            GRAPH.publish("/input_query", String(data="Where?"))
            answer, found, text = answers.next(), crops.next(), texts.next()
        assert (text.data, answer.text, answer.status) == ("EXIT", "EXIT", Answer.ANSWERED)
        assert answer.question == "Where?"
        assert answer.header == found.header == found.detections[0].header == sent.header
        (crop,) = expected.crops
        (region,) = answer.crop_boxes
        left, top = region.x_offset, region.y_offset
        assert (left, top, left + region.width, top + region.height) == crop.box
        assert (
            answer.crop_names == [crop.name] == [found.detections[0].results[0].hypothesis.class_id]
        )
        box = found.detections[0].bbox
        assert box.center.position.x - box.size_x / 2 == crop.box[0]
        assert box.center.position.y + box.size_y / 2 == crop.box[3]
        tokens = expected.visual_tokens
        assert answer.visual_tokens == tokens.low + tokens.crops
        assert answer.full_visual_tokens == tokens.full
        assert answer.ms > 0
        assert answer.confidence == pytest.approx(expected.confidence)

    def test_a_direct_answer_has_no_crops(self):
        with spinning("EXIT") as node:
            _, crops, _ = listen()
            show(node)
            GRAPH.publish("/input_query", String(data="?"))
            assert crops.next().detections == []

    def test_pictures_arrive_from_a_sensor_and_only_the_newest_is_kept(self):
        with spinning() as node:
            pictures = next(s for s in node.subscriptions if s.topic == "/input_image")
            assert pictures.qos.depth == 1
            show(node)  # a reliable subscription would get nothing from a best-effort sensor

    def test_a_query_before_the_first_picture_says_so(self):
        with spinning():
            answers, _, texts = listen()
            GRAPH.publish("/input_query", String(data="?"))
            answer = answers.next()
            assert (answer.status, answer.error) == (Answer.TOO_OLD, "the source has no frame yet")
            assert texts.empty()

    def test_an_old_picture_is_not_asked_about(self):
        with spinning(max_age_ms=500.0) as node:
            answers, _, _ = listen()
            show(node, picture(age=2))
            GRAPH.publish("/input_query", String(data="?"))
            answer = answers.next()
        assert answer.status == Answer.TOO_OLD
        assert "the limit is 500 ms" in answer.error

    def test_the_age_may_be_counted_from_the_arrival(self):
        with spinning("EXIT", picture_time="arrival") as node:
            answers, _, _ = listen()
            show(node, picture(age=1000))
            GRAPH.publish("/input_query", String(data="?"))
            assert answers.next().text == "EXIT"

    @pytest.mark.parametrize("change_picture", ["encoding", "data"])
    def test_a_picture_that_cannot_be_used_fails_its_question_alone(self, change_picture):
        broken = picture()
        setattr(broken, change_picture, {"encoding": "bayer_rggb8", "data": b"12"}[change_picture])
        with spinning("EXIT") as node:
            answers, _, _ = listen()
            show(node, broken)
            GRAPH.publish("/input_query", String(data="?"))
            failed = answers.next()
            show(node)
            GRAPH.publish("/input_query", String(data="?"))
            assert answers.next().text == "EXIT"
        assert failed.status == Answer.FAILED
        assert "bayer_rggb8" in failed.error or "truncated" in failed.error

    def test_compressed_pictures(self, tmp_path):
        file = tmp_path / "picture.png"
        awares_edge.vision.load.Image.fromarray(PIXELS).save(file)
        message = CompressedImage(format="rgb8; png compressed rgb8", data=file.read_bytes())
        with spinning("EXIT", compressed=True) as node:
            answers, _, _ = listen()
            GRAPH.publish("/input_image/compressed", message, BEST_EFFORT)
            until(lambda: node._pictures.received)
            GRAPH.publish("/input_query", String(data="?"))
            assert answers.next().text == "EXIT"

    def test_a_standing_question_is_asked_at_each_tick(self):
        with spinning("10", "20", question="How much?", interval=2.5) as node:
            answers, _, _ = listen()
            _, tick = node.timers
            assert tick.period == 2.5
            show(node)
            tick.fire()
            assert (first := answers.next()).text == "10"
            tick.fire()
            assert answers.next().text == "20"
        assert first.question == "How much?"


class TestServices:
    def test_capture_keeps_the_picture_until_reset(self):
        with spinning("red", "blue", "green", max_age_ms=100.0) as node:
            answers, _, _ = listen()
            assert GRAPH.call("/awares/capture").message == "no picture has come yet"
            show(node, picture(frame_id="kept"))
            assert GRAPH.call("/awares/capture").success
            show(node, picture(frame_id="newer"))
            for question in ("What?", "Why?"):
                GRAPH.publish("/input_query", String(data=question))
            assert [answers.next().header.frame_id for _ in range(2)] == ["kept", "kept"]
            assert GRAPH.call("/awares/reset").success
            show(node, picture(frame_id="newest"))
            GRAPH.publish("/input_query", String(data="Who?"))
            assert answers.next().header.frame_id == "newest"

    def test_a_picture_that_cannot_be_used_cannot_be_captured(self):
        with spinning() as node:
            show(node, picture(encoding="32FC1"))
            response = GRAPH.call("/awares/capture")
        assert not response.success
        assert "32FC1" in response.message


class TestLifecycle:
    def test_the_model_is_loaded_by_configure_and_closed_by_cleanup(self):
        model = awares_edge.scripted(["EXIT"])
        with spinning(model=model, state="unconfigured") as node:
            assert GRAPH.subscriptions == []
            change(node, "configure")
            assert GRAPH.subscriptions
            assert not model.gate.closed
            change(node, "cleanup")
            assert node.state == "unconfigured"
            assert model.gate.closed
            assert (GRAPH.subscriptions, GRAPH.services, GRAPH.actions) == ([], {}, {})
            assert list(node.timers) == []

    def test_it_can_be_brought_up_again(self):
        GRAPH.clear()
        with spinning("EXIT", state="unconfigured") as node:
            node._load = lambda _: awares_edge.scripted(["EXIT"])
            for transition in ("configure", "activate", "deactivate", "cleanup") * 2:
                assert change(node, transition) is TransitionCallbackReturn.SUCCESS
            change(node, "configure")
            change(node, "activate")
            show(node)
            assert goal().result()[1].answer.text == "EXIT"

    def test_an_inactive_node_takes_no_questions(self):
        with spinning("EXIT", state="inactive") as node:
            answers, _, _ = listen()
            show(node)
            assert not goal().accepted
            GRAPH.publish("/input_query", String(data="?"))
            until(lambda: ("warning", "the node is inactive: activate it first") in _log(node))
            change(node, "activate")
            assert answers.empty()
            assert goal().accepted

    def test_shutdown_from_active_closes_everything(self):
        model = awares_edge.scripted(["EXIT"])
        with spinning(model=model) as node:
            change(node, "shutdown")
            assert (node.state, model.gate.closed) == ("finalized", True)

    @pytest.mark.parametrize("error", [BundleError("no bundle here"), RuntimeError("no memory")])
    def test_a_model_that_cannot_be_loaded_leaves_the_node_unconfigured(self, error):
        def load(_):
            raise error

        with spinning(state="unconfigured") as node:
            node._load = load
            assert change(node, "configure") is TransitionCallbackReturn.FAILURE
            assert node.state == "unconfigured"
            assert ("error", f"cannot be configured: {error}") in _log(node)
            assert GRAPH.subscriptions == []

    def test_a_failure_half_way_takes_down_what_is_up(self, monkeypatch):
        model = awares_edge.scripted()
        with spinning(model=model, state="unconfigured") as node:
            monkeypatch.setattr(node, "create_service", None)
            change(node, "configure")
            assert node.state == "unconfigured"
            assert model.gate.closed
            assert (GRAPH.subscriptions, GRAPH.actions) == ([], {})


class TestParameters:
    def test_each_has_a_description_and_numbers_a_range(self):
        with spinning(state="unconfigured") as node:
            for name, parameter in node._parameters.items():
                descriptor = node.describe_parameter(name)
                assert descriptor.description.endswith(".")
                numbers = [*descriptor.integer_range, *descriptor.floating_point_range]
                assert bool(numbers) == (type(parameter.value) in (int, float))

    def test_a_value_that_is_not_allowed_is_named(self):
        with spinning(mode="fast", state="unconfigured") as node:
            assert change(node, "configure") is TransitionCallbackReturn.FAILURE
            (line,) = _log(node)
        assert "mode must be awares or full or low or progressive, not 'fast'" in line[1]

    def test_they_are_read_again_when_it_is_configured_again(self):
        with spinning("EXIT", state="inactive", mode="full") as node:
            change(node, "cleanup")
            node._load = lambda _: awares_edge.scripted(["EXIT"])
            node.set_parameter("mode", "low")
            change(node, "configure")
            assert node._settings.mode == "low"

    def test_an_answer_below_the_wanted_confidence_is_unsure(self):
        with spinning("EXIT", abstain_below=1.0) as node:
            show(node)
            answer = goal().result()[1].answer
        assert answer.text == "unsure"
        assert 0 < answer.confidence < 1

    def test_the_mode_reaches_the_model(self):
        with spinning("EXIT", mode="full") as node:
            show(node)
            answer = goal().result()[1].answer
        assert answer.visual_tokens == answer.full_visual_tokens


class TestDiagnostics:
    def read(self, node, listener):
        next(iter(node.timers)).fire()
        (status,) = listener.next().status
        return status, {pair.key: pair.value for pair in status.values}

    def test_it_says_how_the_node_is(self):
        with spinning("EXIT", state="inactive") as node:
            listener = GRAPH.listen("/diagnostics", DiagnosticArray)
            status, _ = self.read(node, listener)
            assert (status.level, status.message) == (DiagnosticStatus.OK, "inactive")
            change(node, "activate")
            status, _ = self.read(node, listener)
            assert (status.level, status.message) == (
                DiagnosticStatus.WARN,
                "no picture has come yet",
            )
            show(node)
            goal().result()
            until(lambda: node._health.last_ms)
            status, values = self.read(node, listener)
        assert (status.level, status.message) == (DiagnosticStatus.OK, "answering")
        assert (status.name, status.hardware_id) == ("awares: questions", "cpu")
        assert (values["answered"], values["pictures"], values["runtime"]) == ("1", "1", "null")
        assert float(values["last answer (ms)"]) > 0

    def test_pictures_that_stop_are_a_warning(self):
        with spinning(max_age_ms=100.0) as node:
            listener = GRAPH.listen("/diagnostics", DiagnosticArray)
            answers, _, _ = listen()
            show(node, picture(age=5))
            goal()
            assert answers.next().status == Answer.TOO_OLD  # which is no fault of the node
            status, _ = self.read(node, listener)
        assert (status.level, status.message) == (DiagnosticStatus.WARN, "pictures have stopped")

    def test_a_failure_is_an_error_until_the_next_answer(self):
        with spinning("EXIT") as node:
            listener = GRAPH.listen("/diagnostics", DiagnosticArray)
            show(node)
            goal(question="").result()
            until(lambda: node._health.last_error)
            status, _ = self.read(node, listener)
            assert status.level == DiagnosticStatus.ERROR
            goal().result()
            until(lambda: not node._health.last_error)
            status, _ = self.read(node, listener)
            assert status.level == DiagnosticStatus.OK


def _log(node):
    return node.get_logger().lines


def test_the_entry_point_spins_until_ctrl_c_and_takes_the_node_down(monkeypatch):
    model, spun = awares_edge.scripted(), []

    def spin(executor):
        spun.append(executor)
        raise KeyboardInterrupt

    GRAPH.clear()
    monkeypatch.setattr(main.MultiThreadedExecutor, "spin", spin)
    monkeypatch.setattr(main, "AwaresNode", lambda: _configured(model))
    main.main()
    assert len(spun) == 1
    assert model.gate.closed
    assert GRAPH.subscriptions == []


def _configured(model):
    node = AwaresNode(load=lambda _: model)
    node.on_configure(None)
    return node
