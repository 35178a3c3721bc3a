"""The fixtures' deliveries: moved to now, and made again for another customer; bytes in, bytes out."""

import json
import re
import time
from pathlib import Path

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"
BASE = 1790856000000
PERSON = re.compile(rb"69\d{14}")


def cases():
    return json.loads((FIXTURES / "cases.json").read_text())["cases"]


def fixture(name):
    return (FIXTURES / "webhooks" / name).read_bytes()


def shifted(body, now_ms=None):
    """The delivery as if it had been sent now: `time` and `timestamp` near BASE move, nothing else changes."""
    delta = (now_ms or int(time.time() * 1000)) - BASE

    def move(found):
        number = found[2]
        return found[1] + str(int(number) + (delta if len(number) == 13 else delta // 1000)).encode()

    return re.sub(rb'("(?:time|timestamp)": ?"?)(179\d{7}(?:\d{3})?)(?!\d)', move, body)


def for_another(body, n):
    """The same delivery, from the n-th double of its customer, with mids of its own."""
    body = PERSON.sub(lambda found: found[0][:10] + str(n).encode() + found[0][11:], body)
    return re.sub(rb'("mid":"aWd\w+?)(ZDZD|ZD)?"', rb"\g<1>x%d\g<2>" % n + b'"', body)


def double(person, n):
    """The id of a customer's n-th double."""
    return person[:10] + str(n) + person[11:]


def people(body):
    """The ids of the customers in a delivery."""
    return {found.decode() for found in PERSON.findall(body)}


def mids(body):
    return {found.decode() for found in re.findall(rb'"mid":"(aWd\w+)"', body)}
