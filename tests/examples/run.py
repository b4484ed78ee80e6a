#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The examples as programs: kshare_cat's command line and promises, the others against
kshare_minibroker, that program itself, and that README.md shows the code that is compiled.

    run.py --programs DIR [--broker PATH] [--only PATTERN]...

DIR holds the built examples; PATH is kshare_minibroker (default DIR/../tests/kshare_minibroker).
One line a test, the last one "N passed, N failed, N skipped".
"""
import argparse
import fnmatch
import itertools
import json
import os
import pathlib
import re
import resource
import signal
import socket
import subprocess
import sys
import tempfile
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
    """kshare_minibroker with these options; `kshare_minibroker -h` lists its commands."""

    def __init__(self, programs, *options):
        if not programs.broker.is_file():
            raise Skip(f'no mini broker {programs.broker}')
        self._process = subprocess.Popen([programs.broker, *map(str, options)],
                                         stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                         encoding='utf-8')
        self.address = self._process.stdout.readline().strip()
        self.pid = self._process.pid
        self.groups = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.stdin.close()
        self._process.wait(TIMEOUT_S)
        self._process.stdout.close()

    def ask(self, *words):
        """The lines of an answer; the last one begins with "ok" or "error", those before do not."""
        self._process.stdin.write(' '.join(map(str, words)) + '\n')
        self._process.stdin.flush()
        lines = [self._process.stdout.readline().rstrip('\n')]
        while lines[-1][:1] == ' ':
            lines.append(self._process.stdout.readline().rstrip('\n'))
        return lines

    def do(self, *words):
        answer = self.ask(*words)[-1].split()
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


@test
def readme_has_the_answer_to_every_property(programs):
    text = (ROOT / 'README.md').read_text(encoding='utf-8')
    table = re.search(r'<!-- properties -->\n(.*)<!-- /properties -->', text, re.DOTALL)
    check(table, 'README.md has no table of properties')
    shown = table[1].splitlines()[2:]  # behind its head
    wanted = programs.run('properties').out.decode().splitlines()
    for pair in itertools.zip_longest(shown, wanted):
        equal(*pair, 'the table of properties in README.md')


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
def a_host_name_that_nobody_knows_is_said(programs):
    result = programs.run('kshare_cat', '-b', 'broker.invalid:9092', '-g', 'g', '-t', 't')
    equal((result.code, result.out), (2, b''), str(result.err))
    check('broker.invalid:9092' in result.err.decode() and 'DNS' in result.err.decode(),
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
        broker.do('share', 'off')
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


def exchanged(text, link):
    """The requests and answers of a link that -v has told, each as '> ShareFetch'."""
    pattern = rf'^kshare_cat: \d+\.\d{{3}} link {link} ([<>] \w+) v\d+ #\d+, \d+ bytes'
    return re.findall(pattern, text, re.MULTILINE)


@test
def verbose_prints_each_request_and_answer(programs):
    with Broker(programs) as broker:
        broker.topic(count=3)
        result = programs.run('kshare_cat', *broker.cat('-v', '-c3', '-J'))
        text = result.err.decode()
        equal((result.code, len(result.lines())), (0, 3), text)
        way_in = ['ApiVersions', 'Metadata', 'FindCoordinator', 'ShareGroupHeartbeat']
        control = exchanged(text, 0)
        equal(control[:8], [f'{way} {api}' for api in way_in for way in '><'], text)
        equal(control[-2:], ['> ShareGroupHeartbeat', '< ShareGroupHeartbeat'], text)
        leader = exchanged(text, 1)
        equal(leader[:4], ['> ApiVersions', '< ApiVersions', '> ShareFetch', '< ShareFetch'], text)
        equal(leader[-2:], ['> ShareAcknowledge', '< ShareAcknowledge'], text)
        for both in (control, leader):
            equal([line[2:] for line in both[::2]], [line[2:] for line in both[1::2]], text)
        sizes = [int(size) for size in re.findall(r' < .*?, (\d+) bytes', text)]
        equal(sum(sizes), result.json()['bytes_received'], 'bytes of the answers')
        check('member' not in text, text)  # -vv


@test
def very_verbose_prints_the_states_too(programs):
    with Broker(programs) as broker:
        broker.topic(count=1)
        for words in (['-vv'], ['-v', '-v']):
            group = f'g{broker.groups}'
            broker.groups += 1
            result = programs.run('kshare_cat', *broker.cat(*words, '-c1', group=group))
            text = result.err.decode()
            equal(result.code, 0, text)
            story = ['member joining', 'link 0 bootstrap 0 connecting', '> ApiVersions',
                     'link 0 bootstrap 0 ready', 'coordinator node 0', 'member with epoch 1',
                     'assigned partitions: 1', 'link 1 node 0 ready', 'share session open, epoch 1',
                     'share session over', 'member leaving', 'link 0 node 0 closed',
                     'member of no group']
            at = 0
            for part in story:
                check(part in text[at:], f'no "{part}" in its place in {text}')
                at = text.index(part, at)
    quiet = programs.run('kshare_cat', '-b', f'127.0.0.1:{closed_port()}', '-g', 'g', '-t', 't')
    check(b'link 0' not in quiet.err, str(quiet.err))


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


RELAY = """
import os, select, socket, sys
broker = socket.create_connection((sys.argv[-2], int(sys.argv[-1])))
while True:
    for ready in select.select([0, broker], [], [])[0]:
        data = os.read(0, 65536) if ready == 0 else broker.recv(65536)
        if not data:
            sys.exit(0)
        if ready == 0:
            broker.sendall(data)
        else:
            os.write(1, data)
