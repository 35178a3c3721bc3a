"""The base: a RequestHandler that says hello, one process. `hello.py PORT [uvloop]`."""

import asyncio
import sys

import tornado.web


class Hello(tornado.web.RequestHandler):
    def get(self):
        self.write("hello")


async def main():
    app = tornado.web.Application([("/", Hello)])
    app.listen(int(sys.argv[1]), "127.0.0.1")
    print("ready", flush=True)
    await asyncio.Event().wait()


if "uvloop" in sys.argv:
    import uvloop

    uvloop.run(main())
else:
    asyncio.run(main())
