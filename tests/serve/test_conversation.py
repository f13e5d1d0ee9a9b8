"""Messages of a chat become one question about one picture."""

import pytest

from awares_edge.httpd.refusals import Refusal
from awares_edge.serve.conversation import read_conversation
from awares_edge.serve.requests import ChatRequest


def read(*messages):
    return read_conversation(ChatRequest.model_validate({"messages": list(messages)}).messages)


def said(role, content):
    return {"role": role, "content": content}


def picture(name):
    return {"type": "image_url", "image_url": {"url": name}}


def words(text):
    return {"type": "text", "text": text}


def test_one_text_is_asked_word_for_word():
    found = read(said("user", [words("  What does it say?\n"), picture("a")]))
    assert found.question == "  What does it say?\n"
    assert found.images == ("a",)


def test_a_plain_string_and_a_list_ask_the_same():
    assert read(said("user", "What?")) == read(said("user", [words("What?")]))


def test_texts_around_pictures_are_lines():
    parts = [words("Image 1:"), picture("a"), words("What is it?")]
    assert read(said("user", parts)).question == "Image 1:\nWhat is it?"


def test_user_messages_in_a_row_are_one_turn():
    found = read(said("user", [picture("a")]), said("user", "What?"))
    assert (found.question, found.images) == ("What?", ("a",))


def test_instructions_come_first_and_history_before_the_question():
    found = read(
        said("system", "Be brief."),
        said("user", [words("What is it?"), picture("a")]),
        said("assistant", "A cup."),
        said("user", "What colour?"),
    )
    assert found.question == (
        "Be brief.\n\nEarlier in this conversation:\nUser: What is it?\nAssistant: A cup.\n\n"
        "What colour?"
    )
    assert found.images == ("a",)


def test_the_newest_turn_with_pictures_counts():
    found = read(
        said("user", [words("One?"), picture("old")]),
        said("assistant", "Yes."),
        said("user", [words("And this?"), picture("new")]),
        said("assistant", "No."),
        said("user", "Sure?"),
    )
    assert (found.images, found.images_sent) == (("new",), 2)


def test_several_pictures_are_announced():
    found = read(said("user", [picture("a"), picture("b"), words("Which is larger?")]))
    assert found.images == ("a", "b")
    assert found.question.startswith("The picture shows 2 images side by side")
    assert found.question.endswith("\n\nWhich is larger?")


@pytest.mark.parametrize(
    "messages",
    [
        [said("system", "Be brief.")],
        [said("user", "Hi"), said("assistant", "Hello")],
        [said("system", [picture("a")]), said("user", "What?")],
        [said("user", "Hi"), said("assistant", [picture("a")]), said("user", "What?")],
    ],
)
def test_what_cannot_be_asked_is_refused(messages):
    with pytest.raises(Refusal) as caught:
        read(*messages)
    assert (caught.value.status, caught.value.param) == (400, "messages")
