// SPDX-License-Identifier: Apache-2.0
// What:        loopback TCP in front of the mini broker, for programs and tests with sockets.
// Flow:        sockets -> Broker::input(); Broker::take_output() -> sockets, in run_once().
// Memory:      one Peer a connection.
// Valid until: the Broker must outlive it; the only part of the mini broker with a real clock.
// Errors:      ok() is false when a port could not be bound; a broken connection is just closed.
#ifndef MINIBROKER_TCP_FRONT_HPP
#define MINIBROKER_TCP_FRONT_HPP

#include <arpa/inet.h>
#include <cerrno>
#include <chrono>
#include <deque>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "broker.hpp"

namespace minibroker {

class TcpFront {
 public:
  // Binds 127.0.0.1; the first node at `base_port`, the others behind it, 0: any free ports.
  // The Broker advertises what was bound.
  explicit TcpFront(Broker& broker, int base_port = 0)
      : broker_(broker), begin_(Clock::now()), offset_(broker.now()) {
    int port = base_port;
    for (int node : broker_.node_ids()) {
      Listener& l = listeners_[node];
      l.port = port;
      ok_ = listen_at(l) && ok_;
      broker_.set_node_address(node, "127.0.0.1", l.port);
      if (port != 0) ++port;
    }
  }
  TcpFront(const TcpFront&) = delete;
  TcpFront& operator=(const TcpFront&) = delete;
  ~TcpFront() {
    for (auto& l : listeners_) shut(l.second.fd);
    for (auto& p : peers_) shut(p.second.fd);
  }

  bool ok() const { return ok_; }
  int port(int node) const { return listeners_.at(node).port; }
  std::string bootstrap() const {
    std::string all;
    for (const auto& l : listeners_) {
      all += (all.empty() ? "" : ",") + ("127.0.0.1:" + std::to_string(l.second.port));
    }
    return all;
  }
  // The Broker's time: milliseconds since this object was made, behind what the Broker had seen.
  int64_t now() const { return offset_ + passed(); }

  // A node that is stalled reads nothing, answers nothing and accepts nobody, as in a long pause
  // of its process; the kernel still takes connections and bytes for it.
  void stall(int node, int64_t ms) { listeners_.at(node).stalled_until = passed() + ms; }
  // A node that was stopped refuses connections until it is started again; run_once() does this
  // too. False: somebody else has a port by now.
  bool follow_nodes() {
    bool all = true;
    for (auto& l : listeners_) {
      const bool up = broker_.node_up(l.first);
      if (!up) shut(l.second.fd);
      else if (l.second.fd < 0) all = listen_at(l.second) && all;
    }
    return all;
  }
  // Every answer from now on leaves so much later.
  void delay(int64_t ms) { delay_ms_ = ms; }
  // The Broker's clock jumps: what is due by then, locks and members, is due now.
  void advance(int64_t ms) {
    offset_ += ms;
    broker_.tick(now());
  }

  // Waits for sockets or the Broker's next deadline, at most timeout_ms, and does what is due.
  // Waits for `watched` too, unless that is -1: true when there is something to read.
  bool run_once(int timeout_ms, int watched = -1) {
    follow_nodes();
    flush();
    std::vector<pollfd> fds = {{watched, POLLIN, 0}};
    std::vector<int> owners = {0};  // a node as -1 - node, or a connection
    for (const auto& l : listeners_) {
      if (l.second.fd < 0 || stalled(l.first)) continue;
      fds.push_back({l.second.fd, POLLIN, 0});
      owners.push_back(-1 - l.first);
    }
    for (const auto& p : peers_) {
      if (stalled(p.second.node)) continue;
      const int events = p.second.out.empty() ? POLLIN : POLLIN | POLLOUT;
      fds.push_back({p.second.fd, static_cast<short>(events), 0});
      owners.push_back(p.first);
    }
    const nfds_t count = fds.size();
    const int n = ::poll(fds.data(), count, wait_ms(timeout_ms));
    for (size_t i = 1; n > 0 && i < fds.size(); ++i) {
      if (fds[i].revents == 0) continue;
      if (owners[i] < 0) accept_at(-1 - owners[i]);
      else receive(owners[i]);
    }
    broker_.tick(now());
    flush();
    return n > 0 && fds[0].revents != 0;
  }

