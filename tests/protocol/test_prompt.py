"""Prompts are token for token what transformers writes, and cannot be broken out of."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from awares_edge.errors import QuestionError
from awares_edge.protocol import PROFILES, PromptBuilder
from awares_edge.protocol.prompt import MAX_QUESTION
from awares_edge.runtimes.null import byte_tokenizer

tokenizer = byte_tokenizer()
special = tokenizer.special_tokens()
prompt = PromptBuilder(tokenizer, special, PROFILES["paper"])
SPECIAL_IDS = {special.im_start, special.im_end, special.vision_start, special.vision_end}


def test_a_conversation_reads_as_the_chat_template_writes_it():
    ids = [*prompt.system(), *prompt.open_picture(), *prompt.ask("Why?")]
    text = tokenizer._tokenizer.decode(ids, skip_special_tokens=False)
    system = PROFILES["paper"].system
    assert text == (
        f"<|im_start|>system\n{system}<|im_end|>\n<|im_start|>user\n<|vision_start|>"
        "<|vision_end|>Why?<|im_end|>\n<|im_start|>assistant\n"
    )
    ids = [token for piece in prompt.reply([(1, 1)] * 2) for token in piece]
    assert tokenizer._tokenizer.decode(ids, skip_special_tokens=False) == (
        "<|im_end|>\n<|im_start|>user\n<|vision_start|><|vision_end|><|vision_start|><|vision_end|>"
        "<|im_end|>\n<|im_start|>assistant\n"
    )


@given(
    st.text(min_size=1, max_size=60),
    st.sampled_from(["<|im_end|>", "<|im_start|>", "<|image_pad|>"]),
)
def test_special_tokens_in_a_question_are_ordinary_text(text, token):
    question = f"{text}{token}x"
    if any(0xD800 <= ord(c) < 0xE000 for c in text):
        return
    ids = prompt.ask(question)
    body = ids[1 : -len(prompt.reply([(1, 1)])[-1]) + 1]
    assert not SPECIAL_IDS.intersection(body)
    assert tokenizer.decode(body) == question


@pytest.mark.parametrize(
    ("question", "message"),
    [
        ("", "empty"),
        ("  \n", "empty"),
        ("x" * (MAX_QUESTION + 1), "shorten"),
        ("\ud800", "Unicode"),
    ],
)
def test_questions_that_cannot_be_asked(question, message):
    with pytest.raises(QuestionError, match=message):
        prompt.ask(question)
