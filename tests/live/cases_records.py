# SPDX-License-Identifier: Apache-2.0
"""Every record once, in little memory, as it was produced."""
import json
import re
import time

from checks import check_clean, check_complete, check_settled
from client import check
from registry import case


@case('million', alone=True)
def a_million_records_once_in_3_mib(live):
    """1,000,000 records on 4 partitions: each once, one thread, peak resident below 3 MiB."""
    topic = live.shared_topic('million')
    group = live.group('million')
    cat = live.cat('cat', group, topic, '-c', '1000000', '-f', '%p %o\\n', '-J').succeed(120)
    report = cat.report()
    live.note(f'{report["seconds"]} s, {cat.cpu_s:.2f} s CPU, {cat.peak_kb} KiB resident')
    check_complete(live, topic, cat.pairs())
    check_clean(report, 1_000_000)
    check(cat.threads == 1, f'{cat.threads} threads')
    check(0 < cat.peak_kb < 3072, f'{cat.peak_kb} KiB resident at the peak')
    check_settled(live, group, topic)


@case(alone=True, everywhere=True)
def first_record_of_a_fresh_group_in_time(live):
    """Within 1.5 s (0.5 s before 4.3), on a cluster whose internal topics exist."""
    topic = live.topic('fresh')
    live.admin.produce(topic, count=10)
    cat = live.cat('cat', live.group('fresh'), topic, '-c', '1', '-J').succeed(30)
    first = cat.report()['first_record_ms']
    live.note(f'{first} ms')
    limit = 500 if live.version_is_before(4, 3) else 1500
    check(first <= limit, f'first record after {first} ms')


@case(alone=True, everywhere=True)
def first_record_of_a_known_group_within_300_ms(live):
    """A group whose share partitions exist is assigned in its first heartbeat."""
    topic = live.topic('known')
    group = live.group('known')
    live.admin.produce(topic, count=10)
    live.cat('cat', group, topic, '-c', '1').succeed(30)
    time.sleep(1.2)  # from 4.3 on a group gets at most one new assignment a second
    cat = live.cat('cat', group, topic, '-c', '1', '-J').succeed(30)
    first = cat.report()['first_record_ms']
    live.note(f'{first} ms')
    check(first <= 300, f'first record after {first} ms')


@case('hundred-thousand', alone=True)
def tiny_reads_a_hundred_thousand(live):
    """The Tiny build, whose slots are smaller than the producer's batches."""
    topic = live.shared_topic('hundred-thousand')
    group = live.group('tiny')
    cat = live.cat('tiny', group, topic, '-c', '100000', '-f', '%p %o\\n', '-J').succeed(120)
    report = cat.report()
    live.note(f'{report["seconds"]} s, {report["reread"]} reread, {cat.peak_kb} KiB resident')
    check_complete(live, topic, cat.pairs())
    check_clean(report, 100_000)
    check_settled(live, group, topic)


def read_on_arm(live, which):
    group = live.group('arm')
    topic = live.shared_topic('hundred-thousand')
    cat = live.cat(which, group, topic, '-c', '100000', '-f', '%p %o\\n', '-J').succeed(200)
    report = cat.report()
    live.note(f'{report["seconds"]} s, {report["reread"]} reread')
    check_complete(live, topic, cat.pairs())
    check_clean(report, 100_000)
    check_settled(live, group, topic)


@case('hundred-thousand', alone=True)
def a_static_aarch64_program_reads_a_hundred_thousand(live):
    """kshare_cat as an ARM gateway would run it, in an emulator."""
    read_on_arm(live, 'cat_aarch64')


@case('hundred-thousand', alone=True)
def a_static_armhf_program_reads_a_hundred_thousand(live):
    """The same with 32 bits."""
    read_on_arm(live, 'cat_armhf')


