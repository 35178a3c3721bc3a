from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Account(_message.Message):
    __slots__ = ("account", "app_scoped_id", "username", "state", "reason", "token_version", "connected_at_ms", "expires_at_ms", "refreshed_at_ms", "next_refresh_at_ms", "scopes", "subscribed_fields", "subscription_checked_at_ms")
    ACCOUNT_FIELD_NUMBER: _ClassVar[int]
    APP_SCOPED_ID_FIELD_NUMBER: _ClassVar[int]
    USERNAME_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    TOKEN_VERSION_FIELD_NUMBER: _ClassVar[int]
    CONNECTED_AT_MS_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_AT_MS_FIELD_NUMBER: _ClassVar[int]
    REFRESHED_AT_MS_FIELD_NUMBER: _ClassVar[int]
    NEXT_REFRESH_AT_MS_FIELD_NUMBER: _ClassVar[int]
    SCOPES_FIELD_NUMBER: _ClassVar[int]
    SUBSCRIBED_FIELDS_FIELD_NUMBER: _ClassVar[int]
    SUBSCRIPTION_CHECKED_AT_MS_FIELD_NUMBER: _ClassVar[int]
    account: str
    app_scoped_id: str
    username: str
    state: str
    reason: str
    token_version: int
    connected_at_ms: int
    expires_at_ms: int
    refreshed_at_ms: int
    next_refresh_at_ms: int
    scopes: _containers.RepeatedScalarFieldContainer[str]
    subscribed_fields: _containers.RepeatedScalarFieldContainer[str]
    subscription_checked_at_ms: int
    def __init__(self, account: _Optional[str] = ..., app_scoped_id: _Optional[str] = ..., username: _Optional[str] = ..., state: _Optional[str] = ..., reason: _Optional[str] = ..., token_version: _Optional[int] = ..., connected_at_ms: _Optional[int] = ..., expires_at_ms: _Optional[int] = ..., refreshed_at_ms: _Optional[int] = ..., next_refresh_at_ms: _Optional[int] = ..., scopes: _Optional[_Iterable[str]] = ..., subscribed_fields: _Optional[_Iterable[str]] = ..., subscription_checked_at_ms: _Optional[int] = ...) -> None: ...

class ConnectRequest(_message.Message):
    __slots__ = ("code", "redirect_uri")
    CODE_FIELD_NUMBER: _ClassVar[int]
    REDIRECT_URI_FIELD_NUMBER: _ClassVar[int]
    code: str
    redirect_uri: str
    def __init__(self, code: _Optional[str] = ..., redirect_uri: _Optional[str] = ...) -> None: ...

class ConnectResponse(_message.Message):
    __slots__ = ("account", "missing_fields")
    ACCOUNT_FIELD_NUMBER: _ClassVar[int]
    MISSING_FIELDS_FIELD_NUMBER: _ClassVar[int]
    account: Account
    missing_fields: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, account: _Optional[_Union[Account, _Mapping]] = ..., missing_fields: _Optional[_Iterable[str]] = ...) -> None: ...

class GetTokenRequest(_message.Message):
    __slots__ = ("account",)
    ACCOUNT_FIELD_NUMBER: _ClassVar[int]
    account: str
    def __init__(self, account: _Optional[str] = ...) -> None: ...

class GetTokenResponse(_message.Message):
    __slots__ = ("token", "version", "expires_at_ms", "state", "account", "app_scoped_id", "username")
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_AT_MS_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    ACCOUNT_FIELD_NUMBER: _ClassVar[int]
    APP_SCOPED_ID_FIELD_NUMBER: _ClassVar[int]
    USERNAME_FIELD_NUMBER: _ClassVar[int]
    token: str
    version: int
    expires_at_ms: int
    state: str
    account: str
    app_scoped_id: str
    username: str
    def __init__(self, token: _Optional[str] = ..., version: _Optional[int] = ..., expires_at_ms: _Optional[int] = ..., state: _Optional[str] = ..., account: _Optional[str] = ..., app_scoped_id: _Optional[str] = ..., username: _Optional[str] = ...) -> None: ...

class GraphError(_message.Message):
    __slots__ = ("http_status", "code", "subcode", "type")
    HTTP_STATUS_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    SUBCODE_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    http_status: int
    code: int
    subcode: int
    type: str
    def __init__(self, http_status: _Optional[int] = ..., code: _Optional[int] = ..., subcode: _Optional[int] = ..., type: _Optional[str] = ...) -> None: ...

class ReportRejectedRequest(_message.Message):
    __slots__ = ("account", "version", "error")
    ACCOUNT_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    account: str
    version: int
    error: GraphError
    def __init__(self, account: _Optional[str] = ..., version: _Optional[int] = ..., error: _Optional[_Union[GraphError, _Mapping]] = ...) -> None: ...

class ReportRejectedResponse(_message.Message):
    __slots__ = ("state",)
    STATE_FIELD_NUMBER: _ClassVar[int]
    state: str
    def __init__(self, state: _Optional[str] = ...) -> None: ...

