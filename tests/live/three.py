# SPDX-License-Identifier: Apache-2.0
"""A cluster of three, and how long records waited in it."""
import kafka
from client import check, wait_until
from ledger import Ledger, now

ROW = 'three brokers'  # the files that use the one cluster run one after the other


class Three:
    """A cluster of three that several tests use one after the other."""

    def __init__(self, live):
        self.cluster = kafka.Cluster(3, live.version)
        self.cluster.start()
        self.admin = kafka.Admin(self.bootstrap)
        self.revive()
        live.at(self).warm()

    def revive(self):
        for node in self.cluster.nodes:
            node.revive()
        wait_until(lambda: self.admin.call('ping') == 3, 20, 'three brokers')

    @property
    def bootstrap(self):
        return self.cluster.bootstrap

    def node(self, node_id):
        return self.cluster.nodes[node_id - 1]

    def lead_alone(self, topic, node):
        for partition in self.admin.leaders(topic):
            self.admin.move_leader(topic, partition, node)
        self.wait_leaders(topic, lambda leaders: leaders == {node})

    def coordinators_on(self, node):
        """All of them on this node alone, so that no harm to the others reaches them."""
        for internal in '__consumer_offsets', '__share_group_state':
            self.lead_alone(internal, node)

    def wait_leaders(self, topic, wanted, timeout_s=20):
        """Waits until wanted(the ids of the topic's leaders) holds; returns now()."""
        wait_until(lambda: wanted(set(self.admin.leaders(topic).values())), timeout_s,
                   f'the leaders of {topic}')
        return now()

    def coordinator_of(self, group):
        """The node on which this group has its coordinator."""
        value = 0
        for byte in group.encode():
            value = (31 * value + byte) & 0xFFFFFFFF  # as String.hashCode of Java
        partition = (value & 0x7FFFFFFF) % kafka.SMALL['offsets.topic.num.partitions']
        return self.admin.leaders('__consumer_offsets')[partition]

    def close(self):
        self.admin.close()
        self.cluster.close()


def cluster_of(live):
    """The one cluster, with all its nodes: a test that failed may have left some dead or frozen."""
    three = live.once(Three)
    three.revive()
    return three


class Flow:
    """A worker in a group of its own, while records keep coming to all partitions of topics.

    losing: those of the topics to which the producer may fail to send some.
    """

    def __init__(self, live, topics, *arguments, group=None, losing=()):
        self.live = live
        self.topics = topics
        self.group = group or live.group('flow', heartbeat_ms=1000)
        self.worker = live.worker('worker', self.group, topics, 'idle_ms=90000', *arguments)
        self._ends = [live.admin.start_flow(topic, losses=topic in losing) for topic in topics]
        self.worker.wait_lines(100)
        self._began = now()

    def widen(self, topic):
        """Records for its new partitions too."""
        self.live.admin.stop_flow(topic)
        self._ends[self.topics.index(topic)].result(60)
        self._ends[self.topics.index(topic)] = self.live.admin.start_flow(topic)

    def stop_producing(self):
        for topic in self.topics:
            self.live.admin.stop_flow(topic)
        for end in self._ends:
            end.result(60)

    def end(self):
        """No more records; the worker reads the rest, and its ledger must add up."""
        self.stop_producing()
        total = sum(sum(self.live.admin.end_offsets(t).values()) for t in self.topics)
        wait_until(lambda: len(taken(self.worker)) >= total, 30,
                   f'{total} different records (have {len(taken(self.worker))})')
        self.worker.stop()
        self.ledger = Ledger([self.worker])
        self.ledger.check_every_record(self.live, self.topics)
        again = len(self.ledger.all()) - total
        report = self.worker.report()
        self.live.note(f'{total} records, {again} twice')
        check(again <= report['acks_failed'] + report['acks_unknown'],
              f'{again} came twice, but only {report["acks_failed"]} acks failed '
              f'and {report["acks_unknown"]} are unknown')

    def check_lag(self, bound_s, what, excused, only=lambda topic, partition: True):
        """No record has waited longer between its leader and the worker; append_time() is needed.

        excused(topic, partition): spans of time, [(from, to)], in which it could not be read.
        """
        longest, where, count = 0, None, 0
        for (topic, partition, offset), deliveries in self.ledger.deliveries.items():
            made, end = deliveries[0].made, min(d.at for d in deliveries)
            spans = [(0, self._began), *excused(topic, partition)]
            if not only(topic, partition) or any(a <= made and end <= b for a, b in spans):
                continue
            count += 1
            waited = end - made - sum(max(0, min(end, b) - max(made, a)) for a, b in spans)
            if waited > longest:
                longest, where = waited, (topic, partition, offset)
        self.live.note(f'{what} {longest:.2f} s ({count})')
        check(count, f'{what}: no record')
        check(longest < bound_s, f'{what}: {where} has waited {longest:.1f} s')


def taken(worker):
    return {tuple(line.split()[1:4]) for line in worker.lines() if line.startswith('take ')}


def append_time():
    """Configs of a topic whose timestamps say when a leader has taken a record in."""
    return {'message.timestamp.type': 'LogAppendTime'}


def longest_waits(ledger):
    """{(topic, partition): the longest time without a record of it, while it had some}.

    For partitions that were full before: from the very first record to the partition's last.
    """
    times = {}
    for (topic, partition, _), deliveries in ledger.deliveries.items():
        times.setdefault((topic, partition), []).extend(d.at for d in deliveries)
    start = min(min(t) for t in times.values())
    waits = {}
    for partition, at in times.items():
        at = [start, *sorted(at)]
        waits[partition] = max(b - a for a, b in zip(at, at[1:]))
    return waits
