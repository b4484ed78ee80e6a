# SPDX-License-Identifier: Apache-2.0
"""Several members, several groups, several topics; topics that come and go."""
import signal
import time

from cases_records import check_complete, check_settled
from client import check, wait_until
from registry import case

PLACE = '%p %o\\n'


def members_of(live, group):
    return live.admin.describe_group(group)['members']


def wait_members(live, group, count):
    """Waits until so many members have an assignment."""
    def assigned():
        members = members_of(live, group)
        return members if len([m for m in members if m['assignment']]) == count else None
    return wait_until(assigned, 30, f'{count} members with an assignment')


def finish_together(live, group, topic, cats):
    """Waits until the members have everything between them, then ends them."""
    total = sum(live.admin.end_offsets(topic).values())
    wait_until(lambda: sum(c.out().count(b'\n') for c in cats) >= total, 60,
               f'{total} lines from all the members')
    for cat, number in zip(cats, (signal.SIGTERM, signal.SIGINT, signal.SIGTERM)):
        cat.stop(number)
    live.note(' + '.join(str(len(c.pairs())) for c in cats))
    check_complete(live, topic, [pair for c in cats for pair in c.pairs()])
    check_settled(live, group, topic)


@case()
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


@case('one-batch', since=(4, 2))
def four_tiny_members_and_one_large_batch(live):
    """5,000 records in one batch, four Tiny members, record_limit: all once, every count 1."""
    topic = live.shared_topic('one-batch')
    group = live.group('tiny-crowd')
    cats = [live.cat('tiny', group, topic, '-e', '-i', '3000', '-f', '%p %o %d\\n',
                     '-X', 'share.acquire.mode=record_limit') for _ in range(4)]
    for cat in cats:
        cat.succeed(90)
    rows = [row for cat in cats for row in cat.pairs()]
    live.note(' + '.join(str(len(c.pairs())) for c in cats))
    check_complete(live, topic, [(p, o) for p, o, _ in rows])
    check({d for _, _, d in rows} == {1}, f'delivery counts {sorted({d for _, _, d in rows})}')
    check_settled(live, group, topic)


@case()
def member_is_visible_and_leaves_at_once(live):
    """The admin client sees the member and its partitions; after SIGTERM an empty group."""
    topic = live.topic('visible', 4)
    group = live.group('visible')
    live.admin.produce(topic, count=100)
    cat = live.cat('cat', group, topic, '-f', PLACE)
    cat.wait_lines(100)
    members = members_of(live, group)
    check(len(members) == 1, f'{len(members)} members')
    check(members[0]['assignment'] == {topic: [0, 1, 2, 3]}, f'{members[0]["assignment"]}')
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
def several_topics_at_once(live):
    """15 topics of 2 partitions through one member."""
    topics = [live.topic('many', 2) for _ in range(15)]
    fills = [live.admin.submit('produce', topic=t, count=200) for t in topics]
    for fill in fills:
        fill.result(60)
    group = live.group('many')
    cat = live.cat('cat', group, ','.join(topics), '-c', '3000', '-f', '%t %p %o\\n').succeed()
    rows = [line.split() for line in cat.lines()]
    for topic in topics:
        check_complete(live, topic, [(int(p), int(o)) for t, p, o in rows if t == topic], topic)


@case()
def topic_that_does_not_exist_yet(live):
    """One clear line, no spinning, and consumption once the topic is there."""
    topic = live.name('not-yet')
    group = live.group('not-yet')
    cat = live.cat('cat', group, topic, '-c', '100', '-f', PLACE, '-J')
    wait_until(lambda: topic in cat.err(), 10, f'a line about {topic} on stderr')
    time.sleep(1)
    cpu, switches = cat.activity()
    time.sleep(5)
    cpu_later, switches_later = cat.activity()
    said = [line for line in cat.err().splitlines() if topic in line]
    live.note(f'in 5 s {cpu_later - cpu} ms CPU, {switches_later - switches} context switches')
    check(len(said) == 1, f'{len(said)} lines about the topic')
    check(cpu_later - cpu <= 50, f'{cpu_later - cpu} ms of CPU in 5 s')
    check(switches_later - switches < 300, f'{switches_later - switches} context switches in 5 s')
    live.admin.create_topic(topic, 2)
    live.admin.produce(topic, count=100)
    start = time.monotonic()
    cat.wait_lines(100, 15)
    live.note(f'first record {time.monotonic() - start:.1f} s after the topic')
    cat.succeed()
    check_complete(live, topic, cat.pairs())


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


@case()
def partitions_added_while_consuming(live):
    """2 partitions become 5; the new ones are read too."""
    topic = live.topic('grow', 2)
    group = live.group('grow')
    live.admin.produce(topic, count=100)
    cat = live.cat('cat', group, topic, '-f', PLACE, '-X', 'metadata.max.age.ms=2000')
    cat.wait_lines(100)
    live.admin.add_partitions(topic, 5)

    def has_all():
        return [m['assignment'].get(topic) for m in members_of(live, group)] == [[0, 1, 2, 3, 4]]
    wait_until(has_all, 20, 'the new partitions assigned')
    live.admin.produce(topic, count=500, first=100)
    cat.wait_lines(600)
    cat.stop()
    check_complete(live, topic, cat.pairs())


@case()
def topic_deleted_and_made_again(live):
    """Under the same name, with another id: the new one is read."""
    topic = live.topic('again')
    group = live.group('again')
    live.admin.produce(topic, count=100)
    cat = live.cat('cat', group, topic, '-f', '%o %s\\n')
    cat.wait_lines(100)
    live.admin.delete_topic(topic)
    time.sleep(2)
    wait_until(lambda: _create(live, topic), 10, 'the topic made again')
    live.admin.produce(topic, count=100, first=1000)
    start = time.monotonic()
    cat.wait_lines(200, 30)
    live.note(f'first new record within {time.monotonic() - start:.1f} s')
    cat.stop()
    new = [line.split('.')[0] for line in cat.lines()[100:]]
    check(sorted(new) == sorted(f'{i} 0:{1000 + i}' for i in range(100)), f'got {new[:5]}...')


def _create(live, topic):
    try:
        live.admin.create_topic(topic)
        return True
    except Exception as e:
        if 'TopicExists' in str(e):
            return False
        raise


@case()
def deleted_records_stall_nothing(live):
    """delete-records moves the start beyond what a member has locked."""
    topic = live.topic('trimmed')
    group = live.group('trimmed')
    live.admin.produce(topic, count=1000)
    cat = live.cat('cat', group, topic, '-c', '10', '-f', PLACE).succeed()
    live.admin.delete_records(topic, before=500)
    rest = live.cat('cat', group, topic, '-e', '-i', '3000', '-f', PLACE, '-J').succeed()
    offsets = sorted(o for _, o in rest.pairs())
    # The broker goes on with whole batches: the one that spans the new start comes in full.
    begin = max(base for base, *_ in live.broker.batches(topic) if base <= 500)
    check(offsets[-500:] == list(range(500, 1000)), f'{len(offsets)} offsets, from {offsets[:1]}')
    check(offsets[0] >= begin, f'offset {offsets[0]} is of a batch that was deleted')
    check(len(set(offsets)) == len(offsets), 'some came twice')
    check(len(cat.pairs()) == 10, f'{len(cat.pairs())} records before')
