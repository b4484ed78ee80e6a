// SPDX-License-Identifier: Apache-2.0
// What:        TCP, clock, entropy and waiting on Linux: TcpPool has as many Tcp as
//              Limits::links_max, with wait() and wakeup().
// Flow:        consumer.hpp <-> posix_tcp.hpp <-> socket; the application -> TcpPool::wait() ->
//              poll(2).
// Memory:      40 bytes a link and 24 for the pool; no buffers. wait() keeps pollfds on the stack.
// Valid until: no destructor closes anything, so that a static object needs no code at exit: the
//              consumer's close() closes the sockets, or the OS does when the process ends.
// Errors:      Status with the errno in `detail`. No signal's disposition is touched.
//
// Hosts are numeric, or "localhost"; with use() also names. net/posix_tcp.hpp has the details.
#ifndef KSHARE_NET_POSIX_HPP
#define KSHARE_NET_POSIX_HPP

#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <climits>
#include <cstdint>

#include "kshare/base/assert.hpp"
#include "kshare/base/bytes.hpp"
#include "kshare/base/status.hpp"
#include "kshare/base/time.hpp"
#include "kshare/net/posix_tcp.hpp"
#include "kshare/net/resolver.hpp"
#include "kshare/net/transport.hpp"

namespace kshare::posix {

// ---- Waiting. `Consumer` is anything with interest_count(), interest(i), deadline(), wake() and
// wake(i).

inline bool is_waited_for(const Interest& interest) {
  return interest.fd >= 0 && (interest.read || interest.write);
}

// What to wait for, as pollfds; answers how many were written, interest_count() at most. For loops
// that wait for two consumers, or for other things too: give poll(2) the smaller timeout_ms(), then
// call wake() of the consumer that has a descriptor ready or is ready_now().
template <class Consumer>
uint32_t fill(const Consumer& consumer, pollfd* out, uint32_t room) {
  uint32_t used = 0;
  const uint32_t count = consumer.interest_count();
  for (uint32_t i = 0; i < count; ++i) {
    const Interest interest = consumer.interest(i);
    if (!is_waited_for(interest)) continue;
    KSHARE_ASSERT(used < room);
    const int events = (interest.read ? POLLIN : 0) | (interest.write ? POLLOUT : 0);
    out[used++] = {interest.fd, static_cast<short>(events), 0};
  }
  return used;
}

// Whether bytes wait inside a transport, where no descriptor tells of them.
template <class Consumer>
bool ready_now(const Consumer& consumer) {
  const uint32_t count = consumer.interest_count();
  for (uint32_t i = 0; i < count; ++i) {
    if (consumer.interest(i).ready_now) return true;
  }
  return false;
}

// How long poll(2) may sleep: until consumer.deadline(), at most `max_ms` (-1: no such bound); 0 if
// there is something to do now, -1 if there is nothing to wait for but I/O.
template <class Consumer>
int timeout_ms(const Consumer& consumer, Instant now, int64_t max_ms = -1) {
  if (ready_now(consumer)) return 0;
  const Instant deadline = consumer.deadline();
  int64_t left_ms = deadline == kNever ? -1 : deadline <= now ? 0 : deadline - now;
  if (max_ms >= 0 && (left_ms < 0 || left_ms > max_ms)) left_ms = max_ms;
  return left_ms > INT_MAX ? INT_MAX : static_cast<int>(left_ms);
}

// The transports, the clock and the entropy of one consumer. `L` is its Limits value.
template <const auto& L>
class TcpPool final : public TransportPool {
 public:
  constexpr TcpPool() = default;

  uint32_t size() const override { return L.links_max; }
  Transport& transport(uint32_t index) override {
    KSHARE_ASSERT(index < L.links_max);
    return tcp_[index];
  }

  // From now on names are looked up too; without it they are Errc::bad_address. The resolver must
  // outlive the pool. While nothing is connected, please: before start().
  void use(Resolver& resolver) {
    for (Tcp& one : tcp_) one.use(resolver);
  }

  // False while the kernel's generator is not seeded yet (early at boot: try again later), and if
  // it has none.
  bool entropy(MutableBytes into) override {
    uint32_t filled = 0;
    while (filled < into.size) {
      const ssize_t count = ::getrandom(into.data + filled, into.size - filled, GRND_NONBLOCK);
      if (count < 0 && errno == EINTR) continue;
      if (count <= 0) return false;
      filled += static_cast<uint32_t>(count);
    }
    return true;
  }

  // Milliseconds of CLOCK_BOOTTIME, which goes on while the device is suspended, as the broker's
  // clocks do; CLOCK_MONOTONIC where that is missing. Never goes back.
  Instant now() {
    timespec time = {};
    if (::clock_gettime(CLOCK_BOOTTIME, &time) != 0) {
      static_cast<void>(::clock_gettime(CLOCK_MONOTONIC, &time));
    }
    int64_t ms = time.tv_sec;
    ms = ms * 1000 + time.tv_nsec / 1000000;
    last_ = later(last_, Instant{ms});
    return last_;
  }

