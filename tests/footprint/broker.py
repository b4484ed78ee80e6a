# SPDX-License-Identifier: Apache-2.0
"""kshare_minibroker, as a program beside."""
import subprocess

TIMEOUT_S = 60


class Broker:
    def __init__(self, program, *options):
        self._process = subprocess.Popen([program, *options], stdin=subprocess.PIPE,
                                         stdout=subprocess.PIPE, encoding='utf-8')
        self.address = self._process.stdout.readline().strip()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.communicate(timeout=TIMEOUT_S)  # it ends with its standard input

    def ask(self, command):
        """The words behind the ok; else what the broker says is the answer."""
        self._process.stdin.write(command + '\n')
        self._process.stdin.flush()
        line = next(line for line in self._process.stdout if line[0] != ' ')
        return line.split()[1:] if line.startswith('ok') else line
