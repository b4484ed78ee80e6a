#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The examples as programs: kshare_cat's command line and promises, the others against the demo's
mini broker, and that README.md shows the code that is compiled.

    run.py --programs DIR [--broker PATH] [--only PATTERN]

DIR holds the built examples; PATH is the demo program (default DIR/demo). One line a test, the last
one "N passed, N failed, N skipped".
"""
import argparse
import fnmatch
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import time
import traceback

ROOT = pathlib.Path(__file__).resolve().parents[2]
TIMEOUT_S = 30
JSON_FIELDS = ['records', 'bytes', 'redelivered', 'acks_ok', 'acks_failed', 'acks_unknown', 'gaps',
               'released', 'rejected', 'renewed', 'renew_failed', 'expired', 'reread', 'reconnects',
               'bytes_received', 'seconds', 'first_record_ms']
TESTS = []


class Failure(AssertionError):
    pass


class Skip(Exception):
    pass


def test(function):
    TESTS.append(function)
    return function


def check(condition, message):
    if not condition:
        raise Failure(message)


def equal(found, wanted, what):
    check(found == wanted, f'{what}: {found!r}, wanted {wanted!r}')


class Result:
    def __init__(self, code, out, err):
        self.code, self.out, self.err = code, out, err

    def lines(self):
        return self.out.decode().split('\n')[:-1]

    def json(self):
        return json.loads(self.err.decode().rstrip('\n').split('\n')[-1])


class Programs:
    def __init__(self, folder, broker):
        self.folder, self.broker = folder, broker

    def path(self, name):
        path = self.folder / name
        if not path.is_file():
            raise Skip(f'no program {name}')
        return str(path)

    def run(self, name, *words, **options):
        done = subprocess.run([self.path(name), *map(str, words)], stdin=subprocess.DEVNULL,
                              stdout=options.pop('stdout', subprocess.PIPE),
                              stderr=subprocess.PIPE, timeout=TIMEOUT_S, **options)
        return Result(done.returncode, done.stdout, done.stderr)

    def start(self, name, *words, **options):
        return subprocess.Popen([self.path(name), *map(str, words)], stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, **options)


class Broker:
    """The demo's mini broker as a process of its own; see examples/demo.cpp for its commands."""

    def __init__(self, programs):
        if not programs.broker.is_file():
            raise Skip(f'no mini broker {programs.broker}')
        self._process = subprocess.Popen([programs.broker, '--broker'], stdin=subprocess.PIPE,
                                         stdout=subprocess.PIPE, encoding='utf-8')
        self.address = self._process.stdout.readline().strip()
        self.groups = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.stdin.close()
        self._process.wait(TIMEOUT_S)
        self._process.stdout.close()

    def do(self, *words):
        self._process.stdin.write(' '.join(map(str, words)) + '\n')
        self._process.stdin.flush()
        answer = self._process.stdout.readline().split()
        check(answer[:1] == ['ok'], f'{words}: the broker says {answer}')
        return [int(word) for word in answer[1:]]

    def topic(self, name='t', partitions=1, count=0, size=20):
        self.do('topic', name, partitions)
        if count:
            self.do('append', name, 0, count, size)

    def state(self, group, name='t', partition=0):
        """available, acquired, acknowledged, archived: counts of records."""
        return self.do('state', group, name, partition)

    def cat(self, *words, group='g', topic='t'):
        return ['-b', self.address, '-g', group, '-t', topic, *words]


def wait_for(condition, what, timeout_s=10):
    end = time.monotonic() + timeout_s
    while not condition():
        check(time.monotonic() < end, f'{what}: not within {timeout_s} s')
        time.sleep(0.02)


def closed_port():
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()[1]


# ---- README.md

def code_blocks(language):
    text = (ROOT / 'README.md').read_text(encoding='utf-8')
    return re.findall(rf'^```{language}\n(.*?)^```', text, re.MULTILINE | re.DOTALL)


@test
def readme_shows_the_code_of_plain_cpp(_programs):
    plain = (ROOT / 'examples/plain.cpp').read_text(encoding='utf-8')
    shown = code_blocks('cpp')[0]
    check(shown in plain, 'the first C++ block of README.md is not in examples/plain.cpp')
    check('int main(' in shown and shown.count('\n') > 15, 'that block is not the program')


