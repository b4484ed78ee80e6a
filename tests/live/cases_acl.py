# SPDX-License-Identifier: Apache-2.0
"""Permissions that are missing, come later, are taken away, by Kafka's StandardAuthorizer."""
import time

import kafka
from cases_frozen import KEEPING
from checks import check_settled
from client import check, wait_until
from ledger import Ledger
from proxy import Proxy
from registry import case
from three import Flow, taken

GUEST = 'GUEST'  # who comes in by the listener of that name; anybody else may do everything
OFTEN = 7  # requests a second: one who waits for a permission stays below


class Guarded:
    """A broker with ACLs. Guests come in through a proxy, which counts their requests."""

    def __init__(self, live):
        self.proxy = Proxy(0)
        self.bootstrap = f'127.0.0.1:{self.proxy.port}'
        properties = {
            'authorizer.class.name': 'org.apache.kafka.metadata.authorizer.StandardAuthorizer',
            'principal.builder.class': 'Node$ByListener',
            'super.users': 'User:PLAINTEXT;User:CONTROLLER',
        }
        self.broker = kafka.Broker(live.version, properties, name='guarded broker',
                                   doors={GUEST: self.bootstrap})
        self.proxy.target = self.broker.doors[GUEST]
        self.broker.start()
        self.broker.admin = self.admin = kafka.Admin(self.broker.bootstrap)
        live.at(self.broker).warm()

    def close(self):
        self.admin.close()
        self.proxy.close()
        self.broker.close()


def as_guest(live):
    net = live.once(Guarded)
    return net, live.at(net)


def filled(live, base, count=200):
    """A topic and the name of a group, for a guest who may do nothing yet."""
    topic, group = live.topic(base, 2), live.group(base, lock_ms=2000, heartbeat_ms=1000,
                                                    session_ms=5000)
    live.admin.produce(topic, count=count)
    return topic, group


def guest(live, group, topic):
    """A worker as a guest, as kshare_cat would not say a line twice; its client id is its group."""
    return live.worker('worker', group, [topic], f'client.id={group}', 'idle_ms=90000')


def told(client, words):
    return [line for line in client.err().splitlines() if words in line]


def wait_told(client, words, times=1):
    wait_until(lambda: len(told(client, words)) >= times, 10, f'{times} lines with "{words}"')


def check_told(client, words, times=1):
    have = len(told(client, words))
    check(have == times, f'"{words}" was told {have} times, not {times}')


def check_asks_slowly(live, net, client, client_id, seconds=3):
    """It goes on asking, with little work."""
    time.sleep(1)
    before, (cpu, _) = net.proxy.requests(client_id), client.activity()
    time.sleep(seconds)
    during, cpu_later = net.proxy.requests(client_id) - before, client.activity()[0]
    live.note(f'in {seconds} s ' + ' '.join(f'{k} {v}' for k, v in sorted(during.items())))
    check(0 < sum(during.values()) <= OFTEN * seconds,
          f'{sum(during.values())} requests in {seconds} s')
    check(cpu_later - cpu <= 15 * seconds, f'{cpu_later - cpu} ms of CPU in {seconds} s')


def check_reads_all(live, group, topic, worker):
    """What it was not allowed to read before, complete, each once."""
    granted = time.monotonic()
    wait_until(lambda: len(taken(worker)) == 200, 20, '200 records')
    live.note(f'all {time.monotonic() - granted:.1f} s after it was granted')
    worker.stop()
    Ledger([worker]).check_exact(live, group, [topic])


@case()
def read_on_the_topic_is_missing(live):
    """Said once, asked for slowly; granted, it goes on and nothing is missing."""
    net, live = as_guest(live)
    topic, group = filled(live, 'private')
    live.admin.grant(GUEST, 'READ', group=group)
    worker = guest(live, group, topic)
    wait_told(worker, f'topic {topic}: TOPIC_AUTHORIZATION_FAILED')
    check_asks_slowly(live, net, worker, group)
    live.admin.grant(GUEST, 'READ', topic=topic)
    check_reads_all(live, group, topic, worker)
    check_told(worker, f'topic {topic}: ')
    check_told(worker, 'group coordinator: TOPIC_AUTHORIZATION_FAILED')


