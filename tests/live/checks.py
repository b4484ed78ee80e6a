# SPDX-License-Identifier: Apache-2.0
"""What many of the live tests wait for and check."""
import os
import signal
import time

from client import check, wait_until


def everything(counts):
    """All (partition, offset) of a topic with these end offsets."""
    return {(p, o) for p, end in counts.items() for o in range(end)}


def check_complete(live, topic, pairs, what='records'):
    """Each (partition, offset) of the topic exactly once."""
    expected = everything(live.admin.end_offsets(topic))
    got = set(pairs)
    missing, foreign = expected - got, got - expected
    check(not missing, f'{len(missing)} {what} missing, the first {sorted(missing)[:5]}')
    check(not foreign, f'{len(foreign)} {what} that were never produced: {sorted(foreign)[:5]}')
    check(len(pairs) == len(got), f'{len(pairs) - len(got)} {what} came twice')


def check_settled(live, group, topic, timeout_s=5):
    """The broker has everything down as done.

    The lag is what tells: the start offset is only written along with the *next* change of state,
    so that it stays behind the end of the topic for as long as nothing more happens (4.3).
    """
    if live.version_is_before(4, 2):
        return  # tells no lag

    deadline = time.monotonic() + timeout_s
    while True:
        offsets = live.admin.group_offsets(group, topic)
        if offsets and not any(v['lag'] for v in offsets.values()):
            return
        check(time.monotonic() < deadline,
              f'{group} is not at the end after {timeout_s} s: {offsets}')
        time.sleep(0.1)


def read_all(live, topic, expected, which='cat', **configs):
    """A fresh group reads exactly these offsets of partition 0, and is then at the end."""
    group = live.group('log', **configs)
    cat = live.cat(which, group, topic, '-e', '-i', '2500', '-f', '%o %d\\n', '-J').succeed(60)
    offsets = sorted(o for o, _ in cat.pairs())
    wrong = sorted(set(offsets) ^ set(expected))[:5]
    about = ', '.join([which, *map(str, configs.values())])
    check(offsets == sorted(expected),
          f'{about}: {len(offsets)} records, not {len(expected)}; wrong: {wrong}')
    counts = {d for _, d in cat.pairs()}
    check(counts <= {1}, f'{about}: delivery counts {sorted(counts)}')
    check_settled(live, group, topic)
    return cat.report()


def check_clean(report, records):
    check(report['records'] == records, f'-J says {report["records"]} records, not {records}')
    for field in ('redelivered', 'acks_failed', 'acks_unknown'):
        check(report[field] == 0, f'-J says {field}={report[field]}')


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


def rows_of(data):
    """Complete lines "PARTITION OFFSET ..." as places."""
    return [tuple(map(int, line.split()[:2])) for line in data.split(b'\n')[:-1]]


def read_rest(cat):
    data = b''
    while chunk := os.read(cat.pipe.fileno(), 1 << 16):
        data += chunk
    return data
