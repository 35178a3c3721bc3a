"""The same work as the gateway's webhook as one writes it first: RequestHandler, HMAC, one awaited XADD."""

import asyncio
import hashlib
import hmac
import sys
import time

import redis.asyncio
import tornado.web

PORT, REDIS, SECRET = int(sys.argv[1]), sys.argv[2], sys.argv[3].encode()


class Webhook(tornado.web.RequestHandler):
    async def post(self):
        body = self.request.body
        given = self.request.headers.get("X-Hub-Signature-256", "").removeprefix("sha256=").encode()
        if not hmac.compare_digest(hmac.new(SECRET, body, hashlib.sha256).hexdigest().encode(), given):
            self.set_status(403)
            return
        await self.settings["redis"].xadd("naive", {"body": body, "at": int(time.time() * 1000)})


async def main():
    client = redis.asyncio.Redis.from_url(REDIS)
    app = tornado.web.Application([("/webhook", Webhook)], redis=client)
    app.listen(PORT, "127.0.0.1")
    print("ready", flush=True)
    await asyncio.Event().wait()


asyncio.run(main())
