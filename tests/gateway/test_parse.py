import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.gateway.events import Attachment, Event, Ignored, Invalid, Kind, Nothing, Reason
from services.gateway.parse import envelope, parse

FIXTURES = Path(__file__).parent.parent / "fixtures"
CASES = json.loads((FIXTURES / "cases.json").read_text())
BASE = CASES["base_ms"]
A, B = "17841400000000001", "17841400000000002"


def read(name):
    return parse((FIXTURES / "webhooks" / name).read_bytes(), BASE)


def whats(name):
    return [item.what for item in read(name)]


def delivery(*items, account=A, array="messaging", **more):
    entry = {"id": account, "time": BASE, array: list(items), **more}
    return json.dumps({"object": "instagram", "entry": [entry]}).encode()


def message(**more):
    return {
        "sender": {"id": "69"},
        "recipient": {"id": A},
        "timestamp": BASE,
        "message": {"mid": "m1", "text": "hi", **more},
    }


def only(body):
    (item,) = parse(body, BASE)
    return item.what


# What each file must yield here: kinds, or the word for why there is no event. Whether an account is connected, who
# is who and what is answered is the responder's to say.
YIELDS = {
    "batch_three_entries": [*["MESSAGE"] * 3, "not_an_item", *["MESSAGE"] * 3],
    "batch_same_mid_twice": ["MESSAGE", "MESSAGE"],
    "postback_with_mid": ["POSTBACK"],
    "postback_without_mid": ["POSTBACK"],
    "referral_ad": ["referral"],
    "referral_igme": ["referral"],
    "self_message": ["self"],
    "self_postback": ["self"],
    "unsend_2_deleted": ["UNSEND"],
    "reaction_react": ["REACTION"],
    "reaction_unreact": ["REACTION"],
    "read": ["READ"],
    "read_without_sender": ["no_person"],
    "edit_zero_without_sender": ["edit_zero"],
    "edit_zero_with_sender": ["edit_zero"],
    "edited_2_edit": ["EDIT"],
    "thread_pass": ["other_kind"],
    "thread_take": ["other_kind"],
    "thread_request": ["other_kind"],
    "optin": ["other_kind"],
    "dashboard_test_changes": ["dashboard_test"],
    "dashboard_test_messaging": ["dashboard_test"],
    "comment": ["other_field"],
    "comment_own": ["other_field"],
    "entry_without_messaging": ["empty"],
    "entry_empty": ["empty"],
    "item_without_sender": ["no_sender"],
    "unknown_kind": ["other_kind"],
    "object_page": ["other_object"],
    "truncated": ["unreadable"],
}


def word(what):
    if isinstance(what, Event):
        return what.kind.name
    return str(what.why if isinstance(what, Ignored) else what.reason)


@pytest.mark.parametrize("case", CASES["cases"], ids=lambda case: Path(case["file"]).stem)
def test_each_fixture_yields_what_the_table_says(case):
    file = Path(case["file"])
    found = [word(what) for what in whats(file.name)]
    assert found == YIELDS.get(file.stem, ["MESSAGE"])
    assert bool(case["expect"]["dead_letter"]) <= (found == ["unreadable"])


def test_every_fixture_is_in_the_table():
    assert {Path(case["file"]).name for case in CASES["cases"]} == {
        file.name for file in (FIXTURES / "webhooks").iterdir()
    }


@pytest.mark.parametrize("case", CASES["cases"], ids=lambda case: Path(case["file"]).stem)
def test_the_words_and_people_of_each_due_reply_are_read(case):
    events = [what for what in whats(Path(case["file"]).name) if isinstance(what, Event)]
    for due in case["expect"]["replies_due"]:
        theirs = [event for event in events if event.sender == due["igsid"]]
        texts = " ".join(event.text for event in theirs)
        assert all(text in texts for text in due["contains_text"])
        app_scoped = CASES["accounts"]["A"]["app_scoped_id"]
        assert {event.account for event in theirs} <= {due["account"], app_scoped}


def test_a_standby_item_says_so():
    (event,) = whats("standby.json")
    assert event.standby
    assert event.kind is Kind.MESSAGE


def test_ids_as_numbers_are_exact():
    (event,) = whats("ids_as_numbers.json")
    assert (event.account, event.sender, event.recipient) == (A, "6900000000000075", A)


