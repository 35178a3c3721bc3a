"""Who signed this? Meta signs the raw bytes of a delivery, and the encoded payload of a signed request.

https://developers.facebook.com/docs/instagram-platform/webhooks
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Sequence

from services.common.errors import BadPayload, BadSignature

SCHEME = "sha256="


def verify_body(body: bytes, header: str, secrets: Sequence[bytes]) -> int:
    """Return which app secret signed the body (its place in the list); raises BadSignature."""
    if not header.startswith(SCHEME):
        raise BadSignature("the signature is missing or of another kind")
    given = header[len(SCHEME) :].strip().lower().encode()
    for index, secret in enumerate(secrets):
        # Bytes, not text: compare_digest refuses text beyond ASCII with an exception.
        if hmac.compare_digest(hmac.digest(secret, body, "sha256").hex().encode(), given):
            return index
    raise BadSignature("the signature fits no app secret")


def read_signed_request(text: str, secrets: Sequence[bytes]) -> str:
    """Return the app-scoped user id of a signed request; raises BadSignature or BadPayload.

    https://developers.facebook.com/docs/development/create-an-app/app-dashboard/data-deletion-callback
    """
    signature, dot, payload = text.partition(".")
    if not dot or not signed(payload, unpadded(signature), secrets):
        raise BadSignature("the signed request is missing, cut or made with another secret")
    try:
        claims = json.loads(unpadded(payload))
    except (ValueError, RecursionError) as error:
        raise BadPayload("the signed request is not JSON") from error
    if not isinstance(claims, dict) or str(claims.get("algorithm", "")).upper() != "HMAC-SHA256":
        raise BadSignature("the signed request names another algorithm")
    user = claims.get("user_id")
    if isinstance(user, bool) or not isinstance(user, str | int) or not str(user):
        raise BadPayload("the signed request names nobody")
    return str(user)


def signed(payload: str, signature: bytes, secrets: Sequence[bytes]) -> bool:
    """Whether one of the secrets made this signature over the payload as it was sent."""
    encoded = payload.encode()
    return any(hmac.compare_digest(hmac.digest(secret, encoded, hashlib.sha256), signature) for secret in secrets)


def unpadded(text: str) -> bytes:
    """Decode base64url without padding; what is no base64 is empty and so fits nothing."""
    try:
        return base64.b64decode(text.encode() + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return b""
