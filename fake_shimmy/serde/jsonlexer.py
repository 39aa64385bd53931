"""Letters and digits of JSON the way serde_json reads them.

Strategy: :class:`Lexer` is a cursor that knows strings, numbers and words, where it is, and how
serde_json words what is wrong there; ``jsonbody`` builds values on top. Positions are
byte columns. Seen on 2.5.0 CPU-only, serde_json 1.0.
"""

from __future__ import annotations

# The parser of the standard library, which is always there by now, needs it as well.
import re

_DIGITS = b"0123456789"
_PLAIN = re.compile(rb'[^"\\\x00-\x1f]*')
_SHORT = {0x22: 34, 0x5C: 92, 0x2F: 47, 0x62: 8, 0x66: 12, 0x6E: 10, 0x72: 13, 0x74: 9}


class JsonError(Exception):
    """A complaint. ``is_data`` tells a wrong shape from wrong JSON; ``path`` is where in the
    document, ``column`` -1 while no place in the bytes is known yet."""

    def __init__(self, text: str, is_data: bool, path: str | None) -> None:
        super().__init__(text)
        self.text = text
        self.is_data = is_data
        self.path = path
        self.line = 0
        self.column = -1

    def __str__(self) -> str:
        prefix = "" if self.path is None else f"{self.path}: "
        return prefix + self.without_path()

    def without_path(self) -> str:
        """The complaint as serde_json itself words it."""
        return f"{self.text} at line {self.line} column {self.column}"


def _find_special(data: bytes, start: int) -> int:
    """Where the next quote, backslash or control character is, or the end."""
    match = _PLAIN.match(data, start)
    return start if match is None else match.end()


