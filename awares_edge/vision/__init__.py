"""Pictures: loading, sizes, patches, positions (numpy and Pillow only)."""

from awares_edge.vision.geometry import Grid, smart_resize, visual_tokens
from awares_edge.vision.load import ImageSource, load_image
from awares_edge.vision.patches import Patches, Preprocessing, extract_patches, resize_picture
from awares_edge.vision.positions import image_advance, image_positions, text_positions

__all__ = [
    "Grid",
    "ImageSource",
    "Patches",
    "Preprocessing",
    "extract_patches",
    "image_advance",
    "image_positions",
    "load_image",
    "resize_picture",
    "smart_resize",
    "text_positions",
    "visual_tokens",
]
