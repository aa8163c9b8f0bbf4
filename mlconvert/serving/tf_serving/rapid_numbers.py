"""Numbers as TensorFlow Serving's REST API reads them: RapidJSON's quick parser, which is not exact.

The server parses requests without kParseFullPrecisionFlag (tensorflow_serving/util/json_tensor.cc, ParseJson), so that
a decimal becomes a double by floating-point arithmetic on its digits (rapidjson/reader.h, ParseNumber, and
internal/strtod.h, StrtodNormalPrecision). Of doubles written with 17 digits one in eight comes out one unit in the last
place off, which is enough to send a row to the other side of a tree's threshold. Most have another spelling that the
server reads exactly.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal

_EXACT = 1 << 53  # whole numbers up to here are doubles
_WHOLE = (1 << 64) - 1
_DIGITS = 17  # of a number that are looked at, without a leading one before the point
_POWERS = tuple(float(f"1e{power}") for power in range(309))
_NUMBER = re.compile(r"(-?)(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?")
_LENGTHS = ((19, 0), (18, 0), (17, 0), *((19, zeros) for zeros in range(1, 12)))  # digits, and zeros behind them
_NEAR = (0, *(sign << bit for bit in range(12) for sign in (1, -1)))


def read_number(text: str) -> float:
    """The double that the server makes of a JSON number. Raises ValueError for what is none."""
    found = _NUMBER.fullmatch(text)
    if found is None:
        raise ValueError(f"not a JSON number: {text}")
    sign, whole, fraction, exponent = found.groups()
    power = int(exponent or 0)
    significand, digits, left = 0, 0, ""
    for place, digit in enumerate(whole):
        if significand * 10 + int(digit) > _WHOLE:
            left = whole[place:]
            break
        significand = significand * 10 + int(digit)
        digits += place > 0
    value = float(significand)
    for digit in left:
        value = value * 10.0 + int(digit)
    if fraction and not left:
        while fraction and significand < _EXACT:
            significand, fraction, power = significand * 10 + int(fraction[0]), fraction[1:], power - 1
            digits += significand != 0
        value = float(significand)
    for digit in fraction or "":
        if digits < _DIGITS:
            value, power = value * 10.0 + int(digit), power - 1
            digits += value > 0
    value = _scaled(_scaled(value, -308), power + 308) if power < -308 else _scaled(value, power)
    return -value if sign else value


def _scaled(value: float, power: int) -> float:
    if power < -308:
        return 0.0
    return value * _POWERS[power] if power >= 0 else value / _POWERS[-power]


def spelled(value: float) -> str:
    """A finite double as a JSON number that the server reads as that double; where none is found, the usual one.

    About one double in 5000 has none among those that are tried.
    """
    usual = repr(value)
    mantissa, _, exponent = usual.lstrip("-").partition("e")
    whole, _, fraction = mantissa.partition(".")
    number, last = divmod(int(whole + fraction), 10)
    read = float(number * 10 + last) if number < _EXACT else float(number) * 10.0 + last  # as read_number does it
    if _divided(read, len(fraction) - int(exponent or 0)) == abs(value):
        return usual
    second = usual
    for text in _spellings(value):
        if float(text) == value:
            return text
        second = text  # powers above 22 are no doubles: there only a wrong spelling may be read rightly
    return second


def _spellings(value: float) -> Iterator[str]:
    """Whole numbers near the value's digits, with an exponent, that the server reads as the value.

    Each other number of digits is divided by another power, and so reaches other doubles.
    """
    size, sign = abs(value), "-" if value < 0 else ""
    exact = Decimal(size)
    for digits, zeros in _LENGTHS:
        power = digits - 1 - exact.adjusted()
        whole = int(exact.scaleb(power))
        for off in _NEAR:
            number = float(whole + off)
            for _ in range(zeros):
                number *= 10.0
            if _divided(number, power + zeros) == size:
                text = f"{sign}{whole + off}{'0' * zeros}e{-power - zeros}"
                if read_number(text) == value:
                    yield text


def _divided(number: float, power: int) -> float:
    return _scaled(_scaled(number, -308), 308 - power) if power > 308 else _scaled(number, -power)
