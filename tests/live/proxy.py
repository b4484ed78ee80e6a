# SPDX-License-Identifier: Apache-2.0
"""A TCP proxy before one broker, which counts requests and spoils connections.

The broker advertises the proxy's address, so that clients have no other way in.
"""
import collections
import socket
import struct
import threading
import time

import kafka

NAMES = {1: 'Fetch', 3: 'Metadata', 10: 'FindCoordinator', 18: 'ApiVersions', 76: 'Heartbeat',
         78: 'ShareFetch', 79: 'ShareAcknowledge'}


class _Connection:
    """Two threads, one for each direction."""

    def __init__(self, proxy, client):
        self.proxy = proxy
        self.client = client
        self.server = socket.create_connection(('127.0.0.1', proxy.target))
        self.client_id = None
        self.frozen = threading.Event()
        for s in client, self.server:
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for run in self._requests, self._responses:
            threading.Thread(target=run, daemon=True).start()

    def _requests(self):
        pending = b''
        try:
            while data := self.client.recv(1 << 16):
                if self.frozen.is_set():
                    continue
                pending = self._count(pending + data)
                self.server.sendall(data)
        except OSError:
            pass
        if not self.frozen.is_set():
            self.close()

    def _count(self, data):
        """Counts the requests that begin in `data`; returns what belongs to an incomplete one."""
        while len(data) >= 14:
            size, key, _, _, length = struct.unpack_from('>ihhih', data)
            if len(data) < 4 + size:
                break
            self.client_id = data[14:14 + max(length, 0)].decode(errors='replace')
            self.proxy.counts[self.client_id, NAMES.get(key, key)] += 1
            data = data[4 + size:]
        return data

    def _responses(self):
        try:
            while data := self.server.recv(1 << 16):
                if self.frozen.is_set():
                    continue
                piece = self.proxy.piece or len(data)
                for at in range(0, len(data), piece):
                    self.client.sendall(data[at:at + piece])
                    if self.proxy.pause_s:
                        time.sleep(self.proxy.pause_s)
        except OSError:
            pass
        if not self.frozen.is_set():
            self.close()

    def close(self):
        for s in self.client, self.server:
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            s.close()


class Proxy:
    """piece, pause_s: responses leave in pieces of so many bytes, with a pause after each.

    listener: the socket to listen on, in place of one on loopback.
    """

    def __init__(self, target, listener=None):
        self.target = target
        self._listener = listener or socket.create_server(('127.0.0.1', kafka.free_port()))
        self.host, self.port = self._listener.getsockname()[:2]
        self.counts = collections.Counter()
        self.piece = 0
        self.pause_s = 0
        self._connections = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                self._connections.append(_Connection(self, client))
            except OSError:
                client.close()

    def of(self, client_id):
        return [c for c in self._connections if c.client_id == client_id]

    def cut(self, client_id):
        """Ends this client's connections."""
        for connection in self.of(client_id):
            connection.close()

    def freeze(self, client_id):
        """This client's connections stay open on both sides, but nothing passes any more."""
        for connection in self.of(client_id):
            connection.frozen.set()

    def requests(self, client_id):
        """Requests of this client so far, by API."""
        return collections.Counter({api: n for (who, api), n in list(self.counts.items())
                                    if who == client_id})

    def close(self):
        self._listener.close()
        for connection in self._connections:
            connection.close()
