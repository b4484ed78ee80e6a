# SPDX-License-Identifier: Apache-2.0
"""Groups beside each other, and how the admin client sees one."""
import time

from checks import check_complete, check_settled, members_of, wait_members
from client import check
from registry import case

PLACE = '%p %o\\n'


@case(everywhere=True)
def member_is_visible_and_leaves_at_once(live):
    """The admin client sees the member, its rack and partitions; after SIGTERM an empty group."""
    topic = live.topic('visible', 4)
    group = live.group('visible')
    live.admin.produce(topic, count=100)
    cat = live.cat('cat', group, topic, '-f', PLACE, '-X', 'client.rack=cellar')
    cat.wait_lines(100)
    members = members_of(live, group)
    check(len(members) == 1, f'{len(members)} members')
    check(members[0]['assignment'] == {topic: [0, 1, 2, 3]}, f'{members[0]["assignment"]}')
    check(members[0]['rack'] == 'cellar', f'rack {members[0]["rack"]}')
    live.note(f'client id {members[0]["client_id"]}')
    cat.stop()
    after = live.admin.describe_group(group)
    check(after['members'] == [] and after['state'] == 'Empty', f'after its end: {after}')


@case()
def groups_are_independent(live):
    """Three groups on one topic each get all of it; one that starts at the end gets nothing old."""
    topic = live.topic('independent', 2)
    live.admin.produce(topic, count=3000)
    late = live.group('late', reset='latest')
    tail = live.cat('cat', late, topic, '-f', PLACE)
    cats = {g: live.cat('cat', g, topic, '-c', '3000', '-f', PLACE)
            for g in (live.group('independent') for _ in range(3))}
    for group, cat in cats.items():
        cat.succeed()
        check_complete(live, topic, cat.pairs())
        check_settled(live, group, topic)
    wait_members(live, late, 1)
    time.sleep(1)
    live.admin.produce(topic, count=10, first=3000)
    tail.wait_lines(10)
    tail.stop()
    offsets = [o for _, o in tail.pairs()]
    check(len(offsets) == 10 and min(offsets) >= 1500, f'the late group got offsets {offsets}')


@case()
def idle_member_does_not_spin(live):
    """Nothing to read: next to no CPU time."""
    topic = live.topic('idle', 4)
    group = live.group('idle')
    cat = live.cat('cat', group, topic, '-f', PLACE)
    wait_members(live, group, 1)
    time.sleep(1)
    cpu, switches = cat.activity()
    time.sleep(4)
    cpu_later, switches_later = cat.activity()
    live.note(f'in 4 s {cpu_later - cpu} ms CPU, {switches_later - switches} context switches')
    check(cpu_later - cpu <= 30, f'{cpu_later - cpu} ms of CPU in 4 s')
    check(switches_later - switches < 200, f'{switches_later - switches} context switches in 4 s')
    cat.stop()


@case(everywhere=True)
def five_groups_with_isolation_and_reset_of_their_own(live):
    """On one topic: each gets exactly what its own configs say, whatever the others do."""
    topic = live.topic('five')
    live.admin.produce(topic, count=200, transaction='commit')
    live.admin.produce(topic, count=300, transaction='abort')
    old = sum(live.admin.end_offsets(topic).values())
    cats = {}
    for isolation, reset in (('read_committed', 'earliest'), ('read_uncommitted', 'earliest'),
                             ('read_committed', 'latest'), ('read_uncommitted', 'latest'),
                             ('read_committed', 'by_duration:PT1H')):
        group = live.group('five', isolation=isolation, reset=reset)
        cats[group, isolation, reset] = live.cat('cat', group, topic, '-f', PLACE)
    for group, _, _ in cats:
        wait_members(live, group, 1)
    time.sleep(1.5)  # "latest" is where the end is when the group first fetches
    live.admin.produce(topic, count=40, transaction='abort')
    live.admin.produce(topic, count=20, transaction='commit')
    for (group, isolation, reset), cat in cats.items():
        seen = live.admin.read(topic, isolation=isolation)
        expected = [o for o in seen if o >= old] if reset == 'latest' else seen
        cat.wait_lines(len(expected), 15)
        cat.stop()
        offsets = sorted(o for _, o in cat.pairs())
        check(offsets == expected, f'{isolation}, {reset}: {len(offsets)} records, '
              f'not {len(expected)}; wrong: {sorted(set(offsets) ^ set(expected))[:5]}')
        live.note(f'{len(offsets)}')
        check_settled(live, group, topic)
