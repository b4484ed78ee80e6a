# SPDX-License-Identifier: Apache-2.0
"""Several members of one group: what one has got, no other gets."""
import signal

from checks import check_complete, check_settled, finish_together, wait_members
from client import check, wait_until
from registry import case

PLACE = '%p %o\\n'


@case(everywhere=True)
def two_members_share_a_topic(live):
    """Both in one group: all records between them, none twice."""
    topic = live.topic('pair', 4)
    group = live.group('pair')
    cats = [live.cat('cat', group, topic, '-f', PLACE) for _ in range(2)]
    wait_members(live, group, 2)
    live.admin.produce(topic, count=100_000)
    finish_together(live, group, topic, cats)
    check(all(c.pairs() for c in cats), 'one member got nothing')


@case()
def a_member_beside_a_java_member(live):
    """kshare and the Java share consumer in one group."""
    topic = live.topic('mixed', 4)
    group = live.group('mixed')
    java = live.java(group, topic, '-f', PLACE)
    cats = [live.cat('cat', group, topic, '-f', PLACE), java]
    wait_members(live, group, 2)
    live.admin.produce(topic, count=100_000)
    finish_together(live, group, topic, cats)
    check(all(c.pairs() for c in cats), 'one member got nothing')


@case()
def more_members_than_partitions(live):
    """Three members, one partition: each is assigned it, all records once between them."""
    topic = live.topic('crowd')
    group = live.group('crowd')
    cats = [live.cat('cat', group, topic, '-f', PLACE) for _ in range(3)]
    wait_members(live, group, 3)
    live.admin.produce(topic, count=30_000)
    finish_together(live, group, topic, cats)


@case(everywhere=True)
def implicit_and_explicit_members_in_one_group(live):
    """Two of the one kind and one of the other: all records between them, none twice."""
    topic = live.topic('modes', 2)
    group = live.group('modes')
    cats = [live.cat('cat', group, topic, '-m', mode, '-f', PLACE)
            for mode in ('implicit', 'explicit', 'implicit')]
    wait_members(live, group, 3)
    live.admin.produce(topic, count=60_000)
    finish_together(live, group, topic, cats)
    check(cats[1].pairs(), 'the explicit member got nothing')
    check(cats[0].pairs() or cats[2].pairs(), 'the implicit members got nothing')


class Turns:
    """Members that come and go while records keep coming."""

    def __init__(self, live, topic, group):
        self.live = live
        self.topic = topic
        self.group = group
        self.total = 0
        self.cats = []

    def produce(self, count):
        self.total += count
        return self.live.admin.submit('produce', topic=self.topic, count=count,
                                      first=self.total - count)

    def join(self, start, *arguments):
        """Records come until the new member has got some of them."""
        cat = start(self.group, self.topic, '-f', PLACE, '-J', *arguments)
        self.cats.append(cat)

        def has_some():
            self.produce(1000).result(30)
            return cat.out_size()
        wait_until(has_some, 20, 'records for the new member')
        return cat

    def leave(self, cat, number):
        more = self.produce(20_000)
        cat.stop(number)
        more.result(30)

    def finish(self):
        wait_until(lambda: sum(c.out().count(b'\n') for c in self.cats) >= self.total, 30,
                   f'{self.total} lines from all the members')
        for cat in self.cats:
            if cat.running():
                cat.stop()


@case(everywhere=True)
def a_java_member_and_a_member_take_turns(live):
    """They join and leave in mid-flow, alone and side by side: every record accepted by one."""
    topic = live.topic('turns', 2)
    group = live.group('turns')
    turns = Turns(live, topic, group)

    def kshare(*arguments):
        return live.cat('cat', *arguments)
    first = turns.join(kshare)
    java = turns.join(live.java, '-m', 'explicit')
    turns.leave(first, signal.SIGTERM)
    second = turns.join(kshare, '-m', 'explicit')
    turns.leave(java, signal.SIGTERM)
    turns.join(kshare)
    turns.leave(second, signal.SIGINT)
    turns.finish()
    live.note(' + '.join(str(len(c.pairs())) for c in turns.cats))
    check_complete(live, topic, [pair for c in turns.cats for pair in c.pairs()])
    for cat in turns.cats:
        report = cat.report()
        check(not report['acks_failed'] and not report['acks_unknown'],
              f'{report["acks_failed"]} acknowledgements failed, {report["acks_unknown"]} unknown')
    check_settled(live, group, topic)
