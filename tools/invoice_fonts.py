"""Make the fonts of invoices again: subsets of Noto Sans CJK SC, as Debian's fonts-noto-cjk has it.

    apt-get install fonts-noto-cjk
    .venv/bin/python tools/invoice_fonts.py

Regular has what GB 2312 and Big5's common characters hold, and Latin, Greek and Cyrillic; Bold, for
headings and totals, has of the Chinese characters the 3,755 of GB 2312's first level. A character
that neither has is shown as a box.
"""

import sys
from pathlib import Path

from fontTools.pens.cu2quPen import Cu2QuPen
from fontTools.pens.ttGlyphPen import TTGlyphPen
from fontTools.subset import Options, Subsetter
from fontTools.ttLib import TTCollection, TTFont, newTable

SOURCE = Path("/usr/share/fonts/opentype/noto")
TARGET = Path(__file__).resolve().parents[1] / "meter" / "exports" / "fonts"
SIMPLIFIED_CHINESE = "Noto Sans CJK SC"
MAX_ERROR = 2.0
"""How far a quadratic outline may be from the cubic one, in thousandths of the type size."""

WESTERN = [
    *range(0x20, 0x7F), *range(0xA0, 0x180), *range(0x370, 0x400), *range(0x400, 0x460),
    *range(0x2010, 0x2028), *range(0x2030, 0x203B), *range(0x20A0, 0x20C1), 0x2116, 0x2122,
    0x2190, 0x2191, 0x2192, 0x2193, 0x2212, 0x2248, 0x2260, 0x2264, 0x2265, 0x25A1,
]  # fmt: skip
CHINESE = [*range(0x3000, 0x3020), *range(0xFF01, 0xFF5F), *range(0xFFE0, 0xFFE7)]


def characters_of(encoding: str, first: range) -> set[int]:
    """Return the characters whose first byte in a two-byte encoding is in the range."""
    found = set()
    for lead in first:
        for trail in range(0x40, 0xFF):
            try:
                found.add(ord(bytes((lead, trail)).decode(encoding)))
            except (UnicodeDecodeError, TypeError):
                continue
    return found


def subset(collection: str, characters: set[int], name: str) -> None:
    """Write the subset of one font of a collection that has these characters."""
    fonts = TTCollection(SOURCE / collection, lazy=True).fonts
    font: TTFont = next(f for f in fonts if f["name"].getDebugName(1) == SIMPLIFIED_CHINESE)
    options = Options()
    options.layout_features = ["kern"]
    options.hinting = False
    options.desubroutinize = False
    options.name_IDs = [0, 1, 2, 3, 4, 5, 6, 13, 14]
    options.notdef_outline = True
    options.recalc_timestamp = False
    options.drop_tables += ["vhea", "vmtx", "VORG", "BASE", "DSIG"]
    subsetter = Subsetter(options)
    subsetter.populate(unicodes=characters)
    subsetter.subset(font)
    to_truetype(font)
    target = TARGET / name
    font.save(target)
    sys.stdout.write(
        f"{target.name}: {len(characters):,} characters, {target.stat().st_size:,} B\n"
    )


def to_truetype(font: TTFont) -> None:
    """Give a font quadratic outlines, which every reader of PDF files takes text from."""
    order = font.getGlyphOrder()
    drawn = font.getGlyphSet()
    glyphs = {}
    for name in order:
        pen = TTGlyphPen(drawn)
        drawn[name].draw(Cu2QuPen(pen, MAX_ERROR, reverse_direction=True))
        glyphs[name] = pen.glyph()
    font["glyf"] = table = newTable("glyf")
    table.glyphOrder, table.glyphs = order, glyphs
    font["loca"] = newTable("loca")
    del font["CFF "]
    metrics = font["hmtx"].metrics
    for name in order:
        glyphs[name].recalcBounds(table)
        metrics[name] = (metrics[name][0], getattr(glyphs[name], "xMin", 0))
    font["maxp"] = maxp = newTable("maxp")
    maxp.tableVersion = 0x00010000
    maxp.numGlyphs = len(order)
    for limit in (
        "maxTwilightPoints", "maxStorage", "maxFunctionDefs", "maxInstructionDefs",
        "maxStackElements", "maxSizeOfInstructions", "maxComponentElements",
    ):  # fmt: skip
        setattr(maxp, limit, 0)
    maxp.maxZones = 1
    font["post"].formatType = 3.0
    font["head"].glyphDataFormat = 0
    font.sfntVersion = "\000\001\000\000"


def main() -> None:
    """Make both fonts."""
    TARGET.mkdir(exist_ok=True)
    simplified = characters_of("gb2312", range(0xA1, 0xF8))
    traditional = characters_of("big5", range(0xA4, 0xC7))
    western = set(WESTERN)
    subset(
        "NotoSansCJK-Regular.ttc",
        western | set(CHINESE) | simplified | traditional,
        "NotoSansSC-Regular.ttf",
    )
    common = characters_of("gb2312", range(0xB0, 0xD8))
    subset("NotoSansCJK-Bold.ttc", western | set(CHINESE) | common, "NotoSansSC-Bold.ttf")


if __name__ == "__main__":
    main()
