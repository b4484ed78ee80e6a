#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A test of one's own program, here kshare_cat: nothing is lost while everything goes wrong."""
import subprocess


class Broker:
    def __init__(self, *options):
        self.process = subprocess.Popen(['kshare_minibroker', *options], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, encoding='utf-8')
        self.address = self.process.stdout.readline().strip()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.communicate(timeout=10)  # it ends with its standard input

    def ask(self, command):
        """What is behind the ok; an error ends the test with the broker's words."""
        print(command, file=self.process.stdin, flush=True)
        line = next(line for line in self.process.stdout if line[0] != ' ')
        assert line.startswith('ok'), line
        return line.split()[1:]


with Broker('-n', '2', '-t', 'commands', '-r', 'commands:1000') as broker:
    program = subprocess.Popen(['kshare_cat', '-b', broker.address, '-g', 'gateways',
                                '-t', 'commands', '-e'], stdout=subprocess.PIPE)
    program.stdout.readline()                        # it is at work
    broker.ask('cut ShareAcknowledge 2')             # served, but the answers are lost
    broker.ask('error ShareFetch KAFKA_STORAGE_ERROR 3')
    broker.ask('append commands 0 1000 100')
    broker.ask('move commands 0 1')                  # another leader
    broker.ask('stop 0')                             # and the first one is gone
    program.communicate(timeout=30)
    assert program.returncode == 0
    assert broker.ask('state gateways commands 0') == ['0', '0', '2000', '0']  # all acknowledged
    assert broker.ask('violations') == ['0']