"""


def end(process, number=signal.SIGTERM):
    """Ends it; its whole standard output and error by then."""
    process.send_signal(number)
    out, err = process.communicate(timeout=TIMEOUT_S)
    return Result(process.returncode, out, err)


def read_until(stream, last):
    """The lines of a running program, up to one that matches."""
    seen = []
    while not seen or not re.search(last, seen[-1]):
        line = stream.readline().decode()
        check(line, f'it ended before {last!r}: {seen}')
        seen.append(line.rstrip('\n'))
    return seen


def process_state(pid):
    """R, S, ... and the parent; a process that is gone is a Z(ombie) here."""
    try:
        stat = pathlib.Path(f'/proc/{pid}/stat').read_text()
    except OSError:
        return 'Z', 0
    words = stat.rsplit(')', 1)[1].split()
    return words[0], int(words[1])


def children(pid, zombies=False):
    pids = (int(path.name) for path in pathlib.Path('/proc').iterdir() if path.name.isdigit())
    states = {child: process_state(child) for child in pids}
    return {child for child, (state, parent) in states.items()
            if parent == pid and (state == 'Z') == zombies}


def descriptors(pid):
    return [os.readlink(path) for path in pathlib.Path(f'/proc/{pid}/fd').iterdir()]


@test
def custom_transport_goes_through_processes_and_starts_them_again(programs):
    with Broker(programs) as broker:
        broker.topic(count=20)
        process = programs.start('custom_transport', broker.address, 'g', 't',
                                 sys.executable, '-c', RELAY, start_new_session=True)
        seen = [process.stdout.readline().split()[0] for _ in range(20)]
        equal(seen, [b'%d' % i for i in range(20)], 'lines')
        relays = children(process.pid)
        equal(len(relays), 2, 'one process for the coordinator, one for the leader')
        sockets = [name for name in descriptors(process.pid) if name.startswith('socket:')]
        equal(sockets, [], 'sockets of its own')
        before = cpu_ticks(process.pid)
        time.sleep(1)
        check(cpu_ticks(process.pid) - before < 5, 'it spins when idle')
        for relay in relays:
            os.kill(relay, signal.SIGKILL)
        begin = time.monotonic()
        broker.do('append', 't', 0, 1, 10)
        equal(process.stdout.readline()[:3], b'20 ', 'through new processes')
        check(time.monotonic() - begin < 5, 'their end was not seen at once')
        relays = children(process.pid) - relays
        check(relays, 'new processes')
        wait_for(lambda: not children(process.pid, zombies=True), 'the old ones are reaped')
        os.killpg(process.pid, signal.SIGINT)  # Ctrl-C
        out, err = process.communicate(timeout=TIMEOUT_S)
        equal((process.returncode, out), (0, b''), str(err))
        check(b'KeyboardInterrupt' not in err, f'it has reached the relays, too: {err}')
        equal(broker.state('g'), [0, 0, 21, 0], 'state')
        wait_for(lambda: all(process_state(relay)[0] == 'Z' for relay in relays), 'their end')


@test
def custom_transport_with_a_command_that_fails(programs):
    for command, reason in (('false', 'trying again'), ('/no/such/command', 'errno 2')):
        process = programs.start('custom_transport', '127.0.0.1:9', 'g', 't', command)
        lines = [process.stderr.readline().decode() for _ in range(3)]
        for line in lines:
            check('cannot use 127.0.0.1:9' in line and reason in line, f'{command}: {line}')
        before = cpu_ticks(process.pid)
        time.sleep(0.5)
        check(cpu_ticks(process.pid) - before < 5, f'{command}: no back-off')
        equal(end(process).code, 2, command)


@test
def retry_policy_waits_releases_and_sets_aside(programs):
    with Broker(programs) as broker, tempfile.TemporaryDirectory() as folder:
        aside = pathlib.Path(folder) / 'aside'
        broker.topic()
        broker.do('lock', 'g', 600)  # shorter than the delays of one delivery: it has to renew
        for text in ('fail-always', 'good', 'fail-once', 'poison', 'fail-here'):
            broker.do('value', 't', 0, text)
        process = programs.start('retry_policy', broker.address, 'g', 't', aside)
        lines = read_until(process.stdout, '^4 .* accept ')
        # 0 is still being tried, so the broker keeps what it knows of those behind it.
        wait_for(lambda: broker.state('g')[2:] == [3, 1], '3 accepted, the poison archived')
        lines += read_until(process.stdout, '^0 .* poison ')
        wait_for(lambda: sum(broker.state('g')[:2]) == 0, 'all settled')
        of = {i: [line for line in lines if line.startswith(f'{i} ')] for i in range(5)}
        equal(of[1], ['1 delivery 1 try 1 accept good'], 'good')
        equal(of[2], ['2 delivery 1 try 1 later fail-once',
                      '2 delivery 1 try 2 accept fail-once'], 'fail-once')
        equal(of[3], ['3 delivery 1 try 1 poison poison'], 'poison')
        ways = ['later', 'later', 'release']
        equal(of[4], [f'4 delivery 1 try {n} {way} fail-here' for n, way in enumerate(ways, 1)]
              + ['4 delivery 2 try 1 accept fail-here'], 'fail-here')
        equal(of[0], [f'0 delivery {count} try {n} {way} fail-always' for count in range(1, 5)
                      for n, way in enumerate([*ways[:2], 'release' if count < 4 else 'poison'],
                                              1)], 'fail-always')
        result = end(process)
        equal((result.code, result.out), (0, b''), str(result.err))
        check(b'lock' not in result.err, f'no lock has run out: {result.err}')
        equal(aside.read_text(), 't 0 3 poison\nt 0 0 fail-always\n', 'set aside')


@test
def retry_policy_keeps_poison_that_cannot_be_set_aside(programs):
    if not os.path.exists('/dev/full'):
        raise Skip('no /dev/full')
    with Broker(programs) as broker:
        broker.topic()
        broker.do('limit', 'g', 10)
        broker.do('value', 't', 0, 'poison')
        process = programs.start('retry_policy', broker.address, 'g', 't', '/dev/full')
        for count in (1, 2):
            equal(process.stdout.readline().decode(), f'0 delivery {count} try 1 release, as it '
                  'cannot be set aside poison\n', 'line')
        process.send_signal(signal.SIGSTOP)
        equal(broker.state('g')[2:], [0, 0], 'neither accepted nor archived')
        process.kill()
        process.communicate()


@test
def two_consumers_share_a_loop_fairly_and_both_leave(programs):
    with Broker(programs) as broker:
        broker.topic('a', count=3000)
        broker.topic('b', count=3000)
        process = programs.start('two_consumers', broker.address, 'g', 'a', broker.address, 'h',
                                 'b')
        seen = [process.stdout.readline().split() for _ in range(6000)]
        for name in (b'1', b'2'):
            equal([int(words[1]) for words in seen if words[0] == name], list(range(3000)), name)
        last = [max(i for i, words in enumerate(seen) if words[0] == name) for name in (b'1', b'2')]
        check(min(last) > 3200, f'one was read out before the other: {last}')
        for topic, name in (('a', b'1 '), ('b', b'2 ')):
            begin = time.monotonic()
            broker.do('append', topic, 0, 1, 10)
            equal(process.stdout.readline()[:6], name + b'3000', topic)
            check(time.monotonic() - begin < 1, f'{topic} was not woken')
        before = cpu_ticks(process.pid)
        time.sleep(1)
        check(cpu_ticks(process.pid) - before < 5, 'it spins when idle')
        equal(end(process).code, 0, 'exit code')
        for group, topic in (('g', 'a'), ('h', 'b')):
            equal(broker.state(group, topic), [0, 0, 3001, 0], topic)


@test
def two_consumers_go_on_when_one_has_failed(programs):
    with Broker(programs) as broker, Broker(programs) as refusing:
        broker.topic(count=1)
        refusing.topic()
        refusing.do('share', 'off')
        process = programs.start('two_consumers', refusing.address, 'g', 't', broker.address, 'g',
                                 't')
        check(process.stderr.readline().startswith(b'1 share groups are off'), 'the reason')
        equal(process.stdout.readline()[:4], b'2 0 ', 'the other one')
        time.sleep(0.2)
        broker.do('append', 't', 0, 1, 10)
        equal(process.stdout.readline()[:4], b'2 1 ', 'the other one, later')
        equal(end(process).code, 2, 'exit code')
        equal(broker.state('g'), [0, 0, 2, 0], 'state')


def report_of(process):
    return '\n'.join(read_until(process.stdout, '^---- end$'))


@test
def diagnose_shows_links_sessions_partitions_and_what_is_held(programs):
    with Broker(programs, '-n', 2) as broker:
        broker.topic(partitions=2)
        for partition in (0, 1):
            broker.do('move', 't', partition, partition)
        broker.do('value', 't', 0, 'good')
        broker.do('value', 't', 1, 'hold this')
        process = programs.start('diagnose', broker.address, 'g', 't', stdin=subprocess.PIPE)
        wait_for(lambda: broker.state('g')[2] == 1 and broker.state('g', partition=1)[1] == 1,
                 'records taken')
        process.stdin.write(b'\n')
        process.stdin.flush()
        text = report_of(process)
        host = re.escape('127.0.0.1')
        for pattern in (r'status: ok',
                        r'member: joined, epoch [1-9]\d*, id \S{22}, coordinator is node \d, .*',
                        r'topic t: known',
                        r'partition t 0: leader node 0 epoch \d+, link [12], in a session',
                        r'partition t 1: leader node 1 epoch \d+, link [12], in a session',
                        rf'link 0 control: ready, node \d at {host}:\d+(, ShareGroupHeartbeat.*)?',
                        rf'link \d leader: ready, node 0 at {host}:\d+, .*session epoch [1-9]\d*, '
                        r'partitions 1(, ranges 1, waiting 0, unsettled 1)?',
                        r'link \d leader: ready, node 1 at .*, partitions 1, ranges 1, waiting 0, '
                        r'unsettled 1',
                        r'held t 1 offset 0, delivery 1, lock ends in 2\d{4} ms',
                        r'counters: records 2 redelivered 0 acks_ok [01] acks_failed 0 .*',
                        r'event: joined the group with epoch \d+',
                        r'advice: nothing: all is well'):
            check(re.search(f'^{pattern}$', text, re.MULTILINE), f'no {pattern!r} in\n{text}')
        before = cpu_ticks(process.pid)
        process.stdin.close()  # it listens to signals alone from now on
        process.stdin = None
        time.sleep(1)
        check(cpu_ticks(process.pid) - before < 5, 'it spins when idle')
        broker.do('stop', 1)
        time.sleep(1)
        process.send_signal(signal.SIGUSR1)
        text = report_of(process)
        check('partition t 1: leader node 0' in text and 'event: lost 127.0.0.1' in text, text)
        result = end(process)
        equal(result.code, 0, str(result.err))
        check(result.out.startswith(b'---- kshare'), 'a report at the end')
        equal(broker.state('g', partition=1)[:2], [1, 0], 'what was held is given back')


@test
def diagnose_gives_advice(programs):
    with Broker(programs) as broker:
        broker.topic()
        broker.topic('guarded')
        broker.do('fetch-error', 'guarded', 0, 29, 'always')
        cases = [(f'127.0.0.1:{closed_port()}', 't', 'refused', 'a broker does not answer'),
                 (broker.address, 'missing', 'create the topic', 'a topic cannot be used'),
                 (broker.address, 'guarded', 'TOPIC_AUTHORIZATION_FAILED',
                  'a partition cannot be fetched')]
        for address, topic, reason, advice in cases:
            process = programs.start('diagnose', address, 'g', topic, stdin=subprocess.DEVNULL)
            time.sleep(1.5)
            process.send_signal(signal.SIGUSR1)
            text = '\n'.join(end(process).lines())
            check(reason in text, f'no {reason!r} in\n{text}')
            check(f'advice: {advice}' in text, f'no {advice!r} in\n{text}')
            check('all is well' not in text, text)


def http_get(address, path):
    """Status line and body, after looking at the headers."""
    with socket.create_connection(address, timeout=TIMEOUT_S) as stream:
        stream.sendall(f'GET {path} HTTP/1.1\r\nHost: test\r\n'.encode())
        time.sleep(0.02)  # in two pieces
        stream.sendall(b'Accept: text/plain\r\n\r\n')
        answer = b''.join(iter(lambda: stream.recv(65536), b''))
    head, body = answer.split(b'\r\n\r\n', 1)
    lines = head.decode().split('\r\n')
    check(f'Content-Length: {len(body)}' in lines, str(lines))
    check(any('version=0.0.4' in line for line in lines), str(lines))
    return lines[0], body.decode()


def samples(text):
    """Prometheus text to {name: value}: each sample has its HELP and its TYPE right before it."""
    check(text.endswith('\n'), 'the last line has an end')
    lines = text.split('\n')[:-1]
    found = {}
    for about, kind, sample in zip(lines[::3], lines[1::3], lines[2::3]):
        match = re.fullmatch(r'(kshare_[a-z_]+) (\d+)', sample)
        check(match, sample)
        name = match[1]
        check(re.fullmatch(rf'# HELP {name} [A-Z0-9].*\.', about), about)
        equal(kind, f'# TYPE {name} {"counter" if name.endswith("_total") else "gauge"}', name)
        check(name not in found, f'{name} twice')
        found[name] = int(match[2])
    equal(len(lines) % 3, 0, 'lines')
    return found


def start_metrics(programs, broker):
    """The program, and where it says that it listens."""
    process = programs.start('metrics', broker.address, 'g', 't', 0)
    match = re.fullmatch(rb'http://127.0.0.1:(\d+)/metrics\n', process.stderr.readline())
    check(match, 'the URL')
    return process, ('127.0.0.1', int(match[1]))


@test
def metrics_are_prometheus_text_and_grow(programs):
    with Broker(programs) as broker:
        broker.topic(count=10)
        process, address = start_metrics(programs, broker)
        scrapes = []
        for wanted, more in ((10, 1500), (1510, 0)):
            for _ in range(wanted - (scrapes[-1]['kshare_records_total'] if scrapes else 0)):
                process.stdout.readline()
            wait_for(lambda want=wanted: broker.state('g')[2] == want, 'acknowledged')
            time.sleep(0.1)
            status, body = http_get(address, '/metrics')
            equal(status, 'HTTP/1.1 200 OK', 'status')
            scrapes.append(samples(body))
            equal(scrapes[-1]['kshare_records_total'], wanted, 'records')
            equal(scrapes[-1]['kshare_acks_ok_total'], wanted, 'acks_ok')
            if more:
                broker.do('append', 't', 0, more, 50)
        first, second = scrapes
        equal(list(first), list(second), 'names')
        for name in first:
            check(not name.endswith('_total') or first[name] <= second[name], f'{name} shrinks')
        for name in ('record_bytes', 'received_bytes', 'sent_bytes', 'fetches', 'requests'):
            check(first[f'kshare_{name}_total'] < second[f'kshare_{name}_total'], f'{name} stands')
        equal((second['kshare_joined'], second['kshare_assigned_partitions'],
               second['kshare_unsettled_records']), (1, 1, 0), 'gauges')
        stats = (ROOT / 'include/kshare/core/stats.hpp').read_text(encoding='utf-8')
        equal(len(re.findall(r'^  uint64_t \w+ = 0;', stats, re.MULTILINE)),
              sum(name.endswith('_total') for name in first), 'all of Stats')
        equal(http_get(address, '/')[0], 'HTTP/1.1 404 Not Found', 'another path')
        equal(end(process).code, 0, 'exit code')


@test
def metrics_scrapers_that_hang_stop_nothing(programs):
    with Broker(programs) as broker:
        broker.topic(count=1)
        process, address = start_metrics(programs, broker)
        process.stdout.readline()
        silent, another = (socket.create_connection(address) for _ in range(2))
        with silent, another:
            silent.sendall(b'GET /met')
            time.sleep(0.1)
            before = cpu_ticks(process.pid)
            begin = time.monotonic()
            broker.do('append', 't', 0, 1, 10)
            equal(process.stdout.readline()[:2], b'1 ', 'records go on')
            check(time.monotonic() - begin < 1, 'but late')
            another.close()  # away before its turn
            equal(http_get(address, '/metrics')[0], 'HTTP/1.1 200 OK', 'whose turn it is')
            check(1 < time.monotonic() - begin < 10, 'the silent one is dropped after two seconds')
            check(cpu_ticks(process.pid) - before < 5, 'it spins while it waits')
        equal(end(process).code, 0, 'exit code')


@test
def metrics_without_a_free_descriptor_rest_and_go_on(programs):
    with Broker(programs) as broker:
        broker.topic(count=1)
        process, address = start_metrics(programs, broker)
        process.stdout.readline()
        limits = resource.prlimit(process.pid, resource.RLIMIT_NOFILE)
        used = len(os.listdir(f'/proc/{process.pid}/fd'))
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (used, limits[1]))
        with socket.create_connection(address):
            time.sleep(0.1)
            before = cpu_ticks(process.pid)
            broker.do('append', 't', 0, 1, 10)
            equal(process.stdout.readline()[:2], b'1 ', 'records go on')
            time.sleep(1.5)
            spent = cpu_ticks(process.pid) - before
            resource.prlimit(process.pid, resource.RLIMIT_NOFILE, limits)
            check(spent < 10, f'it spins: {spent} ticks')
        equal(http_get(address, '/metrics')[0], 'HTTP/1.1 200 OK', 'after its rest')
        equal(end(process).code, 0, 'exit code')


@test
def retry_policy_writes_the_place_of_the_longest_topic(programs):
    name = 't' * 249
    with Broker(programs) as broker, tempfile.TemporaryDirectory() as folder:
        aside = pathlib.Path(folder) / 'aside'
        broker.topic(name)
        broker.do('append', name, 0, 10000)  # so that a cut takes the digit that differs
        broker.do('trim', name, 0, 10000)
        for _ in range(2):
            broker.do('value', name, 0, 'poison')
        process = programs.start('retry_policy', broker.address, 'g', name, aside)
        wait_for(lambda: broker.state('g', name)[3] == 2, 'archived')
        equal(end(process).code, 0, 'exit code')
        equal(aside.read_text(), f'{name} 0 10000 poison\n{name} 0 10001 poison\n', 'set aside')


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


def run_tests(chosen, subject):
    """Calls each with the subject, prints a line for each and the counts; the exit code."""
    strict = os.environ.get('CI') == 'true'
    passed = failed = skipped = 0
    for function in chosen:
        name = function.__name__.replace('_', ' ')
        try:
            function(subject)
            passed += 1
            print(f'ok    {name}', flush=True)
        except Skip as why:
            skipped += not strict
            failed += strict
            print(f'{"FAIL" if strict else "skip"}  {name}: {why}', flush=True)
        except (Failure, subprocess.SubprocessError, OSError) as why:
            failed += 1
            print(f'FAIL  {name}: {why}', flush=True)
        except Exception:
            failed += 1
            print(f'FAIL  {name}\n{traceback.format_exc()}', flush=True)
    print(f'{passed} passed, {failed} failed, {skipped} skipped')
    return 1 if failed else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--programs', '--bin', type=pathlib.Path, required=True)
    parser.add_argument('--broker', type=pathlib.Path)
    parser.add_argument('--only', action='append',
                        help='tests whose name has this pattern in it; may be repeated')
    options = parser.parse_args()
    folder = options.programs.resolve()
    broker = options.broker or folder.parent / 'tests' / 'kshare_minibroker'
    programs = Programs(folder, broker.resolve())
    chosen = [function for function in TESTS
              if any(fnmatch.fnmatch(function.__name__, f'*{only}*')
                     for only in options.only or ['*'])]
    return run_tests(chosen, programs)


if __name__ == '__main__':
    sys.exit(main())
