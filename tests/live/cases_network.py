# SPDX-License-Identifier: Apache-2.0
"""What passes over the wire, and what happens when the wire misbehaves."""
import time

import kafka
from checks import check_complete, check_settled, wait_members
from client import check, wait_until
from proxy import Proxy
from registry import case

PLACE = '%p %o\\n'


class Proxied:
    """A broker of its own that can only be reached through a proxy."""

    def __init__(self, live):
        self.broker = kafka.Broker(live.version, name='proxied broker')
        self.proxy = Proxy(self.broker.port)
        self.bootstrap = f'127.0.0.1:{self.proxy.port}'
        config = self.broker.config.read_text().replace(
            f'advertised.listeners=PLAINTEXT://{self.broker.bootstrap}',
            f'advertised.listeners=PLAINTEXT://{self.bootstrap}')
        self.broker.config.write_text(config)
        self.broker.start()
        self.admin = kafka.Admin(self.bootstrap)
        live.at(self).warm()

    def close(self):
        self.admin.close()
        self.proxy.close()
        self.broker.close()


def requests_during(live, proxy, client_id, seconds):
    before = proxy.requests(client_id)
    time.sleep(seconds)
    during = proxy.requests(client_id) - before
    live.note(f'in {seconds} s ' + ' '.join(f'{k} {v}' for k, v in sorted(during.items())))
    return during


@case()
def idle_member_asks_seldom(live):
    """Nothing to read: a long poll follows the other, and a heartbeat now and then."""
    net = live.once(Proxied)
    live = live.at(net)
    topic, group = live.topic('idle', 4), live.group('idle')
    cat = live.cat('cat', group, topic, '-X', 'client.id=idle')
    wait_members(live, group, 1)
    time.sleep(1)
    during = requests_during(live, net.proxy, 'idle', 6)
    check(during['Heartbeat'] >= 1, 'no heartbeat')
    check(sum(during.values()) <= 20, f'{sum(during.values())} requests in 6 s')
    cat.stop()


@case()
def missing_topic_is_asked_for_seldom(live):
    """A topic that is missing for long does not mean fast requests for long."""
    net = live.once(Proxied)
    live = live.at(net)
    cat = live.cat('cat', live.group('missing'), live.name('never'), '-X', 'client.id=missing')
    time.sleep(6)
    during = requests_during(live, net.proxy, 'missing', 5)
    check(sum(during.values()) <= 15, f'{sum(during.values())} requests in 5 s')
    cat.stop()


@case()
def responses_in_pieces_of_7_bytes(live):
    """However the stream is cut, the records are the same."""
    net = live.once(Proxied)
    live = live.at(net)
    topic, group = live.topic('pieces', 2), live.group('pieces')
    live.admin.produce(topic, count=2000)
    net.proxy.piece = 7
    try:
        cat = live.cat('cat', group, topic, '-c', '2000', '-f', PLACE).succeed(60)
    finally:
        net.proxy.piece = 0
    check_complete(live, topic, cat.pairs())
    check_settled(live, group, topic)


@case(everywhere=True)
def connections_cut_while_consuming(live):
    """Five times in mid-flow: every record arrives, and nothing waits for the lock of 30 s."""
    net = live.once(Proxied)
    live = live.at(net)
    topic, group = live.topic('cut', 4), live.group('cut')
    cat = live.cat('cat', group, topic, '-X', 'client.id=cut', '-f', PLACE, '-J')
    wait_members(live, group, 1)
    for part in range(5):
        live.admin.produce(topic, count=20_000, first=part * 20_000)
        net.proxy.cut('cut')
    start = time.monotonic()
    wait_until(lambda: len(set(cat.pairs())) >= 100_000, 25, '100,000 different records')
    live.note(f'all {time.monotonic() - start:.1f} s after the last cut')
    cat.stop()
    report = cat.report()
    live.note(f'{report["reconnects"]} reconnects, {report["records"] - 100_000} twice, '
              f'{report["acks_unknown"]} acks unknown, {report["acks_failed"]} failed')
    check_complete(live, topic, sorted(set(cat.pairs())))
    check(report['records'] - 100_000 <= report['acks_unknown'] + report['acks_failed'],
          'records came twice though their acknowledgements are not said to be unknown or failed')
    check_settled(live, group, topic)


@case(everywhere=True)
def half_open_connections(live):
    """The old connections hang, the broker has not noticed: new ones go on well before the lock."""
    net = live.once(Proxied)
    live = live.at(net)
    topic, group = live.topic('half', 2), live.group('half')
    live.admin.produce(topic, count=1000)
    cat = live.cat('cat', group, topic, '-f', PLACE, '-J', '-X', 'client.id=half',
                   '-X', 'request.timeout.ms=3000')
    cat.wait_lines(1000)
    time.sleep(0.5)
    net.proxy.freeze('half')
    start = time.monotonic()
    live.admin.produce(topic, count=1000, first=1000)
    wait_until(lambda: len(set(cat.pairs())) >= 2000, 25, '2,000 different records')
    live.note(f'all after {time.monotonic() - start:.1f} s')
    cat.stop()
    check_complete(live, topic, sorted(set(cat.pairs())))
