// SPDX-License-Identifier: Apache-2.0
// What:        TCP, clock, entropy and waiting on Linux: Tcp is a Transport over one non-blocking
//              socket, TcpPool as many of them as Limits::links_max, with wait() and wakeup().
// Flow:        consumer.hpp <-> Tcp <-> socket; the application -> TcpPool::wait() -> poll(2).
// Memory:      24 bytes a link and 24 for the pool; no buffers. wait() keeps pollfds on the stack.
// Valid until: no destructor closes anything, so that a static object needs no code at exit: the
//              consumer's close() closes the sockets, or the OS does when the process ends.
// Errors:      Status with the errno in `detail`. No signal's disposition is touched.
//
// Hosts are numeric (IPv4; IPv6 with or without brackets, with or without %scope) or "localhost",
// which is 127.0.0.1 and, if that fails, ::1. Any other name gives Errc::bad_address at once, since
// getaddrinfo blocks and allocates. Time limits are the caller's: it closes what stays pending.
#ifndef KSHARE_NET_POSIX_HPP
#define KSHARE_NET_POSIX_HPP

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <climits>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "kshare/base/assert.hpp"
#include "kshare/base/bytes.hpp"
#include "kshare/base/status.hpp"
#include "kshare/base/time.hpp"
#include "kshare/net/posix_address.hpp"
#include "kshare/net/transport.hpp"

namespace kshare::posix {

// One TCP connection. All of Transport's contract holds; beyond it: open() closes what was open.
class Tcp final : public Transport {
 public:
  constexpr Tcp() = default;

  Status open(const Endpoint& endpoint, Instant) override {
    close();
    Address address;
    port_ = endpoint.port;
    other_loopback_ = endpoint.host == "localhost";
    if (!parse_address(other_loopback_ ? "127.0.0.1" : endpoint.host, address)) {
      return {Errc::bad_address, 0};
    }
    return connect_or_next(address);
  }

  IoResult advance(Instant) override {
    if (state_ == State::connecting) {
      pollfd entry = {fd(), POLLOUT, 0};
      if (::poll(&entry, 1, 0) <= 0) return {};
      const int error = outcome();
      if (error != 0) {
        const Status status = fail_or_next(error);
        return {status.ok() ? Io::pending : Io::failed, 0, status};
      }
      state_ = State::ready;
    }
    if (state_ == State::closed) return {Io::failed, 0, connect_failed(ENOTCONN)};
    return {Io::done, 0, {}};
  }

  IoResult read(MutableBytes into) override {
    if (into.empty()) return {};
    ssize_t count = 0;
    do {
      count = ::recv(fd(), into.data, into.size, 0);
    } while (count < 0 && errno == EINTR);
    if (count > 0) return {Io::done, static_cast<uint32_t>(count), {}};
    if (count == 0) return {Io::closed, 0, {}};
    return broken_or_pending();
  }

  IoResult write(Bytes from) override {
    ssize_t count = 0;
    do {
      count = ::send(fd(), from.data, from.size, MSG_NOSIGNAL);
    } while (count < 0 && errno == EINTR);
    if (count < 0) {
      want_write_ = errno == EAGAIN || errno == EWOULDBLOCK;
      return broken_or_pending();
    }
    const auto moved = static_cast<uint32_t>(count);
    want_write_ = moved < from.size;
    return {Io::done, moved, {}};
  }

  // What the kernel has taken it still tries to send.
  void close() override {
    if (fd_plus_one_ != 0) static_cast<void>(::close(fd()));  // not again after EINTR: it is gone
    fd_plus_one_ = 0;
    state_ = State::closed;
    want_write_ = false;
  }

  Interest interest() const override {
    Interest interest;
    interest.fd = fd();
    interest.read = state_ == State::ready;
    interest.write = state_ == State::connecting || want_write_;
    interest.generation = generation_;
    return interest;
  }

 private:
  enum class State : uint8_t { closed, connecting, ready };
  union SocketAddress {
    sockaddr any;
    sockaddr_in v4;
    sockaddr_in6 v6;
  };

  int fd() const { return fd_plus_one_ - 1; }

