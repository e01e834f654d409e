"""Starts LocalStack's gateway on the loopback address only: its Twisted server takes the port of
GATEWAY_LISTEN but ignores the host and would listen on every address."""

import runpy

from twisted.internet import endpoints


class LoopbackEndpoint(endpoints.TCP4ServerEndpoint):
    def __init__(self, reactor, port, backlog=128, interface="127.0.0.1"):
        super().__init__(reactor, port, backlog, interface)


endpoints.TCP4ServerEndpoint = LoopbackEndpoint
runpy.run_module("localstack.runtime.main", run_name="__main__", alter_sys=True)
