"""A server under a second address, which can go away and come back, or lose calls."""

import random
import socket
import threading


class Relay:
    def __init__(self, port, cut_one_in=0):
        """`cut_one_in`: of so many pieces that callers send, one ends its connection; every second
        time it is handed on before, so that only the answer is lost."""
        self.target = ("127.0.0.1", port)
        self.cut_one_in, self.cuts = cut_one_in, 0
        self.random = random.Random(port)
        self.sockets = set()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.start()

    def start(self):
        threading.Thread(target=self.accept, args=(self.listener,), daemon=True).start()

    def accept(self, listener):
        while True:
            try:
                near, _ = listener.accept()
                far = socket.create_connection(self.target)
            except OSError:  # closed by go_down()
                return
            self.sockets |= {near, far}
            threading.Thread(target=self.copy, args=(near, far, True), daemon=True).start()
            threading.Thread(target=self.copy, args=(far, near), daemon=True).start()

    def copy(self, one, other, from_caller=False):
        try:
            while data := one.recv(65536):
                if from_caller and self.cut_one_in and not self.random.randrange(self.cut_one_in):
                    self.cuts += 1
                    if self.cuts % 2:
                        other.sendall(data)
                    break
                other.sendall(data)
        except OSError:
            pass
        self.close(one, other)

    def close(self, *sockets):
        for each in sockets:
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            each.close()
            self.sockets.discard(each)

    def go_down(self):
        """Connections are refused from now on, those that stand are cut."""
        self.close(self.listener, *list(self.sockets))

    def come_back(self):
        self.listener = socket.create_server(("127.0.0.1", self.port))
        self.start()