@test
def readme_names_files_that_exist(_programs):
    text = (ROOT / 'README.md').read_text(encoding='utf-8')
    pattern = r'(?<![\w/.-])(?:examples|tests|include|cmake)/[\w./-]+\w'
    for name in sorted(set(re.findall(pattern, text))):
        check((ROOT / name).exists(), f'README.md names {name}')
    for command in ('examples/run', 'tests/run'):
        check(os.access(ROOT / command, os.X_OK), f'{command} cannot be run')


@test
def readme_knows_every_limit_and_preset(_programs):
    text = (ROOT / 'README.md').read_text(encoding='utf-8')
    limits = (ROOT / 'include/kshare/core/limits.hpp').read_text(encoding='utf-8')
    for name in re.findall(r'^  uint32_t (\w+);', limits, re.MULTILINE):
        check(f'`{name}`' in text, f'README.md does not mention the limit {name}')
    presets = re.findall(r'inline constexpr Limits (\w+) = \{(.*?)\};', limits, re.DOTALL)
    check(len(presets) == 4, 'presets of limits.hpp')
    for name, body in presets:
        value = {key: int(number) for key, number in re.findall(r'/\*(\w+)\*/ (\d+)', body)}
        slots = value['store_slots']
        row = (f'{value["links_max"]} | {slots} x {value["store_bytes"] // slots // 1024} KiB | '
               f'{value["records_max"]} | {value["partitions_max"]} | {value["topics_max"]} |')
        line = re.search(rf'^\| `{name}` \| \d+ KiB \| (.*)$', text, re.MULTILINE)
        check(line, f'README.md has no row for {name}')
        equal(line[1], row, f'README.md, {name}')


# ---- kshare_cat without a broker

@test
def help_is_an_answer_not_an_error(programs):
    for word in ('-h', '--help', '-vh'):
        result = programs.run('kshare_cat', word)
        equal((result.code, result.err), (0, b''), word)
        for option in 'bgtceifAmXJv':
            check(f'  -{option} ' in result.out.decode() or f' -{option} ' in result.out.decode(),
                  f'{word} does not mention -{option}')


@test
def usage_errors_exit_1_with_one_line(programs):
    good = ['-b', '127.0.0.1:1', '-g', 'g', '-t', 't']
    cases = [
        ([], '-b'), (good[2:], '-b'), (good[:2] + good[4:], '-g'), (good[:4], '-t'),
        ([*good, '-t', ''], '-t'), ([*good, '-t', 'a,,b'], '-t'), ([*good, 'word'], 'word'),
        ([*good, '-z'], '-z'), ([*good, '--verbose'], '-'), ([*good, '-c'], '-c'),
        ([*good, '-c', '0'], '-c'), ([*good, '-c', 'ten'], '-c'), ([*good, '-i', '5'], '-e'),
        ([*good, '-ei', '-5'], '-i'), ([*good, '-f', '%q'], '%q'), ([*good, '-f', 'a%'], '%'),
        ([*good, '-f', '\\q'], '\\q'), ([*good, '-f', '\\x4'], '\\x4'),
        ([*good, '-A', 'renew', '-m', 'implicit'], 'explicit'), ([*good, '-A', 'maybe'], 'maybe'),
        ([*good, '-m', 'auto'], 'auto'), ([*good, '-A', 'reject', '-m', 'implicit'], 'explicit'),
        ([*good, '-X', 'group.id'], 'NAME=VALUE'), ([*good, '-X', 'no.such=1'], 'no.such'),
        ([*good, '-X', 'max.poll.records=0'], 'max.poll.records'),
        ([*good, '-X', 'auto.offset.reset=earliest'], 'share.auto.offset.reset'),
        ([*good, '-X', 'security.protocol=SSL'], 'TLS'),
        (['-b', 'nonsense', *good[2:]], ''), (['-b', '127.0.0.1:0', *good[2:]], ''),
        ([*good[:2], '-g', 'g' * 300, '-t', 't'], ''),
    ]
    for words, hint in cases:
        result = programs.run('kshare_cat', *words)
        what = ' '.join(words) or 'no arguments'
        equal(result.code, 1, what)
        equal(result.out, b'', what)
        equal(result.err.count(b'\n'), 1, f'{what}: lines on stderr: {result.err!r}')
        check(result.err.startswith(b'kshare_cat: ') and hint in result.err.decode(),
              f'{what}: {result.err!r}')


