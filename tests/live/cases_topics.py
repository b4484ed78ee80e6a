# SPDX-License-Identifier: Apache-2.0
"""Topics that are many, come late, grow, go and come back."""
import time

from checks import check_complete, members_of
from client import check, wait_until
from registry import case

PLACE = '%p %o\\n'


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
