"""Transcripts hold the published prompt, a call and what follows it, byte for byte."""

import hashlib
from pathlib import Path

import pytest

from awares_edge.protocol import PROFILES, PromptBuilder
from awares_edge.protocol.reading import prompt_text, read_reply
from awares_edge.runtimes.null import byte_tokenizer

QUESTION = "Which colour is the small flag?"
OPTIONS = f"{QUESTION}\nOptions: \nA. red\nB. green"
SIZE = (1700, 1134)
TRANSCRIPTS = Path(__file__).parent / "transcripts"


class TestPrompts:
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
