"""Users' names in figures, in whatever script they are written."""

import functools

from tf_adaptive.extras import lazily

matplotlib = lazily("matplotlib", extra="report")
font_manager = lazily("matplotlib.font_manager", extra="report")


def drawable(name):
    """A name as figures can draw it, and the fonts that they need for it.

    Characters that the figures' own font lacks are looked for in all fonts of the machine. What
    none has, or is no printable character, becomes an escape such as `\\u732b`.

    Args:
        name: a string.

    Returns:
        `(text, families)`: what to draw, and the names of the fonts to draw it with, the figures'
        own first.
    """
    text, families = [], list(matplotlib.rcParams["font.family"])
    for character in name:
        family = _family_with(character) if character.isprintable() else None
        if family is None:
            text.append(character.encode("unicode_escape").decode())
            continue
        text.append(character)
        if family and family not in families:
            families.append(family)
    return "".join(text), families


@functools.cache
def _family_with(character):
    """The font that has a character: "" for the figures' own, None where none has it."""
    own = font_manager.findfont(font_manager.FontProperties())
    if font_manager.get_font(own).get_char_index(ord(character)):
        return ""
    for entry in sorted(font_manager.fontManager.ttflist, key=lambda entry: entry.name):
        # It has a box with a number for every character.
        if "LastResort" in entry.name.replace(" ", ""):
            continue
        try:
            font = font_manager.get_font(entry.fname)
        except (OSError, RuntimeError):
            continue  # a font that is gone or damaged
        # Fonts of bitmaps, as of coloured emoji, cannot be drawn at any size.
        if font.scalable and font.get_char_index(ord(character)):
            return entry.name
    return None
