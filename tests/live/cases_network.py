# SPDX-License-Identifier: Apache-2.0
"""What passes over the wire, and what happens when the wire misbehaves."""
import socket
import time

import kafka
import netns
from cases_frozen import KEEPING
from checks import check_complete, check_settled, members_of, wait_members
from client import Skip, check, wait_until
from ledger import Ledger
from names import Names
from proxy import Proxy
from registry import case
from three import append_time, taken

HOST = 'broker.kshare.test'
PLACE = '%p %o\\n'


def listener_on_six():
    """On [::1]; None where there is no IPv6, which makes it one on 127.0.0.1."""
    try:
        return socket.create_server(('::1', 0), family=socket.AF_INET6)
    except OSError:
        return None


class Proxied:
    """A broker of its own that can only be reached through a proxy."""

    def __init__(self, live):
        self.proxy = Proxy(0)
        self.bootstrap = f'127.0.0.1:{self.proxy.port}'
        self.named, self.six = Proxy(0), Proxy(0, listener_on_six())
        self.broker = kafka.Broker(live.version, name='proxied broker', doors={
            'NEAR': self.bootstrap, 'AWAY': f'{netns.SERVER}:{netns.PORT}',
            'NAMED': f'{HOST}:{self.named.port}', 'SIX': f'[::1]:{self.six.port}'})
        for proxy, door in (self.proxy, 'NEAR'), (self.named, 'NAMED'), (self.six, 'SIX'):
            proxy.target = self.broker.doors[door]
        self.broker.start()
        self.admin = kafka.Admin(self.bootstrap)
        live.at(self).warm()

    def close(self):
        self.admin.close()
        for proxy in self.proxy, self.named, self.six:
            proxy.close()
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
    check(during['Heartbeat'] <= 2, f'{during["Heartbeat"]} heartbeats in 5 s')
    check(sum(during.values()) <= 9, f'{sum(during.values())} requests in 5 s')
    cat.stop()


@case()
def deleted_topic_is_asked_for_seldom(live):
    """For good, while subscribed: told about it once; the other topic goes on."""
    net = live.once(Proxied)
    live = live.at(net)
    gone, other = live.topic('gone', 2), live.topic('other', 2)
    for topic in gone, other:
        live.admin.produce(topic, count=100)
    group = live.group('gone', heartbeat_ms=2500)
    cat = live.cat('cat', group, f'{gone},{other}', '-X', 'client.id=gone', '-f', '%t %p %o\\n',
                   '-X', 'fetch.max.wait.ms=1000', '-X', 'metadata.max.age.ms=2000')
    cat.wait_lines(200)
    check_settled(live, group, gone)
    live.admin.delete_topic(gone)
    wait_until(lambda: gone in cat.err(), 10, f'a line about {gone}')
    # Until the heartbeat that takes the partitions away, and the poll that it meets, are over: each
    # fetch that names them fails as a whole, and hides what it has locked of the other (4.3.1).
    time.sleep(5)
    during = requests_during(live, net.proxy, 'gone', 5)
    check(during['Heartbeat'] <= 3, f'{during["Heartbeat"]} heartbeats in 5 s')
    check(sum(during.values()) <= 16, f'{sum(during.values())} requests in 5 s')
    live.admin.produce(other, count=100, first=100)
    cat.wait_lines(300, 5)
    cat.stop()
    said = [line for line in cat.err().splitlines() if gone in line]
    check(len(said) == 1, f'{len(said)} lines about the topic')
    rows = [line.split() for line in cat.lines()]
    check_complete(live, other, [(int(p), int(o)) for t, p, o in rows if t == other])
    check_settled(live, group, other)


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
        live.admin.produce(topic, count=10_000, first=part * 10_000)
        net.proxy.cut('cut')
    start = time.monotonic()
    wait_until(lambda: len(set(cat.pairs())) >= 50_000, 25, '50,000 different records')
    live.note(f'all {time.monotonic() - start:.1f} s after the last cut')
    cat.stop()
    report = cat.report()
    live.note(f'{report["reconnects"]} reconnects, {report["records"] - 50_000} twice, '
              f'{report["acks_unknown"]} acks unknown, {report["acks_failed"]} failed')
    check_complete(live, topic, sorted(set(cat.pairs())))
    check(report['records'] - 50_000 <= report['acks_unknown'] + report['acks_failed'],
          'records came twice though their acknowledgements are not said to be unknown or failed')
    check_settled(live, group, topic)


