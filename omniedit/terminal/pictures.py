"""A picture on the terminals that take some, by Kitty's graphics protocol or as sixels."""

import io
import logging
import os
import sys


def print_picture(png: bytes) -> bool:
    """Print a picture as wide as the terminal; return whether the terminal takes any.

    Standard input and output must be the terminal, which is asked what it takes. Importing the
    library asks it, so this does so, and nothing else.
    """
    # It warns of a terminal that does not tell the size of its cells, and takes the usual one.
    logging.getLogger("textual_image").setLevel(logging.ERROR)
    from rich.console import Console  # noqa: PLC0415 - only pictures need either
    from textual_image.renderable import Image, SixelImage, TGPImage  # noqa: PLC0415 - as above

    # On one of unknown width the library divides by zero.
    if Image not in {SixelImage, TGPImage} or not os.get_terminal_size().columns:
        return False
    Console(file=sys.__stdout__).print(Image(io.BytesIO(png), width="100%", height="auto"))
    return True
