# SPDX-License-Identifier: Apache-2.0
"""A member that is frozen (SIGSTOP) with records in hand: others get them, it settles none late."""
import signal
import time

from checks import check_settled, members_of, wait_members
from client import check, wait_until
from ledger import Ledger, now
from registry import case

LOCK_MS = 1500
REJOINS = 'joining the group again'
KEEPING = ['hold=1', 'late=50', 'accept=50', 'late_ms=500']  # a half of them for a while


class Frozen:
    """Two members of a group while records flow; the first is frozen with records in hand."""

    def __init__(self, live, partitions, session_ms):
        self.live = live
        self.topic = live.topic('stopped', partitions)
        self.group = live.group('stopped', lock_ms=LOCK_MS, session_ms=session_ms,
                                heartbeat_ms=1000)
        self.workers = [live.worker('worker', self.group, [self.topic], 'idle_ms=90000', *more)
                        for more in (KEEPING, [])]
        wait_members(live, self.group, 2)
        self._end = live.admin.start_flow(self.topic, every_ms=10)
        for worker in self.workers:
            worker.wait_lines(100)
        self.workers[0].send(signal.SIGSTOP)
        self.since = now()
        time.sleep(0.1)  # what it has printed is there
        self.in_hand = {place for place, deliveries in Ledger(self.workers[:1]).deliveries.items()
                        if deliveries[-1].word() == 'late'}
        check(len(self.in_hand) >= 5, f'only {len(self.in_hand)} in hand')

    def handed_over(self):
        """Whether the second member has got what the first has in hand."""
        return self.in_hand <= set(Ledger(self.workers[1:]).deliveries)

    def resume(self):
        self.workers[0].send(signal.SIGCONT)
        self.until = now()
        self.live.note(f'frozen for {self.until - self.since:.1f} s')

    def finish(self):
        """Everything is taken; an acknowledgement counts as ok for one delivery of a record."""
        self.live.admin.stop_flow(self.topic)
        self._end.result(60)
        total = sum(self.live.admin.end_offsets(self.topic).values())
        wait_until(lambda: len(Ledger(self.workers).accepted()) == total, 20, f'{total} accepted')
        for worker in self.workers:
            worker.stop()
        ledger = Ledger(self.workers)
        ledger.check_said('lock_lost')
        ledger.check_every_record(self.live, [self.topic])
        reports = [worker.report() for worker in self.workers]
        ok, failed, unknown = (sum(r[k] for r in reports)
                               for k in ('acks_ok', 'acks_failed', 'acks_unknown'))
        lost = ledger.says('accept', 'lock_lost')
        self.live.note(f'{total} records, {len(ledger.all()) - total} twice, {ok} acks ok, '
                       f'{failed} failed, {lost} of them lock_lost, {unknown} unknown')
        check(ok + unknown >= total >= ok, f'{ok} acks ok, {unknown} unknown, {total} records')
        check(lost >= len(self.in_hand), f'{len(self.in_hand)} in hand, {lost} times lock_lost')
        again = len(ledger.all()) - total
        check(again <= failed + unknown, f'{again} came twice, {failed} acks failed')
        check_settled(self.live, self.group, self.topic)


@case(everywhere=True)
def a_member_is_frozen_beyond_the_lock(live):
    """For two locks: the other member gets what it has in hand, and it settles nothing of it."""
    frozen = Frozen(live, 1, session_ms=15_000)
    time.sleep(2 * LOCK_MS / 1000)
    wait_until(frozen.handed_over, 5, 'what is in hand given to the other')
    check(len(members_of(live, frozen.group)) == 2, 'it is no longer a member')
    frozen.resume()
    time.sleep(1)
    frozen.finish()
    check(REJOINS not in frozen.workers[0].err(), 'it had to join again')


@case(everywhere=True)
def a_member_is_frozen_beyond_its_session(live):
    """Its partitions go to the other with all that it had in hand; it joins again and goes on."""
    frozen = Frozen(live, 4, session_ms=5000)
    wait_until(lambda: len(members_of(live, frozen.group)) == 1, 10, 'the member removed')
    wait_until(frozen.handed_over, 5, 'what is in hand given to the other')
    frozen.resume()
    wait_members(live, frozen.group, 2)
    before = len(frozen.workers[0].lines())
    wait_until(lambda: len(frozen.workers[0].lines()) > before + 100, 10, 'records for it again')
    frozen.finish()
    check(REJOINS in frozen.workers[0].err(), 'nobody was told that it joined again')
