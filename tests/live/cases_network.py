# SPDX-License-Identifier: Apache-2.0
"""What passes over the wire, and what happens when the wire misbehaves."""
import time

import kafka
import netns
from checks import check_complete, check_settled, wait_members
from client import check, wait_until
from ledger import Ledger
from proxy import Proxy
from registry import case
from three import taken

PLACE = '%p %o\\n'


class Proxied:
    """A broker of its own that can only be reached through a proxy."""

    def __init__(self, live):
        self.proxy = Proxy(0)
        self.bootstrap = f'127.0.0.1:{self.proxy.port}'
        self.broker = kafka.Broker(live.version, name='proxied broker', doors={
            'NEAR': self.bootstrap, 'AWAY': f'{netns.SERVER}:{netns.PORT}'})
        self.proxy.target = self.broker.doors['NEAR']
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


class Line:
    """The way of one client to the proxied broker, which can lose what is on it without a word.

    Packets are dropped between two network namespaces; where these cannot be had, by the proxy.
    """

    def __init__(self, net, live):
        try:
            self._cable = live.opened(netns.Cable())
        except netns.Unavailable as e:
            self.bootstrap, self.before = net.bootstrap, []
            live.note(f'by the proxy ({e})')
            self.break_off = lambda: net.proxy.freeze('half')
            return
        live.opened(Proxy(net.broker.doors['AWAY'], self._cable.listener))
        self.bootstrap, self.before = f'{netns.SERVER}:{netns.PORT}', self._cable.near
        self.break_off = self._cable.renumber
        live.note('in a network namespace')


@case(everywhere=True)
def half_open_connections(live):
    """The old connections hang, the broker has not noticed: new ones go on well before the lock."""
    net = live.once(Proxied)
    line = Line(net, live)
    here = live.at(net)
    topic, group = here.topic('half', 2), here.group('half')
    here.admin.produce(topic, count=1000)
    worker = here.program('worker', line.bootstrap, group, topic, 'client.id=half', 'idle_ms=90000',
                          'request.timeout.ms=3000', before=line.before)
    wait_until(lambda: len(taken(worker)) == 1000, 20, '1,000 records')
    time.sleep(0.5)
    line.break_off()
    start = time.monotonic()
    here.admin.produce(topic, count=1000, first=1000)
    wait_until(lambda: len(taken(worker)) == 2000, 25, '2,000 different records')
    live.note(f'all after {time.monotonic() - start:.1f} s')
    worker.stop()
    ledger, report = Ledger([worker]), worker.report()
    again = len(ledger.all()) - 2000
    live.note(f'{again} twice, {report["acks_unknown"]} acks unknown')
    ledger.check_said()
    ledger.check_every_record(here, [topic])
    check('no answer in time' in worker.err(), 'no connection was given up')
    check(again <= report['acks_failed'] + report['acks_unknown'], f'{again} came twice')
    check_settled(here, group, topic)
