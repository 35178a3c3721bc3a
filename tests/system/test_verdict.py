"""The judge itself: each way of breaking the promise is seen."""

import pytest

from tests.system.verdict import judge


def said(n, mid, at, person="p", text=None):
    return {"n": n, "kind": "said", "account": "A", "person": person, "mid": mid, "timestamp": at, "text": text or mid}


def call(n, *mids, at_ms=0):
    return {
        "n": n,
        "kind": "model_call",
        "at_ms": at_ms,
        "mids": list(mids),
        "newest": mids[-1],
        "answer": f"“{mids[-1]}”: one. two.",
    }


def send(n, text, person="p", *, accepted=True):
    return {"n": n, "kind": "send", "account": "A", "person": person, "text": text, "accepted": accepted}


GOOD = [
    said(0, "m1", 1),
    call(1, "m1"),
    send(2, "“m1”: one. two."),
    said(3, "m2", 2),
    call(4, "m1", "m2"),
    send(5, "“m2”: one."),
    send(6, "two."),
]


def test_a_promise_kept_is_seen_as_kept():
    assert judge(GOOD).kept


@pytest.mark.parametrize(
    ("entries", "name"),
    [
        ([*GOOD, said(7, "m3", 3)], "lost"),
        ([*GOOD, send(7, "“m2”: one.")], "doubled"),
        ([*GOOD, send(7, "hello there")], "unexplained"),
        ([*GOOD, send(7, "“m2”: one.", person="q")], "unexplained"),
        ([*GOOD[:5], GOOD[6] | {"n": 5}, GOOD[5] | {"n": 6}], "disordered"),
        ([said(0, "m1", 2), said(1, "m2", 1), call(2, "m1", "m2"), send(3, "“m2”: one.")], "disordered"),
        (
            [
                said(0, "m1", 1),
                said(1, "m2", 2),
                call(2, "m2"),
                send(3, "“m2”: one."),
                call(4, "m1"),
                send(5, "“m1”: one."),
            ],
            "disordered",
        ),
        ([said(0, "m1", 1), call(1, "m1"), send(2, "“m1”: one.", accepted=False)], "lost"),
    ],
)
def test_a_broken_promise_is_seen(entries, name):
    verdict = judge(entries)
    assert getattr(verdict, name)
    assert not verdict.kept


def test_a_reply_of_unknown_outcome_may_give_way_to_a_newer_one_after_a_minute():
    entries = [
        said(0, "m1", 1),
        call(1, "m1", at_ms=0),
        said(2, "m2", 2),
        call(3, "m1", "m2", at_ms=61_000),
        send(4, "“m2”: one."),
        call(5, "m1", at_ms=80_000),
        send(6, "“m1”: one."),
    ]
    assert judge(entries).kept
    assert judge(entries).gave_way
    entries[3]["at_ms"] = 30_000
    assert judge(entries).disordered
