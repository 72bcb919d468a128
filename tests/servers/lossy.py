"""A network that loses things, for the suites of real servers."""

import socket
import threading

SERVER_SECONDS = 0.5  # a server's time for a request whose reply nobody will see


class Proxy:
    """Between program and server; counts what the program sends, or of that only what `counts` picks. At one of them it hangs up: the request was
    done but its reply is lost ('reply'), or the request itself is ('request'); or it keeps the request until it is released, and goes on ('late')."""

    def __init__(self, server, drop_at=0, lose='reply', counts=None):
        self.server, self.drop_at, self.lose, self.seen, self.lock = server, drop_at, lose, 0, threading.Lock()
        self.counts = counts or (lambda chunk: True)
        self.ends = []
        self.kept, self.released, self.delivered, self.done = (threading.Event() for _ in range(4))
        self.listener = socket.create_server(('127.0.0.1', 0))
        self.address = self.listener.getsockname()
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(self.server)
            except OSError:  # it is not there: nor are we
                client.close()
                continue
            self.ends += [client, server]
            for end in (client, server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            lost, answered = threading.Event(), threading.Event()
            threading.Thread(target=self.forward, args=(client, server, lost, answered), daemon=True).start()
            threading.Thread(target=self.answer, args=(server, client, lost, answered), daemon=True).start()

    def forward(self, client, server, lost, answered):
        try:
            while chunk := client.recv(1 << 20):
                with self.lock:
                    counted = bool(self.counts(chunk))
                    self.seen += counted
                    drop = counted and self.seen == self.drop_at
                if drop and self.lose == 'request':
                    break
                if drop and self.lose == 'late':
                    self.kept.set()
                    self.released.wait()
                    server.sendall(chunk)
                    self.delivered.set()
                    continue
                if drop:
                    lost.set()
                server.sendall(chunk)
                if drop:
                    answered.wait(SERVER_SECONDS)
                    break
        except OSError:
            pass
        self.hang_up(client, server)

    def answer(self, server, client, lost, answered):
        try:
            while chunk := server.recv(1 << 20):
                if self.delivered.is_set():
                    self.done.set()
                if lost.is_set():
                    answered.set()
                else:
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
        self.hang_up(self.listener)  # wakes who waits in accept
        self.listener.close()

    def cut(self):
        """Out of reach from now on."""
        self.close()
        self.hang_up(*self.ends)