 private:
  using Clock = std::chrono::steady_clock;
  struct Listener {
    int fd = -1;
    int port = 0;
    int64_t stalled_until = 0;
  };
  struct Delayed {
    int64_t due;
    std::string bytes;
  };
  struct Peer {
    int fd = -1;
    int node = -1;
    std::string out;
    std::deque<Delayed> later;
  };

  int64_t passed() const {  // in true milliseconds
    return std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - begin_).count();
  }
  bool stalled(int node) const { return listeners_.at(node).stalled_until > passed(); }

  int wait_ms(int timeout_ms) const {
    int64_t wait = timeout_ms;
    const int64_t due = broker_.next_deadline();
    if (due != kNever) wait = std::min(wait, due - now());
    const int64_t time = passed();
    for (const auto& l : listeners_) {
      if (l.second.stalled_until > time) wait = std::min(wait, l.second.stalled_until - time);
    }
    for (const auto& p : peers_) {
      if (p.second.later.empty() || stalled(p.second.node)) continue;
      wait = std::min(wait, p.second.later.front().due - time);
    }
    return static_cast<int>(std::max<int64_t>(0, wait));
  }

  static void shut(int& fd) {
    if (fd >= 0) ::close(fd);
    fd = -1;
  }

  static bool listen_at(Listener& l) {
    l.fd = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (l.fd < 0) return false;
    const int on = 1;
    ::setsockopt(l.fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    sockaddr_in a{};
    a.sin_family = AF_INET;
    a.sin_port = htons(static_cast<uint16_t>(l.port));
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof a;
    void* address = &a;
    if (::bind(l.fd, static_cast<sockaddr*>(address), size) != 0 || ::listen(l.fd, 64) != 0 ||
        ::getsockname(l.fd, static_cast<sockaddr*>(address), &size) != 0) {
      shut(l.fd);
      return false;
    }
    l.port = ntohs(a.sin_port);
    return true;
  }

  void accept_at(int node) {
    for (;;) {
      const int fd = ::accept4(listeners_.at(node).fd, nullptr, nullptr,
                               SOCK_NONBLOCK | SOCK_CLOEXEC);
      if (fd < 0) return;
      const int on = 1;
      ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
      const int conn = broker_.connect(node, now());
      if (conn < 0) ::close(fd);
      else peers_[conn] = {fd, node, "", {}};
    }
  }

  void receive(int conn) {
    char buffer[16384];
    for (int rounds = 0; rounds < 16; ++rounds) {
      const ssize_t n = ::recv(peers_.at(conn).fd, buffer, sizeof buffer, 0);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return;
      if (n <= 0) return drop(conn);
      broker_.input(conn, buffer, static_cast<size_t>(n), now());
    }
  }

  void flush() {
    std::vector<int> gone;
    for (auto& entry : peers_) {
      Peer& p = entry.second;
      const bool still = stalled(p.node);
      if (still && broker_.closed(entry.first)) gone.push_back(entry.first);
      if (still) continue;
      take(entry.first, p);
      size_t at = 0;
      bool broken = false;
      while (at < p.out.size()) {
        const ssize_t n = ::send(p.fd, p.out.data() + at, p.out.size() - at, MSG_NOSIGNAL);
        if (n > 0) at += static_cast<size_t>(n);
        else if (n < 0 && errno == EINTR) continue;
        else {
          broken = n < 0 && errno != EAGAIN && errno != EWOULDBLOCK;
          break;
        }
      }
      p.out.erase(0, at);
      const bool sent = p.out.empty() && p.later.empty();
      if (broken || (broker_.closed(entry.first) && sent)) gone.push_back(entry.first);
    }
    for (int conn : gone) drop(conn);
  }

  void take(int conn, Peer& p) {
    const int64_t time = passed();
    std::string bytes = broker_.take_output(conn);
    if (!bytes.empty()) p.later.push_back({time + delay_ms_, std::move(bytes)});
    while (!p.later.empty() && p.later.front().due <= time) {
      p.out += p.later.front().bytes;
      p.later.pop_front();
    }
  }

  void drop(int conn) {
    shut(peers_.at(conn).fd);
    peers_.erase(conn);
    broker_.disconnect(conn, now());
  }

  Broker& broker_;
  Clock::time_point begin_;
  int64_t offset_;
  int64_t delay_ms_ = 0;
  bool ok_ = true;
  std::map<int, Listener> listeners_;
  std::map<int, Peer> peers_;
};

}  // namespace minibroker

#endif  // MINIBROKER_TCP_FRONT_HPP