class Lexer:
    """A cursor over ``data``; ``path`` is where in the document it is, with nothing for a key that
    is not known yet."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.index = 0
        self.path: list[str | int | None] = []

    def syntax(self, text: str, peeked: bool = False) -> JsonError:
        """The error ``text`` here, or at the byte that was only looked at."""
        return self.fix(JsonError(text, False, self.shown_path()), peeked)

    def misfit(self, text: str) -> JsonError:
        """An error about the shape, whose place is filled in at the end of the enclosing value."""
        return JsonError(text, True, self.shown_path())

    def fix(self, error: JsonError, peeked: bool = False) -> JsonError:
        """Give ``error`` this place, if it has none yet."""
        if error.column < 0:
            end = min(len(self.data), self.index + 1) if peeked else self.index
            start = self.data.rfind(b"\n", 0, end) + 1
            error.line = 1 + self.data.count(b"\n", 0, start)
            error.column = end - start
        return error

    def shown_path(self) -> str | None:
        """The path as serde_path_to_error prints it; nothing at the top."""
        if all(segment is None for segment in self.path):
            return None
        shown = ""
        for position, segment in enumerate(self.path):
            if isinstance(segment, int):
                shown += f"[{segment}]"
            else:
                name = "?" if segment is None else segment
                shown += f".{name}" if position else name
        return shown

    def peek(self) -> int:
        """The next byte that is not white space; -1 at the end."""
        data, index = self.data, self.index
        while index < len(data) and data[index] in b" \n\t\r":
            index += 1
        self.index = index
        return data[index] if index < len(data) else -1

    def expect_value(self) -> int:
        """Like :meth:`peek`, where a value must begin."""
        byte = self.peek()
        if byte < 0:
            raise self.syntax("EOF while parsing a value", True)
        return byte

    def word(self, word: bytes) -> None:
        """Read the rest of ``null``, ``true`` or ``false``; its first letter is still ahead."""
        self.index += 1
        for letter in word[1:]:
            if self.index >= len(self.data):
                raise self.syntax("EOF while parsing a value")
            self.index += 1
            if self.data[self.index - 1] != letter:
                raise self.syntax("expected ident")

    def string(self, validate: bool = True) -> str:
        """Read a string whose opening quote is ahead; without ``validate`` only find its end."""
        self.index += 1
        data = self.data
        pieces = bytearray()
        while True:
            start = self.index
            self.index = end = _find_special(data, start)
            pieces += data[start:end]
            if end >= len(data):
                raise self.syntax("EOF while parsing a string")
            if data[end] < 0x20:
                # serde_json counts the character when it reads, and not when it skips.
                self.index += validate
                text = "control character (\\u0000-\\u001F) found while parsing a string"
                raise self.syntax(text)
            self.index += 1
            if data[self.index - 1] == 0x22:
                break
            self._escape(pieces, validate)
        if not validate:
            return ""
        try:
            return pieces.decode()
        except UnicodeDecodeError:
            raise self.syntax("invalid unicode code point") from None

    def _escape(self, pieces: bytearray, validate: bool) -> None:
        byte = self._next_in_string()
        if byte in _SHORT:
            pieces.append(_SHORT[byte])
            return
        if byte != 0x75:
            raise self.syntax("invalid escape")
        unit = self._hex()
        if not validate:
            return
        if 0xDC00 <= unit <= 0xDFFF:
            raise self.syntax("lone leading surrogate in hex escape")
        if 0xD800 <= unit <= 0xDBFF:
            for expected in b"\\u":
                if self._next_in_string() != expected:
                    raise self.syntax("unexpected end of hex escape")
            low = self._hex()
            if not 0xDC00 <= low <= 0xDFFF:
                raise self.syntax("lone leading surrogate in hex escape")
            unit = 0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00)
        pieces += chr(unit).encode()

    def _next_in_string(self) -> int:
        if self.index >= len(self.data):
            raise self.syntax("EOF while parsing a string")
        self.index += 1
        return self.data[self.index - 1]

    def _hex(self) -> int:
        digits = self.data[self.index : self.index + 4]
        self.index += len(digits)
        if len(digits) < 4:
            raise self.syntax("EOF while parsing a string")
        if digits.translate(None, b"0123456789abcdefABCDEF"):
            raise self.syntax("invalid escape")
        return int(digits, 16)

    def _digits(self) -> bytes:
        start = self.index
        data = self.data
        while self.index < len(data) and data[self.index] in _DIGITS:
            self.index += 1
        return data[start : self.index]

    def _some_digits(self, skipped: bool) -> bytes:
        if self.index >= len(self.data) and not skipped:
            raise self.syntax("EOF while parsing a value")
        digits = self._digits()
        if not digits:
            self.index += self.index < len(self.data)
            raise self.syntax("invalid number")
        return digits

    def _ahead(self) -> int:
        return self.data[self.index] if self.index < len(self.data) else 0

    def number(self, skipped: bool = False) -> int | float:
        """Read a number; one that is ``skipped`` has no range, and slightly other complaints."""
        negative = self._ahead() == 0x2D
        self.index += negative
        start = self.index
        digits = self._some_digits(skipped)
        if len(digits) > 1 and digits[:1] == b"0":
            self.index = start + 1
            raise self.syntax("invalid number", True)
        # More digits than fit into 64 bits only move the point.
        kept = next(kept for end in (21, 20, 19) if int(kept := digits[:end]) < 2**64)
        significand, exponent = int(kept), len(digits) - len(kept)
        is_integer = exponent == 0
        if self._ahead() == 0x2E:
            is_integer = False
            significand, exponent = self._fraction(significand, exponent, skipped)
        if self._ahead() in b"eE":
            is_integer = False
            exponent = self._exponent(significand, exponent, skipped)
        if is_integer and not (negative and (significand == 0 or significand > 2**63)):
            return -significand if negative else significand
        value = 0.0 if skipped else self._scale(significand, exponent)
        return -value if negative else value

    def _fraction(self, significand: int, exponent: int, skipped: bool) -> tuple[int, int]:
        self.index += 1
        digits = self._digits()
        if not digits:
            at_end = self.index >= len(self.data) and not skipped
            raise self.syntax("EOF while parsing a value" if at_end else "invalid number", True)
        for digit in digits:
            grown = significand * 10 + digit - 48
            if grown >= 2**64:
                break
            significand = grown
            exponent -= 1
        return significand, exponent

    def _exponent(self, significand: int, exponent: int, skipped: bool) -> int:
        self.index += 1
        sign = 1
        if self._ahead() in b"+-":
            sign = -1 if self._ahead() == 0x2D else 1
            self.index += 1
        start = self.index
        digits = self._some_digits(skipped)
        count = 0 if skipped else _count_to_overflow(digits)
        if not count:
            return exponent + sign * int(digits[-12:])
        if significand and sign > 0:
            self.index = start + count
            raise self.syntax("number out of range")
        return -(2**31)

    def _scale(self, significand: int, exponent: int) -> float:
        value = float(significand)
        while not -309 < exponent < 309 and value:
            if exponent > 0:
                raise self.syntax("number out of range")
            value /= 1e308
            exponent += 308
        if value and exponent >= 0:
            value *= float(f"1e{exponent}")
            if value == float("inf"):
                raise self.syntax("number out of range")
        elif value:
            value /= float(f"1e{-exponent}")
        return value


def _count_to_overflow(digits: bytes) -> int:
    """How many digits it takes until the number does not fit into 31 bits; 0 where it fits."""
    significant = digits.lstrip(b"0")
    zeros = len(digits) - len(significant)
    if int(significant[:10] or b"0") >= 2**31:
        return zeros + 10
    return zeros + 11 if len(significant) > 10 else 0


def describe_number(number: int | float, exponent_mark: str) -> str:
    """A number as serde words it in a complaint; positive exponents follow ``exponent_mark``."""
    if isinstance(number, int):
        return f"integer `{number}`"
    return f"floating point `{_shortest(number, exponent_mark)}`"


def _shortest(number: float, exponent_mark: str) -> str:
    """The shortest digits that give ``number`` again, laid out as serde_json does."""
    mantissa, _, exponent = repr(abs(number)).partition("e")
    whole, _, fraction = mantissa.partition(".")
    fraction = "" if fraction == "0" else fraction
    digits = (whole + fraction).lstrip("0")
    sign = "-" if str(number).startswith("-") else ""
    if not digits:
        return f"{sign}0.0"
    point = len(whole) + int(exponent or 0)
    if whole == "0":
        point = len(digits) - len(fraction) + int(exponent or 0)
    digits = digits.rstrip("0") or "0"
    if 0 < point <= 16:
        padded = digits.ljust(point, "0")
        return f"{sign}{padded[:point]}.{padded[point:] or '0'}"
    if -5 < point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    rest = f".{digits[1:]}" if len(digits) > 1 else ""
    mark = exponent_mark if point > 0 else "e"
    return f"{sign}{digits[0]}{rest}{mark}{point - 1}"
