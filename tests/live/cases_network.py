# SPDX-License-Identifier: Apache-2.0
"""What passes over the wire, and what happens when the wire misbehaves."""
import time

import kafka
from cases_groups import wait_members
from cases_records import check_complete, check_settled
from client import check, wait_until
from proxy import Proxy
from registry import case

PLACE = '%p %o\\n'


class Proxied:
    """A broker of its own that can only be reached through a proxy."""

    def __init__(self, live):
        self.live = live
        self.broker = kafka.Broker(live.version, name='proxied broker')
        self.proxy = Proxy(self.broker.port)
        self.bootstrap = f'127.0.0.1:{self.proxy.port}'
        config = self.broker.config.read_text().replace(
            f'advertised.listeners=PLAINTEXT://{self.broker.bootstrap}',
            f'advertised.listeners=PLAINTEXT://{self.bootstrap}')
        self.broker.config.write_text(config)
        self.broker.start()
        self.admin = kafka.Admin(self.bootstrap)
        topic = self.topic('warm')
        self.admin.produce(topic, count=1)
        self.cat('warm', self.group('warm'), topic, '-c', '1').wait(30)

    def topic(self, base, partitions=1):
        return self.live.topic(base, partitions, admin=self.admin)

    def group(self, base, **configs):
        return self.live.group(base, admin=self.admin, **configs)

    def cat(self, client_id, group, topic, *arguments, which='cat', **more):
        return self.live.cat(which, group, topic, '-X', f'client.id={client_id}', *arguments,
                             broker=self, **more)

    def requests_during(self, client_id, seconds):
        before = self.proxy.requests(client_id)
        time.sleep(seconds)
        during = self.proxy.requests(client_id) - before
        self.live.note(f'in {seconds} s ' + ' '.join(f'{k} {v}' for k, v in sorted(during.items())))
        return during

    def close(self):
        self.admin.close()
        self.proxy.close()
        self.broker.close()


@case()
def idle_member_asks_seldom(live):
    """Nothing to read: a long poll follows the other, and a heartbeat now and then."""
    net = live.once(Proxied)
    topic, group = net.topic('idle', 4), net.group('idle')
    cat = net.cat('idle', group, topic)
    wait_members(live, group, 1, admin=net.admin)
    time.sleep(1)
    during = net.requests_during('idle', 6)
    check(during['Heartbeat'] >= 1, 'no heartbeat')
    check(sum(during.values()) <= 20, f'{sum(during.values())} requests in 6 s')
    cat.stop()


@case()
def missing_topic_is_asked_for_seldom(live):
    """A topic that is missing for long does not mean fast requests for long."""
    net = live.once(Proxied)
    cat = net.cat('missing', net.group('missing'), live.name('never'))
    time.sleep(6)
    during = net.requests_during('missing', 5)
    check(sum(during.values()) <= 15, f'{sum(during.values())} requests in 5 s')
    cat.stop()


@case()
def responses_in_pieces_of_7_bytes(live):
    """However the stream is cut, the records are the same."""
    net = live.once(Proxied)
    topic, group = net.topic('pieces', 2), net.group('pieces')
    net.admin.produce(topic, count=2000)
    net.proxy.piece = 7
    try:
        cat = net.cat('pieces', group, topic, '-c', '2000', '-f', PLACE).succeed(60)
    finally:
        net.proxy.piece = 0
    check_complete(live, topic, cat.pairs(), admin=net.admin)
    check_settled(live, group, topic, admin=net.admin)


@case()
def connections_cut_while_consuming(live):
    """Five times in mid-flow: every record arrives, and nothing waits for the lock of 30 s."""
    net = live.once(Proxied)
    topic, group = net.topic('cut', 4), net.group('cut')
    cat = net.cat('cut', group, topic, '-f', PLACE, '-J')
    wait_members(live, group, 1, admin=net.admin)
    for part in range(5):
        net.admin.produce(topic, count=20_000, first=part * 20_000)
        net.proxy.cut('cut')
    start = time.monotonic()
    wait_until(lambda: len(set(cat.pairs())) >= 100_000, 20, '100,000 different records')
    live.note(f'all {time.monotonic() - start:.1f} s after the last cut')
    cat.stop()
    report = cat.report()
    live.note(f'{report["reconnects"]} reconnects, {report["records"] - 100_000} twice, '
              f'{report["acks_unknown"]} acks unknown, {report["acks_failed"]} failed')
    check_complete(live, topic, sorted(set(cat.pairs())), admin=net.admin)
    check(report['records'] - 100_000 <= report['acks_unknown'] + report['acks_failed'],
          'records came twice though their acknowledgements are not said to be unknown or failed')
    check_settled(live, group, topic, admin=net.admin)


@case()
def half_open_connections(live):
    """The old connections hang, the broker has not noticed: new ones go on well before the lock."""
    net = live.once(Proxied)
    topic, group = net.topic('half', 2), net.group('half')
    net.admin.produce(topic, count=1000)
    cat = net.cat('half', group, topic, '-f', PLACE, '-J', '-X', 'request.timeout.ms=3000')
    cat.wait_lines(1000)
    time.sleep(0.5)
    net.proxy.freeze('half')
    start = time.monotonic()
    net.admin.produce(topic, count=1000, first=1000)
    wait_until(lambda: len(set(cat.pairs())) >= 2000, 25, '2,000 different records')
    live.note(f'all after {time.monotonic() - start:.1f} s')
    cat.stop()
    check_complete(live, topic, sorted(set(cat.pairs())), admin=net.admin)
