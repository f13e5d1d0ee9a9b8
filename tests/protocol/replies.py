"""Replies in the form of the published protocols, and what their profiles make of them."""

from awares_edge.protocol import PROFILES
from awares_edge.protocol.reading import read_reply

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
