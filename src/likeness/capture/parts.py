"""The labels of the part map."""

from enum import IntEnum


class Part(IntEnum):
    """What a pixel shows."""

    BACKGROUND = 0
    SKIN = 1
    LIPS = 2
    BROWS = 3
    EYES = 4
    TEETH = 5
    TONGUE = 6
    MOUTH = 7
    HAIR = 8
    TOP = 9
    TROUSERS = 10
    SHOES = 11
    NAILS = 12
    EARS = 13
    BEARD = 14
    LASHES = 15


COLOURS = {
    Part.BACKGROUND: (0, 0, 0),
    Part.SKIN: (225, 172, 140),
    Part.LIPS: (205, 60, 80),
    Part.BROWS: (110, 70, 30),
    Part.EYES: (240, 240, 255),
    Part.TEETH: (255, 255, 180),
    Part.TONGUE: (255, 110, 70),
    Part.MOUTH: (100, 10, 30),
    Part.HAIR: (120, 75, 190),
    Part.TOP: (60, 130, 220),
    Part.TROUSERS: (50, 60, 110),
    Part.SHOES: (30, 160, 120),
    Part.NAILS: (255, 200, 220),
    Part.EARS: (245, 150, 100),
    Part.BEARD: (150, 100, 60),
    Part.LASHES: (255, 0, 160),
}
"""RGB for drawing a part map."""
