// SPDX-License-Identifier: Apache-2.0
// What:        Tcp: a Transport over one non-blocking socket; the addresses of a name are tried one
//              after another until one is connected.
// Flow:        consumer.hpp <-> Tcp <-> socket; Tcp <-> net/resolver.hpp for names.
// Memory:      40 bytes; no buffers.
// Valid until: nothing is closed by itself; see net/posix.hpp.
// Errors:      Status with the errno in `detail`, or the resolver's. Time limits are the caller's:
//              it closes what stays pending.
//
// Hosts are numeric (IPv4; IPv6 with or without brackets, with or without %scope), "localhost" or
// below it, which is 127.0.0.1 and ::1 without any lookup, or a name if there is a resolver; else
// Errc::bad_address at once, since getaddrinfo blocks and allocates.
//
// As long as another address of the name is left, each has 250 ms to connect (RFC 8305), in the
// next round 500 ms, then 1 s, and so on. Where that led nowhere before the caller gave up, the
// next open() gives each 250 ms and then one of them all the time, another at each open(): none is
// out of reach, and no network is too slow. An address that refuses is out; the last that is left
// has all the time. There is one socket: an attempt ends the one before.
#ifndef KSHARE_NET_POSIX_TCP_HPP
#define KSHARE_NET_POSIX_TCP_HPP

#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdint>
#include <cstring>

#include "kshare/base/bytes.hpp"
#include "kshare/base/status.hpp"
#include "kshare/base/time.hpp"
#include "kshare/net/dns_message.hpp"
#include "kshare/net/posix_address.hpp"
#include "kshare/net/resolver.hpp"
#include "kshare/net/transport.hpp"

namespace kshare::posix {

// One TCP connection. All of Transport's contract holds; beyond it: open() closes what was open.
class Tcp final : public Transport {
 public:
  static constexpr int64_t kAttemptMs = 250;
  static constexpr uint8_t kRoundMax = 6;  // 16 s

  constexpr Tcp() = default;

  void use(Resolver& resolver) { resolver_ = &resolver; }

  Status open(const Endpoint& endpoint, Instant now) override {
    close();
    port_ = endpoint.port;
    if (current_ != 0 || round_ != 0) favour_ = static_cast<uint8_t>(favour_ + kFavourStep);
    current_ = round_ = failed_ = error_ = 0;
    Address address;
    if (parse_address(endpoint.host, address)) {
      state_ = State::trying_one;
      const int error = connect_to(address);
      if (error == 0) return {};
      close();
      return connect_failed(error);
    }
    if (is_localhost(endpoint.host)) {
      state_ = State::trying_loopback;
      return attempt(now);
    }
    if (resolver_ == nullptr) return {Errc::bad_address, 0};
    const IoResult found = resolver_->open(endpoint.host, now, lookup_);
    if (found.io == Io::failed) return found.status;
    state_ = State::resolving;
    ++generation_;
    return found.io == Io::done ? begin_attempts(now) : Status{};
  }

  IoResult advance(Instant now) override {
    if (state_ == State::closed) return {Io::failed, 0, connect_failed(ENOTCONN)};
    if (state_ == State::resolving) return pending_or(resolve(now));
    if (is_trying()) {
      pollfd entry = {fd(), POLLOUT, 0};
      const bool silent = ::poll(&entry, 1, 0) <= 0;
      if (silent && now < due_) return {};
      const int error = silent ? 0 : outcome();
      if (silent || error != 0) {
        if (error != 0) rule_out(error);
        skip();
        return pending_or(attempt(now));
      }
      end_lookup(current_);
      state_ = State::ready;
      current_ = round_ = favour_ = 0;
    }
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
      want_write(errno == EAGAIN || errno == EWOULDBLOCK);
      return broken_or_pending();
    }
    const auto moved = static_cast<uint32_t>(count);
    want_write(moved < from.size);
    return {Io::done, moved, {}};
  }

  // What the kernel has taken it still tries to send.
  void close() override {
    shut();
    end_lookup(-1);
    state_ = State::closed;
  }

  Interest interest() const override {
    Interest interest;
    if (state_ == State::resolving) {
      interest = resolver_->interest(lookup_);
    } else {
      interest.fd = fd();
      interest.read = state_ >= State::ready;
      interest.write = is_trying() || state_ == State::full;
      if (is_trying()) interest.due = due_;
    }
    interest.generation = generation_;
    return interest;
  }

 private:
  // The golden section of 256: any few successive multiples of it lie far apart, so that as many
  // open()s as there are addresses favour all of them, also where names are opened in turn.
  static constexpr uint8_t kFavourStep = 157;

  enum class State : uint8_t {
    closed,
    resolving,        // the resolver has lookup_, here and in trying_name
    trying_one,       // connecting to a numeric address
    trying_loopback,  // to one of localhost's
    trying_name,      // to one of the resolver's
    ready,
    full,  // ready, but the kernel did not take all that was offered
  };

  int fd() const { return fd_plus_one_ - 1; }
  bool is_trying() const { return state_ >= State::trying_one && state_ < State::ready; }
  void want_write(bool wanted) {
    if (state_ >= State::ready) state_ = wanted ? State::full : State::ready;
  }

