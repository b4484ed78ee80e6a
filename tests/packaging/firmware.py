#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""examples/firmware as somebody would use it: copied, kshare put in as a subproject, built with
meson for this machine and with the cross files, run against the mini broker.

    firmware.py --minibroker PATH [--targets native,armhf,aarch64] [--only PATTERN]

PATH is the built program kshare_minibroker. Other targets run under qemu-user. One line a test, the
last one "N passed, N failed, N skipped".
"""
import argparse
import concurrent.futures
import contextlib
import fnmatch
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'examples'))
from run import ROOT, TESTS, Skip, check, equal, run_tests, test, wait_for  # noqa: E402
from run import closed_port as free_port  # noqa: E402

TESTS.clear()
TIMEOUT_S = 20
BUILD_S = 180
WATCHDOG_MS = 300  # so one feed each 150 ms
# Compiler, meson's emulator, whether the program is linked statically.
TARGETS = {
    'native': ('c++', None, False),
    'armhf': ('arm-linux-gnueabihf-g++', 'qemu-arm', True),
    'aarch64': ('aarch64-linux-gnu-g++', 'qemu-aarch64', True),
    'riscv64': ('riscv64-linux-gnu-g++', 'qemu-riscv64', True),
    's390x': ('s390x-linux-gnu-g++', 'qemu-s390x', True),
}
QUICK = """\
topics=t
group.id=g
reconnect.backoff.max.ms=100
retry.backoff.max.ms=100
restart.backoff.ms=200
restart.backoff.max.ms=500
close.timeout.ms=1000
"""


# ---- The copy, and its builds.

class Project:
    def __init__(self, folder, minibroker, targets):
        self.minibroker, self.targets = minibroker, targets
        self.folder = folder / 'gateway'
        self.logs = {}
        shutil.copytree(ROOT / 'examples/firmware', self.folder,
                        ignore=lambda _, names: [n for n in names if n in ('kshare', 'build')])
        kshare = self.folder / 'subprojects/kshare'
        shutil.copytree(ROOT / 'include', kshare / 'include')
        for name in ('meson.build', 'LICENSE'):
            shutil.copy(ROOT / name, kshare)

    def missing(self, target):
        compiler, emulator, _ = TARGETS[target]
        needs = ['meson', 'ninja', compiler] + ([emulator] if emulator else [])
        return [need for need in needs if shutil.which(need) is None]

    def build(self, target):
        """Sets up and compiles; the exit code and everything that was said."""
        where = self.folder / f'build-{target}'
        words = [] if target == 'native' else ['--cross-file', ROOT / f'cmake/cross/{target}.ini']
        if TARGETS[target][2]:
            words += ['-Dstatic=true']
        said = ''
        for command in (['meson', 'setup', where, '--force-fallback-for=kshare', '--prefix=/usr',
                         '--sysconfdir=/etc', *words],
                        ['meson', 'compile', '-C', where]):
            done = subprocess.run(command, cwd=self.folder, stdout=subprocess.PIPE, text=True,
                                  stderr=subprocess.STDOUT, timeout=BUILD_S)
            said += done.stdout
            if done.returncode:
                break
        return done.returncode, said

    def build_all(self):
        """Two compilers at a time."""
        wanted = [target for target in self.targets if not self.missing(target)]
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            self.logs = dict(zip(wanted, pool.map(self.build, wanted)))

    def program(self, target='native'):
        """What to start."""
        if target not in self.targets:
            raise Skip(f'{target} is not among the targets')
        if self.missing(target):
            raise Skip('no ' + ', '.join(self.missing(target)))
        code, said = self.logs[target]
        check(code == 0, f'{target} is not built:\n{said}')
        emulator = TARGETS[target][1]
        path = str(self.folder / f'build-{target}/gateway')
        return [emulator, path] if emulator else [path]


# ---- What the program talks to.

class Broker:
    """kshare_minibroker; `kshare_minibroker -h` lists its options and commands."""

    def __init__(self, project, *options):
        self._process = subprocess.Popen([project.minibroker, *map(str, options)],
                                         stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.address = self._process.stdout.readline().strip()
        check(self.address, 'the mini broker did not start')

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()

    def kill(self):
        self._process.kill()
        self._process.wait(TIMEOUT_S)
        self._process.stdin.close()
        self._process.stdout.close()

    def do(self, *words):
        """The numbers behind its "ok"."""
        self._process.stdin.write(' '.join(map(str, words)) + '\n')
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        while line[:1] == ' ':
            line = self._process.stdout.readline()
        answer = line.split()
        check(answer[:1] == ['ok'], f'{words}: the broker says {answer}')
        return [int(word) for word in answer[1:]]

    def put(self, *values):
        for value in values:
            self.do('value', 't', 0, value)

    def state(self):
        """available, acquired, acknowledged, archived: counts of records."""
        return self.do('state', 'g', 't', 0)

    def accepted(self, count, timeout_s=10.0):
        wait_for(lambda: self.state()[2] == count, f'{count} records accepted', timeout_s)


class Systemd:
    """The side of NOTIFY_SOCKET that systemd has."""

    def __init__(self, name):
        self.name = name
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(name.replace('@', '\0', 1))
        self._socket.setblocking(False)
        self.heard = []  # (when, lines)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._socket.close()

    def fill(self):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                while True:
                    sender.sendto(b'X=1', self._socket.getsockname())

    def listen(self):
        with contextlib.suppress(BlockingIOError):
            while True:
                lines = self._socket.recv(65536).decode().split('\n')
                self.heard.append((time.monotonic(), lines))
        return self.heard

    def count(self, line):
        return sum(line in lines for _, lines in self.listen())

    def wait(self, line, count=1, timeout_s=5.0):
        wait_for(lambda: self.count(line) >= count, f'{count} x {line}', timeout_s)

    def status(self, pattern):
        wait_for(lambda: any(re.search(pattern, line) for _, lines in self.listen()
                             for line in lines if line.startswith('STATUS=')), pattern)

    def feeds(self, seconds):
        """How many come while so much time passes, and the longest time without one."""
        self.listen()
        begin = last = time.monotonic()
        count, longest = 0, 0.0
        while time.monotonic() - begin < seconds:
            time.sleep(0.005)
            known = len(self.heard)
            if any('WATCHDOG=1' in lines for _, lines in self.listen()[known:]):
                count, last = count + 1, time.monotonic()
            longest = max(longest, time.monotonic() - last)
        return count, longest


class Gateway:
    """The program, running. What it prints goes to files, so that it never waits for us, unless
    `out` is given."""

    def __init__(self, project, address, more='', target='native', systemd=None, out=None,
                 environment=()):
        self._files, self._systemd = tempfile.TemporaryDirectory(), systemd
        folder = pathlib.Path(self._files.name)
        self.config = folder / 'gateway.properties'
        self.config.write_text(f'bootstrap.servers={address}\n{QUICK}{more}\n')
        self._out, self._err = folder / 'out', folder / 'err'
        clean = {name: value for name, value in os.environ.items()
                 if name not in ('NOTIFY_SOCKET', 'JOURNAL_STREAM', 'WATCHDOG_USEC',
                                 'WATCHDOG_PID')}
        if systemd is not None:
            clean.update(NOTIFY_SOCKET=systemd.name, WATCHDOG_USEC=str(WATCHDOG_MS * 1000))
        clean.update(environment)
        with open(self._out, 'wb') as to_out, open(self._err, 'wb') as to_err:
            self.process = subprocess.Popen([*project.program(target), self.config], env=clean,
                                            stdin=subprocess.DEVNULL, stdout=out or to_out,
                                            stderr=to_err)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(TIMEOUT_S)
        if self.process.stdout:
            self.process.stdout.close()
        self._files.cleanup()

    def lines(self):
        return self._out.read_text().splitlines()

    def log(self):
        return self._err.read_text()

    def says(self, pattern, timeout_s=10.0):
        def said():
            if self._systemd is not None:
                self._systemd.listen()  # it has room for few messages
            return re.search(pattern, self.log(), re.MULTILINE)
        wait_for(said, f'{pattern!r} in its log', timeout_s)

    def cpu_ticks(self):
        fields = pathlib.Path(f'/proc/{self.process.pid}/stat').read_text().rpartition(')')[2]
        return sum(map(int, fields.split()[11:13]))

    def alive(self):
        check(self.process.poll() is None, f'it has ended:\n{self.log()}')

    def end(self, how=signal.SIGTERM):
        """Seconds that it took."""
        begin = time.monotonic()
        self.process.send_signal(how)
        equal(self.process.wait(TIMEOUT_S), 0, f'exit code; its log:\n{self.log()}')
        return time.monotonic() - begin


# ---- The project itself.

@test
def the_wrap_names_the_version_of_this_tree(_project):
    version = re.search(r'#define KSHARE_VERSION "(.*)"',
                        (ROOT / 'include/kshare/version.hpp').read_text())[1]
    wrap = (ROOT / 'examples/firmware/subprojects/kshare.wrap').read_text()
    check(re.search(rf'^revision = v{re.escape(version)}$', wrap, re.MULTILINE),
          f'kshare.wrap has not the revision v{version}')
    check('\nkshare = kshare_dep\n' in wrap, 'kshare.wrap provides nothing')


@test
def it_builds_without_a_warning_for_each_target(project):
    for target in project.targets:
        if project.missing(target):
            raise Skip(f'{target}: no ' + ', '.join(project.missing(target)))
        project.program(target)
        said = project.logs[target][1]
        check('warning:' not in said, f'{target}:\n{said}')


@test
def it_links_with_libc_alone(project):
    for target in project.targets:
        path = project.program(target)[-1]
        dynamic = subprocess.run(['readelf', '-d', path], capture_output=True, text=True,
                                 check=True).stdout
        needed = re.findall(r'\(NEEDED\).*\[(.*?)\]', dynamic)
        equal(needed, [] if TARGETS[target][2] else ['libc.so.6'], f'{target} needs')
        symbols = subprocess.run(['readelf', '-sW', path], capture_output=True, text=True,
                                 check=True).stdout
        found = re.findall(r'\b_Zn[aw]\w*|\b_Zd[al]\w*|\b__cxa_(?:throw|guard_\w+)|\b_ZTI\w*',
                           symbols)
        equal(found, [], f'{target} names')


@test
def install_puts_program_properties_and_unit_in_their_places(project):
    project.program()
    image = project.folder / 'image'
    subprocess.run(['meson', 'install', '-C', project.folder / 'build-native',
                    '--skip-subprojects', '--strip'], check=True, capture_output=True,
                   env={**os.environ, 'DESTDIR': str(image)}, timeout=TIMEOUT_S)
    files = sorted(str(path.relative_to(image)) for path in image.rglob('*') if path.is_file())
    equal(files, ['etc/gateway.properties', 'usr/bin/gateway',
                  'usr/lib/systemd/system/gateway.service'], 'files')
    unit = (image / 'usr/lib/systemd/system/gateway.service').read_text()
    for line in ('Type=notify', 'ExecStart=/usr/bin/gateway /etc/gateway.properties',
                 'WatchdogSec=30', 'Restart=always', 'RestartPreventExitStatus=78',
                 'NoNewPrivileges=yes', 'SystemCallFilter=@system-service'):
        check(f'\n{line}\n' in unit, f'the unit has no {line}:\n{unit}')


# ---- Configuration.

def run_with(project, text, folder):
    path = pathlib.Path(folder) / 'p'
    path.write_text(text)
    return path, subprocess.run([*project.program(), path], stdin=subprocess.DEVNULL, text=True,
                                capture_output=True, timeout=TIMEOUT_S)


@test
def wrong_configuration_ends_with_78_and_the_line(project):
    good = 'bootstrap.servers=127.0.0.1:1\n' + QUICK
    after = good.count('\n') + 1  # the number of a line that is added
    cases = [
        (good + 'no.such.thing=1', f'p:{after}: no.such.thing: no such property'),
        (good + 'fetch.max.wait.ms=soon', f'p:{after}: fetch.max.wait.ms: not a whole number'),
        (good + '\n\n# words\nmax.poll.records=0', f'p:{after + 3}: max.poll.records: must be'),
        (good + 'security.protocol=SSL', f'p:{after}: security.protocol: kshare has no TLS yet'),
        (good + 'share.acknowledgement.mode=implicit', f'p:{after}: share.acknowledgement.mode'),
        (good + 'status.interval.ms=0', f'p:{after}: status.interval.ms: give a whole number'),
        (good + 'watchdog.device=watchdog', f'p:{after}: watchdog.device: give a path'),
        (good + 'words', f'p:{after}: words: write NAME=VALUE'),
        (good + 'topics=a,\\\nb', f'p:{after}: topics=a,\\: write it in one line'),
        (good + 'topics=a,,b', f'p:{after}: topics: give names'),
        (good + 'topics=' + ','.join('abcdefgh'), f'p:{after}: topics: too many'),
        (good + 'bootstrap.servers=broker', f'p:{after}: bootstrap.servers: give HOST:PORT'),
        (good.replace('group.id', '#'), 'p: group.id: is missing'),
        (good.replace('topics', '#'), 'p: topics: is missing'),
        (good + 'group.id=' + 'g' * 200, 'longer than its limit'),
        (good + 'reconnect.backoff.max.ms=1', 'a maximum not below its start'),
        (good + '#' * 5000, 'larger than 4096 bytes'),
    ]
    with tempfile.TemporaryDirectory() as folder:
        for text, words in cases:
            _, done = run_with(project, text, folder)
            equal(done.returncode, 78, f'{words}: exit code; {done.stderr}')
            check(words in done.stderr, f'no {words!r} in {done.stderr!r}')
        _, done = run_with(project, good + 'a=1\nb=2', folder)
        equal(done.stderr.count('no such property'), 2, 'every wrong line is told')
        missing = subprocess.run([*project.program(), f'{folder}/missing'], capture_output=True,
                                 timeout=TIMEOUT_S)
        equal(missing.returncode, 78, 'a file that is missing')
    equal(subprocess.run(project.program(), capture_output=True).returncode, 64, 'no argument')


@test
def blanks_comments_and_line_ends_of_windows_are_read(project):
    with Broker(project, '-t', 't') as broker:
        more = '! a comment\r\n  topics =  other , t \r\nkey.deserializer=x\r\n\r\n'
        with Gateway(project, broker.address, more) as gateway:
            broker.put('one')
            broker.accepted(1)
            check('key.deserializer: has no effect: ' in gateway.log(), gateway.log())
            gateway.end()


# ---- Records.

def consume(project, target):
    """The whole way: done, retry and bad; READY, feeds, STOPPING; leaving the group."""
    with Broker(project, '-t', 't') as broker, tempfile.TemporaryDirectory() as folder, \
            Systemd(f'{folder}/notify') as systemd:
        with Gateway(project, broker.address, target=target, systemd=systemd) as gateway:
            broker.put('one', 'busy', 'two')
            broker.do('record', 't', 0, 'key=k')
            wait_for(lambda: broker.state() == [0, 0, 3, 1], 'three accepted, one rejected')
            equal(sorted(gateway.lines()), ['busy', 'one', 'two'], 'what was worked on')
            systemd.wait('READY=1')
            systemd.wait('WATCHDOG=1', 4)
            gateway.says('^<6>joined the group')
            equal(broker.do('members', 'g'), [1], 'members')
            check(gateway.end() < 3, 'it takes long to end')
            gateway.says('accepted 3, released 1, rejected 1, acks lost 0')
            systemd.wait('STOPPING=1')
            equal(systemd.count('READY=1'), 1, 'READY=1')
            equal(broker.do('members', 'g'), [0], 'members')
            equal(broker.do('violations'), [0], 'violations')


@test
def records_are_worked_on_and_acknowledged_native(project):
    consume(project, 'native')


@test
def records_are_worked_on_and_acknowledged_armhf(project):
    consume(project, 'armhf')


@test
def records_are_worked_on_and_acknowledged_aarch64(project):
    consume(project, 'aarch64')


@test
def records_are_worked_on_and_acknowledged_riscv64(project):
    consume(project, 'riscv64')


@test
def records_are_worked_on_and_acknowledged_s390x(project):
    consume(project, 's390x')


@test
def host_names_are_looked_up(project):
    with Broker(project, '-t', 't') as broker:
        port = broker.address.rpartition(':')[2]
        with Gateway(project, f'localhost:{port}') as gateway:
            broker.put('one')
            broker.accepted(1)
            gateway.end()
    with Gateway(project, 'no-such-host.invalid:9092') as gateway:
        gateway.says('no-such-host.invalid:9092: (neither hosts file nor DNS|no DNS server)', 15)
        gateway.end()


@test
def a_counter_line_comes_at_its_interval(project):
    name = f'@kshare-firmware-{os.getpid()}'  # not a file
    with Broker(project, '-t', 't') as broker, Systemd(name) as systemd:
        with Gateway(project, broker.address, 'status.interval.ms=300', systemd=systemd) as gateway:
            broker.put('one')
            gateway.says('in the group, partitions 1, records 1, redelivered 0, accepted 1')
            systemd.status('records 1, redelivered 0, accepted 1')
            begin = gateway.log().count(', reconnects ')
            time.sleep(1)
            check(2 <= gateway.log().count(', reconnects ') - begin <= 5, gateway.log())
            gateway.end()


# ---- Watchdogs.

@test
def feeds_go_on_whatever_the_broker_does(project):
    port = free_port()
    with tempfile.TemporaryDirectory() as folder, Systemd(f'{folder}/notify') as systemd:
        with Broker(project, '-t', 't', '-p', port) as broker:
            with Gateway(project, broker.address, systemd=systemd) as gateway:
                broker.put('one')
                broker.accepted(1)
                parts = [('at rest', systemd.feeds(1))]
                broker.do('stall', 1000)
                parts += [('stalled', systemd.feeds(1))]
                broker.kill()
                parts += [('killed', systemd.feeds(1.5))]
                gateway.alive()
                with Broker(project, '-t', 't', '-p', port) as again:
                    again.put('two', 'three')
                    again.accepted(2)
                    parts += [('back', systemd.feeds(0.5))]
                    equal(gateway.lines(), ['one', 'two', 'three'], 'what was worked on')
                    gateway.end()
        for what, (count, longest) in parts:
            check(longest < WATCHDOG_MS / 1000, f'{what}: {longest:.3f} s without a feed')
            check(count >= 2, f'{what}: {count} feeds')
        count = parts[0][1][0]
        check(5 <= count <= 8, f'{count} feeds in a second, each at half of {WATCHDOG_MS} ms')


@test
def a_loop_that_hangs_feeds_nothing(project):
    with Broker(project, '-t', 't') as broker, tempfile.TemporaryDirectory() as folder, \
            Systemd(f'{folder}/notify') as systemd:
        with Gateway(project, broker.address, systemd=systemd, out=subprocess.PIPE) as gateway:
            systemd.wait('WATCHDOG=1', 2)
            for _ in range(6):
                broker.do('append', 't', 0, 30, 1000)  # the pipe holds 64 KiB: its work hangs
            wait_for(lambda: systemd.feeds(0.5)[0] == 0, 'no feeds any more')
            output = gateway.process.stdout.fileno()
            os.set_blocking(output, False)

            def all_read():
                with contextlib.suppress(BlockingIOError):
                    os.read(output, 65536)
                return broker.state()[2] == 180
            wait_for(all_read, 'its work done')
            check(systemd.feeds(0.5)[0] >= 2, 'and again when its work goes on')
            gateway.end()


@test
def a_watchdog_of_another_process_is_left_alone(project):
    with Broker(project, '-t', 't') as broker, tempfile.TemporaryDirectory() as folder, \
            Systemd(f'{folder}/notify') as systemd:
        with Gateway(project, broker.address, systemd=systemd,
                     environment={'WATCHDOG_PID': '1'}) as gateway:
            systemd.wait('READY=1')
            equal(systemd.feeds(0.5)[0], 0, 'feeds')
            gateway.end()


@test
def ready_waits_until_systemd_has_room(project):
    with Broker(project, '-t', 't') as broker, tempfile.TemporaryDirectory() as folder, \
            Systemd(f'{folder}/notify') as systemd:
        systemd.fill()
        with Gateway(project, broker.address, systemd=systemd) as gateway:
            time.sleep(0.3)
            systemd.wait('READY=1')
            systemd.wait('WATCHDOG=1')
            gateway.end()


@test
def a_watchdog_device_is_fed_and_switched_off(project):
    with Broker(project, '-t', 't') as broker, tempfile.TemporaryDirectory() as folder:
        device = pathlib.Path(folder) / 'watchdog'
        more = f'watchdog.device={device} \nwatchdog.feed.ms=100'
        with Gateway(project, broker.address, more) as gateway:
            gateway.says(f'gateway: watchdog {device} cannot be opened: errno 2')
            device.touch()  # its driver is loaded late
            wait_for(lambda: device.stat().st_size > 3, 'feeds')
            equal(gateway.log().count('cannot be opened'), 1, 'told once')
            check(set(device.read_bytes()) == {0}, 'no V among the feeds')
            gateway.end()
            check(re.fullmatch(rb'\0{4,}V', device.read_bytes()), 'V comes last')


# ---- Failures that end a consumer.

@test
def a_group_that_refuses_is_asked_again_with_growing_pauses(project):
    with Broker(project, '-t', 't', '-X', 'group.share.heartbeat.interval.ms=300') as broker, \
            tempfile.TemporaryDirectory() as folder, Systemd(f'{folder}/notify') as systemd:
        broker.do('error', 'ShareGroupHeartbeat', 30, 'always')
        broker.put('one')
        with Gateway(project, broker.address, systemd=systemd) as gateway:
            gateway.says('waits 200 ms and starts again: .*GROUP_AUTHORIZATION_FAILED')
            systemd.status('waits 200 ms.*needs READ on the group')
            gateway.says('waits 400 ms and starts again(.|\n)*waits 500 ms(.|\n)*waits 500 ms')
            before = gateway.cpu_ticks()
            check(systemd.feeds(1)[1] < WATCHDOG_MS / 1000, 'feeds go on')
            check(gateway.cpu_ticks() - before < 10, 'it spins')
            equal(broker.state()[2], 0, 'accepted')
            broker.do('clear')
            broker.accepted(1)
            equal(gateway.lines(), ['one'], 'what was worked on')
            broker.do('error', 'ShareGroupHeartbeat', 30, 'always')
            broker.do('expel', 'g', 'all')
            gateway.says('waits 200 ms(.|\n)*waits 400 ms(.|\n)*joined(.|\n)*waits 200 ms', 20)
            check(gateway.end() < 0.5, 'a pause ends with the signal')
            systemd.wait('STOPPING=1')


@test
def share_groups_switched_off_are_waited_for(project):
    with Broker(project, '-t', 't') as broker:
        broker.do('share', 'off')
        broker.put('one')
        with Gateway(project, broker.address) as gateway:
            gateway.says('waits 200 ms and starts again: share groups are off')
            broker.do('share', 'on')
            broker.accepted(1)
            gateway.end()


# ---- The end.

@test
def each_signal_ends_it_in_its_time(project):
    with Broker(project, '-t', 't') as broker:
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
            with Gateway(project, broker.address) as gateway:
                gateway.says('joined the group')
                check(gateway.end(number) < 0.8, f'{number.name} took long')
                equal(broker.do('members', 'g'), [0], 'members')
        with Gateway(project, broker.address) as gateway:
            gateway.says('joined the group')
            broker.do('stall', 4000)
            took = gateway.end()
            check(0.5 < took < 1.8, f'{took:.1f} s, with close.timeout.ms=1000 and no answer')
    with Gateway(project, f'127.0.0.1:{free_port()}') as gateway:
        gateway.says('connection refused')
        check(gateway.end() < 1.8, 'without a broker')


@test
def a_night_without_a_broker_does_not_fill_the_log(project):
    more = 'reconnect.backoff.ms=5\nreconnect.backoff.max.ms=5\nstatus.interval.ms=700'
    with Gateway(project, f'127.0.0.1:{free_port()}', more) as gateway:
        gateway.says('events not told [1-9]')
        log = gateway.log().partition('events not told')[0]
        check(log.count('cannot use') == 20, log)
        gateway.end()


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--minibroker', type=pathlib.Path, required=True)
    parser.add_argument('--targets', default='native,armhf,aarch64',
                        help='some of ' + ','.join(TARGETS))
    parser.add_argument('--only', default='*', help='tests whose name matches this pattern')
    options = parser.parse_args()
    targets = options.targets.split(',')
    if not set(targets) <= set(TARGETS):
        parser.error(f'targets are some of {",".join(TARGETS)}')
    if not options.minibroker.is_file():
        parser.error(f'no mini broker {options.minibroker}')

    def wanted(function):
        target = function.__name__.rpartition('_')[2]
        if target in TARGETS and target not in targets:  # nobody has asked for it
            return False
        return fnmatch.fnmatch(function.__name__, f'*{options.only}*')
    with tempfile.TemporaryDirectory() as folder:
        project = Project(pathlib.Path(folder), options.minibroker.resolve(), targets)
        project.build_all()
        return run_tests([function for function in TESTS if wanted(function)], project)


if __name__ == '__main__':
    sys.exit(main())
