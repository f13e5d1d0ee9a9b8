"""The published protocols with several calls: calls, boxes, sizes and errors.

Where a profile differs from the published code on purpose, the test's name says so.
"""

import pytest

from awares_edge.protocol import PROFILES
from tests.protocol.replies import ASSISTANT, eyes, mini, only, pixel, read, tag


class TestDeepEyes:
    @pytest.mark.parametrize(
        ("text", "status"),
        [
            (eyes("[10, 20, 110, 220]"), "ok"),
            (eyes("[10, 20, 110, 220]", ', "label": "caf\\u00e9 猫"'), "ok"),
            (eyes("[10, 20, 110, 220]").replace(", ", ",\n  "), "ok"),
            (f"<think>{eyes('[10, 20, 110, 220]')}</think>", "repaired"),
            (f"{eyes('[1, 2]')}{eyes('[10, 20, 110, 220]')}", "repaired"),
            (f"{eyes('[10, 20, 110, 220]')}{eyes('[1, 2]')}", "invalid"),
            (f"{eyes('[10, 20, 110, 220]')}<answer>red</answer>", "none"),
            (f"<answer>red</answer>{eyes('[10, 20, 110, 220]')}", "none"),
            ("<tool_call></tool_call>", "none"),
            ("<tool_call> </tool_call>", "invalid"),
            (eyes("[10, 20, 110, 220]", ', "label": "</tool_call>"'), "invalid"),
            (eyes("[010, 20, 110, 220]"), "invalid"),
            (eyes("[[10, 20], [110, 220]]"), "invalid"),
            (eyes('{"a": 1, "b": 2, "c": 3, "d": 4}'), "invalid"),
            (eyes("[10, null, 110, 220]"), "invalid"),
            (tag("zoom", "[10, 20, 110, 220]"), "invalid"),
            (eyes("[10, 20, 110, 220]").replace("bbox_2d", "bbox"), "invalid"),
        ],
    )
    def test_a_call(self, text, status):
        assert read("deepeyes", text)["status"] == status

    def test_differs_true_and_false_are_no_numbers(self):
        assert read("deepeyes", eyes("[true, 0, 110, 220]"))["status"] == "invalid"

    @pytest.mark.parametrize(
        ("box", "cut"),
        [
            ("[100, 200, 300, 400]", (100, 200, 300, 400)),
            ("[100.5, 201.5, 300, 400]", (100, 202, 300, 400)),
            ("[-9, -9, 5000, 5000]", (0, 0, 1120, 840)),
            ("[0, 0, 31, 31]", (0, 0, 31, 31)),
            ("[0, 0, 1120, 31]", (0, 0, 1120, 31)),
        ],
    )
    def test_a_box_is_clamped_and_rounded_half_to_even(self, box, cut):
        assert only(read("deepeyes", eyes(box)))[0] == cut

    @pytest.mark.parametrize("box", ["[0, 0, 30, 30]", "[300, 0, 100, 90]", "[5, 5, 5, 90]"])
    def test_a_box_of_at_most_30_pixels_is_refused(self, box):
        assert read("deepeyes", eyes(box))["status"] == "invalid"

    def test_a_crop_is_snapped_to_28_pixels(self):
        assert only(read("deepeyes", eyes("[0, 0, 100, 200]")))[1] == (112, 196)

    def test_differs_a_box_is_scaled_from_the_picture_that_the_model_saw(self):
        result = read("deepeyes", eyes("[896, 896, 1792, 1792]"), (4480, 4480))
        assert result["first_size"] == (3584, 3584)
        assert only(result)[0] == (1120, 1120, 2240, 2240)

    def test_an_error(self):
        turn = read("deepeyes", eyes("[1, 2]"))["turn"]
        problem = "Error: 'bbox_2d' must be a list of four numbers"
        assert turn == f"<|im_end|>\n<|im_start|>user\n{problem}{ASSISTANT}"

    @pytest.mark.parametrize(("calls", "more"), [(0, True), (3, True), (4, False)])
    def test_it_may_call_four_times(self, calls, more):
        assert bool(read("deepeyes", eyes("[0, 0, 90, 90]"), calls=calls)["turn"]) == more