def test_a_byte_that_is_not_utf8_is_replaced():
    (event,) = whats("invalid_utf8.bin")
    assert event.text == "caf\ufffd au lait"


def test_an_edit_and_an_unsend_may_lack_their_sender():
    for inner in (
        {"message": {"mid": "m", "is_deleted": True}},
        {"message_edit": {"mid": "m", "text": "t", "num_edit": "2"}},
    ):
        event = only(delivery({"timestamp": BASE, **inner}))
        assert (event.sender, event.recipient, event.mid) == ("", "", "m")


def test_what_surrounds_a_text_is_read():
    (story,) = whats("reply_to_story.json")
    (quick,) = whats("quick_reply.json")
    (inline,) = whats("reply_to_message.json")
    (ad,) = whats("referral_ad_message.json")
    (tap,) = whats("postback_without_mid.json")
    assert story.story_id == "18000000000000036"
    assert (quick.text, quick.payload) == ("Opening hours", "MENU:HOURS")
    assert inline.reply_to_mid
    assert ad.referral == "Autumn fair: bread & bikes"
    assert (tap.mid, tap.text, tap.payload) == ("", "Book a repair", "START:REPAIR")


def test_attachments_of_any_shape_are_read():
    (reel,) = whats("attachment_ig_reel_permalink.json")
    (gone,) = whats("attachment_ephemeral.json")
    assert reel.attachments == (
        Attachment("ig_reel", "Fix a puncture", "https://www.instagram.com/reel/FixtureReel27/"),
    )
    assert gone.attachments == (Attachment("ephemeral", "", ""),)
    odd = only(
        delivery(message(attachments=[None, {"type": 7, "payload": []}, {"type": "image", "payload": {"url": 3}}]))
    )
    assert [one.kind for one in odd.attachments] == ["unknown", "7", "image"]