@case()
def only_describe_on_the_topic(live):
    """Assigned, but not to be read: said once for each partition; granted, it goes on."""
    net, live = as_guest(live)
    topic, group = filled(live, 'seen')
    live.admin.grant(GUEST, 'READ', group=group)
    live.admin.grant(GUEST, 'DESCRIBE', topic=topic)
    worker = guest(live, group, topic)
    wait_told(worker, 'TOPIC_AUTHORIZATION_FAILED', 2)
    check_asks_slowly(live, net, worker, group)
    live.admin.grant(GUEST, 'READ', topic=topic)
    check_reads_all(live, group, topic, worker)
    for partition in range(2):
        check_told(worker, f'{topic} partition {partition}: TOPIC_AUTHORIZATION_FAILED')
    check_told(worker, 'AUTHORIZATION_FAILED', 2)


@case()
def read_on_the_group_is_missing(live):
    """Nobody names the coordinator: said once, asked for slowly; granted, it goes on."""
    net, live = as_guest(live)
    topic, group = filled(live, 'club')
    live.admin.grant(GUEST, 'READ', topic=topic)
    worker = guest(live, group, topic)
    wait_told(worker, 'GROUP_AUTHORIZATION_FAILED')
    check_asks_slowly(live, net, worker, group)
    live.admin.grant(GUEST, 'READ', group=group)
    check_reads_all(live, group, topic, worker)
    check_told(worker, 'AUTHORIZATION_FAILED')


@case()
def only_describe_on_the_group_exits_2(live):
    """A heartbeat that is refused is not repeated: one line, exit code 2."""
    net, live = as_guest(live)
    topic, group = filled(live, 'door')
    live.admin.grant(GUEST, 'READ', topic=topic)
    live.admin.grant(GUEST, 'DESCRIBE', group=group)
    worker = guest(live, group, topic)
    code = worker.wait(20)
    check(code == 2, f'exit code {code}')
    check_told(worker, 'refused by the group coordinator: GROUP_AUTHORIZATION_FAILED')
    sent = net.proxy.requests(group)
    check(sent['Heartbeat'] == 1, f'{sent["Heartbeat"]} heartbeats')


@case()
def read_on_the_topic_is_taken_away_and_given_back(live):
    """Twice while records flow: said once each time, no loop, and every record is taken."""
    net, live = as_guest(live)
    topic, group = filled(live, 'lent')
    live.admin.grant(GUEST, 'READ', topic=topic, group=group)
    flow = Flow(live, [topic], f'client.id={group}', group=group)
    for turn in range(1, 3):
        live.admin.revoke(GUEST, 'READ', topic=topic)
        wait_told(flow.worker, 'partition 0: TOPIC_AUTHORIZATION_FAILED', turn)
        wait_told(flow.worker, 'partition 1: TOPIC_AUTHORIZATION_FAILED', turn)
        check_asks_slowly(live, net, flow.worker, group)
        before = taken(flow.worker)
        live.admin.grant(GUEST, 'READ', topic=topic)
        granted = time.monotonic()
        wait_until(lambda b=before: len({place[1] for place in taken(flow.worker) - b}) == 2, 10,
                   'records of both partitions again')
        live.note(f'goes on {time.monotonic() - granted:.1f} s after it was granted')
    flow.end()
    for partition in range(2):
        check_told(flow.worker, f'partition {partition}: TOPIC_AUTHORIZATION_FAILED', 2)
    check_settled(live, group, topic)


@case()
def read_on_the_group_is_taken_away(live):
    """In mid-flow: the worker ends and says why; another member gets what it had, none is lost."""
    net, live = as_guest(live)
    topic, group = filled(live, 'left')
    live.admin.grant(GUEST, 'READ', topic=topic, group=group)
    flow = Flow(live, [topic], f'client.id={group}', *KEEPING, group=group)
    time.sleep(1)
    live.admin.revoke(GUEST, 'READ', group=group)
    code = flow.worker.wait(20)
    check(code == 2, f'exit code {code}')
    check_told(flow.worker, 'worker: refused by the group coordinator: GROUP_AUTHORIZATION_FAILED')
    other = live.at(net.broker).worker('worker', group, [topic], 'idle_ms=90000')
    flow.stop_producing()
    total = sum(live.admin.end_offsets(topic).values())
    ledger = wait_until(lambda: all_of(total, [flow.worker, other]), 30, f'{total} records')
    other.stop()
    taken_by = [len(taken(worker)) for worker in ledger.workers]
    live.note(f'{total} records, {taken_by[0]} before, {taken_by[1]} by the other')
    Ledger([flow.worker, other]).check_every_record(live, [topic])
    check_settled(live, group, topic)


def all_of(total, workers):
    ledger = Ledger(workers)
    return ledger if len(ledger.deliveries) >= total else None
