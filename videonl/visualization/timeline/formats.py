"""Numbers and times as text, the same here and on the page: ``formats.js``."""

import math


def decimal(value: float, digits: int) -> str:
    """A number that is not negative, rounded half up as the page does; Python would round half to even.

    >>> decimal(0.0625, digits=3), decimal(12.5, digits=3)
    ('0.063', '12.500')
    """
    whole, part = divmod(math.floor(value * 10**digits + 0.5), 10**digits)
    return f"{whole}.{part:0{digits}}"


def clock(seconds: float) -> str:
    """A time for people.

    >>> clock(62.5), clock(3600)
    ('1:02.5', '1:00:00.0')
    """
    tenths = math.floor(seconds * 10 + 0.5)
    minutes, tenths = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    start = f"{hours}:{minutes:02}" if hours else str(minutes)
    return f"{start}:{tenths // 10:02}.{tenths % 10}"


def stamp(seconds: float, separator: str) -> str:
    """A time as subtitles have it.

    >>> stamp(3661.0625, ",")
    '01:01:01,063'
    """
    milliseconds = math.floor(seconds * 1000 + 0.5)
    minutes, milliseconds = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{milliseconds // 1000:02}{separator}{milliseconds % 1000:03}"


def percent(probability: float) -> str:
    """A probability in whole percent.

    >>> percent(0.875)
    '88 %'
    """
    return f"{math.floor(probability * 100 + 0.5)} %"
