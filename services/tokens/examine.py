"""What the token service sees of its own database, keyring and Meta app; for `igbot doctor`."""

from __future__ import annotations

from services.common.errors import Unavailable
from services.common.findings import Finding
from services.common.graph_errors import Fault, GraphFailure
from services.tokens.accounts import TOKEN_FIELD
from services.tokens.connect import SETUP
from services.tokens.ports import Ports

NO_CODE = "igbot-doctor-made-this-code-up"
KEY_LOST = "restore the keyring from your backup: these accounts cannot be read without it"


async def examine(ports: Ports, redirect_uri: str) -> list[Finding]:
    """Look at everything that is the service's own. Nothing is changed by looking."""
    try:
        found = [*await ports.accounts.examine(), await readable(ports)]
    except Unavailable as error:
        found = [Finding("database", ok=False, found=str(error), advice="is DATABASE_URL right, and the server up?")]
    return [*found, await app_known(ports, redirect_uri)]


async def readable(ports: Ports) -> Finding:
    """Say whether every stored token can be read with the keys that are there."""
    sealed = [(account.account, account.token.sealed) for account in await ports.accounts.all() if account.token]
    lost = 0
    for account, one in sealed:
        try:
            ports.keys.open(account, TOKEN_FIELD, one)
        except Unavailable:
            lost += 1
    found = f"{lost} of {len(sealed)} cannot be read" if lost else f"all that are stored can be read: {len(sealed)}"
    return Finding("keyring in use", not lost, found, KEY_LOST)


async def app_known(ports: Ports, redirect_uri: str) -> Finding:
    """Say whether Instagram knows the app and its secret: of a made-up code it then says that the code is wrong."""
    try:
        await ports.grants.exchange(NO_CODE, redirect_uri)
    except GraphFailure as failure:
        if failure.fault == Fault.CODE_SPENT:
            return Finding("meta app", ok=True, found="Instagram knows the app id and its secret")
        if failure.fault == Fault.SETUP:
            return Finding("meta app", ok=False, found=str(failure), advice=SETUP)
        advice = "Instagram did not say whether it knows the app; is there a way out, is INSTAGRAM_TOKEN_URL right?"
        return Finding("meta app", ok=False, found=str(failure), advice=advice)
    return Finding("meta app", ok=False, found="a made-up code was taken", advice="what is INSTAGRAM_TOKEN_URL?")