def read_around_a_large_record(live, which, size, **producer):
    topic = live.topic('large')
    records = [{'value': f'small {i}'} for i in range(21)]
    records[10] = {'value': 'L' * size}
    live.admin.produce(topic, records=records, **producer)
    cat = live.cat(which, live.group('large'), topic, '-e', '-i', '3000', '-f', '%o %S\\n', '-v')
    cat.succeed(60)
    offsets = [o for o, _ in cat.pairs()]
    check(sorted(set(offsets)) == [o for o in range(21) if o != 10], f'got offsets {offsets}')
    check(len(set(offsets)) == len(offsets), f'some came twice: {offsets}')
    said = [line for line in cat.err().splitlines()
            if topic in line and re.search(r'\b10\b', line) and re.search(r'\b0\b', line)]
    check(said, 'no line on stderr names topic, partition 0 and offset 10')
    live.note(said[0].strip())


@case()
def record_larger_than_a_slot_is_named_and_passed_by(live):
    """A record of 10 KB among small ones, in one batch with them: Tiny."""
    read_around_a_large_record(live, 'tiny', 10_000, linger_ms=1000)


@case()
def record_larger_than_a_slot_in_a_batch_of_its_own(live):
    """The same with every record in a batch of its own."""
    read_around_a_large_record(live, 'tiny', 10_000, batch_size=0, linger_ms=0)


@case()
def record_of_900_kb_is_named_and_passed_by(live):
    """The same for the default limits."""
    read_around_a_large_record(live, 'cat', 900_000, linger_ms=1000)


@case(everywhere=True)
def null_and_empty_stay_apart(live):
    """Keys, values, headers and timestamps as produced."""
    topic = live.topic('fields')
    records = [
        {'key': None, 'value': None},
        {'key': '', 'value': ''},
        {'key': 'k', 'value': 'v', 'timestamp': 1_700_000_000_123},
        {'key': 'k', 'value': 'v', 'headers': [['a', '1'], ['b', ''], ['c', None], ['a', '2']]},
        {'key': 'schl\u00fcssel', 'value': 'a\u0000b', 'timestamp': 0},
    ]
    live.admin.produce(topic, records=records)
    cat = live.cat('cat', live.group('fields'), topic, '-c', '5', '-f',
                   '%t|%p|%o|%K|%k|%S|%s|%h|%T|%d\\n').succeed(30)
    rows = [line.split('|') for line in cat.lines()]
    check(len(rows) == 5, f'{len(rows)} lines')
    expected = [
        ['-1', '', '-1', '', ''],
        ['0', '', '0', '', ''],
        ['1', 'k', '1', 'v', ''],
        ['1', 'k', '1', 'v', 'a=1,b=,c=NULL,a=2'],
        ['10', 'schl\u00fcssel', '3', 'a\u0000b', ''],
    ]
    for offset, (row, want) in enumerate(zip(rows, expected)):
        check(row[:3] == [topic, '0', str(offset)], f'wrong place: {row}')
        check(row[3:8] == want, f'offset {offset}: {row[3:8]}, not {want}')
        check(row[9] == '1', f'delivery count {row[9]}')
    check(rows[2][8] == '1700000000123', f'timestamp {rows[2][8]}')
    check(rows[4][8] == '0', f'timestamp {rows[4][8]}')


@case()
def time_of_the_broker_is_shown(live):
    """A topic with LogAppendTime: %T is when the broker took the record."""
    topic = live.topic('append-time', configs={'message.timestamp.type': 'LogAppendTime'})
    before = time.time() * 1000
    live.admin.produce(topic, records=[{'value': 'v', 'timestamp': 1}])
    cat = live.cat('cat', live.group('append-time'), topic, '-c', '1', '-f', '%T\\n').succeed(30)
    shown = int(cat.lines()[0])
    check(before - 1 <= shown <= time.time() * 1000, f'shown {shown}, not about {before:.0f}')


@case()
def a_hundred_headers_and_a_huge_one(live):
    """They are printed in full and in order."""
    topic = live.topic('headers')
    headers = [[f'h{i}', str(i)] for i in range(100)] + [['huge', 'x' * 8_000]]
    live.admin.produce(topic, records=[{'value': 'v', 'headers': headers}])
    cat = live.cat('cat', live.group('headers'), topic, '-c', '1', '-e', '-f', '%h\\n')
    cat.succeed(30)
    want = ','.join(f'{k}={v}' for k, v in headers)
    check(cat.lines() == [want], f'headers differ: {json.dumps(cat.lines())[:300]}')