@test
def without_a_broker_exit_2_with_the_address_and_the_reason(programs):
    for name in ('kshare_cat', 'kshare_cat_tiny'):
        first, second = closed_port(), closed_port()
        address = f'127.0.0.1:{first}'
        begin = time.monotonic()
        result = programs.run(name, '-b', address, '-g', 'g', '-t', 't')
        equal((result.code, result.out), (2, b''), f'{name}: {result.err!r}')
        check(time.monotonic() - begin < 10, f'{name} took long')
        equal(result.err.decode().count('\n'), 1, f'{name}: lines on stderr: {result.err!r}')
        check(address in result.err.decode() and 'refused' in result.err.decode(),
              f'{name}: {result.err!r}')
        result = programs.run(name, '-b', f'{address},127.0.0.1:{second}', '-g', 'g', '-t', 't')
        equal((result.code, result.out), (2, b''), f'{name}: {result.err!r}')
        check(str(first) in result.err.decode() and str(second) in result.err.decode(),
              f'{name}: not both addresses: {result.err!r}')


@test
def a_peer_that_is_no_kafka_is_given_up_too(programs):
    with socket.socket() as listener:
        listener.bind(('127.0.0.1', 0))
        listener.listen(16)
        address = '127.0.0.1:%d' % listener.getsockname()[1]
        begin = time.monotonic()
        result = programs.run('kshare_cat', '-b', address, '-g', 'g', '-t', 't', '-J')
        equal((result.code, result.out), (2, b''), str(result.err))
        check(time.monotonic() - begin < 20, 'it took long')
        check(address in result.err.decode().split('\n')[0], str(result.err))
        equal(result.json()['records'], 0, 'records')


@test
def a_host_name_is_refused_with_the_reason(programs):
    result = programs.run('kshare_cat', '-b', 'broker.invalid:9092', '-g', 'g', '-t', 't')
    equal((result.code, result.out), (2, b''), str(result.err))
    check('broker.invalid:9092' in result.err.decode() and 'numeric' in result.err.decode(),
          str(result.err))


# ---- kshare_cat with the mini broker

@test
def the_json_line_has_every_field(programs):
    with Broker(programs) as broker:
        broker.topic(count=10)
        result = programs.run('kshare_cat', *broker.cat('-c', 10, '-J'))
        equal(result.code, 0, str(result.err))
        found = result.json()
        equal(list(found), JSON_FIELDS, 'fields')
        for name, value in found.items():
            check(isinstance(value, float if name == 'seconds' else int), f'{name} is {value!r}')
        equal(found['records'], 10, 'records')
        equal(found['acks_ok'], 10, 'acks_ok')
        check(0 <= found['first_record_ms'] < 5000, str(found))
        check(found['bytes_received'] > found['bytes'] > 0, str(found))


@test
def count_is_exact_and_every_printed_record_is_settled(programs):
    for mode in (['-m', 'implicit'], ['-m', 'explicit'], []):
        for name in ('kshare_cat', 'kshare_cat_tiny'):
            for count in (1, 7, 300):
                with Broker(programs) as broker:
                    broker.topic(count=400)
                    result = programs.run(name, *broker.cat('-c', count, *mode))
                    what = f'{name} {mode} -c {count}'
                    equal((result.code, result.err), (0, b''), what)
                    equal([int(line.split()[0]) for line in result.lines()],
                          list(range(count)), what)
                    equal(broker.state('g'), [400 - count, 0, count, 0], what)


@test
def idle_ends_and_settles_everything(programs):
    for mode in ('implicit', 'explicit'):
        with Broker(programs) as broker:
            broker.topic(partitions=3, count=50)
            broker.do('append', 't', 2, 60, 100)
            begin = time.monotonic()
            result = programs.run('kshare_cat',
                                  *broker.cat('-e', '-i', 700, '-m', mode, '-f', '%p %o\\n'))
            took = time.monotonic() - begin
            equal((result.code, result.err), (0, b''), mode)
            equal(sorted(result.lines()), sorted([f'0 {i}' for i in range(50)]
                                                 + [f'2 {i}' for i in range(60)]), mode)
            check(0.7 <= took < 10, f'{mode}: {took:.1f} s')
            equal(broker.state('g'), [0, 0, 50, 0], mode)
            equal(broker.state('g', partition=2), [0, 0, 60, 0], mode)


@test
def a_topic_without_records_ends_too(programs):
    with Broker(programs) as broker:
        broker.topic()
        result = programs.run('kshare_cat', *broker.cat('-ei300', '-J'))
        equal((result.code, result.out), (0, b''), str(result.err))
        equal(result.json()['first_record_ms'], -1, 'first_record_ms')