@case(everywhere=True)
def a_cut_poll_acquires_for_nobody(live):
    """It goes on at the broker for its MaxWait, and what it acquires does not wait for the lock."""
    net = live.once(Proxied)
    live = live.at(net)
    topic, group = live.topic('parked'), live.group('parked')
    cat = live.cat('cat', group, topic, '-X', 'client.id=parked', '-X', 'fetch.max.wait.ms=2000',
                   '-f', '%o %d\\n')
    wait_members(live, group, 1)
    waits = []
    for part in range(4):
        live.admin.produce(topic, count=1, first=2 * part)
        cat.wait_lines(2 * part + 1)
        time.sleep(1.5)  # the next poll is a long one
        net.proxy.cut('parked')
        time.sleep(0.5)  # the new connection has its session
        live.admin.produce(topic, count=1, first=2 * part + 1)
        start = time.monotonic()
        cat.wait_lines(2 * part + 2, 10)  # the lock is 30 s
        waits.append(time.monotonic() - start)
    cat.stop()
    live.note('waited ' + ', '.join(f'{wait:.2f}' for wait in waits) + ' s')
    counts = [count for _, count in cat.pairs()]
    live.note(f'{counts.count(2)} of 4 had been acquired by the cut poll')
    check_settled(live, group, topic)


@case()
def fetch_max_bytes_below_a_batch(live):
    """One batch with each answer, and all of them come."""
    net = live.once(Proxied)
    live = live.at(net)
    topic, group = live.topic('one-each'), live.group('one-each')
    live.admin.produce(topic, count=400, size=100, batch_size=2000)
    batches = len(net.broker.batches(topic))
    cat = live.cat('cat', group, topic, '-c', '400', '-f', PLACE, '-X', 'client.id=one-each',
                   '-X', 'fetch.max.bytes=1').succeed()
    fetches = net.proxy.requests('one-each')['ShareFetch']
    live.note(f'{batches} batches, {fetches} fetches')
    check(batches >= 10, f'only {batches} batches')
    check(fetches >= batches, f'{fetches} fetches for {batches} batches')
    check_complete(live, topic, cat.pairs())
    check_settled(live, group, topic)


@case()
def fetch_min_bytes_beyond_a_record(live):
    """A record waits for company, no longer than fetch.max.wait.ms."""
    net = live.once(Proxied)
    live = live.at(net)
    topic, group = live.topic('company', configs=append_time()), live.group('company')
    worker = live.worker('worker', group, [topic], 'idle_ms=90000', 'fetch.max.wait.ms=1000',
                         'fetch.min.bytes=1000000')
    wait_members(live, group, 1)
    for count in 1, 2, 3:
        time.sleep(0.3)  # the short poll of a record in hand, or of its acknowledgement, is over
        live.admin.produce(topic, count=1, first=count - 1)
        wait_until(lambda n=count: len(taken(worker)) == n, 10, f'{count} records')
    worker.stop()
    ledger = Ledger([worker])
    ledger.check_exact(live, group, [topic])
    waits = [d.at - d.made for d in ledger.all()]
    live.note('waited ' + ', '.join(f'{wait:.2f}' for wait in waits) + ' s')
    check(max(waits) > 0.6, 'none has waited for company')
    check(max(waits) < 1 + 1, f'one has waited {max(waits):.1f} s')


@case()
def acknowledgements_cap_the_wait(live):
    """fetch.max.wait.ms=3000: a commit does not wait so long, at once or with a record in hand."""
    net = live.once(Proxied)
    live = live.at(net)
    topic = live.topic('soon')
    workers = []
    for more in [], ['accept=0', 'late=1', 'late_ms=200']:
        group = live.group('soon')
        workers.append(live.worker('worker', group, [topic], 'idle_ms=90000', 'commit=1',
                                   'fetch.max.wait.ms=3000', *more))
        wait_members(live, group, 1)
    for count in range(1, 9):
        live.admin.produce(topic, count=1, first=count - 1)
        for worker in workers:
            # There is one before anything was acknowledged.
            wait_until(lambda w=worker, n=count: len(Ledger([w]).commits) == n + 1, 10,
                       f'{count} commits')
    for worker in workers:
        worker.stop()
        ledger = Ledger([worker])
        ledger.check_exact(live, worker.command[2], [topic])
        longest = max(commit.ms for commit in ledger.commits)
        live.note(f'the longest commit {longest} ms')
        check({commit.name for commit in ledger.commits} == {'ok'}, f'commits {ledger.commits}')
        check(longest < 700, f'a commit took {longest} ms')


def read_by(live, proxy, bootstrap, before=()):
    """100 records that come through this proxy alone, whose address metadata gives too."""
    topic = live.topic('address', 2)
    live.admin.produce(topic, count=100)
    cat = live.program('cat', '-b', bootstrap, '-g', live.group('address'), '-t', topic, '-c',
                       '100', '-f', PLACE, '-X', f'client.id={topic}', before=before).succeed()
    check_complete(live, topic, cat.pairs())
    check(proxy.requests(topic)['ShareFetch'] > 0, 'no fetch has come this way')


