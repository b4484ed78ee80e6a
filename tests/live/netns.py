# SPDX-License-Identifier: Apache-2.0
"""Two network namespaces with a cable between them, where one may make them (root, iproute2).

Nothing of it is seen from outside: a program runs in the one, a listener of ours stands in the
other. When the first gets a new address, all that it had open is half-open: its packets go nowhere,
and neither side is told. Both are gone when this process ends.

With KSHARE_NETNS=0 in the environment there are none: so the other way can be seen here too.
"""
import concurrent.futures
import ctypes
import os
import shutil
import socket
import subprocess

SERVER = '10.0.0.1'
PORT = 9092
CLIENT = ('10.0.0.2', '10.0.0.3')
CLONE_NEWNET = 0x40000000


class Unavailable(Exception):
    """Namespaces cannot be made here."""


class Cable:
    def __init__(self):
        self._holders = []
        self.listener = None
        try:
            if os.environ.get('KSHARE_NETNS') == '0':
                raise Unavailable('KSHARE_NETNS=0')
            for tool in 'unshare', 'nsenter', 'ip':
                if not shutil.which(tool):
                    raise Unavailable(f'no {tool}')
            self._near, self._far = self._hold(), self._hold()
            self._ip(self._near, f'link add near type veth peer name far netns {self._far}',
                     f'addr add {CLIENT[0]}/29 dev near', 'link set near up')
            self._ip(self._far, f'addr add {SERVER}/29 dev far', 'link set far up')
            self.listener = self._listen()
        except (OSError, subprocess.SubprocessError, Unavailable) as e:
            self.close()
            raise Unavailable(str(e)) from None

    def _hold(self):
        """A namespace that lasts as long as the process in it, which ends with its input."""
        holder = subprocess.Popen(['unshare', '-n', 'sh', '-c', 'echo; exec cat'],
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE)
        self._holders.append(holder)
        if not holder.stdout.readline():
            raise Unavailable(holder.stderr.read().decode().strip())
        return holder.pid

    @staticmethod
    def _enter(pid):
        return ['nsenter', '-t', str(pid), '-n']

    def _ip(self, pid, *commands):
        subprocess.run([*self._enter(pid), 'ip', '-batch', '-'], input='\n'.join(commands),
                       text=True, check=True, timeout=10, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL)

    def _listen(self):
        """A socket stays where it was made: by a thread that goes there, and ends."""
        def make():
            with open(f'/proc/{self._far}/ns/net') as namespace:
                if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), CLONE_NEWNET):
                    raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
            return socket.create_server((SERVER, PORT))
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            return pool.submit(make).result(10)

    @property
    def near(self):
        """What to put before a command, to run it at the client's end."""
        return self._enter(self._near)

    def renumber(self):
        """The client's end gets another address; packets from and to the old one are dropped."""
        self._ip(self._near, f'addr del {CLIENT[0]}/29 dev near',
                 f'addr add {CLIENT[1]}/29 dev near')

    def close(self):
        if self.listener:
            self.listener.close()
        for holder in self._holders:
            holder.stdin.close()
            try:
                holder.wait(5)
            except subprocess.TimeoutExpired:
                holder.kill()
                holder.wait()
            holder.stdout.close()
            holder.stderr.close()
