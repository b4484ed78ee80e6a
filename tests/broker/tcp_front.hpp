// SPDX-License-Identifier: Apache-2.0
// What:        loopback TCP in front of the mini broker, for the demo and tests with sockets.
// Flow:        sockets -> Broker::input(); Broker::take_output() -> sockets, in run_once().
// Memory:      one Peer a connection.
// Valid until: the Broker must outlive it; the only part of the mini broker with a real clock.
// Errors:      ok() is false when a port could not be bound; a broken connection is just closed.
#ifndef MINIBROKER_TCP_FRONT_HPP
#define MINIBROKER_TCP_FRONT_HPP

#include <arpa/inet.h>
#include <cerrno>
#include <chrono>
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
  int64_t now() const {
    const auto passed = Clock::now() - begin_;
    return offset_ + std::chrono::duration_cast<std::chrono::milliseconds>(passed).count();
  }

  // Waits for sockets or the Broker's next deadline, at most timeout_ms, and does what is due.
  void run_once(int timeout_ms) {
    follow_nodes();
    flush();
    std::vector<pollfd> fds;
    std::vector<int> owners;  // a node as -1 - node, or a connection
    for (const auto& l : listeners_) {
      if (l.second.fd < 0) continue;
      fds.push_back({l.second.fd, POLLIN, 0});
      owners.push_back(-1 - l.first);
    }
    for (const auto& p : peers_) {
      const int events = p.second.out.empty() ? POLLIN : POLLIN | POLLOUT;
      fds.push_back({p.second.fd, static_cast<short>(events), 0});
      owners.push_back(p.first);
    }
    const int64_t due = broker_.next_deadline();
    const int64_t until = due == kNever ? timeout_ms : std::max<int64_t>(0, due - now());
    const int wait = static_cast<int>(std::min<int64_t>(until, timeout_ms));
    const nfds_t count = fds.size();
    const int n = ::poll(fds.data(), count, wait);
    for (size_t i = 0; n > 0 && i < fds.size(); ++i) {
      if (fds[i].revents == 0) continue;
      if (owners[i] < 0) accept_at(-1 - owners[i]);
      else receive(owners[i]);
    }
    broker_.tick(now());
    flush();
  }

 private:
  using Clock = std::chrono::steady_clock;
  struct Listener {
    int fd = -1;
    int port = 0;
  };
  struct Peer {
    int fd = -1;
    std::string out;
  };

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

  // A node that was stopped refuses connections until it is started again.
  void follow_nodes() {
    for (auto& l : listeners_) {
      const bool up = broker_.node_up(l.first);
      if (!up) shut(l.second.fd);
      else if (l.second.fd < 0) listen_at(l.second);
    }
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
      else peers_[conn].fd = fd;
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
      p.out += broker_.take_output(entry.first);
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
      if (broken || (broker_.closed(entry.first) && p.out.empty())) gone.push_back(entry.first);
    }
    for (int conn : gone) drop(conn);
  }

  void drop(int conn) {
    shut(peers_.at(conn).fd);
    peers_.erase(conn);
    broker_.disconnect(conn, now());
  }

  Broker& broker_;
  Clock::time_point begin_;
  int64_t offset_;
  bool ok_ = true;
  std::map<int, Listener> listeners_;
  std::map<int, Peer> peers_;
};

}  // namespace minibroker

#endif  // MINIBROKER_TCP_FRONT_HPP
