# SPDX-License-Identifier: Apache-2.0
"""Brokers that are not there, go away, come back, freeze, or know no share groups; wrong usage."""
import re
import signal
import socket
import time

import kafka
from checks import check_complete, check_settled
from client import check, wait_until
from ledger import Ledger
from registry import case

CLOSE_S = 10  # of kshare_cat
PLACE = '%p %o\\n'


@case()
def wrong_usage_exits_1(live):
    """No arguments, an unknown option, an unknown property, a bad value: said, exit code 1."""
    base = ['-b', live.broker.bootstrap, '-g', 'g', '-t', 't']
    for arguments, word in [([], ''), (['--no-such-option'], ''), (base[:4], ''),
                            (base + ['-X', 'no.such.property=1'], 'no.such.property'),
                            (base + ['-X', 'fetch.max.wait.ms=soon'], 'fetch.max.wait.ms'),
                            (base + ['-A', 'maybe'], ''), (base + ['-c', 'x'], '')]:
        cat = live.program('cat', *arguments)
        code = cat.wait(10)
        check(code == 1, f'exit code {code} for {arguments}')
        check(cat.err().strip(), f'nothing on stderr for {arguments}')
        check(word in cat.err(), f'stderr does not name {word}')
        check(cat.out_size() == 0, f'something on stdout for {arguments}')


@case()
def no_broker_exits_2(live):
    """A closed port: the reason with host and port, within bounded time."""
    address = f'127.0.0.1:{kafka.free_port()}'
    cat = live.program('cat', '-b', address, '-g', 'g', '-t', 't', '-e')
    code = cat.wait(45)
    live.note(f'after {cat.ended - cat.started:.1f} s: {cat.err().strip().splitlines()[-1:]}')
    check(code == 2, f'exit code {code}')
    check(address in cat.err(), f'stderr does not name {address}')


@case()
def dead_entries_in_the_bootstrap_list(live):
    """Two that refuse, one that never answers: the living one among them is found."""
    topic = live.topic('list')
    live.admin.produce(topic, count=10)
    refusing = [f'127.0.0.1:{kafka.free_port()}' for _ in range(2)]
    with socket.create_server(('127.0.0.1', kafka.free_port())) as silent:
        servers = ','.join([refusing[0], f'127.0.0.1:{silent.getsockname()[1]}',
                            live.broker.bootstrap, refusing[1]])
        cat = live.program('cat', '-b', servers, '-g', live.group('list'), '-t', topic, '-c', '10',
                           '-X', 'request.timeout.ms=2000')
        cat.succeed(30)
    check(len(cat.lines()) == 10, f'{len(cat.lines())} lines')
    live.note(f'after {cat.ended - cat.started:.1f} s')


@case(everywhere=True)
def share_groups_off_exits_2(live):
    """A broker whose share.version is 0: said in so many words."""
    broker = live.opened(kafka.Broker(live.version, features={'share.version': 0}))
    broker.start()
    with kafka.Admin(broker.bootstrap) as admin:
        admin.create_topic('t')
    cat = live.program('cat', '-b', broker.bootstrap, '-g', 'g', '-t', 't', '-e')
    code = cat.wait(45)
    live.note(f'after {cat.ended - cat.started:.1f} s: {cat.err().strip().splitlines()[-1:]}')
    check(code == 2, f'exit code {code}')
    check(re.search('share', cat.err(), re.I), 'stderr does not say that share groups are off')


class Own:
    """A broker that only the tests of this file hurt."""

    def __init__(self, live):
        self.broker = kafka.Broker(live.version, name='own broker')
        self.broker.start()
        self.admin = kafka.Admin(self.broker.bootstrap)
        self.bootstrap = self.broker.bootstrap
        live.at(self).warm()

    def close(self):
        self.admin.close()
        self.broker.close()


def own_of(live):
    """The one broker, running: the test before may have left it dead."""
    own = live.once(Own)
    own.broker.revive()
    return own


class OwnBroker:
    """A member that has read the first 1,000 records of a topic, and its broker."""

    def __init__(self, live):
        own = own_of(live)
        self.broker, self.admin, self.bootstrap = own.broker, own.admin, own.bootstrap
        here = live.at(self)
        self.topic = here.topic('own', 2)
        self.admin.produce(self.topic, count=1000)
        self.cat = here.cat('cat', here.group('own'), self.topic, '-f', PLACE, '-J')
        self.cat.wait_lines(1000)

    def finish(self, live, total):
        """1,000 more records arrive; every record of the topic was printed."""
        start = time.monotonic()
        self.admin.produce(self.topic, count=1000, first=total)
        wait_until(lambda: len(set(self.cat.pairs())) >= total + 1000, 40,
                   f'{total + 1000} records (have {len(set(self.cat.pairs()))})')
        live.note(f'all {time.monotonic() - start:.1f} s after the broker was back')
        self.cat.stop()
        expected = sum(self.admin.end_offsets(self.topic).values())
        got = len(set(self.cat.pairs()))
        check(got == expected, f'{got} of {expected} records')
        report = self.cat.report()
        live.note(f'{report["reconnects"]} reconnects, {report["records"] - got} twice')
        return report


