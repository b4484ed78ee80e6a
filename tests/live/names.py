# SPDX-License-Identifier: Apache-2.0
"""A DNS server, and the hosts file and resolv.conf that one program sees and no other."""
import os
import shutil
import socket
import struct
import subprocess
import tempfile
import threading

from client import Skip

SERVFAIL = 2
A = 1
ONE_SECOND = 1


class Names:
    """before: what to put before a command, so that it sees these files (in a namespace of mounts).

    hosts: the text of the hosts file. state: what the server does with a query: 'silent', 'fails'
    or 'answers', which means `addresses` for every name, for a second.
    """

    def __init__(self, hosts='', state='answers', addresses=('127.0.0.1',)):
        self.state = state
        self._addresses = addresses
        self.asked = 0
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(('127.0.0.1', 0))
        self._socket.settimeout(0.2)  # a thread that waits for it does not see it closed
        self._folder = tempfile.mkdtemp(prefix='kshare-names-')
        files = {'/etc/hosts': hosts, '/etc/resolv.conf':
                 f'nameserver [127.0.0.1]:{self._socket.getsockname()[1]}\n'}
        mounts = []
        for i, (path, text) in enumerate(files.items()):
            own = os.path.join(self._folder, str(i))
            with open(own, 'w') as file:
                file.write(text)
            mounts.append(f'mount --bind {own} {path}')
        script = ' && '.join([*mounts, 'exec "$@"'])
        self.before = ['unshare', '-m' if os.geteuid() == 0 else '-rm', 'sh', '-c', script, 'sh']
        threading.Thread(target=self._serve, daemon=True).start()
        self._try()

    def _try(self):
        try:
            done = subprocess.run([*self.before, 'true'], stderr=subprocess.PIPE, text=True)
            trouble = done.returncode and (done.stderr.strip() or f'exit code {done.returncode}')
        except OSError as e:
            trouble = str(e)
        if trouble:
            self.close()
            raise Skip(f'no namespace of mounts: {trouble}')

    def _serve(self):
        while True:
            try:
                query, client = self._socket.recvfrom(512)
                self.asked += 1
                if self.state != 'silent':
                    self._socket.sendto(self._answer(query), client)
            except TimeoutError:
                continue
            except OSError:
                return

    def _answer(self, query):
        end = query.index(b'\0', 12) + 5
        kind, = struct.unpack_from('>H', query, end - 4)
        good = self.state == 'answers'
        addresses = self._addresses if good and kind == A else ()
        flags = 0x8180 if good else 0x8180 | SERVFAIL
        head = query[:2] + struct.pack('>HHHHH', flags, 1, len(addresses), 0, 0)
        records = [struct.pack('>HHHIH', 0xC00C, A, 1, ONE_SECOND, 4) + socket.inet_aton(address)
                   for address in addresses]
        return head + query[12:end] + b''.join(records)

    def close(self):
        self._socket.close()
        shutil.rmtree(self._folder, ignore_errors=True)