  static Status connect_failed(int error) {
    return {Errc::connect_failed, static_cast<int16_t>(error)};
  }
  static IoResult pending_or(Status status) {
    return {status.ok() ? Io::pending : Io::failed, 0, status};
  }
  static IoResult broken_or_pending() {
    if (errno == EAGAIN || errno == EWOULDBLOCK) return {};
    return {Io::failed, 0, {Errc::disconnected, static_cast<int16_t>(errno)}};
  }

  void shut() {
    if (fd_plus_one_ != 0) static_cast<void>(::close(fd()));  // not again after EINTR: it is gone
    fd_plus_one_ = 0;
  }
  void end_lookup(int32_t winner) {
    const bool has_lookup = state_ == State::resolving || state_ == State::trying_name;
    if (has_lookup) resolver_->close(lookup_, winner);
  }

  // ---- Names. ok: go on.
  Status resolve(Instant now) {
    const uint32_t socket = resolver_->interest(lookup_).generation;
    const IoResult found = resolver_->advance(lookup_, now);
    if (found.io == Io::done) return begin_attempts(now);
    if (found.io == Io::pending) {
      if (resolver_->interest(lookup_).generation != socket) ++generation_;
      return {};
    }
    close();
    return found.status;
  }
  bool address(uint32_t i, Address& out) const {
    if (state_ == State::trying_name) return resolver_->address(lookup_, i, out);
    out = Address{};
    out.v6 = i == 1;
    if (out.v6) {
      out.octets[15] = 1;
    } else {
      const uint8_t v4[4] = {127, 0, 0, 1};
      std::memcpy(out.octets, v4, sizeof v4);
    }
    return state_ == State::trying_loopback && i < 2;
  }
  uint32_t address_count() const {
    Address one;
    uint32_t count = 0;
    while (count < Resolver::kAddressesMax && address(count, one)) ++count;
    return count;
  }

  Status begin_attempts(Instant now) {
    state_ = State::trying_name;
    return attempt(now);
  }

  // ---- Attempts. Connects to the current address of the name, or to the next that has not failed.
  Status attempt(Instant now) {
    const uint32_t count = address_count();
    for (uint32_t tried = 0; tried < 2 * count; ++tried) {  // twice: skip() may pass over some
      Address one;
      const bool possible = (failed_ >> current_ & 1) == 0 && address(current_, one);
      const int error = possible ? connect_to(one) : 0;
      if (possible && error == 0) {
        const uint32_t others = ((1u << count) - 1) & ~uint32_t{failed_} & ~(1u << current_);
        const bool unhurried = others == 0 || (favour_ != 0 && round_ != 0);
        due_ = unhurried ? kNever : now + (uint32_t{kAttemptMs} << round_);
        return {};
      }
      if (error != 0) rule_out(error);
      skip();
    }
    close();
    current_ = round_ = 0;  // more patience would not have helped
    return connect_failed(error_ == 0 ? EADDRNOTAVAIL : error_);
  }
  // The first address's reason is told, unless it only says that this host has no such network.
  void rule_out(int error) {
    failed_ |= static_cast<uint8_t>(1u << current_);
    const bool idle =
        error_ == 0 || error_ == ENETUNREACH || error_ == EAFNOSUPPORT || error_ == EADDRNOTAVAIL;
    if (idle) error_ = static_cast<uint8_t>(error);
  }
  // On to the next address; behind the last begins another round of those that are only slow.
  void skip() {
    shut();
    const uint32_t count = address_count();
    if (++current_ < count) return;
    current_ = 0;
    const bool some_left = (((1u << count) - 1) & ~uint32_t{failed_}) != 0;
    if (!some_left || round_ == kRoundMax) return;
    if (round_++ == 0) current_ = static_cast<uint8_t>(favour_ * count >> 8);
  }

  // 0: connected or connecting, else an errno.
  int connect_to(const Address& address) {
    SocketAddress to;
    const socklen_t size = socket_address(address, port_, to);
    const int made = ::socket(to.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (made < 0) return errno;
    fd_plus_one_ = made + 1;
    ++generation_;
    const int on = 1;  // requests are small and whole: waiting for more to send only costs time
    static_cast<void>(::setsockopt(made, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on));
    due_ = kNever;
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

  Resolver* resolver_ = nullptr;
  Instant due_{};        // trying: the turn of the next address
  int fd_plus_one_ = 0;  // so that all-zero is a closed one
  uint16_t generation_ = 0;
  uint16_t lookup_ = 0;
  uint16_t port_ = 0;
  uint8_t error_ = 0;    // what the first address said; no errno of connect() is above 255
  uint8_t favour_ = 0;   // not 0: times count / 256 is the address that has all the time
  uint8_t current_ = 0;  // address
  uint8_t failed_ = 0;   // bits: addresses that have refused
  uint8_t round_ = 0;    // of all addresses
  State state_ = State::closed;
};

}  // namespace kshare::posix

#endif  // KSHARE_NET_POSIX_TCP_HPP