@case()
def broker_restarted_while_consuming(live):
    """Stopped in order, started on the same port: consumption goes on."""
    own = OwnBroker(live)
    own.broker.stop()
    time.sleep(1)
    own.broker.start()
    report = own.finish(live, 1000)
    check(report['reconnects'] >= 1, 'no reconnect counted')


@case()
def broker_killed_while_consuming(live):
    """SIGKILL in mid-flow, started again on the same port: nothing is lost."""
    own = OwnBroker(live)
    own.admin.produce(own.topic, count=200_000, first=1000)
    own.cat.wait_lines(20_000)
    own.broker.kill()
    time.sleep(1)
    own.broker.start()
    own.finish(live, 201_000)


@case()
def broker_down_does_not_spin(live):
    """While it is away the client waits, with next to no CPU time."""
    own = OwnBroker(live)
    own.broker.kill()
    time.sleep(1)
    cpu, switches = own.cat.activity()
    time.sleep(4)
    cpu_later, switches_later = own.cat.activity()
    live.note(f'in 4 s {cpu_later - cpu} ms CPU, {switches_later - switches} context switches')
    check(cpu_later - cpu <= 30, f'{cpu_later - cpu} ms of CPU in 4 s')
    check(switches_later - switches < 200, f'{switches_later - switches} context switches in 4 s')
    started = time.monotonic()
    own.cat.stop(timeout_s=20)
    took = own.cat.ended - started
    live.note(f'ended {took:.1f} s after SIGTERM')
    check(took < CLOSE_S + 1, f'ended {took:.1f} s after SIGTERM')


@case()
def broker_frozen_for_a_while(live):
    """Connections stay open, nothing is answered for 3 s: consumption goes on."""
    own = OwnBroker(live)
    own.broker.pause()
    time.sleep(3)
    own.broker.resume()
    own.finish(live, 1000)


def close_with_acks_unsent(live, hurt):
    """100 in hand are accepted and the worker closes after hurt(broker).

    Its place, topic and group, and the milliseconds that close took.
    """
    own = own_of(live)
    here = live.at(own)
    topic = here.topic('unsent')
    group = here.group('unsent', session_ms=5000, heartbeat_ms=1000)
    here.admin.produce(topic, count=100)
    worker = here.worker('worker', group, [topic], 'hold=1', 'late=100', 'accept=0',
                         'late_ms=700', 'close_ms=1500')
    worker.wait_lines(200)  # take, late
    check(' accept' not in worker.out().decode(), 'accepted too early')
    hurt(own.broker)
    worker.send(signal.SIGTERM)
    code = worker.wait(20)
    ledger, report = Ledger([worker]), worker.report()
    (result, ms), = ledger.closed
    live.note(f'closed after {ms} ms: {result}, {report["acks_unknown"]} acks unknown, '
              f'{report["acks_failed"]} failed')
    check(len(ledger.accepted()) == 100, f'{len(ledger.accepted())} accepted')
    check(ms < 1500 + 1000, f'close took {ms} ms')
    check(result == 'ok' and code == 0, f'{result}, exit code {code}')
    told = report['acks_unknown'] + report['acks_failed']
    check(told == 100, f'{told} told that they do not count')
    return here, topic, group, ms


@case(since=(4, 2))
def close_with_a_frozen_broker(live):
    """Nothing is answered: it ends at its time-out; what did not count comes to another member."""
    here, topic, group, ms = close_with_acks_unsent(live, kafka.Broker.pause)
    here.broker.broker.resume()
    check(ms >= 1500, f'closed after {ms} ms')
    start = time.monotonic()
    cat = here.cat('cat', group, topic, '-f', PLACE)
    check_settled(here, group, topic, 20)  # the lock is 30 s
    cat.stop()
    live.note(f'{len(cat.pairs())} came again within {time.monotonic() - start:.1f} s')


@case()
def close_with_a_dead_broker(live):
    """Nobody is there: it ends by its time-out, and says which acknowledgements do not count."""
    close_with_acks_unsent(live, kafka.Broker.kill)


@case()
def member_frozen_beyond_its_session(live):
    """SIGSTOP for longer than session and lock: it joins again, the others miss nothing."""
    topic = live.topic('frozen')
    group = live.group('frozen', lock_ms=1000, session_ms=5000, heartbeat_ms=1000)
    live.admin.produce(topic, count=100)
    cat = live.cat('cat', group, topic, '-f', PLACE, '-J')
    cat.wait_lines(100)
    check_settled(live, group, topic)
    cat.send(signal.SIGSTOP)
    gone = time.monotonic()
    wait_until(lambda: not live.admin.describe_group(group)['members'], 15, 'the member removed')
    live.note(f'removed after {time.monotonic() - gone:.1f} s')
    cat.send(signal.SIGCONT)
    live.admin.produce(topic, count=100, first=100)
    cat.wait_lines(200, 20)
    cat.stop()
    check_complete(live, topic, cat.pairs())