class TestMiniO3:
    @pytest.mark.parametrize(
        ("text", "status"),
        [
            (mini("[0.1, 0.25, 0.5, 0.75]"), "ok"),
            (mini("[0.1, 0.25, 0.5, 0.75]", "observation_0"), "ok"),
            (mini("[.1, .25, .5, .75]"), "repaired"),
            (mini("[0.1, 0.25, 0.5, 0.75,]"), "repaired"),
            (mini("[0, 0, 1, 1]").replace('"original_image"', "'original_image'"), "repaired"),
            (mini("[0, 0, 1, 1]").replace('"}', '", "label": "a"}'), "invalid"),
            (mini("[0, 0, 1, 1]").replace('], "', '], "label": "a", "'), "invalid"),
            (mini("[0, 0, 1, 1]").replace('"}', '" }'), "invalid"),
            (mini("[9, 9]") + mini("[0.1, 0.25, 0.5, 0.75]"), "repaired"),
            (mini("[0.1, 0.25, 0.5, 0.75]").replace('": [', '":['), "invalid"),
            (mini("[0.1, 0.25, 0.5, 0.75]").replace('"source": ', '"source":'), "invalid"),
            (
                '<grounding>{"source": "original_image", "bbox_2d": [0, 0, 1, 1]}</grounding>',
                "invalid",
            ),
            (mini('["0.1", "0.25", "0.5", "0.75"]'), "invalid"),
            (mini("[0.1, 0.25, 0.5]"), "invalid"),
            (mini("[0.5, 0.25, 0.1, 0.75]"), "invalid"),
            (mini("[1, 1, 2, 2]"), "invalid"),
            (mini("[0.1, 0.25, 0.5, 0.75]", "observation_1"), "invalid"),
            (mini("[0.1, 0.25, 0.5, 0.75]", "observation_-1"), "invalid"),
            (mini("[0.1, 0.25, 0.5, 0.75]")[:-12], "none"),
        ],
    )
    def test_a_call(self, text, status):
        assert read("mini-o3", text)["status"] == status

    def test_differs_a_tag_inside_a_body_does_not_begin_the_call_anew(self):
        text = f"<grounding> I zoom: {mini('[0.1, 0.25, 0.5, 0.75]')}"
        assert read("mini-o3", text)["status"] == "invalid"

    @pytest.mark.parametrize("box", ["[1/10, 0.25, 0.5, 0.75]", "__import__('os')", "[0]*4"])
    def test_differs_code_is_never_run(self, box):
        assert read("mini-o3", mini(box))["status"] == "invalid"

    @pytest.mark.parametrize(
        ("box", "cut", "sent"),
        [
            ("[0.1, 0.25, 0.5, 0.75]", (100, 200, 500, 600), (400, 400)),
            ("[0, 0, 0.1, 0.125]", (0, 0, 100, 100), (200, 200)),
            ("[-1, -1, 0.5, 0.5]", (0, 0, 500, 400), (500, 400)),
        ],
    )
    def test_a_box_is_in_shares_of_the_picture(self, box, cut, sent):
        assert only(read("mini-o3", mini(box), (1000, 800))) == (cut, sent)

    def test_the_whole_frame_loses_its_last_row_and_column(self):
        assert only(read("mini-o3", mini("[0, 0, 1, 1]"), (1000, 800)))[0] == (0, 0, 999, 799)

    def test_an_observation_is_cut_from_its_own_pixels(self):
        pictures = [(1000, 800), (400, 300)]
        text = mini("[0, 0, 0.5, 0.5]", "observation_1")
        result = read("mini-o3", text, (1000, 800), pictures=pictures)
        assert result["regions"][0]["picture"] == 1
        assert only(result) == ((0, 0, 200, 150), (230, 173))

    def test_the_first_view_is_40_000_to_2_000_000_pixels(self):
        profile = PROFILES["mini-o3"]
        assert profile.first_size((100, 100)) == (200, 200)
        assert profile.first_size((2000, 2000)) == (1414, 1414)
        assert profile.first_size((1001, 703)) == (1001, 703)

    def test_rounds_are_counted_in_the_reply_and_in_an_error(self):
        result = read("mini-o3", mini("[0, 0, 0.5, 0.5]"), calls=3)
        assert (
            "After the above Action 3, here is the the zoom-in image (Observation 4):\n"
            in (result["turn"])
        )
        turn = read("mini-o3", mini("[0]"))["turn"]
        assert "ERROR occurs during grounding. Error Information: " in turn