@test
def format_tokens(programs):
    with Broker(programs) as broker:
        broker.topic()
        broker.do('value', 't', 0, 'some text')
        words = '%t|%p|%o|%k|%s|%S|%K|%h|%d|%%|\\t\\x41\\\\|%T\\n'
        result = programs.run('kshare_cat', *broker.cat('-c1', '-f', words))
        line = result.out.decode()
        wanted = r't\|0\|0\|\|some text\|9\|-1\|\|1\|%\|\tA\\\|\d{13}\n'
        check(re.fullmatch(wanted, line), repr(line))


@test
def release_and_reject(programs):
    with Broker(programs) as broker:
        broker.topic(count=5)
        result = programs.run('kshare_cat', *broker.cat('-c5', '-A', 'release', '-J'))
        equal((result.code, len(result.lines())), (0, 5), str(result.err))
        equal((result.json()['released'], result.json()['acks_ok']), (5, 5), str(result.err))
        equal(broker.state('g'), [5, 0, 0, 0], 'released')
        result = programs.run('kshare_cat', *broker.cat('-c5', '-f', '%d ', '-A', 'reject', '-J'))
        equal((result.code, result.out), (0, b'2 2 2 2 2 '), str(result.err))
        equal((result.json()['rejected'], result.json()['redelivered']), (5, 5), str(result.err))
        available, acquired, _, _ = broker.state('g')
        equal((available, acquired), (0, 0), 'rejected')


@test
def renew_once_and_accept(programs):
    for name in ('kshare_cat', 'kshare_cat_tiny'):
        with Broker(programs) as broker:
            broker.topic(count=100)
            result = programs.run(name, *broker.cat('-c', 100, '-A', 'renew', '-J'))
            equal((result.code, len(result.lines())), (0, 100), str(result.err))
            found = result.json()
            equal((found['renewed'] >= 100, found['renew_failed'], found['acks_ok']),
                  (True, 0, 100), str(found))
            equal(broker.state('g'), [0, 0, 100, 0], name)


@test
def signals_end_it_cleanly(programs):
    for number in (signal.SIGINT, signal.SIGTERM):
        for mode in ('implicit', 'explicit'):
            with Broker(programs) as broker:
                broker.topic(count=20)
                cat = programs.start('kshare_cat', *broker.cat('-m', mode, '-J'))
                seen = [cat.stdout.readline() for _ in range(20)]
                cat.send_signal(number)
                out, err = cat.communicate(timeout=TIMEOUT_S)
                equal((cat.returncode, out, len(seen)), (0, b'', 20), f'{mode}: {err!r}')
                equal(broker.state('g'), [0, 0, 20, 0], mode)
                check(json.loads(err.decode().splitlines()[-1])['acks_ok'] == 20, str(err))


@test
def a_reader_that_goes_away_ends_it_and_loses_nothing(programs):
    with Broker(programs) as broker:
        broker.topic(count=1500, size=100)
        cat = programs.start('kshare_cat', *broker.cat())
        first = [cat.stdout.readline() for _ in range(3)]
        cat.stdout.close()
        broker.do('append', 't', 0, 1500, 100)
        cat.wait(TIMEOUT_S)
        err = cat.stderr.read()
        cat.stderr.close()
        equal((cat.returncode, err, len(first)), (0, b'', 3), 'EPIPE')
        available, acquired, done, archived = broker.state('g')
        equal((acquired, archived), (0, 0), 'left behind')
        check(available > 0 and available + done == 3000, f'{available} {done}')


@test
def a_full_disk_is_said_and_accepts_nothing(programs):
    if not os.path.exists('/dev/full'):
        raise Skip('no /dev/full')
    with Broker(programs) as broker, open('/dev/full', 'wb') as full:
        broker.topic(count=10)
        result = programs.run('kshare_cat', *broker.cat(), stdout=full)
        equal(result.code, 1, str(result.err))
        check(b'standard output' in result.err, str(result.err))
        equal(broker.state('g'), [10, 0, 0, 0], 'state')


@test
def a_kill_never_loses_an_accepted_line(programs):
    for mode in ('implicit', 'explicit'):
        with Broker(programs) as broker:
            broker.topic(count=5000, size=200)
            cat = programs.start('kshare_cat', *broker.cat('-m', mode))
            # The pipe is small: it stands still inside write() while acknowledgements are pending.
            for _ in range(700):
                cat.stdout.readline()
            cat.kill()
            rest = cat.stdout.read()
            cat.communicate()
            printed = 700 + rest.count(b'\n')
            _, _, done, _ = broker.state('g')
            check(0 < done <= printed, f'{mode}: {done} accepted, {printed} printed')


