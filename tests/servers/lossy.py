"""A network that loses things, for the suites of real servers."""

import socket
import threading
import time


class Proxy:
    """Between program and server; counts what the program sends, and at one of them hangs up: the request was done but its reply is lost, or
    the request itself is."""

    def __init__(self, server, drop_at=0, lose='reply'):
        self.server, self.drop_at, self.lose, self.seen, self.lock = server, drop_at, lose, 0, threading.Lock()
        self.listener = socket.create_server(('127.0.0.1', 0))
        self.address = self.listener.getsockname()
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            server = socket.create_connection(self.server)
            for end in (client, server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            lost = threading.Event()
            threading.Thread(target=self.forward, args=(client, server, lost), daemon=True).start()
            threading.Thread(target=self.answer, args=(server, client, lost), daemon=True).start()

    def forward(self, client, server, lost):
        try:
            while chunk := client.recv(1 << 20):
                with self.lock:
                    self.seen += 1
                    drop = self.seen == self.drop_at
                if drop and self.lose == 'request':
                    break
                if drop:
                    lost.set()
                server.sendall(chunk)
                if drop:
                    time.sleep(0.3)  # the server has its time to do it
                    break
        except OSError:
            pass
        self.hang_up(client, server)

    def answer(self, server, client, lost):
        try:
            while chunk := server.recv(1 << 20):
                if not lost.is_set():
                    client.sendall(chunk)
        except OSError:
            pass
        self.hang_up(client, server)

    @staticmethod
    def hang_up(*ends):
        for end in ends:
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def close(self):
        self.listener.close()
