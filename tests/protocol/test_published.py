"""The published protocols with one call: calls, boxes, sizes, replies and answers.

Where a profile differs from the published code on purpose, the test's name says so.
"""

import pytest

from awares_edge.protocol import PROFILES
from awares_edge.protocol.answers import extract_answer
from tests.protocol.replies import ASSISTANT, adapt, only, read, tag

RESIZE = '{"name": "resize_image", "arguments": {"action": "resize"}}'


class TestVisionThink:
    @pytest.mark.parametrize(
        ("body", "status"),
        [
            (f"\n{RESIZE}\n", "ok"),
            (RESIZE, "ok"),
            (RESIZE.replace("resize_image", "zoom"), "repaired"),
            (RESIZE.replace('"}}', '", "times": 2}}'), "ok"),
            (f"```json\n{RESIZE}\n```", "repaired"),
            (f"[{RESIZE}]", "repaired"),
            (f"I resize: {RESIZE}.", "repaired"),
            (RESIZE.replace("}}", "} }"), "invalid"),
            (RESIZE.replace(", ", ",\n"), "invalid"),
            (RESIZE.replace('"resize"}', '"grow"}'), "invalid"),
            (RESIZE.replace('{"action": "resize"}', "{}"), "invalid"),
            (
                RESIZE.replace('{"action": "resize"}', '{"action": "resize", "o": {"a": 1}}'),
                "invalid",
            ),
            (RESIZE.replace('"', "'"), "invalid"),
            (f"{RESIZE}\n{RESIZE}", "invalid"),
            ("resize", "invalid"),
            ("", "invalid"),
        ],
    )
    def test_a_body(self, body, status):
        assert read("visionthink", f"<tool_call>{body}</tool_call>")["status"] == status

    @pytest.mark.parametrize(
        ("text", "status"),
        [
            (f"<think><tool_call>{RESIZE}</tool_call></think>", "repaired"),
            (f"<tool_call>{RESIZE}</tool_call><answer>7</answer>", "repaired"),
            (f"<tool_call>{RESIZE}</tool_call><tool_call>{RESIZE}</tool_call>", "invalid"),
            (f"<tool_call>{RESIZE}", "none"),
            (f"{RESIZE}</tool_call>", "none"),
            (f"<TOOL_CALL>{RESIZE}</TOOL_CALL>", "none"),
            ("<answer>7</answer>", "none"),
        ],
    )
    def test_where_a_call_counts(self, text, status):
        assert read("visionthink", text)["status"] == status

    def test_differs_a_key_that_is_there_twice_is_refused(self):
        body = RESIZE.replace('"action"', '"action": "grow", "action"')
        result = read("visionthink", f"<tool_call>{body}</tool_call>")
        assert result["problem"] == "the call holds a key twice in one object"

    def test_the_picture_is_halved_and_then_sent_whole(self):
        result = read("visionthink", f"<tool_call>{RESIZE}</tool_call>", (1001, 701))
        assert result["first_size"] == (500, 350)
        assert only(result) == ((0, 0, 1001, 701), (1001, 701))

    def test_a_narrow_view_is_raised_to_28_pixels(self):
        assert PROFILES["visionthink"].first_size((700, 28)) == (700, 28)
        assert PROFILES["visionthink"].first_size((56, 56)) == (28, 28)

    def test_differs_a_picture_of_one_pixel_is_shown(self):
        assert PROFILES["visionthink"].first_size((1, 3)) == (28, 28)

    def test_an_error_follows_the_call_without_a_line_end(self):
        turn = read("visionthink", "<tool_call></tool_call>")["turn"]
        assert turn == (
            "<|im_end|><|im_start|>user\nthere is no JSON object in the callPlease analyze the "
            "error information obtained from the function tool and adjust your response. "
            "Countinue your reasoning process inside <think> and </think>." + ASSISTANT
        )

    def test_differs_a_call_in_the_last_turn_is_not_made(self):
        assert read("visionthink", f"<tool_call>{RESIZE}</tool_call>", calls=1)["turn"] == ""


