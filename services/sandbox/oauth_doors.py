"""www.instagram.com and api.instagram.com: the owner's yes or no, and the code exchange."""

from __future__ import annotations

from urllib.parse import urlencode

import tornado.web

from services.sandbox import refusals
from services.sandbox.doors import Door, FaultyDoor
from services.sandbox.grants import SCOPES

WANTED = SCOPES[:2]
REFUSED = {
    "error": "access_denied",
    "error_reason": "user_denied",
    "error_description": "The user denied your request",
}


class Authorize(Door):
    """GET /oauth/authorize: who is asked, for what. POST: the answer."""

    def get(self) -> None:
        """Show the page with the boxes."""
        if self.app_is_known():
            asked = [scope for scope in self.get_argument("scope", "").replace(" ", ",").split(",") if scope]
            self.render(
                "authorize.html",
                accounts=list(self.stage.world.accounts.values()),
                scopes=[scope for scope in asked if scope in SCOPES] or list(WANTED),
                fields=self.form(),
            )

    def post(self) -> None:
        """Send the owner back with a code, or with the refusal."""
        if not self.app_is_known():
            return
        back = {"state": self.get_argument("state", "")}
        if self.get_argument("decision", "") == "allow":
            back = {"code": self.allow(), **back}
        else:
            back = {**REFUSED, **back}
            self.stage.ledger.add("oauth", step="refused")
        self.redirect(f"{self.stage.grants.redirect_uri}?{urlencode(back)}#_", status=302)

    def app_is_known(self) -> bool:
        """Whether app and return address are the registered ones; a page says so when they are not."""
        try:
            self.stage.grants.check_app(self.get_argument("client_id", ""), self.get_argument("redirect_uri", ""))
        except refusals.Declined as refusal:
            self.set_status(refusal.status)
            self.render("refused.html", message=refusal.body["error_message"])
            return False
        return True

    def allow(self) -> str:
        """Make the code."""
        account = self.stage.world.accounts.get(self.get_argument("account", ""))
        if account is None:
            raise tornado.web.HTTPError(400, "no such account")
        code = self.stage.fresh("AQSandboxCode")
        self.stage.grants.authorize(account.id, self.get_arguments("scope_allowed"), code, self.stage.clock())
        self.stage.ledger.add("oauth", step="allowed", account=account.id)
        return code


class AccessToken(FaultyDoor):
    """POST /oauth/access_token: a code becomes a short-lived token."""

    target = "oauth"

    async def post(self) -> None:
        """Answer as was observed: flat, the id a number, the permissions a list."""
        await self.act(self.exchange)

    def exchange(self) -> dict[str, object]:
        """Trade it; the fields must be a form, not the query."""
        form = {name: values[-1].decode("utf-8", "replace") for name, values in self.request.body_arguments.items()}
        fresh = self.stage.fresh("IGAASandboxShort")
        token = self.stage.grants.exchange(form, fresh, self.stage.clock())
        self.stage.ledger.add("oauth", step="exchanged", account=token.account)
        user = self.stage.world.accounts[token.account].app_scoped_id
        return {"access_token": fresh, "user_id": int(user), "permissions": token.scopes}
