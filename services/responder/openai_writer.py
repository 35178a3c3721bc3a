"""The language model behind an OpenAI-compatible API.

`client.post` is used instead of `chat.completions.create`, which walks through every message of the prompt again to
transform it: 0.5 ms of CPU against 2 to 5 for the same request. It is given the whole address, since the SDK spends a
tenth of that on joining a relative one to its base.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import openai
from openai import AsyncOpenAI, AsyncStream, DefaultAioHttpClient
from openai.types.chat import ChatCompletionChunk
from purgatory import AsyncCircuitBreakerFactory
from purgatory.domain.model import OpenedState

from services.common.traffic import Ending, Target, ending_of, ending_of_http
from services.responder.metrics import ModelOutcome, ResponderMetrics
from services.responder.outside import ModelBreakerOpen, ModelDown, ModelRefused, Turn, Written

REFUSALS = frozenset({400, 413, 422})
"""The statuses with which a server says that this prompt will never do; any other may pass."""


@dataclass
class OpenAIWriter:
    """Writes replies with a chat model."""

    client: AsyncOpenAI
    model: str
    timeout: float
    stream: bool
    metrics: ResponderMetrics
    breakers: AsyncCircuitBreakerFactory = field(
        default_factory=lambda: AsyncCircuitBreakerFactory(default_threshold=8, default_ttl=10, exclude=[ModelRefused])
    )
    address: str = field(init=False)
    asks_tokens: bool = True  # of a stream; until the server refuses that

    def __post_init__(self) -> None:
        """Know where the model's server takes chats."""
        self.address = f"{self.client.base_url}chat/completions"

    async def write_reply(self, turns: Sequence[Turn], *, within: float) -> Written:
        """Return the model's text; one call, no retries: the worker decides about those."""
        body = {"model": self.model, "messages": [{"role": turn.role, "content": turn.text} for turn in turns]}
        try:
            async with await self.breakers.get_breaker("model"):
                written = await self.call(body, min(within, self.timeout))
        except OpenedState as error:
            self.count(ModelOutcome.BREAKER_OPEN)
            raise ModelBreakerOpen("the model kept failing") from error
        self.count(ModelOutcome.ANSWERED)
        self.metrics.model_tokens.labels("in").inc(written.tokens_in)
        self.metrics.model_tokens.labels("out").inc(written.tokens_out)
        return written

    async def call(self, body: dict[str, Any], within: float) -> Written:
        """Make the call and translate its failures; their texts may quote the prompt and go nowhere."""
        try:
            # The SDK's own time-out begins anew with each piece of an answer, so that one could drip in for ever.
            with self.metrics.calls.timed(Target.MODEL, ending):
                async with asyncio.timeout(within):
                    written = await (self.streamed(body, within) if self.stream else self.whole(body, within))
        except (openai.APITimeoutError, TimeoutError):
            self.count(ModelOutcome.TIMEOUT)
            raise ModelDown("the model did not answer in time") from None
        except openai.APIStatusError as error:
            limited = error.status_code == 429
            self.count(ModelOutcome.RATE_LIMITED if limited else ModelOutcome.FAILED)
            refused = ModelRefused if error.status_code in REFUSALS else ModelDown
            raise refused(f"the model answered {error.status_code}") from None
        except (openai.OpenAIError, ValueError, AttributeError, LookupError, TypeError, OSError) as error:
            self.count(ModelOutcome.FAILED)
            raise ModelDown(f"the model failed: {type(error).__name__}") from None
        if not written.text.strip():
            self.count(ModelOutcome.EMPTY)
            raise ModelDown("the model's answer is empty")
        return written

    async def whole(self, body: dict[str, Any], within: float) -> Written:
        """Ask for the answer in one piece."""
        # `object` leaves the JSON as it is: building the SDK's typed answer costs as much as the rest of the call.
        answer: Any = await self.client.post(self.address, cast_to=object, body=body, options={"timeout": within})
        usage = answer.get("usage") or {}
        choices = answer.get("choices") or [{"message": {}}]
        return Written(
            text=choices[0]["message"].get("content") or "",
            tokens_in=usage.get("prompt_tokens") or 0,
            tokens_out=usage.get("completion_tokens") or 0,
        )

    async def streamed(self, body: dict[str, Any], within: float) -> Written:
        """Ask for the answer as a stream and put it together; its last chunk tells the tokens, if any does.

        Some servers (Mistral's, Databricks') refuse a question that asks for the tokens, and most of those tell them
        unasked. A refused question is asked once more without; where that is taken, this is how all others are asked.
        """
        try:
            chunks = await self.chunks(body, within, tokens=self.asks_tokens)
        except openai.APIStatusError as error:
            if not self.asks_tokens or error.status_code not in REFUSALS:
                raise
            chunks = await self.chunks(body, within, tokens=False)
            self.asks_tokens = False
        pieces, usage = [], None
        async with chunks:
            async for chunk in chunks:
                pieces += [choice.delta.content or "" for choice in chunk.choices or ()]
                usage = chunk.usage or usage  # what servers tell in each chunk grows: it is no sum
        return Written(
            text="".join(pieces),
            tokens_in=(usage.prompt_tokens or 0) if usage else 0,
            tokens_out=(usage.completion_tokens or 0) if usage else 0,
        )

    async def chunks(self, body: dict[str, Any], within: float, *, tokens: bool) -> AsyncStream[ChatCompletionChunk]:
        """Begin a stream that tells its tokens, or does as it likes."""
        options = {"stream_options": {"include_usage": True}} if tokens else {}
        return await self.client.post(
            self.address,
            cast_to=ChatCompletionChunk,
            body={**body, "stream": True, **options},
            options={"timeout": within},
            stream=True,
            stream_cls=AsyncStream[ChatCompletionChunk],
        )

    def count(self, outcome: ModelOutcome) -> None:
        """Count one call."""
        self.metrics.model_calls.labels(outcome).inc()


def ending(error: BaseException) -> Ending:
    """Return how a call of the model ended that raised this."""
    if isinstance(error, openai.APITimeoutError):
        return Ending.SLOW
    if isinstance(error, openai.APIStatusError):
        return ending_of_http(error.status_code)
    return Ending.DOWN if isinstance(error, openai.APIConnectionError) else ending_of(error)


def openai_client(api_key: str, base_url: str | None) -> AsyncOpenAI:
    """Return a client that never retries by itself and calls out through aiohttp."""
    return AsyncOpenAI(api_key=api_key, base_url=base_url, max_retries=0, http_client=DefaultAioHttpClient())