class TestAdaptVision:
    @pytest.mark.parametrize(
        ("text", "status"),
        [
            (adapt("[10, 20, 110, 220]"), "ok"),
            (adapt("[10,20,110,220]"), "ok"),
            (adapt("[1e1, 0.5, 1.1e2, 220]"), "ok"),
            (f"<think>small</think>\n{adapt('[10, 20, 110, 220]')}<|im_end|>", "ok"),
            (adapt("[10, 20, 110]"), "invalid"),
            (adapt('"10, 20, 110, 220"'), "invalid"),
            (adapt("[110, 20, 10, 220]"), "invalid"),
            (adapt("[10, 20, 10, 220]"), "invalid"),
            (adapt("[10, 20, 110, NaN]"), "invalid"),
            (adapt("[10, 20, 110, 1e999]"), "invalid"),
            (tag("zoom", "[10, 20, 110, 220]"), "invalid"),
            (
                adapt("[10, 20, 110, 220]").replace(">{", ">```\n{").replace("}<", "}```<"),
                "invalid",
            ),
            (f"{adapt('[1, 2, 30, 40]')}{adapt('[1, 2, 30, 40]')}", "invalid"),
            (adapt("[10, 20, 110, 220]")[:-12], "none"),
        ],
    )
    def test_a_call(self, text, status):
        assert read("adaptvision", text)["status"] == status

    def test_differs_true_and_false_are_no_numbers(self):
        assert read("adaptvision", adapt("[true, false, 110, 220]"))["status"] == "invalid"

    def test_a_box_is_in_pixels_of_the_first_view(self):
        result = read("adaptvision", adapt("[100, 50, 240, 190]"))
        assert (result["first_size"], result["source_size"]) == ((560, 420), (1120, 840))
        assert only(result) == ((200, 100, 480, 380), (280, 280))

    def test_it_is_clamped_to_the_source(self):
        assert only(read("adaptvision", adapt("[-50, -50, 9000, 9000]")))[0] == (0, 0, 1120, 840)

    def test_a_small_crop_is_raised_to_3136_pixels(self):
        assert only(read("adaptvision", adapt("[0, 0, 5, 5]")))[1] == (56, 56)

    def test_a_box_outside_is_refused(self):
        assert read("adaptvision", adapt("[900, 900, 950, 950]"))["status"] == "invalid"

    def test_differs_the_true_ratio_of_view_and_source_scales_a_box(self):
        result = read("adaptvision", adapt("[0, 0, 56, 56]"), (84, 84))
        assert (result["first_size"], result["source_size"]) == ((56, 56), (84, 84))
        assert only(result)[0] == (0, 0, 84, 84)

    def test_differs_the_picture_is_capped_before_it_is_halved(self):
        profile = PROFILES["adaptvision"]
        assert profile.source_size((4096, 4096)) == (2044, 2044)
        assert profile.first_size((4096, 4096)) == (1036, 1036)


