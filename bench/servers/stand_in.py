"""A responder that accepts everything. `stand_in.py PORT`."""

import asyncio
import sys

import grpc.aio

from services.common.pb import responder_pb2 as pb
from services.common.pb import responder_pb2_grpc as rpc


class Responder(rpc.ResponderServicer):
    async def Deliver(self, request, context):  # noqa: ARG002, N802 - gRPC's names
        return pb.DeliverResponse(verdicts=[pb.Verdict(outcome=pb.OUTCOME_STORED)] * len(request.events))


class Conversations(rpc.ConversationsServicer):
    async def CheckGaps(self, request, context):  # noqa: ARG002, N802 - gRPC's names
        return pb.CheckGapsResponse()


async def main():
    server = grpc.aio.server(options=[("grpc.max_receive_message_length", 16 << 20)])
    rpc.add_ResponderServicer_to_server(Responder(), server)
    rpc.add_ConversationsServicer_to_server(Conversations(), server)
    server.add_insecure_port(f"127.0.0.1:{sys.argv[1]}")
    await server.start()
    print("ready", flush=True)
    await server.wait_for_termination()


asyncio.run(main())
