"""What happens when somebody writes, sends, unsends or edits: the world changes, the webhook hears of it.

One method a thing that can happen; all of them are quick and none waits. Doors call them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from services.sandbox import answers, deliveries, refusals
from services.sandbox.deliveries import Delivery
from services.sandbox.faults import ECHOES, Faults
from services.sandbox.grants import Grants
from services.sandbox.ledger import Ledger
from services.sandbox.ports import Post
from services.sandbox.world import Message, World


class Stage:
    """The pretend Instagram: its world, its grants, its ledger, and the post that carries deliveries."""

    def __init__(
        self, grants: Grants, clock: Callable[[], int], fresh: Callable[[str], str], *, edit_noise: bool = False
    ) -> None:
        """Begin empty; `clock` gives milliseconds, `fresh` an unguessable text that begins with what it is given."""
        self.grants = grants
        self.clock = clock
        self.fresh = fresh
        self.edit_noise = edit_noise
        self.world = World()
        self.ledger = Ledger(clock)
        self.faults = Faults()
        self.heard = answers.Heard()
        self.office: Post | None = None
        self.deliveries = 0

    def say(self, account: str, person: str, text: str) -> Message:
        """A customer writes."""
        message = self.world.say(account, person, text, self.clock())
        self.heard.note(text, message.mid)
        self.ledger.add("said", **_who(message), text=text)
        self._deliver("message", message, deliveries.written(message))
        if self.edit_noise:
            self._deliver("edit_zero", message, deliveries.edit_zero(message, self.clock()), field="message_edit")
        return message

    def human(self, account: str, person: str, text: str) -> Message:
        """The owner answers in the Instagram app; the app hears of it by an echo."""
        message = self.world.human(account, person, text, self.clock())
        self.ledger.add("human", **_who(message), text=text)
        self._deliver("echo", message, deliveries.written(message))
        return message

    def unsend(self, mid: str) -> Message:
        """A customer takes a message back."""
        message = self.world.unsend(mid)
        self.ledger.add("unsent", **_who(message))
        self._deliver("unsend", message, deliveries.unsent(message, self.clock()))
        return message

    def edit(self, mid: str, text: str) -> Message:
        """A customer changes a message."""
        message = self.world.edit(mid, text)
        self.heard.note(text, message.mid)
        self.ledger.add("edited", **_who(message), text=text, num_edit=message.num_edit)
        self._deliver("edit", message, deliveries.edited(message, self.clock()), field="message_edit")
        return message

    def send(self, token: str, account: str, body: Mapping[str, Any], about: str) -> dict[str, str]:
        """The app sends a message or a sender action; raise Declined as Meta would."""
        mine = self.grants.messaging(token, self.clock()).account
        if account not in {"me", mine, self.world.accounts[mine].app_scoped_id}:
            raise refusals.missing(account)
        recipient = body.get("recipient")
        person = str(recipient.get("id", "")) if isinstance(recipient, Mapping) else ""
        if "sender_action" in body:
            return self._act(mine, person, body)
        return self._send(mine, person, body, about)

    def _act(self, account: str, person: str, body: Mapping[str, Any]) -> dict[str, str]:
        if "message" in body:
            raise refusals.bad_message("A sender action goes alone")
        action = str(body["sender_action"])
        self.world.act(account, person, action, self.clock())
        self.ledger.add("action", account=account, person=person, action=action)
        return {"recipient_id": person}

    def _send(self, account: str, person: str, body: Mapping[str, Any], about: str) -> dict[str, str]:
        inner = body.get("message")
        text = str(inner.get("text") or "") if isinstance(inner, Mapping) else ""
        facts = {"account": account, "person": person, "text": text}
        try:
            tagged = body.get("tag") == "HUMAN_AGENT"
            message = self.world.send(account, person, text, self.clock(), human_agent=tagged)
        except refusals.Declined as refusal:
            self.ledger.add("send", **facts, mid="", accepted=False, error=refusal.body["error"])
            raise
        self.ledger.add("send", **facts, mid=message.mid, accepted=True)
        self._echo(message, about)
        return {"recipient_id": person, "message_id": message.mid}

    def _echo(self, message: Message, about: str) -> None:
        item, target = deliveries.written(message), "graph"
        fault = self.faults.take(target, about, ECHOES)
        if fault is None:
            body = deliveries.envelope(message.account, item, self.clock())
            echo, target = Delivery("", body, message.account, "echo", message.mid), "webhook"
            fault = self.faults.take(target, echo.about, ECHOES)
        if fault is not None:
            self.ledger.add("fault", target=target, fault=fault.kind, about=message.mid)
        if fault is None or fault.kind == "late_echo":
            self._deliver("echo", message, item, after=fault.seconds if fault else 0.0)

    def prompt(self, messages: list[Mapping[str, Any]]) -> str:
        """The pretend model is asked; the answer names the newest thing that a customer said."""
        texts = answers.user_texts(messages)
        mids, answer = self.heard.mids(texts), answers.answer(texts)
        newest = mids[-1] if mids else ""
        self.ledger.add("model_call", mids=mids, newest=newest, user=texts, answer=answer)
        return answer

    def reset(self) -> None:
        """Forget what was said, the ledger and the faults; the connected accounts stay connected."""
        version = self.world.version
        self.world, self.heard = World(), answers.Heard()
        self.faults.waiting.clear()
        self.world.version = version + 1
        self.ledger.entries.clear()
        if self.office:
            self.office.drop_all()

    def load(self, world: Mapping[str, Any], delivered: int) -> None:
        """Take up a world that was kept."""
        self.world.load(world)
        self.deliveries = delivered
        for message in self.world.messages.values():
            if message.author == "customer":
                self.heard.note(message.text, message.mid)

    def _deliver(
        self, kind: str, message: Message, item: Mapping[str, Any], *, field: str = "messages", after: float = 0
    ) -> None:
        if not self.grants.delivers(message.account, field) or self.office is None:
            self.ledger.add("undelivered", event=kind, mid=message.mid, why=f"{field} is not subscribed")
            return
        self.deliveries += 1
        body = deliveries.envelope(message.account, item, self.clock())
        self.office.post(Delivery(str(self.deliveries), body, message.account, kind, message.mid), after)


def _who(message: Message) -> dict[str, Any]:
    return {"account": message.account, "person": message.person, "mid": message.mid, "timestamp": message.at}