class TestErgo:
    @pytest.mark.parametrize(
        ("text", "status"),
        [
            ("<zoom>[100, 200, 380, 340]</zoom>", "ok"),
            ("<think>there</think><zoom> [100,200,\n380,340] </zoom>", "ok"),
            ("<zoom>the box [100, 200, 380, 340]</zoom>", "repaired"),
            ("<zoom>[١٠٠, 200, 380, 340]</zoom>", "repaired"),
            ("<zoom>[1, 2, 30, 40] [5, 6, 70, 80]</zoom>", "invalid"),
            ("<zoom>[1e2, 200, 380, 340]</zoom>", "invalid"),
            ("<zoom>[-1, 200, 380, 340]</zoom>", "invalid"),
            ("<zoom>(100, 200, 380, 340)</zoom>", "invalid"),
            ("[100, 200, 380, 340]", "none"),
            ("", "none"),
        ],
    )
    def test_a_call(self, text, status):
        assert read("ergo", text)["status"] == status

    def test_a_box_is_in_pixels_of_the_first_view(self):
        result = read("ergo", "<zoom>[100, 200, 380, 340]</zoom>")
        assert result["first_size"] == (1120, 840)
        assert only(result) == ((100, 200, 380, 340), (280, 140))
        result = read("ergo", "<zoom>[0, 0, 504, 504]</zoom>", (2016, 2016))
        assert (result["first_size"], only(result)[0]) == ((1008, 1008), (0, 0, 1008, 1008))

    @pytest.mark.parametrize("text", ["no box", "<zoom>[1, 2]</zoom>"])
    def test_differs_without_a_box_the_whole_picture_is_sent_at_its_own_size(self, text):
        assert only(read("ergo", text, (2250, 1500)))[0] == (0, 0, 2250, 1500)

    def test_differs_a_reversed_box_is_refused_and_the_whole_picture_sent(self):
        result = read("ergo", "<zoom>[380, 200, 100, 340]</zoom>")
        assert result["status"] == "invalid"
        assert only(result)[0] == (0, 0, 1120, 840)

    def test_its_second_reply_is_the_answer(self):
        result = read("ergo", "<answer>red</answer>", calls=1)
        assert (result["turn"], result["answer"]) == ("", "red")


class TestAwaRes:
    @pytest.mark.parametrize(
        ("name", "text", "size", "boxes"),
        [
            ("paper", "GET_CROPS: ['1', '6']", (101, 81), [(50, 0, 101, 40), (0, 40, 101, 81)]),
            ("readme", "GET_CROPS: ['4']", (100, 80), [(25, 20, 75, 60)]),
            ("evaluator", "GET_CROPS ['all']", (300, 200), [(0, 0, 300, 200)]),
            ("evaluator", "GET_CROPS ['3']", (301, 151), [(151, 51, 301, 151)]),
            ("nano", "GET_CROPS: ['8']", (112, 112), [(56, 0, 112, 112)]),
        ],
    )
    def test_crops_of_the_source(self, name, text, size, boxes):
        result = read(name, text, size)
        assert result["status"] == "ok"
        assert [region["box"] for region in result["regions"]] == boxes

    def test_a_call_that_is_not_offered_is_reported(self):
        result = read("readme", "GET_CROPS: ['all']")
        assert (result["status"], result["regions"]) == ("invalid", [])
        assert result["problem"] == "the call names no crop that is offered"


class TestAnswers:
    @pytest.mark.parametrize(
        ("name", "turns", "answer"),
        [
            ("paper", ["GET_CROPS: ['3']", " 42\n"], "42"),
            ("visionthink", ["<think>a</think>", "<answer> 7 </answer>"], "7"),
            ("visionthink", ["<answer>1<answer>2</answer><answer>3</answer>"], "2"),
            ("adaptvision", ["<answer>cut off"], "cut off"),
            ("deepeyes", ["<answer>red</answer> <answer>blue</answer>"], "red"),
            ("deepeyes", ["no tags"], "no tags"),
            ("mini-o3", ["<grounding>", "<think>x</think><answer>A</answer>"], "A"),
            ("pixelreasoner", [r"\boxed{1} so \boxed{\frac{1}{2}}"], r"\frac{1}{2}"),
            ("pixelreasoner", ["<answer>1</answer> <answer>2</answer>"], "2"),
            ("pixelreasoner", ["Answer: B"], "B"),
            ("pixelreasoner", [r"\boxed{open"], r"\boxed{open"),
            ("ergo", ["<zoom>[1, 2, 3, 4]</zoom>", "<answer>yes</answer>"], "yes"),
        ],
    )
    def test_where_the_answer_is(self, name, turns, answer):
        assert extract_answer(PROFILES[name].answer, turns) == answer

    def test_differs_without_tags_it_is_the_last_turn_and_not_all_of_them(self):
        assert extract_answer(PROFILES["visionthink"].answer, ["<tool_call>", "red"]) == "red"