@pytest.mark.parametrize(
    ("given_time", "means"),
    [
        (BASE, BASE),
        (str(BASE), BASE),
        (BASE // 1000, BASE),
        (str(BASE // 1000), BASE),
        (233445667, BASE),
        (0, BASE),
        (-BASE, BASE),
        (10**40, BASE),
        ("soon", BASE),
        (None, BASE),
        ([], BASE),
        (True, BASE),
        (BASE + 0.5, BASE),
    ],
)
def test_a_time_is_milliseconds_or_seconds_or_replaced_by_the_entrys(given_time, means):
    assert only(delivery({**message(), "timestamp": given_time})).timestamp_ms == means


def test_without_any_sensible_time_the_time_of_receipt_counts():
    body = delivery({**message(), "timestamp": "never"}, time="neither")
    (item,) = parse(body, 1_790_000_000_000)
    assert isinstance(item.what, Event)
    assert item.what.timestamp_ms == 1_790_000_000_000


@pytest.mark.parametrize("number", [b"1.7841400000000001e16", b"17841400000000001.0", b"17841400000000001"])
def test_an_id_written_as_any_whole_number_is_exact(number):
    body = delivery(message()).replace(f'"{A}"'.encode(), number)
    assert only(body).account == A


@pytest.mark.parametrize("wrong", [None, "", True, [], {}, 1.5, "x" * 513])
def test_anything_else_is_no_id(wrong):
    assert only(delivery({**message(), "sender": {"id": wrong}})) == Invalid(Reason.NO_SENDER, A, "", "m1")
    assert only(delivery(message(), account=wrong)).reason is Reason.NO_ACCOUNT


def test_half_surrogates_and_nul_become_replacement_characters():
    body = delivery(message()).replace(b'"hi"', b'"a\\ud83d b\\u0000 \\ud83d\\ude0d"')
    event = only(body)
    assert event.text == "a\ufffd b\ufffd 😍"
    event.text.encode()


@pytest.mark.parametrize("flag", ["is_self", "is_echo", "is_deleted", "is_unsupported"])
@pytest.mark.parametrize("absent", [False, None])
def test_a_flag_that_is_false_or_null_is_absent(flag, absent):
    assert only(delivery(message(**{flag: absent}))) == only(delivery(message()))


def test_is_self_anywhere_is_nothing_at_all():
    assert only(delivery(message(is_self=True))) == Ignored(Nothing.SELF)
    assert only(delivery({**message(), "is_self": True})) == Ignored(Nothing.SELF)


def test_num_edit_may_be_text_and_zero_means_nothing():
    def edit(number, **more):
        return only(
            delivery({"timestamp": BASE, "message_edit": {"mid": "m", "text": "t", "num_edit": number, **more}})
        )

    assert edit("3").num_edit == 3
    assert edit(2**40).num_edit == 2**31 - 1
    for nothing in (0, "0"):
        assert edit(nothing) == Ignored(Nothing.EDIT_ZERO)
    assert edit(1, text=None) == Ignored(Nothing.EDIT_WITHOUT_TEXT)
    assert edit("many").reason is Reason.NO_NUM_EDIT
    assert edit(1, mid="").reason is Reason.NO_MID


def test_a_message_in_the_changes_style_and_the_flat_style_is_a_message():
    change = {"field": "messages", "value": message()}
    flat = {"object": "instagram", "entry": [{"id": A, "time": BASE, **change}]}
    assert only(delivery(change, array="changes")) == only(delivery(message()))
    assert only(json.dumps(flat).encode()) == only(delivery(message()))


def test_bad_items_leave_their_neighbours_alone():
    body = delivery(
        "text", None, 7, message(), {"message": "no object"}, {"message": {"text": "no mid"}}, message(text={})
    )
    found = [item.what for item in parse(body, BASE)]
    assert [word(what) for what in found] == [
        "not_an_item", "not_an_item", "not_an_item", "MESSAGE", "not_an_item", "no_mid", "bad_text",
    ]  # fmt: skip


def test_bad_entries_and_bad_deliveries_leave_their_neighbours_alone():
    good = json.loads(delivery(message()))
    mixed = {**good, "entry": ["no entry", *good["entry"]]}
    found = [
        item.what for item in parse(json.dumps([7, good, {"object": "instagram", "entry": 3}, mixed]).encode(), BASE)
    ]
    assert [word(what) for what in found] == [
        "not_a_delivery", "MESSAGE", "not_a_delivery", "not_an_entry", "MESSAGE",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "body", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b"1" * 5000, b'{"object": "instagram"', b"NaN"]
)
def test_what_is_no_json_is_one_unreadable_thing(body):
    assert only(body) in (Invalid(Reason.UNREADABLE), Invalid(Reason.NOT_A_DELIVERY))


@pytest.mark.parametrize("number", ["1" * 4400, "1e99999999999999999999", "-" + "9" * 5000])
def test_a_number_out_of_all_reach_leaves_its_neighbours_alone(number):
    body = delivery(message(), {**message(mid="m2"), "timestamp": "HERE"}).replace(b'"HERE"', number.encode())
    assert [getattr(item.what, "mid", None) for item in parse(body, BASE)] == ["m1", "m2"]


def test_an_item_put_aside_can_be_posted_again_alone():
    for item in read("batch_three_entries.json"):
        if isinstance(item.what, Invalid):
            assert [one.what for one in parse(envelope(item.source), BASE)] == [item.what]
    for name in ("text_emoji.json", "standby.json", "ids_as_numbers.json"):
        (item,) = read(name)
        assert [one.what for one in parse(envelope(item.source), BASE)] == [item.what]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(
        ["object", "entry", "id", "time", "messaging", "standby", "changes", "field", "value", "sender", "recipient",
         "timestamp", "message", "mid", "text", "attachments", "type", "payload", "url", "is_echo", "is_deleted",
         "reaction", "postback", "message_edit", "num_edit", "read", "referral", "reply_to", "story",
         "quick_reply"]), inner, max_size=6),
    max_leaves=40,
)  # fmt: skip


@given(json_values)
def test_no_json_makes_it_fail(value):
    for body in (value, {"object": "instagram", "entry": [{"id": A, "messaging": [value]}]}):
        for item in parse(json.dumps(body).encode(), BASE):
            if isinstance(item.what, Event):
                assert 0 < item.what.timestamp_ms < 2**63
                item.what.text.encode()
            if item.source:
                assert parse(envelope(item.source), BASE)


@given(st.binary(max_size=300))
def test_no_bytes_make_it_fail(body):
    assert parse(body, BASE) or body.strip() == b"[]"