  static Status connect_failed(int error) {
    return {Errc::connect_failed, static_cast<int16_t>(error)};
  }

  static IoResult broken_or_pending() {
    if (errno == EAGAIN || errno == EWOULDBLOCK) return {};
    return {Io::failed, 0, {Errc::disconnected, static_cast<int16_t>(errno)}};
  }

  Status connect_or_next(const Address& address) {
    const int error = connect_to(address);
    return error == 0 ? Status{} : fail_or_next(error);
  }

  // An address has failed: ok if another one is being tried in its place. (The further addresses
  // of a name, once there is a resolver, would be tried here too.)
  Status fail_or_next(int error) {
    close();
    if (!other_loopback_) return connect_failed(error);
    other_loopback_ = false;
    Address address;
    address.v6 = true;
    address.octets[15] = 1;
    if (connect_to(address) == 0) return {};
    close();
    return connect_failed(error);  // the first one's reason: a host without IPv6 adds nothing to it
  }

  // 0: connected or connecting, else an errno.
  int connect_to(const Address& address) {
    SocketAddress to;
    socklen_t size = sizeof to.v4;
    std::memset(&to, 0, sizeof to);
    if (address.v6) {
      size = sizeof to.v6;
      to.v6.sin6_family = AF_INET6;
      to.v6.sin6_port = htons(port_);
      to.v6.sin6_scope_id = address.scope;
      std::memcpy(&to.v6.sin6_addr, address.octets, 16);
    } else {
      to.v4.sin_family = AF_INET;
      to.v4.sin_port = htons(port_);
      std::memcpy(&to.v4.sin_addr, address.octets, 4);
    }
    const int made = ::socket(to.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (made < 0) return errno;
    fd_plus_one_ = made + 1;
    ++generation_;
    const int on = 1;  // requests are small and whole: waiting for more to send only costs time
    static_cast<void>(::setsockopt(made, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on));
    state_ = State::connecting;
    if (::connect(made, &to.any, size) == 0) return outcome();
    return errno == EINPROGRESS || errno == EINTR ? 0 : errno;
  }

  // How connecting ended: 0 or an errno. A socket can connect to itself if nobody listens on a port
  // of this host that lies in the range of ephemeral ones: that is a refusal too.
  int outcome() const {
    int error = 0;
    socklen_t size = sizeof error;
    if (::getsockopt(fd(), SOL_SOCKET, SO_ERROR, &error, &size) != 0) return errno;
    if (error != 0) return error;
    SocketAddress here;
    SocketAddress there;
    socklen_t here_size = sizeof here;
    socklen_t there_size = sizeof there;
    std::memset(&here, 0, sizeof here);
    std::memset(&there, 0, sizeof there);
    if (::getsockname(fd(), &here.any, &here_size) != 0) return errno;
    if (::getpeername(fd(), &there.any, &there_size) != 0) return errno;
    return std::memcmp(&here, &there, sizeof here) == 0 ? ECONNREFUSED : 0;
  }

  int fd_plus_one_ = 0;  // so that all-zero is a closed one
  uint32_t generation_ = 0;
  uint16_t port_ = 0;
  State state_ = State::closed;
  bool other_loopback_ = false;  // ::1 is still to be tried
  bool want_write_ = false;      // the kernel did not take all that was offered
};

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
    pollfd fds[kRoom];
    const int wakeup_fd = wakeup_descriptor();
    const uint32_t used = fill(consumer, fds, kRoom - 1);
    fds[used] = {wakeup_fd, POLLIN, 0};  // -1 is passed over
    const bool woken = wakeup_due_.exchange(0) != 0;
    const int sleep_ms = woken ? 0 : timeout_ms(consumer, now(), max_ms);
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
  // Says which transports have something, in the order in which fill() has asked.
  template <class Consumer>
  static void tell(Consumer& consumer, const pollfd* asked) {
    const uint32_t count = consumer.interest_count();
    for (uint32_t i = 0; i < count; ++i) {
      const Interest interest = consumer.interest(i);
      bool ready = interest.ready_now;
      if (is_waited_for(interest) && (asked++)->revents != 0) ready = true;
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