class TestPixelReasoner:
    @pytest.mark.parametrize(
        ("text", "status"),
        [
            (pixel("[0.2, 0.3, 0.4, 0.5]"), "ok"),
            (pixel("[0.2, 0.3, 0.4, 0.5]").replace(", ", ",\n"), "ok"),
            (pixel("[0.9, 0.9, 0.8, 0.8]") + pixel("[0.2, 0.3, 0.4, 0.5]"), "repaired"),
            (f"{pixel('[0.2, 0.3, 0.4, 0.5]')} Let me see.", "none"),
            (pixel("[0.2, 0.3, 0.4, 0.5]")[:-12], "none"),
            (pixel("[0.2, 0.3, 0.4, 0.5]", "1.0"), "invalid"),
            (pixel("[0.2, 0.3, 0.4, 0.5]", '"1"'), "invalid"),
            (pixel("[0.2, 0.3, 0.4, 0.5]", 2), "invalid"),
            (tag("crop_image_normalized", "[0.2, 0.3, 0.4, 0.5]"), "invalid"),
            (tag("crop_image", "[0.2, 0.3, 0.4, 0.5]", ', "target_image": 1'), "invalid"),
            (pixel("[0.8, 0.8, 0.2, 0.2]"), "invalid"),
        ],
    )
    def test_a_call(self, text, status):
        assert read("pixelreasoner", text)["status"] == status

    def test_differs_a_tag_inside_a_body_does_not_begin_the_call_anew(self):
        text = f"<tool_call> I zoom: {pixel('[0.2, 0.3, 0.4, 0.5]')}"
        assert read("pixelreasoner", text)["status"] == "invalid"

    def test_differs_picture_0_and_infinity_are_refused(self):
        assert read("pixelreasoner", pixel("[0.2, 0.3, 0.4, 0.5]", 0))["status"] == "invalid"
        assert read("pixelreasoner", pixel("[0.2, 0.3, 0.4, Infinity]"))["status"] == "invalid"

    @pytest.mark.parametrize(
        ("box", "cut", "sent"),
        [
            ("[0.2, 0.3, 0.4, 0.5]", (224, 224, 1120, 672), (896, 448)),
            ("[448, 336, 896, 560]", (224, 224, 1120, 672), (896, 448)),
            ("[0, 0, 2240, 1120]", (0, 0, 2240, 1120), (2240, 1120)),
        ],
    )
    def test_a_box_is_in_shares_or_pixels_and_padded_by_a_tenth(self, box, cut, sent):
        assert only(read("pixelreasoner", pixel(box), (2240, 1120))) == (cut, sent)

    def test_a_box_of_ones_is_in_pixels(self):
        result = read("pixelreasoner", pixel("[0, 0, 1, 1]"), (2240, 1120))
        assert only(result)[0] == (0, 0, 225, 113)

    def test_the_source_is_snapped_and_costs_256_tokens_at_least(self):
        assert PROFILES["pixelreasoner"].source_size((100, 100)) == (448, 448)
        assert PROFILES["pixelreasoner"].source_size((2250, 1500)) == (2240, 1512)

    def test_an_error(self):
        turn = read("pixelreasoner", pixel("[0.2, 0.3, 0.4, 0.5]", 5))["turn"]
        problem = "target_image must be a whole number between 1 and 1"
        error = f"\nExecution error:\n{problem}\n"
        assert turn == f"<|im_end|>\n<|im_start|>user\n{error}{ASSISTANT}"
