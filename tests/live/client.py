# SPDX-License-Identifier: Apache-2.0
"""One run of kshare_cat (or of another program with its command line), watched through /proc."""
import json
import os
import pathlib
import re
import signal
import subprocess
import tempfile
import threading
import time


class Failure(AssertionError):
    """A check of a test did not hold."""


class Skip(Exception):
    """The test cannot run here."""


def check(condition, message):
    if not condition:
        raise Failure(message)


def wait_until(condition, timeout_s, what):
    """Polls condition() until it is true; its last value is returned."""
    deadline = time.monotonic() + timeout_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise Failure(f'{what}: not within {timeout_s} s')
        time.sleep(0.02)


class Cat:
    """A running client. Its output goes to files, or into a pipe that the test reads itself.

    While it runs, its peak resident memory and its threads are sampled; when it has ended, its CPU
    time is what the kernel accounted for it.
    """

    SAMPLE_S = 0.01

    def __init__(self, command, pipe=False):
        self.command = [str(part) for part in command]
        self._out = tempfile.NamedTemporaryFile(prefix='kshare-out-')
        self._err = tempfile.NamedTemporaryFile(prefix='kshare-err-')
        self.peak_kb = 0
        self.threads = 0
        self.cpu_s = None
        self.exit_code = None
        self.started = time.monotonic()
        self.ended = None
        self._process = subprocess.Popen(
            self.command, stdin=subprocess.DEVNULL, stderr=self._err,
            stdout=subprocess.PIPE if pipe else self._out)
        self.pid = self._process.pid
        self.pipe = self._process.stdout
        self._done = threading.Event()
        threading.Thread(target=self._watch, daemon=True).start()

    # -- watching

    def _watch(self):
        while True:
            self._sample()
            pid, status, usage = os.wait4(self.pid, os.WNOHANG)
            if pid:
                break
            time.sleep(self.SAMPLE_S)
        self.ended = time.monotonic()
        self.cpu_s = usage.ru_utime + usage.ru_stime
        self.exit_code = os.waitstatus_to_exitcode(status)
        self._process.returncode = self.exit_code
        self._done.set()

    def _status(self):
        """Fields of /proc/PID/status; none before exec, when they are those of this program."""
        try:
            if os.readlink(f'/proc/{self.pid}/exe') == os.readlink('/proc/self/exe'):
                return {}
            text = pathlib.Path(f'/proc/{self.pid}/status').read_text()
        except OSError:
            return {}
        return dict(re.findall(r'^(\w+):\s*(\d+)', text, re.M))

    def _sample(self):
        status = self._status()
        self.peak_kb = max(self.peak_kb, int(status.get('VmHWM', 0)))
        self.threads = max(self.threads, int(status.get('Threads', 0)))

    def activity(self):
        """(CPU milliseconds, context switches) so far: what a spinning client cannot hide."""
        try:
            stat = pathlib.Path(f'/proc/{self.pid}/stat').read_text().rsplit(')', 1)[1].split()
        except OSError:
            raise Failure('it ended too early') from None
        status = self._status()
        ticks = int(stat[11]) + int(stat[12])
        switches = (int(status.get('voluntary_ctxt_switches', 0))
                    + int(status.get('nonvoluntary_ctxt_switches', 0)))
        return ticks * 1000 // os.sysconf('SC_CLK_TCK'), switches

    # -- output

    def out(self):
        return pathlib.Path(self._out.name).read_bytes()

    def out_size(self):
        return os.stat(self._out.name).st_size

    def lines(self):
        """The complete lines printed so far."""
        return self.out().decode(errors='replace').split('\n')[:-1]

    def pairs(self):
        """The lines as tuples of integers, for formats like "%p %o %d"."""
        return [tuple(map(int, line.split())) for line in self.lines()]

    def err(self):
        return pathlib.Path(self._err.name).read_text(errors='replace')

    def report(self):
        """What -J printed."""
        found = [line for line in self.err().splitlines() if line.startswith('{')]
        check(found, 'no JSON object on stderr')
        return json.loads(found[-1])

    def wait_lines(self, count, timeout_s=30):
        wait_until(lambda: self.out().count(b'\n') >= count or self._done.is_set(), timeout_s,
                   f'{count} lines printed (have {self.out().count(10)})')
        have = self.out().count(b'\n')
        check(have >= count, f'ended after {have} lines of {count}')

    # -- ending

    def running(self):
        return not self._done.is_set()

    def ends_within(self, seconds):
        return self._done.wait(seconds)

    def wait(self, timeout_s=60):
        if not self._done.wait(timeout_s):
            self.kill()
            raise Failure(f'still running after {timeout_s} s')
        return self.exit_code

    def succeed(self, timeout_s=60):
        code = self.wait(timeout_s)
        check(code == 0, f'exit code {code}')
        return self

    def send(self, number):
        if self.running():
            os.kill(self.pid, number)

    def stop(self, number=signal.SIGTERM, timeout_s=15):
        """Asks it to end (SIGTERM or SIGINT) and expects exit code 0."""
        self.send(number)
        return self.succeed(timeout_s)

    def kill(self):
        self.send(signal.SIGKILL)
        self._done.wait(10)

    def close(self):
        self.kill()
        for file in (self._out, self._err, self.pipe):
            if file:
                file.close()

    def describe(self):
        """Command line, exit code and the end of stderr, for the report of a failed test."""
        tail = self.err().splitlines()[-10:] or ['(nothing)']
        state = 'running' if self.running() else f'exit {self.exit_code}'
        return (f'$ {" ".join(self.command)}\n[{state}, {self.out_size()} bytes of output]\n'
                + '\n'.join('  stderr: ' + line[:240] for line in tail))