@test
def damage_is_said_and_passed_over(programs):
    with Broker(programs) as broker:
        broker.topic(count=3)
        broker.do('corrupt', 't', 0)
        broker.do('append', 't', 0, 3, 20)
        result = programs.run('kshare_cat', *broker.cat('-c6', '-f', '%o '))
        equal((result.code, result.out), (0, b'0 1 2 4 5 6 '), str(result.err))
        check(b'offset 3' in result.err and b'CRC' in result.err, str(result.err))


@test
def a_record_larger_than_a_slot_is_said(programs):
    with Broker(programs) as broker:
        broker.topic()
        broker.do('append', 't', 0, 1, 300000)
        broker.do('append', 't', 0, 2, 20)
        result = programs.run('kshare_cat', *broker.cat('-c2', '-f', '%o '))
        equal((result.code, result.out), (0, b'1 2 '), str(result.err)[:300])
        check(b'larger than a store slot' in result.err, str(result.err))


@test
def a_missing_topic_is_said_once_and_waited_for(programs):
    with Broker(programs) as broker:
        cat = programs.start('kshare_cat', *broker.cat('-c1', topic='later'))
        line = cat.stderr.readline()
        check(b'later' in line and b'does not exist' in line, str(line))
        broker.topic('later', count=1)
        out, err = cat.communicate(timeout=TIMEOUT_S)
        equal((cat.returncode, out[:2], err), (0, b'0 ', b''), 'after the topic was made')


@test
def a_refused_member_exits_2_with_the_reason(programs):
    with Broker(programs) as broker:
        broker.topic()
        broker.do('disable')
        result = programs.run('kshare_cat', *broker.cat('-J'))
        equal((result.code, result.out), (2, b''), str(result.err))
        check('share.version' in result.err.decode(), str(result.err))
        equal(result.json()['records'], 0, 'records')


@test
def verbose_tells_the_story(programs):
    with Broker(programs) as broker:
        broker.topic(count=1)
        result = programs.run('kshare_cat', *broker.cat('-v', '-c1'))
        text = result.err.decode()
        equal(result.code, 0, text)
        for part in (f'connected to {broker.address}', 'joined', 'assigned'):
            check(part in text, f'no "{part}" in {text!r}')


@test
def several_topics_by_comma_and_by_repeating(programs):
    with Broker(programs) as broker:
        for name in ('a', 'b', 'c'):
            broker.topic(name, count=2)
        result = programs.run('kshare_cat', *broker.cat('-t', 'c', '-c6', '-f', '%t', topic='a,b'))
        equal((result.code, sorted(result.out.decode())), (0, sorted('aabbcc')), str(result.err))


@test
def an_idle_cat_sleeps(programs):
    with Broker(programs) as broker:
        broker.topic(count=10)
        cat = programs.start('kshare_cat', *broker.cat())
        for _ in range(10):
            cat.stdout.readline()
        time.sleep(0.2)
        before = cpu_ticks(cat.pid)
        time.sleep(1)
        spent = cpu_ticks(cat.pid) - before
        cat.terminate()
        cat.communicate(timeout=TIMEOUT_S)
        check(spent < 5, f'{spent} % of a CPU while idle')


@test
def resident_memory_stays_below_3_mib(programs):
    for name in ('kshare_cat', 'kshare_cat_tiny'):
        with Broker(programs) as broker:
            broker.topic(partitions=4, count=3000, size=300)
            cat = programs.start(name, *broker.cat())
            for _ in range(3000):
                cat.stdout.readline()
            status = pathlib.Path(f'/proc/{cat.pid}/status').read_text()
            cat.terminate()
            cat.communicate(timeout=TIMEOUT_S)
            peak = int(re.search(r'VmHWM:\s*(\d+)', status)[1])
            check(peak < 3072, f'{name}: {peak} KiB resident')
            print(f'      {name}: {peak} KiB resident at most')


# ---- The other examples

@test
def plain_prints_what_it_works_on(programs):
    with Broker(programs) as broker:
        broker.topic('commands', partitions=2, count=5)
        plain = programs.start('plain', broker.address)
        seen = [plain.stdout.readline() for _ in range(5)]
        equal([line.split()[0] for line in seen], [b'%d' % i for i in range(5)], 'lines')
        wait_for(lambda: broker.state('gateways', 'commands')[2] == 5, 'all accepted')
        plain.kill()
        plain.communicate()


