"""What a bare asyncio loop can do: a program with the standard library alone.

Answers the two requests that the benchmarks send, with JSON parsed and built, one write per
event. Arguments: the port, and the seconds to wait after each event. Started beside the fake, to
tell the machine's pace from the fake's.
"""

import asyncio
import json
import sys

KEEP_ALIVE = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


class Reference(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.received = b""

    def data_received(self, data: bytes) -> None:
        self.received += data
        head, blank, body = self.received.partition(b"\r\n\r\n")
        if not blank:
            return
        if head.startswith(b"GET"):
            self.received = b""
            self.transport.write(KEEP_ALIVE % (2, b"{}"))
            return
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0])
        if len(body) < length:
            return
        self.received = b""
        request = json.loads(body)
        if request["stream"]:
            self.task = asyncio.ensure_future(self.stream(request))
        else:
            self.transport.write(self.completion(request))

    def completion(self, request: dict[str, object]) -> bytes:
        message = {"role": "assistant", "content": "Reply to: one two three"}
        body = json.dumps(
            {
                "id": "chatcmpl-0",
                "object": "chat.completion",
                "created": 0,
                "model": request["model"],
                "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            }
        ).encode()
        return KEEP_ALIVE % (len(body), body)

    async def stream(self, request: dict[str, object]) -> None:
        self.transport.write(STREAM)
        for number in range(int(str(request["max_tokens"]))):
            choice = {"index": 0, "delta": {"content": f"word{number} "}, "finish_reason": None}
            chunk = {
                "id": "chatcmpl-0",
                "object": "chat.completion.chunk",
                "created": 0,
                "model": request["model"],
                "choices": [choice],
            }
            event = b"data: %b\n\n" % json.dumps(chunk).encode()
            self.transport.write(b"%X\r\n%b\r\n" % (len(event), event))
            await asyncio.sleep(float(sys.argv[2]))
        self.transport.write(b"0\r\n\r\n")


async def main() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Reference, "127.0.0.1", int(sys.argv[1]), backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