@case()
def bootstrap_by_an_ipv6_literal(live):
    """[::1], also as the address that the broker gives."""
    net = live.once(Proxied)
    if net.six.host != '::1':
        raise Skip('no IPv6 on loopback')
    read_by(live.at(net), net.six, f'[::1]:{net.six.port}')


@case()
def bootstrap_by_a_name_of_the_hosts_file(live):
    """Also as the address that the broker gives; no DNS server is asked."""
    net = live.once(Proxied)
    names = live.opened(Names(hosts=f'127.0.0.1 localhost {HOST}\n', state='fails'))
    read_by(live.at(net), net.named, f'{HOST}:{net.named.port}', names.before)
    check(names.asked == 0, f'DNS was asked {names.asked} times')


@case()
def a_name_with_two_addresses(live):
    """One of them is dead: from the hosts file and from DNS, in either order."""
    net = live.once(Proxied)
    addresses = ['127.0.0.2', net.named.host]
    lines = ''.join(f'{address} {HOST}\n' for address in addresses)
    for names in (Names(lines, 'fails'), Names(addresses=addresses),
                  Names(addresses=addresses[::-1])):
        live.opened(names)
        read_by(live.at(net), net.named, f'{HOST}:{net.named.port}', names.before)


@case()
def dns_fails_for_a_while(live):
    """Silent at the start: asked again. Failing later: addresses that were good are used."""
    net = live.once(Proxied)
    live = live.at(net)
    names = live.opened(Names(state='silent'))
    topic, group = live.topic('dns', 2), live.group('dns')
    live.admin.produce(topic, count=100)
    cat = live.program('cat', '-b', f'{HOST}:{net.named.port}', '-g', group, '-t', topic,
                       '-f', PLACE, '-J', '-X', 'client.id=dns', before=names.before)
    wait_until(lambda: names.asked >= 3, 10, 'a question asked again')  # A and AAAA, and once more
    names.state = 'answers'
    cat.wait_lines(100)
    names.state = 'fails'
    asked = names.asked
    time.sleep(1)  # for so long the address was good
    net.named.cut('dns')
    live.admin.produce(topic, count=100, first=100)
    wait_until(lambda: len(set(cat.pairs())) == 200, 20, '200 different records')
    check(names.asked > asked, 'DNS was not asked again')
    cat.stop()
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


def undecided(ledger):
    """The places that a worker has in hand: what it was given and has not accepted."""
    return {place for place, deliveries in ledger.deliveries.items()
            if deliveries[-1].word() != 'accept'}


@case(everywhere=True)
def half_open_connections(live):
    """The broker has not noticed: acks said meanwhile count, the rest is given back at once."""
    net = live.once(Proxied)
    line = Line(net, live)
    here = live.at(net)
    topic, group = here.topic('half', 2), here.group('half')
    here.admin.produce(topic, count=500, size=100)
    # It takes 60 a second, so that some wait to be handed out; a half of them it keeps for 1.5 s.
    worker = here.program('worker', line.bootstrap, group, topic, 'client.id=half', 'idle_ms=90000',
                          'request.timeout.ms=1500', 'work_ms=16', *KEEPING, 'late_ms=1500',
                          before=line.before)
    wait_until(lambda: len(taken(worker)) >= 50, 20, '50 records')
    line.break_off()
    start = time.monotonic()
    time.sleep(0.3)  # the next request is on its way to nowhere, and all that waits for its answer
    in_hand = undecided(Ledger([worker]))
    here.admin.produce(topic, count=100, first=500)
    wait_until(lambda: len(taken(worker)) == 600, 20, '600 different records')  # the lock is 30 s
    live.note(f'all after {time.monotonic() - start:.1f} s')
    worker.stop()
    ledger, report = Ledger([worker]), worker.report()
    again = len(ledger.all()) - 600
    given_back = sum(deliveries[0].count == 2 for deliveries in ledger.deliveries.values())
    live.note(f'{len(in_hand)} in hand, {given_back} given back, {again} twice, '
              f'{report["acks_unknown"]} acks unknown, {report["acks_failed"]} failed')
    ledger.check_said()
    ledger.check_every_record(here, [topic])
    check('no answer in time' in worker.err(), 'no connection was given up')
    check(len(in_hand) >= 10, f'only {len(in_hand)} in hand')
    came_again = sorted(place for place in in_hand if len(ledger.deliveries[place]) > 1)
    check(not came_again, f'{len(came_again)} in hand came again: {came_again[:5]}')
    check(report['acks_failed'] == 0, f'{report["acks_failed"]} acks failed')
    check(given_back > 0, 'nothing had to be given back')
    check(again <= report['acks_unknown'], f'{again} came twice')
    if here.version_is_before(4, 2):
        return  # tells no lag
    # What nobody knows of stays locked, as the broker believes in the old connection.
    wait_until(lambda: sum(v['lag'] for v in here.admin.group_offsets(group, topic).values())
               <= report['acks_unknown'], 5, 'all settled but what is unknown')
