"""The published protocols: prompts, calls, boxes, sizes, replies and answers, as in their code.

Where a profile differs from the published code on purpose, the test's name says so.
"""

import hashlib
from pathlib import Path

import pytest

from awares_edge.protocol import PROFILES, PromptBuilder
from awares_edge.protocol.answers import extract_answer
from awares_edge.protocol.reading import prompt_text, read_reply
from awares_edge.runtimes.null import byte_tokenizer

QUESTION = "Which colour is the small flag?"
OPTIONS = f"{QUESTION}\nOptions: \nA. red\nB. green"
SIZE = (1700, 1134)
TRANSCRIPTS = Path(__file__).parent / "transcripts"
PICTURE = "<|vision_start|><|image_pad|><|vision_end|>"
ASSISTANT = "<|im_end|>\n<|im_start|>assistant\n"


def tag(name, box, extra=""):
    return f'<tool_call>{{"name": "{name}", "arguments": {{"bbox_2d": {box}{extra}}}}}</tool_call>'


def adapt(box):
    return tag("request_local_region", box)


def eyes(box, extra=""):
    return tag("image_zoom_in_tool", box, extra)


def mini(box, source="original_image"):
    return f'<grounding>{{"bbox_2d": {box}, "source": "{source}"}}</grounding>'


def pixel(box, image=1):
    return tag("crop_image_normalized", box, f', "target_image": {image}')


def read(name, text, size=(1120, 840), **options):
    return read_reply(PROFILES[name], text, size, **options)


def only(result):
    (region,) = result["regions"]
    return region["box"], region["size"]


class TestPrompts:
    """Transcripts hold the published prompt, a call and what follows it, byte for byte."""

    @pytest.mark.parametrize("name", PROFILES)
    def test_a_conversation_is_the_transcript(self, name):
        transcript = (TRANSCRIPTS / f"{name}.txt").read_bytes().decode()
        profile, question = PROFILES[name], OPTIONS if name == "deepeyes" else QUESTION
        prompt = prompt_text(profile, question)
        assert transcript.startswith(prompt)
        call, end, _ = transcript[len(prompt) :].partition("<|im_end|>")
        result = read_reply(profile, call, SIZE, question=question)
        assert transcript == prompt + call + result["turn"]
        assert end

    @pytest.mark.parametrize("name", PROFILES)
    def test_its_tokens_spell_the_transcript(self, name):
        transcript = (TRANSCRIPTS / f"{name}.txt").read_bytes().decode()
        profile, question = PROFILES[name], OPTIONS if name == "deepeyes" else QUESTION
        call = transcript[len(prompt_text(profile, question)) :].partition("<|im_end|>")[0]
        tokenizer = byte_tokenizer()
        prompt = PromptBuilder(tokenizer, tokenizer.special_tokens(), profile)
        pad = (tokenizer.special_tokens().image_pad,)
        sizes = [r["size"] for r in read_reply(profile, call, SIZE, question=question)["regions"]]
        first, *rest = prompt.reply(sizes, question=question)
        pieces = [prompt.system(), prompt.open_picture(), pad, prompt.ask(question)]
        pieces += [tokenizer.encode(call), first]
        pieces += [ids for piece in rest for ids in (pad, piece)]
        ids = [i for piece in pieces for i in piece]
        assert tokenizer._tokenizer.decode(ids, skip_special_tokens=False) == transcript

    @pytest.mark.parametrize(
        ("name", "digest"),
        [
            ("visionthink", "e730df60"),
            ("adaptvision", "8e71740c"),
            ("deepeyes", "1fc5b8b5"),
            ("mini-o3", "1f02ab1e"),
            ("pixelreasoner", "37249a68"),
            ("ergo", "aadd6aaf"),
        ],
    )
    def test_the_system_message_is_the_published_one(self, name, digest):
        assert hashlib.sha256(PROFILES[name].system.encode()).hexdigest()[:8] == digest

    def test_tags_that_are_tokens(self):
        assert {name: p.tokens for name, p in PROFILES.items() if p.tokens} == dict.fromkeys(
            ("adaptvision", "deepeyes", "pixelreasoner", "visionthink"),
            ("<tool_call>", "</tool_call>"),
        )


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
