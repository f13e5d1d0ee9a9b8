"""How a profile's model asks for a closer look, as data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Tool:
    """How the model asks for a closer look.

    Attributes:
        syntax: "crops": a list of crop ids between `opening` and `closing`; "json": a JSON object
            between two tags; "list": a list of four numbers between two tags.
        opening, closing: fixed text around the ids, or the two tags.
        crops: ids that are offered, in the prompt's order ("crops").
        name: of the tool ("json"); a call must give it unless `any_name`. Empty where the object
            holds the arguments themselves.
        any_name: whether calls of another name count too, as published.
        box: key of the argument that holds the box ("json"); empty where a call always means
            the whole picture.
        fixed: an argument that a call must have, "key=value"; empty for none.
        reference: key of the argument that says which picture the box is in; empty for the source.
        which: of several calls in one reply, the one that counts; "only" refuses several.
        at_end: whether a call counts only where the reply ends with it.
        one_line: whether the object must stand on one line and end with two braces.
        whole_body: whether the body must be the object and nothing else.
        spelled: texts that a body must hold in this order, the first at its start; the object
            then holds only the box and the reference, as Python or JSON writes them.
        unless_answer: whether a reply that holds an answer is never a call.
        example: a call as the model writes it, with {box} for its numbers and {reference}; its
            fixed text is drafted.
    """

    syntax: Literal["crops", "json", "list"] = "crops"
    opening: str = "GET_CROPS: ["
    closing: str = "]"
    crops: tuple[str, ...] = ()
    name: str = ""
    any_name: bool = False
    box: str = ""
    fixed: str = ""
    reference: str = ""
    which: Literal["first", "last", "only"] = "first"
    at_end: bool = False
    one_line: bool = False
    whole_body: bool = False
    spelled: tuple[str, ...] = ()
    unless_answer: bool = False
    example: str = ""