  // Sleeps until I/O is possible, consumer.deadline() or `max_ms` (-1: no such bound) has passed,
  // a signal handler has run, or wakeup() is called; call consumer.poll() next. A wakeup() since
  // the last wait() ends this one at once; a signal since then does not, unless its handler called
  // wakeup(). poll(2) does not count time in suspend: a deadline that passes there is met late, by
  // at most what was left of the sleep.
  template <class Consumer>
  void wait(Consumer& consumer, int64_t max_ms = -1) {
    const int wakeup_fd = wakeup_descriptor();  // before the flag is looked at: see wakeup()
    const bool woken = wakeup_due_.exchange(0) != 0;
    const int sleep_ms = woken ? 0 : timeout_ms(consumer, now(), max_ms);
    // There is something to do anyway, such as the next fetch: the sockets can wait for it.
    if (sleep_ms == 0 && !woken && max_ms != 0) return tell(consumer, nullptr);
    pollfd fds[kRoom];
    const uint32_t used = fill(consumer, fds, kRoom - 1);
    fds[used] = {wakeup_fd, POLLIN, 0};  // -1 is passed over
    const int ready = ::poll(fds, used + 1, sleep_ms);
    const bool rung = ready > 0 && fds[used].revents != 0;
    if (rung || woken) drain(wakeup_fd);
    if (ready >= 0) tell(consumer, fds);  // else what they say is not to be trusted
  }

  // Ends wait(), now or the next one. May be called from any thread and from a signal handler.
  void wakeup() {
    const int error = errno;
    wakeup_due_.store(1);  // first this, then the descriptor: wait() looks at them the other way
    const int plus_one = wakeup_plus_one_.load();
    const uint64_t one = 1;
    if (plus_one != 0) {
      const ssize_t count = ::write(plus_one - 1, &one, sizeof one);
      static_cast<void>(count);  // EAGAIN: it has been rung 2^64 - 2 times
    }
    errno = error;
  }

 private:
  // A resolver's sockets, a few of the application's transports, the wakeup.
  static constexpr uint32_t kRoom = L.links_max + 4;

  // Made by the first wait(), kept for good; -1 if the OS has none to give (asked again next time).
  int wakeup_descriptor() {
    if (wakeup_plus_one_.load() == 0) {
      wakeup_plus_one_.store(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) + 1);
    }
    return wakeup_plus_one_.load() - 1;
  }
  // Says which transports have something, in the order in which fill() has asked; nullptr: it has
  // not.
  template <class Consumer>
  static void tell(Consumer& consumer, const pollfd* asked) {
    const uint32_t count = consumer.interest_count();
    for (uint32_t i = 0; i < count; ++i) {
      const Interest interest = consumer.interest(i);
      bool ready = interest.ready_now;
      const bool waited_for = asked != nullptr && is_waited_for(interest);
      if (waited_for && (asked++)->revents != 0) ready = true;
      if (ready) consumer.wake(i);
    }
  }
  void drain(int descriptor) {
    uint64_t rings = 0;
    const ssize_t count = ::read(descriptor, &rings, sizeof rings);
    static_cast<void>(count);
    wakeup_due_.store(0);  // one rung in between rings again: its write came after our read
  }

  Tcp tcp_[L.links_max];
  Instant last_{};
  std::atomic<int> wakeup_plus_one_{0};
  std::atomic<int> wakeup_due_{0};  // an int: bytes need libatomic on some CPUs
};

// Closes the consumer in an orderly way and returns when that is done, after `timeout_ms` at the
// latest: acknowledgements leave, what is held is released, the member leaves its group. Answers
// consumer.status().
template <class Consumer, class Pool>
Status close(Consumer& consumer, Pool& pool, int64_t timeout_ms) {
  static_cast<void>(consumer.close(pool.now(), timeout_ms));
  while (consumer.poll(pool.now())) pool.wait(consumer);
  return consumer.status();
}

// Sends what has been acknowledged and returns when each has its answer: ok, the first failure, or
// timed_out after `timeout_ms` (what is still open goes on). `ticket`, if given, is for
// consumer.commit_result(): partition by partition.
template <class Consumer, class Pool>
Status commit_sync(Consumer& consumer, Pool& pool, int64_t timeout_ms, uint64_t* ticket = nullptr) {
  uint64_t its = 0;
  const Status begun = consumer.commit(its);
  if (ticket != nullptr) *ticket = its;
  if (!begun.ok()) return begun;
  const Instant until = pool.now() + timeout_ms;
  for (Instant now = pool.now(); consumer.poll(now); now = pool.now()) {
    const Status status = consumer.commit_status(its);
    if (status.code != Errc::in_progress) return status;
    if (now >= until) return {Errc::timed_out, 0};
    pool.wait(consumer, until - now);
  }
  return consumer.commit_status(its);
}

}  // namespace kshare::posix

#endif  // KSHARE_NET_POSIX_HPP
