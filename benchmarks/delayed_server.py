"""A server that listens late, and tells when: a program, run with the standard library alone.

It answers ``--version`` and ``serve --bind IP:PORT`` as shimmy does, so that everybody who can
start a shimmy can start it. The variable ``DELAYED_SERVER_DELAY`` is the pause before it listens,
``DELAYED_SERVER_REPORT`` the file that gets the moment of listening on the monotonic clock, which
all processes of a machine share.
"""

import json
import os
import socket
import sys
import time

HEALTH = json.dumps({"service": "shimmy", "status": "ok", "version": "2.5.0"}).encode()
HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n"
    b"connection: close\r\n\r\n" % len(HEALTH)
)
ANSWER = HEAD + HEALTH


def main() -> None:
    if "--version" in sys.argv:
        print("shimmy 2.5.0")
        return
    host, _, port = sys.argv[sys.argv.index("--bind") + 1].rpartition(":")
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, int(port)))
    time.sleep(float(os.environ.get("DELAYED_SERVER_DELAY", "0")))
    listener.listen(128)
    listened = time.monotonic()
    if report := os.environ.get("DELAYED_SERVER_REPORT"):
        with open(report, "w") as file:
            file.write(repr(listened))
    print("Ready to serve requests", flush=True)
    while True:
        peer, _ = listener.accept()
        with peer:
            request = peer.recv(65536)
            if request:
                peer.sendall(HEAD if request.startswith(b"HEAD") else ANSWER)


if __name__ == "__main__":
    main()