def lines_until(process, last):
    """What explicit_ack prints, but for events, up to this line; then it is ended."""
    seen = []
    while last not in seen:
        line = process.stdout.readline()
        check(line, f'it ended: {seen}')
        seen.append(line)
    process.terminate()
    process.communicate(timeout=TIMEOUT_S)
    equal(process.returncode, 0, 'exit code')
    return [line for line in seen if line[:1] != b'#']


@test
def explicit_ack_decides_by_outcome_and_attempt(programs):
    with Broker(programs) as broker:
        broker.topic()
        for text in ('good', 'bad', 'busy'):
            broker.do('value', 't', 0, text)
        process = programs.start('explicit_ack', broker.address, 'g', 't')
        equal(lines_until(process, b'2 try 3 accept busy\n'),
              [b'0 try 1 accept good\n', b'1 try 1 reject bad\n', b'2 try 1 release busy\n',
               b'2 try 2 release busy\n', b'2 try 3 accept busy\n'], 'lines')


@test
def explicit_ack_renews_slow_work(programs):
    with Broker(programs) as broker:
        broker.topic()
        broker.do('lock', 'g', 800)
        for text in ('slow', 'good'):
            broker.do('value', 't', 0, text)
        process = programs.start('explicit_ack', broker.address, 'g', 't')
        lines = lines_until(process, b'0 accept after slow work\n')
        check(b'1 try 1 accept good\n' in lines, f'others go on: {lines}')
        check(lines.count(b'0 renew\n') >= 2, f'renewals: {lines}')
        equal(broker.state('g'), [0, 0, 2, 0], 'settled once')


@test
def epoll_loop_reads_and_closes(programs):
    with Broker(programs) as broker:
        broker.topic(partitions=2, count=500)
        process = programs.start('epoll', broker.address, 'g', 't', stdin=subprocess.PIPE)
        seen = [process.stdout.readline().split()[0] for _ in range(500)]
        equal(seen, [b'%d' % i for i in range(500)], 'lines')
        broker.do('append', 't', 1, 1, 10)
        equal(process.stdout.readline()[:2], b'0 ', 'a later record')
        before = cpu_ticks(process.pid)
        time.sleep(1)
        check(cpu_ticks(process.pid) - before < 5, 'it spins when idle')
        process.communicate(b'\n', timeout=TIMEOUT_S)
        equal(process.returncode, 0, 'exit code')
        equal(broker.state('g')[:2], [0, 0], 'state')


def cpu_ticks(pid):
    stat = pathlib.Path(f'/proc/{pid}/stat').read_text().rsplit(')', 1)[1].split()
    return int(stat[11]) + int(stat[12])


@test
def static_memory_keeps_to_the_presets(programs):
    result = programs.run('static_memory')
    equal(result.code, 0, str(result.err))
    total = re.search(r'^all\s+(\d+)\s+(\d+)\s+(\d+)\s+(\d+)$', result.out.decode(), re.MULTILINE)
    check(total, result.out.decode())
    for size, most in zip(map(int, total.groups()), (16, 64, 512, 2048)):
        check(size <= most * 1024, f'{size} bytes, promised {most} KiB')


@test
def demo_shows_a_redelivery_and_ends(programs):
    result = programs.run('demo')
    text = result.out.decode()
    equal(result.code, 0, text)
    check('try 2' in text and 'released' in text and 'Tiny' in text, text)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--programs', '--bin', type=pathlib.Path, required=True)
    parser.add_argument('--broker', type=pathlib.Path)
    parser.add_argument('--only', default='*', help='tests whose name matches this pattern')
    options = parser.parse_args()
    folder = options.programs.resolve()
    programs = Programs(folder, (options.broker or folder / 'demo').resolve())
    strict = os.environ.get('CI') == 'true'
    passed = failed = skipped = 0
    for function in TESTS:
        name = function.__name__.replace('_', ' ')
        if not fnmatch.fnmatch(function.__name__, f'*{options.only}*'):
            continue
        try:
            function(programs)
            passed += 1
            print(f'ok    {name}', flush=True)
        except Skip as why:
            skipped += not strict
            failed += strict
            print(f'{"FAIL" if strict else "skip"}  {name}: {why}', flush=True)
        except (Failure, subprocess.TimeoutExpired, OSError) as why:
            failed += 1
            print(f'FAIL  {name}: {why}', flush=True)
        except Exception:
            failed += 1
            print(f'FAIL  {name}\n{traceback.format_exc()}', flush=True)
    print(f'{passed} passed, {failed} failed, {skipped} skipped')
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
