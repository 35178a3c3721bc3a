from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Kind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    KIND_UNSPECIFIED: _ClassVar[Kind]
    KIND_MESSAGE: _ClassVar[Kind]
    KIND_POSTBACK: _ClassVar[Kind]
    KIND_UNSEND: _ClassVar[Kind]
    KIND_EDIT: _ClassVar[Kind]
    KIND_REACTION: _ClassVar[Kind]
    KIND_READ: _ClassVar[Kind]
    KIND_REFERRAL: _ClassVar[Kind]

class Outcome(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    OUTCOME_UNSPECIFIED: _ClassVar[Outcome]
    OUTCOME_STORED: _ClassVar[Outcome]
    OUTCOME_DUPLICATE: _ClassVar[Outcome]
    OUTCOME_IGNORED: _ClassVar[Outcome]
    OUTCOME_UNKNOWN_ACCOUNT: _ClassVar[Outcome]
    OUTCOME_INVALID: _ClassVar[Outcome]
    OUTCOME_LATER: _ClassVar[Outcome]
KIND_UNSPECIFIED: Kind
KIND_MESSAGE: Kind
KIND_POSTBACK: Kind
KIND_UNSEND: Kind
KIND_EDIT: Kind
KIND_REACTION: Kind
KIND_READ: Kind
KIND_REFERRAL: Kind
OUTCOME_UNSPECIFIED: Outcome
OUTCOME_STORED: Outcome
OUTCOME_DUPLICATE: Outcome
OUTCOME_IGNORED: Outcome
OUTCOME_UNKNOWN_ACCOUNT: Outcome
OUTCOME_INVALID: Outcome
OUTCOME_LATER: Outcome

class Attachment(_message.Message):
    __slots__ = ("type", "title", "url")
    TYPE_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    URL_FIELD_NUMBER: _ClassVar[int]
    type: str
    title: str
    url: str
    def __init__(self, type: _Optional[str] = ..., title: _Optional[str] = ..., url: _Optional[str] = ...) -> None: ...

class Event(_message.Message):
    __slots__ = ("kind", "account", "sender", "recipient", "timestamp_ms", "mid", "text", "attachments", "is_echo", "is_unsupported", "standby", "payload", "reply_to_mid", "story_id", "num_edit", "action", "emoji", "referral", "delivery", "request")
    KIND_FIELD_NUMBER: _ClassVar[int]
    ACCOUNT_FIELD_NUMBER: _ClassVar[int]
    SENDER_FIELD_NUMBER: _ClassVar[int]
    RECIPIENT_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_MS_FIELD_NUMBER: _ClassVar[int]
    MID_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    ATTACHMENTS_FIELD_NUMBER: _ClassVar[int]
    IS_ECHO_FIELD_NUMBER: _ClassVar[int]
    IS_UNSUPPORTED_FIELD_NUMBER: _ClassVar[int]
    STANDBY_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    REPLY_TO_MID_FIELD_NUMBER: _ClassVar[int]
    STORY_ID_FIELD_NUMBER: _ClassVar[int]
    NUM_EDIT_FIELD_NUMBER: _ClassVar[int]
    ACTION_FIELD_NUMBER: _ClassVar[int]
    EMOJI_FIELD_NUMBER: _ClassVar[int]
    REFERRAL_FIELD_NUMBER: _ClassVar[int]
    DELIVERY_FIELD_NUMBER: _ClassVar[int]
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    kind: Kind
    account: str
    sender: str
    recipient: str
    timestamp_ms: int
    mid: str
    text: str
    attachments: _containers.RepeatedCompositeFieldContainer[Attachment]
    is_echo: bool
    is_unsupported: bool
    standby: bool
    payload: str
    reply_to_mid: str
    story_id: str
    num_edit: int
    action: str
    emoji: str
    referral: str
    delivery: str
    request: str
    def __init__(self, kind: _Optional[_Union[Kind, str]] = ..., account: _Optional[str] = ..., sender: _Optional[str] = ..., recipient: _Optional[str] = ..., timestamp_ms: _Optional[int] = ..., mid: _Optional[str] = ..., text: _Optional[str] = ..., attachments: _Optional[_Iterable[_Union[Attachment, _Mapping]]] = ..., is_echo: _Optional[bool] = ..., is_unsupported: _Optional[bool] = ..., standby: _Optional[bool] = ..., payload: _Optional[str] = ..., reply_to_mid: _Optional[str] = ..., story_id: _Optional[str] = ..., num_edit: _Optional[int] = ..., action: _Optional[str] = ..., emoji: _Optional[str] = ..., referral: _Optional[str] = ..., delivery: _Optional[str] = ..., request: _Optional[str] = ...) -> None: ...

class Verdict(_message.Message):
    __slots__ = ("outcome", "reason")
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    outcome: Outcome
    reason: str
    def __init__(self, outcome: _Optional[_Union[Outcome, str]] = ..., reason: _Optional[str] = ...) -> None: ...

class DeliverRequest(_message.Message):
    __slots__ = ("events",)
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    events: _containers.RepeatedCompositeFieldContainer[Event]
    def __init__(self, events: _Optional[_Iterable[_Union[Event, _Mapping]]] = ...) -> None: ...

class DeliverResponse(_message.Message):
    __slots__ = ("verdicts",)
    VERDICTS_FIELD_NUMBER: _ClassVar[int]
    verdicts: _containers.RepeatedCompositeFieldContainer[Verdict]
    def __init__(self, verdicts: _Optional[_Iterable[_Union[Verdict, _Mapping]]] = ...) -> None: ...

class Conversation(_message.Message):
    __slots__ = ("account", "person", "state", "waiting_for", "due_at_ms", "paused_until_ms", "opted_out", "window_closes_at_ms", "unanswered", "tries", "last_error", "last_message_at_ms", "username")
    ACCOUNT_FIELD_NUMBER: _ClassVar[int]
    PERSON_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    WAITING_FOR_FIELD_NUMBER: _ClassVar[int]
    DUE_AT_MS_FIELD_NUMBER: _ClassVar[int]
    PAUSED_UNTIL_MS_FIELD_NUMBER: _ClassVar[int]
    OPTED_OUT_FIELD_NUMBER: _ClassVar[int]
    WINDOW_CLOSES_AT_MS_FIELD_NUMBER: _ClassVar[int]
    UNANSWERED_FIELD_NUMBER: _ClassVar[int]
    TRIES_FIELD_NUMBER: _ClassVar[int]
    LAST_ERROR_FIELD_NUMBER: _ClassVar[int]
    LAST_MESSAGE_AT_MS_FIELD_NUMBER: _ClassVar[int]
    USERNAME_FIELD_NUMBER: _ClassVar[int]
    account: str
    person: str
    state: str
    waiting_for: str
    due_at_ms: int
    paused_until_ms: int
    opted_out: bool
    window_closes_at_ms: int
    unanswered: int
    tries: int
    last_error: str
    last_message_at_ms: int
    username: str
    def __init__(self, account: _Optional[str] = ..., person: _Optional[str] = ..., state: _Optional[str] = ..., waiting_for: _Optional[str] = ..., due_at_ms: _Optional[int] = ..., paused_until_ms: _Optional[int] = ..., opted_out: _Optional[bool] = ..., window_closes_at_ms: _Optional[int] = ..., unanswered: _Optional[int] = ..., tries: _Optional[int] = ..., last_error: _Optional[str] = ..., last_message_at_ms: _Optional[int] = ..., username: _Optional[str] = ...) -> None: ...

class Message(_message.Message):
    __slots__ = ("mid", "direction", "author", "at_ms", "text", "attachments", "answered_by", "taken_back", "edited")
    MID_FIELD_NUMBER: _ClassVar[int]
    DIRECTION_FIELD_NUMBER: _ClassVar[int]
    AUTHOR_FIELD_NUMBER: _ClassVar[int]
    AT_MS_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    ATTACHMENTS_FIELD_NUMBER: _ClassVar[int]
    ANSWERED_BY_FIELD_NUMBER: _ClassVar[int]
    TAKEN_BACK_FIELD_NUMBER: _ClassVar[int]
    EDITED_FIELD_NUMBER: _ClassVar[int]
    mid: str
    direction: str
    author: str
    at_ms: int
    text: str
    attachments: _containers.RepeatedScalarFieldContainer[str]
    answered_by: str
    taken_back: bool
    edited: bool
    def __init__(self, mid: _Optional[str] = ..., direction: _Optional[str] = ..., author: _Optional[str] = ..., at_ms: _Optional[int] = ..., text: _Optional[str] = ..., attachments: _Optional[_Iterable[str]] = ..., answered_by: _Optional[str] = ..., taken_back: _Optional[bool] = ..., edited: _Optional[bool] = ...) -> None: ...

class Part(_message.Message):
    __slots__ = ("n", "text", "state", "mid", "sending_at_ms")
    N_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    MID_FIELD_NUMBER: _ClassVar[int]
    SENDING_AT_MS_FIELD_NUMBER: _ClassVar[int]
    n: int
    text: str
    state: str
    mid: str
    sending_at_ms: int
    def __init__(self, n: _Optional[int] = ..., text: _Optional[str] = ..., state: _Optional[str] = ..., mid: _Optional[str] = ..., sending_at_ms: _Optional[int] = ...) -> None: ...

class Reply(_message.Message):
    __slots__ = ("id", "account", "person", "answers", "parts", "author", "outcome", "created_at_ms")
    ID_FIELD_NUMBER: _ClassVar[int]
    ACCOUNT_FIELD_NUMBER: _ClassVar[int]
    PERSON_FIELD_NUMBER: _ClassVar[int]
    ANSWERS_FIELD_NUMBER: _ClassVar[int]
    PARTS_FIELD_NUMBER: _ClassVar[int]
    AUTHOR_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_MS_FIELD_NUMBER: _ClassVar[int]
    id: str
    account: str
    person: str
    answers: _containers.RepeatedScalarFieldContainer[str]
    parts: _containers.RepeatedCompositeFieldContainer[Part]
    author: str
    outcome: str
    created_at_ms: int
    def __init__(self, id: _Optional[str] = ..., account: _Optional[str] = ..., person: _Optional[str] = ..., answers: _Optional[_Iterable[str]] = ..., parts: _Optional[_Iterable[_Union[Part, _Mapping]]] = ..., author: _Optional[str] = ..., outcome: _Optional[str] = ..., created_at_ms: _Optional[int] = ...) -> None: ...

class ListRequest(_message.Message):
    __slots__ = ("account", "state", "limit")
    ACCOUNT_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    account: str
    state: str
    limit: int
    def __init__(self, account: _Optional[str] = ..., state: _Optional[str] = ..., limit: _Optional[int] = ...) -> None: ...

class ListResponse(_message.Message):
    __slots__ = ("conversations",)
    CONVERSATIONS_FIELD_NUMBER: _ClassVar[int]
    conversations: _containers.RepeatedCompositeFieldContainer[Conversation]
    def __init__(self, conversations: _Optional[_Iterable[_Union[Conversation, _Mapping]]] = ...) -> None: ...

class GetRequest(_message.Message):
    __slots__ = ("account", "person")
    ACCOUNT_FIELD_NUMBER: _ClassVar[int]
    PERSON_FIELD_NUMBER: _ClassVar[int]
    account: str
    person: str
    def __init__(self, account: _Optional[str] = ..., person: _Optional[str] = ...) -> None: ...

class GetResponse(_message.Message):
    __slots__ = ("conversation", "messages", "replies")
    CONVERSATION_FIELD_NUMBER: _ClassVar[int]
    MESSAGES_FIELD_NUMBER: _ClassVar[int]
    REPLIES_FIELD_NUMBER: _ClassVar[int]
    conversation: Conversation
    messages: _containers.RepeatedCompositeFieldContainer[Message]
    replies: _containers.RepeatedCompositeFieldContainer[Reply]
    def __init__(self, conversation: _Optional[_Union[Conversation, _Mapping]] = ..., messages: _Optional[_Iterable[_Union[Message, _Mapping]]] = ..., replies: _Optional[_Iterable[_Union[Reply, _Mapping]]] = ...) -> None: ...

class PauseRequest(_message.Message):
    __slots__ = ("account", "person", "until_ms")
    ACCOUNT_FIELD_NUMBER: _ClassVar[int]
    PERSON_FIELD_NUMBER: _ClassVar[int]
    UNTIL_MS_FIELD_NUMBER: _ClassVar[int]
    account: str
    person: str
    until_ms: int
    def __init__(self, account: _Optional[str] = ..., person: _Optional[str] = ..., until_ms: _Optional[int] = ...) -> None: ...

class PauseResponse(_message.Message):
    __slots__ = ("paused",)
    PAUSED_FIELD_NUMBER: _ClassVar[int]
    paused: int
    def __init__(self, paused: _Optional[int] = ...) -> None: ...

class ResumeRequest(_message.Message):
    __slots__ = ("account", "person", "answer_pending")
    ACCOUNT_FIELD_NUMBER: _ClassVar[int]
    PERSON_FIELD_NUMBER: _ClassVar[int]
    ANSWER_PENDING_FIELD_NUMBER: _ClassVar[int]
    account: str
    person: str
    answer_pending: bool
    def __init__(self, account: _Optional[str] = ..., person: _Optional[str] = ..., answer_pending: _Optional[bool] = ...) -> None: ...

class ResumeResponse(_message.Message):
    __slots__ = ("resumed",)
    RESUMED_FIELD_NUMBER: _ClassVar[int]
    resumed: int
    def __init__(self, resumed: _Optional[int] = ...) -> None: ...

class RetryRequest(_message.Message):
    __slots__ = ("account", "person")
    ACCOUNT_FIELD_NUMBER: _ClassVar[int]
    PERSON_FIELD_NUMBER: _ClassVar[int]
    account: str
    person: str
    def __init__(self, account: _Optional[str] = ..., person: _Optional[str] = ...) -> None: ...

class RetryResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListHeldRequest(_message.Message):
    __slots__ = ("account",)
    ACCOUNT_FIELD_NUMBER: _ClassVar[int]
    account: str
    def __init__(self, account: _Optional[str] = ...) -> None: ...

class ListHeldResponse(_message.Message):
    __slots__ = ("replies",)
    REPLIES_FIELD_NUMBER: _ClassVar[int]
    replies: _containers.RepeatedCompositeFieldContainer[Reply]
    def __init__(self, replies: _Optional[_Iterable[_Union[Reply, _Mapping]]] = ...) -> None: ...

class ResolveHeldRequest(_message.Message):
    __slots__ = ("reply", "part", "decision")
    REPLY_FIELD_NUMBER: _ClassVar[int]
    PART_FIELD_NUMBER: _ClassVar[int]
    DECISION_FIELD_NUMBER: _ClassVar[int]
    reply: str
    part: int
    decision: str
    def __init__(self, reply: _Optional[str] = ..., part: _Optional[int] = ..., decision: _Optional[str] = ...) -> None: ...

class ResolveHeldResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class CheckGapsRequest(_message.Message):
    __slots__ = ("account",)
    ACCOUNT_FIELD_NUMBER: _ClassVar[int]
    account: str
    def __init__(self, account: _Optional[str] = ...) -> None: ...

class CheckGapsResponse(_message.Message):
    __slots__ = ("checked", "found", "skipped")
    CHECKED_FIELD_NUMBER: _ClassVar[int]
    FOUND_FIELD_NUMBER: _ClassVar[int]
    SKIPPED_FIELD_NUMBER: _ClassVar[int]
    checked: int
    found: int
    skipped: int
    def __init__(self, checked: _Optional[int] = ..., found: _Optional[int] = ..., skipped: _Optional[int] = ...) -> None: ...

class SendInstagramMessageRequest(_message.Message):
    __slots__ = ("account", "person", "text", "request_id")
    ACCOUNT_FIELD_NUMBER: _ClassVar[int]
    PERSON_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    account: str
    person: str
    text: str
    request_id: str
    def __init__(self, account: _Optional[str] = ..., person: _Optional[str] = ..., text: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class SendInstagramMessageResponse(_message.Message):
    __slots__ = ("reply", "outcome", "reason")
    REPLY_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    reply: str
    outcome: str
    reason: str
    def __init__(self, reply: _Optional[str] = ..., outcome: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class EraseRequest(_message.Message):
    __slots__ = ("account", "person")
    ACCOUNT_FIELD_NUMBER: _ClassVar[int]
    PERSON_FIELD_NUMBER: _ClassVar[int]
    account: str
    person: str
    def __init__(self, account: _Optional[str] = ..., person: _Optional[str] = ...) -> None: ...

class EraseResponse(_message.Message):
    __slots__ = ("erased",)
    ERASED_FIELD_NUMBER: _ClassVar[int]
    erased: int
    def __init__(self, erased: _Optional[int] = ...) -> None: ...

class ExamineRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Finding(_message.Message):
    __slots__ = ("check", "ok", "found", "advice")
    CHECK_FIELD_NUMBER: _ClassVar[int]
    OK_FIELD_NUMBER: _ClassVar[int]
    FOUND_FIELD_NUMBER: _ClassVar[int]
    ADVICE_FIELD_NUMBER: _ClassVar[int]
    check: str
    ok: bool
    found: str
    advice: str
    def __init__(self, check: _Optional[str] = ..., ok: _Optional[bool] = ..., found: _Optional[str] = ..., advice: _Optional[str] = ...) -> None: ...

class ExamineResponse(_message.Message):
    __slots__ = ("findings", "now_ms")
    FINDINGS_FIELD_NUMBER: _ClassVar[int]
    NOW_MS_FIELD_NUMBER: _ClassVar[int]
    findings: _containers.RepeatedCompositeFieldContainer[Finding]
    now_ms: int
    def __init__(self, findings: _Optional[_Iterable[_Union[Finding, _Mapping]]] = ..., now_ms: _Optional[int] = ...) -> None: ...