class ListAccountsRequest(_message.Message):
    __slots__ = ("account",)
    ACCOUNT_FIELD_NUMBER: _ClassVar[int]
    account: str
    def __init__(self, account: _Optional[str] = ...) -> None: ...

class ListAccountsResponse(_message.Message):
    __slots__ = ("accounts",)
    ACCOUNTS_FIELD_NUMBER: _ClassVar[int]
    accounts: _containers.RepeatedCompositeFieldContainer[Account]
    def __init__(self, accounts: _Optional[_Iterable[_Union[Account, _Mapping]]] = ...) -> None: ...

class AddRequest(_message.Message):
    __slots__ = ("token",)
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    token: str
    def __init__(self, token: _Optional[str] = ...) -> None: ...

class AddResponse(_message.Message):
    __slots__ = ("account", "missing_fields")
    ACCOUNT_FIELD_NUMBER: _ClassVar[int]
    MISSING_FIELDS_FIELD_NUMBER: _ClassVar[int]
    account: Account
    missing_fields: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, account: _Optional[_Union[Account, _Mapping]] = ..., missing_fields: _Optional[_Iterable[str]] = ...) -> None: ...

class RefreshRequest(_message.Message):
    __slots__ = ("account",)
    ACCOUNT_FIELD_NUMBER: _ClassVar[int]
    account: str
    def __init__(self, account: _Optional[str] = ...) -> None: ...

class RefreshResponse(_message.Message):
    __slots__ = ("account", "outcome")
    ACCOUNT_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    account: Account
    outcome: str
    def __init__(self, account: _Optional[_Union[Account, _Mapping]] = ..., outcome: _Optional[str] = ...) -> None: ...

class CheckRequest(_message.Message):
    __slots__ = ("account", "repair")
    ACCOUNT_FIELD_NUMBER: _ClassVar[int]
    REPAIR_FIELD_NUMBER: _ClassVar[int]
    account: str
    repair: bool
    def __init__(self, account: _Optional[str] = ..., repair: _Optional[bool] = ...) -> None: ...

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

class CheckResponse(_message.Message):
    __slots__ = ("account", "findings")
    ACCOUNT_FIELD_NUMBER: _ClassVar[int]
    FINDINGS_FIELD_NUMBER: _ClassVar[int]
    account: Account
    findings: _containers.RepeatedCompositeFieldContainer[Finding]
    def __init__(self, account: _Optional[_Union[Account, _Mapping]] = ..., findings: _Optional[_Iterable[_Union[Finding, _Mapping]]] = ...) -> None: ...

class ExamineRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ExamineResponse(_message.Message):
    __slots__ = ("findings", "now_ms")
    FINDINGS_FIELD_NUMBER: _ClassVar[int]
    NOW_MS_FIELD_NUMBER: _ClassVar[int]
    findings: _containers.RepeatedCompositeFieldContainer[Finding]
    now_ms: int
    def __init__(self, findings: _Optional[_Iterable[_Union[Finding, _Mapping]]] = ..., now_ms: _Optional[int] = ...) -> None: ...

class RotateKeysRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class RotateKeysProgress(_message.Message):
    __slots__ = ("done", "total", "key_id", "unused_key_ids")
    DONE_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    KEY_ID_FIELD_NUMBER: _ClassVar[int]
    UNUSED_KEY_IDS_FIELD_NUMBER: _ClassVar[int]
    done: int
    total: int
    key_id: str
    unused_key_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, done: _Optional[int] = ..., total: _Optional[int] = ..., key_id: _Optional[str] = ..., unused_key_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class DisconnectRequest(_message.Message):
    __slots__ = ("account", "reason", "unless_connected_since_ms")
    ACCOUNT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    UNLESS_CONNECTED_SINCE_MS_FIELD_NUMBER: _ClassVar[int]
    account: str
    reason: str
    unless_connected_since_ms: int
    def __init__(self, account: _Optional[str] = ..., reason: _Optional[str] = ..., unless_connected_since_ms: _Optional[int] = ...) -> None: ...

class DisconnectResponse(_message.Message):
    __slots__ = ("account", "former", "connected_again")
    ACCOUNT_FIELD_NUMBER: _ClassVar[int]
    FORMER_FIELD_NUMBER: _ClassVar[int]
    CONNECTED_AGAIN_FIELD_NUMBER: _ClassVar[int]
    account: str
    former: _containers.RepeatedScalarFieldContainer[str]
    connected_again: bool
    def __init__(self, account: _Optional[str] = ..., former: _Optional[_Iterable[str]] = ..., connected_again: _Optional[bool] = ...) -> None: ...

class ForgetRequest(_message.Message):
    __slots__ = ("app_scoped_id",)
    APP_SCOPED_ID_FIELD_NUMBER: _ClassVar[int]
    app_scoped_id: str
    def __init__(self, app_scoped_id: _Optional[str] = ...) -> None: ...

class ForgetResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...
