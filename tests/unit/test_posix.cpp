// SPDX-License-Identifier: Apache-2.0
// net/posix.hpp against real loopback sockets, threads and signals of this process.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/time.h>

#include <cstdint>
#include <cstring>
#include <functional>
#include <string>
#include <string_view>
#include <thread>
#include <type_traits>
#include <vector>

#include "../support/descriptors.hpp"
#include "kshare/net/posix.hpp"

namespace test_posix {
namespace {

namespace posix = kshare::posix;
using kshare::Errc;
using kshare::Instant;
using kshare::Interest;
using kshare::Io;
using kshare::IoResult;
using kshare::kNever;
using kshare::Status;
using posix::Tcp;

struct TestLimits {
  uint32_t links_max = 3;
};
constexpr TestLimits kLimits{};
using Pool = posix::TcpPool<kLimits>;

static_assert(std::is_trivially_destructible_v<Tcp> && std::is_trivially_destructible_v<Pool>);
static_assert(sizeof(Tcp) <= 40 && sizeof(Pool) <= 24 + 3 * 40);

constexpr Instant kSomeTime{};  // Tcp does not look at the time

// A socket bound to loopback, on a port of the OS's choice if 0; closed at the end of its scope.
class Peer {
 public:
  explicit Peer(int family = AF_INET, uint16_t port = 0) {
    fd_ = ::socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd_ < 0) return;
    sockaddr_storage address = {};
    socklen_t size = 0;
    if (family == AF_INET) {
      auto* v4 = reinterpret_cast<sockaddr_in*>(&address);
      v4->sin_family = AF_INET;
      v4->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
      v4->sin_port = htons(port);
      size = sizeof *v4;
    } else {
      auto* v6 = reinterpret_cast<sockaddr_in6*>(&address);
      v6->sin6_family = AF_INET6;
      v6->sin6_addr = in6addr_loopback;
      v6->sin6_port = htons(port);
      size = sizeof *v6;
    }
    bound_ = ::bind(fd_, reinterpret_cast<sockaddr*>(&address), size) == 0;
    if (::getsockname(fd_, reinterpret_cast<sockaddr*>(&address), &size) != 0) bound_ = false;
    port_ = ntohs(family == AF_INET ? reinterpret_cast<sockaddr_in*>(&address)->sin_port
                                    : reinterpret_cast<sockaddr_in6*>(&address)->sin6_port);
  }
  Peer(const Peer&) = delete;
  Peer& operator=(const Peer&) = delete;
  ~Peer() {
    hang_up();
    if (fd_ >= 0) ::close(fd_);
  }

  bool bound() const { return bound_; }
  uint16_t port() const { return port_; }
  void listen(int backlog = 8) { REQUIRE(::listen(fd_, backlog) == 0); }
  int accept() {
    pollfd entry = {fd_, POLLIN, 0};
    REQUIRE(::poll(&entry, 1, 5000) == 1);
    stream_ = ::accept(fd_, nullptr, nullptr);
    REQUIRE(stream_ >= 0);
    return stream_;
  }
  void hang_up() {
    if (stream_ >= 0) ::close(stream_);
    stream_ = -1;
  }
  void reset() {
    const linger now = {1, 0};
    REQUIRE(::setsockopt(stream_, SOL_SOCKET, SO_LINGER, &now, sizeof now) == 0);
    hang_up();
  }
  void send(std::string_view text) {
    REQUIRE(::send(stream_, text.data(), text.size(), 0) == static_cast<ssize_t>(text.size()));
  }
  std::string receive(size_t size) {
    std::string text(size, '\0');
    REQUIRE(::recv(stream_, &text[0], size, MSG_WAITALL) == static_cast<ssize_t>(size));
    return text;
  }

 private:
  int fd_ = -1;
  int stream_ = -1;
  uint16_t port_ = 0;
  bool bound_ = false;
};

// Sleeps until the transport's interest is met.
void await(const Tcp& tcp) {
  const Interest interest = tcp.interest();
  REQUIRE(interest.fd >= 0);
  pollfd entry = {interest.fd, 0, 0};
  if (interest.read) entry.events = POLLIN;
  if (interest.write) entry.events = static_cast<short>(entry.events | POLLOUT);
  REQUIRE(entry.events != 0);
  REQUIRE(::poll(&entry, 1, 5000) == 1);
}

// open() and advance() to the end: ok, or why not.
Status connect(Tcp& tcp, std::string_view host, uint16_t port) {
  const Status opened = tcp.open({host, port}, kSomeTime);
  if (!opened.ok()) return opened;
  for (;;) {
    const IoResult result = tcp.advance(kSomeTime);
    if (result.io == Io::done) return {};
    if (result.io == Io::failed) return result.status;
    REQUIRE(result.io == Io::pending);
    await(tcp);
  }
}

kshare::Bytes octets(std::string_view text) { return kshare::as_bytes(text); }

// Reads until `size` octets have come, or the stream ends.
std::string read_text(Tcp& tcp, size_t size, IoResult& last) {
  std::string text;
  while (text.size() < size) {
    uint8_t buffer[1000];
    last = tcp.read({buffer, sizeof buffer});
    if (last.io == Io::pending) {
      await(tcp);
    } else if (last.io == Io::done) {
      text.append(reinterpret_cast<const char*>(buffer), last.count);
    } else {
      break;
    }
  }
  return text;
}

bool have_ipv6() { return Peer(AF_INET6).bound(); }

// As much of a ShareConsumer as waiting needs.
struct Consumer {
  std::vector<Interest> interests;
  Instant end = kNever;
  int wakes = 0;
  uint32_t woken = 0;  // bit i: wake(i)
  int polls_left = 0;
  int64_t close_timeout_ms = -1;

  uint32_t interest_count() const { return static_cast<uint32_t>(interests.size() & 0xFFu); }
  Interest interest(uint32_t i) const { return interests[i]; }
  Instant deadline() const {
    if (on_deadline) on_deadline();
    return end;
  }
  std::function<void()> on_deadline;
  void wake(uint32_t i) {
    ++wakes;
    woken |= 1u << i;
  }
  Status close(Instant, int64_t timeout_ms) {
    close_timeout_ms = timeout_ms;
    return {};
  }
  bool poll(Instant now) {
    end = now + 1;
    return polls_left-- > 0;
  }
  Status status() const { return {Errc::timed_out, 7}; }
};

Interest wants_read(int fd) { return {fd, true, false, false, 1, kNever}; }

}  // namespace

TEST_CASE("posix: numeric addresses, and nothing else") {
  posix::Address address;
  REQUIRE(posix::parse_address("192.0.2.7", address));
  CHECK_FALSE(address.v6);
  const uint8_t v4[4] = {192, 0, 2, 7};
  CHECK(std::memcmp(address.octets, v4, 4) == 0);
  const uint8_t v6[16] = {0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x2A};
  for (std::string_view text : {"2001:db8::2a", "[2001:db8::2a]", "2001:DB8:0:0:0:0:0:42"}) {
    REQUIRE(posix::parse_address(text, address));
    CHECK(address.v6);
    CHECK(address.scope == 0);
    CHECK((address.octets[15] == 0x2A || address.octets[15] == 0x42));
    CHECK(std::memcmp(address.octets, v6, 15) == 0);
  }
  for (std::string_view text : {"fe80::1%3", "[fe80::1%3]"}) {
    REQUIRE(posix::parse_address(text, address));
    CHECK(address.scope == 3);
    CHECK(address.octets[0] == 0xFE);
  }
  REQUIRE(posix::parse_address("fe80::1%lo", address));
  CHECK(address.scope == if_nametoindex("lo"));

  const std::string_view bad[] = {
      "", "[", "]", "[]", "a", "localhost", "1.2.3", "1.2.3.4.5", "1.2.3.256", "1.2.3.4 ", "::1::",
      "[::1", "::1]", "fe80::1%", "fe80::1%0", "fe80::1%4294967296", "fe80::1%99999999999999999999",
      "fe80::1%no-such-interface", "%1", "1.2.3.4%1", "broker.example.com",
      std::string_view("127.0.0.1\0", 10), std::string_view("127.0.0.1\0x", 11)};
  for (std::string_view text : bad) {
    INFO(std::string(text));
    CHECK_FALSE(posix::parse_address(text, address));
  }
  CHECK_FALSE(posix::parse_address(std::string(64, '1'), address));
  CHECK_FALSE(posix::parse_address(std::string(100000, ':'), address));
}

TEST_CASE("posix: a host view need not be terminated") {
  posix::Address address;
  const std::string_view text = "127.0.0.12345";
  REQUIRE(posix::parse_address(text.substr(0, 9), address));
  CHECK(address.octets[3] == 1);
}

TEST_CASE("posix: connects, writes, reads, closes") {
  const size_t before = open_descriptors();
  {
    Peer peer;
    peer.listen();
    Tcp tcp;
    CHECK(tcp.interest().fd == -1);
    REQUIRE(connect(tcp, "127.0.0.1", peer.port()).ok());
    CHECK(tcp.advance(kSomeTime).io == Io::done);  // stays ready
    const int stream = peer.accept();
    CHECK(stream >= 0);

    Interest interest = tcp.interest();
    CHECK(interest.read);
    CHECK_FALSE(interest.write);
    CHECK_FALSE(interest.ready_now);
    CHECK((::fcntl(interest.fd, F_GETFL) & O_NONBLOCK) != 0);
    CHECK((::fcntl(interest.fd, F_GETFD) & FD_CLOEXEC) != 0);
    int no_delay = 0;
    socklen_t size = sizeof no_delay;
    REQUIRE(::getsockopt(interest.fd, IPPROTO_TCP, TCP_NODELAY, &no_delay, &size) == 0);
    CHECK(no_delay != 0);

    uint8_t buffer[16];
    CHECK(tcp.read({buffer, 16}).io == Io::pending);
    const IoResult nothing = tcp.write({});
    CHECK(nothing.io == Io::done);
    CHECK(nothing.count == 0);

    const IoResult wrote = tcp.write(octets("request"));
    CHECK(wrote.io == Io::done);
    CHECK(wrote.count == 7);
    CHECK(peer.receive(7) == "request");
    peer.send("answer");
    await(tcp);
    CHECK(tcp.read({buffer, 0}).io == Io::pending);  // no room is not the stream's end
    IoResult last;
    CHECK(read_text(tcp, 6, last) == "answer");

    tcp.close();
    tcp.close();
    CHECK(tcp.interest().fd == -1);
    CHECK_FALSE(tcp.interest().read);
    CHECK_FALSE(tcp.interest().write);
    char octet = 0;
    CHECK(::recv(stream, &octet, 1, 0) == 0);
  }
  CHECK(open_descriptors() == before);
}

TEST_CASE("posix: a refused connection says so") {
  Peer peer;  // bound, but not listening
  Tcp tcp;
  for (int i = 0; i < 3; ++i) {
    const Status status = connect(tcp, "127.0.0.1", peer.port());
    CHECK(status.code == Errc::connect_failed);
    CHECK(status.detail == ECONNREFUSED);
    CHECK(tcp.interest().fd == -1);
  }
  CHECK(tcp.advance(kSomeTime).io == Io::failed);
  CHECK(tcp.advance(kSomeTime).status.code == Errc::connect_failed);
  uint8_t octet = 0;
  CHECK(tcp.read({&octet, 1}).status.code == Errc::disconnected);
  CHECK(tcp.write({&octet, 1}).status.code == Errc::disconnected);
}

TEST_CASE("posix: an unreachable address is a failed connection, not a failed process") {
  Tcp tcp;
  const Status status = connect(tcp, "255.255.255.255", 9);
  CHECK(status.code == Errc::connect_failed);
  CHECK(status.detail > 0);
}

TEST_CASE("posix: names are not looked up unless there is a resolver") {
  Tcp tcp;
  for (std::string_view host : {"broker.example.com", "", "ip6-localhost"}) {
    const Status status = tcp.open({host, 9092}, kSomeTime);
    CHECK(status == Status{Errc::bad_address, 0});
    CHECK(tcp.interest().fd == -1);
  }
}

TEST_CASE("posix: a connection that hangs stays pending until it is closed") {
  Peer peer;
  peer.listen(0);
  std::vector<Tcp> fillers(8);  // they fill the backlog: then the kernel drops what comes
  for (Tcp& filler : fillers) CHECK(filler.open({"127.0.0.1", peer.port()}, kSomeTime).ok());
  Tcp& last = fillers.back();
  for (int i = 0; i < 3; ++i) CHECK(last.advance(kSomeTime).io == Io::pending);
  CHECK(last.interest().fd >= 0);
  CHECK(last.interest().write);
  CHECK_FALSE(last.interest().read);
  for (Tcp& filler : fillers) filler.close();
  CHECK(last.interest().fd == -1);
}

TEST_CASE("posix: what the kernel does not take is offered again, and arrives in order") {
  Peer peer;
  peer.listen();
  Tcp tcp;
  REQUIRE(connect(tcp, "127.0.0.1", peer.port()).ok());
  peer.accept();
  std::vector<uint8_t> sent(8u << 20);
  uint32_t state = 1;
  for (auto& octet : sent) {
    state = state * 1664525u + 1013904223u;
    octet = static_cast<uint8_t>(state >> 24);
  }
  const auto total = static_cast<uint32_t>(sent.size() & 0xFFFFFFFFu);
  uint32_t done = 0;
  bool partial = false;
  bool pending = false;
  while (!pending) {  // nobody reads: it must fill up
    REQUIRE(done < total);
    const IoResult result = tcp.write({sent.data() + done, total - done});
    REQUIRE((result.io == Io::done || result.io == Io::pending));
    pending = result.io == Io::pending;
    partial = partial || (result.io == Io::done && result.count < total - done);
    done += result.count;
  }
  CHECK(partial);
  CHECK(tcp.interest().write);
  std::string received;
  std::thread reader([&] { received = peer.receive(sent.size()); });
  while (done < total) {
    await(tcp);
    const IoResult result = tcp.write({sent.data() + done, total - done});
    REQUIRE((result.io == Io::done || result.io == Io::pending));
    done += result.count;
  }
  CHECK_FALSE(tcp.interest().write);
  reader.join();
  CHECK(std::memcmp(received.data(), sent.data(), sent.size()) == 0);
  tcp.close();
}

TEST_CASE("posix: the peer's orderly end comes after its last octet") {
  Peer peer;
  peer.listen();
  Tcp tcp;
  REQUIRE(connect(tcp, "127.0.0.1", peer.port()).ok());
  peer.accept();
  peer.send("last words");
  peer.hang_up();
  IoResult last;
  CHECK(read_text(tcp, 1000, last) == "last words");
  CHECK(last.io == Io::closed);
  uint8_t octet = 0;
  CHECK(tcp.read({&octet, 1}).io == Io::closed);  // and stays so
  tcp.close();
}

TEST_CASE("posix: a reset is a broken stream, and writing to it raises no signal") {
  Peer peer;
  peer.listen();
  Tcp tcp;
  REQUIRE(connect(tcp, "127.0.0.1", peer.port()).ok());
  peer.accept();
  peer.reset();
  await(tcp);
  uint8_t octet = 0;
  IoResult result = tcp.read({&octet, 1});
  CHECK(result.io == Io::failed);
  CHECK(result.status == Status{Errc::disconnected, ECONNRESET});
  result = tcp.write({&octet, 1});  // SIGPIPE would end this process
  CHECK(result.io == Io::failed);
  CHECK(result.status == Status{Errc::disconnected, EPIPE});
  CHECK_FALSE(tcp.interest().write);
  tcp.close();
}

TEST_CASE("posix: IPv6, with brackets and without" * doctest::skip(!have_ipv6())) {
  Peer peer(AF_INET6);
  peer.listen();
  for (std::string_view host : {"::1", "[::1]", "0:0:0:0:0:0:0:1", "::1%lo"}) {
    Tcp tcp;
    REQUIRE(connect(tcp, host, peer.port()).ok());
    peer.accept();
    CHECK(tcp.write(octets("six")).count == 3);
    CHECK(peer.receive(3) == "six");
    peer.hang_up();
    tcp.close();
  }
}

TEST_CASE("posix: localhost is 127.0.0.1") {
  Peer peer;
  peer.listen();
  Tcp tcp;
  REQUIRE(connect(tcp, "localhost", peer.port()).ok());
  CHECK(tcp.interest().generation == 1);
  peer.accept();
  tcp.close();
}

TEST_CASE("posix: localhost is ::1 where 127.0.0.1 refuses" * doctest::skip(!have_ipv6())) {
  Peer four;  // holds the port, refuses
  Peer six(AF_INET6, four.port());
  if (!six.bound()) {
    MESSAGE("the port is taken on ::1, nothing tested");
    return;
  }
  six.listen();
  Tcp tcp;
  REQUIRE(connect(tcp, "localhost", six.port()).ok());
  CHECK(tcp.interest().generation == 2);
  six.accept();
  tcp.close();
}

TEST_CASE("posix: localhost that refuses both ways says refused, and leaks nothing") {
  Peer peer;
  const size_t before = open_descriptors();
  Tcp tcp;
  CHECK(connect(tcp, "localhost", peer.port()) == Status{Errc::connect_failed, ECONNREFUSED});
  CHECK(tcp.interest().fd == -1);
  CHECK(open_descriptors() == before);
}

TEST_CASE("posix: the generation tells a descriptor from the one that had its number before") {
  Peer peer;
  peer.listen();
  Tcp tcp;
  REQUIRE(connect(tcp, "127.0.0.1", peer.port()).ok());
  const Interest first = tcp.interest();
  tcp.close();
  REQUIRE(connect(tcp, "127.0.0.1", peer.port()).ok());
  const Interest second = tcp.interest();
  CHECK(second.fd == first.fd);  // the OS gives the lowest free number
  CHECK(second.generation != first.generation);
  REQUIRE(connect(tcp, "127.0.0.1", peer.port()).ok());  // open() closes what was open
  CHECK(tcp.interest().generation != second.generation);
  tcp.close();
}

TEST_CASE("posix: the pool's transports, entropy and clock") {
  static Pool pool;
  CHECK(pool.size() == 3);
  CHECK(&pool.transport(0) == &pool.transport(0));
  CHECK(&pool.transport(0) != &pool.transport(2));

  uint8_t one[600] = {};  // more than the 256 octets that getrandom gives in one piece for sure
  uint8_t two[600] = {};
  REQUIRE(pool.entropy({one, sizeof one}));
  REQUIRE(pool.entropy({two, sizeof two}));
  CHECK(std::memcmp(one, two, sizeof one) != 0);
  CHECK(std::memcmp(one + 568, two + 568, 32) != 0);
  CHECK(pool.entropy({}));

  timespec time = {};
  REQUIRE(::clock_gettime(CLOCK_BOOTTIME, &time) == 0);
  const int64_t seconds = time.tv_sec;
  Instant last = pool.now();
  CHECK(last.ms / 1000 >= seconds);
  CHECK(last.ms / 1000 <= seconds + 5);
  for (int i = 0; i < 1000; ++i) {
    const Instant now = pool.now();
    CHECK(now >= last);
    last = now;
  }
}

TEST_CASE("posix: wait sleeps to the deadline, in one go, and not beyond") {
  static Pool pool;
  Consumer consumer;
  for (int64_t delay_ms : {1, 2, 7, 40}) {
    const Instant start = pool.now();
    consumer.end = start + delay_ms;
    pool.wait(consumer);
    CHECK(pool.now() >= consumer.end);  // a loop around wait() has nothing to spin on
    CHECK(pool.now() - start < delay_ms + 2000);
  }
  CHECK(consumer.wakes == 0);
}

TEST_CASE("posix: wait's bound, and a deadline that has passed") {
  static Pool pool;
  Consumer consumer;
  Instant start = pool.now();
  pool.wait(consumer, 30);
  CHECK(pool.now() - start >= 30);
  start = pool.now();
  pool.wait(consumer, 0);
  consumer.end = Instant{};
  pool.wait(consumer);
  consumer.end = start;
  pool.wait(consumer, 60000);
  CHECK(pool.now() - start < 2000);
  CHECK(consumer.wakes == 0);
}

TEST_CASE("posix: timeout_ms") {
  Consumer consumer;
  const Instant now{1000};
  CHECK(posix::timeout_ms(consumer, now) == -1);
  CHECK(posix::timeout_ms(consumer, now, 5) == 5);
  consumer.end = Instant{1010};
  CHECK(posix::timeout_ms(consumer, now) == 10);
  CHECK(posix::timeout_ms(consumer, now, 5) == 5);
  CHECK(posix::timeout_ms(consumer, now, 50) == 10);
  CHECK(posix::timeout_ms(consumer, now, 0) == 0);
  consumer.end = now;
  CHECK(posix::timeout_ms(consumer, now) == 0);
  consumer.end = Instant{1};
  CHECK(posix::timeout_ms(consumer, now) == 0);
  consumer.end = Instant{INT64_MAX - 1};
  CHECK(posix::timeout_ms(consumer, now) == INT_MAX);
  consumer.end = Instant{1010};
  consumer.interests = {{-1, false, false, true, 0, kNever}};
  CHECK(posix::timeout_ms(consumer, now) == 0);
}

TEST_CASE("posix: wait ends when a descriptor is ready, and tells the consumer") {
  static Pool pool;
  Peer peer;
  peer.listen();
  auto& tcp = static_cast<Tcp&>(pool.transport(1));
  REQUIRE(connect(tcp, "127.0.0.1", peer.port()).ok());
  peer.accept();
  Consumer consumer;
  consumer.interests = {pool.transport(0).interest(), tcp.interest()};
  consumer.end = pool.now() + 20;
  pool.wait(consumer);
  CHECK(consumer.wakes == 0);

  std::thread sender([&] {
    ::usleep(20000);
    peer.send("news");
  });
  consumer.end = kNever;
  pool.wait(consumer);
  sender.join();
  CHECK(consumer.wakes == 1);
  CHECK(consumer.woken == 2);  // transport 1, not 0
  consumer.end = pool.now();
  pool.wait(consumer);  // there is something to do already: no look at the sockets
  CHECK(consumer.wakes == 1);
  pool.wait(consumer, 0);  // but if that is what is asked for
  CHECK(consumer.wakes == 2);
  peer.hang_up();
  IoResult last;
  CHECK(read_text(tcp, 100, last) == "news");
  consumer.end = kNever;
  pool.wait(consumer);  // the peer's end is news too
  CHECK(consumer.wakes == 3);
  tcp.close();
}

TEST_CASE("posix: wait does not sleep while bytes wait inside a transport") {
  static Pool pool;
  Consumer consumer;
  consumer.interests = {{-1, false, false, false, 0, kNever}, {-1, true, false, true, 0, kNever}};
  pool.wait(consumer);
  CHECK(consumer.wakes == 1);
  CHECK(consumer.woken == 2);
}

TEST_CASE("posix: a wakeup ends the next wait, whenever it comes") {
  static Pool pool;
  Consumer consumer;
  errno = 77;
  pool.wakeup();  // before the first wait: there is no eventfd yet
  pool.wakeup();
  CHECK(errno == 77);
  pool.wait(consumer);
  for (int i = 0; i < 5; ++i) {
    pool.wakeup();
    pool.wakeup();
    pool.wait(consumer);
    const Instant start = pool.now();
    pool.wait(consumer, 10);  // several in a row are one
    CHECK(pool.now() - start >= 10);
  }
  CHECK(consumer.wakes == 0);
}

TEST_CASE("posix: a wakeup in the midst of the first wait is not lost") {
  static Pool pool;
  Consumer consumer;
  consumer.on_deadline = [] { pool.wakeup(); };
  const Instant start = pool.now();
  pool.wait(consumer, 5000);
  CHECK(pool.now() - start < 4000);
}

TEST_CASE("posix: a wakeup from another thread, many times") {
  static Pool pool;
  Consumer consumer;
  std::atomic<int> asked{0};
  std::atomic<int> seen{0};
  std::thread caller([&] {
    for (int i = 1; i <= 2000; ++i) {
      asked = i;
      pool.wakeup();
      while (seen < i) std::this_thread::yield();  // a lost wakeup would hang here
    }
  });
  while (seen < 2000) {
    pool.wait(consumer, 10000);
    seen = asked.load();
  }
  caller.join();
  CHECK(consumer.wakes == 0);
}

namespace {

Pool signal_pool;
volatile sig_atomic_t handled = 0;

void ring(int) {
  handled = 1;
  signal_pool.wakeup();
}
void ignore(int) { handled = 1; }

void alarm_in_20_ms(void (*handler)(int)) {
  struct sigaction action = {};
  action.sa_handler = handler;
  action.sa_flags = SA_RESTART;
  REQUIRE(::sigaction(SIGALRM, &action, nullptr) == 0);
  handled = 0;
  const itimerval once = {{0, 0}, {0, 20000}};
  REQUIRE(::setitimer(ITIMER_REAL, &once, nullptr) == 0);
}

}  // namespace

TEST_CASE("posix: a wakeup from a signal handler, and a signal without one") {
  Consumer consumer;
  alarm_in_20_ms(ring);
  signal_pool.wait(consumer, 10000);
  CHECK(handled == 1);
  signal_pool.wait(consumer, 0);  // whatever the bell still rings
  alarm_in_20_ms(ignore);
  const Instant start = signal_pool.now();
  signal_pool.wait(consumer, 10000);  // EINTR
  CHECK(handled == 1);
  CHECK(signal_pool.now() - start < 5000);

  alarm_in_20_ms(ring);  // the handler runs before the wait: with wakeup() nothing is lost
  while (handled == 0) ::usleep(1000);
  signal_pool.wait(consumer, 10000);
  CHECK(signal_pool.now() - start < 5000);
  CHECK(consumer.wakes == 0);
  ::signal(SIGALRM, SIG_DFL);
}

TEST_CASE("posix: fill gathers two consumers for one poll") {
  Consumer one;
  Consumer two;
  one.interests = {wants_read(4), {-1, true, true, false, 0}, {5, false, true, false, 2}};
  two.interests = {{6, true, true, false, 3}, {7, false, false, false, 3}};
  pollfd fds[8] = {};
  const uint32_t first = posix::fill(one, fds, 8);
  const uint32_t second = posix::fill(two, fds + first, 8 - first);
  REQUIRE(first == 2);
  REQUIRE(second == 1);  // a descriptor that nobody wants anything of would only report hang-ups
  CHECK(fds[0].fd == 4);
  CHECK(fds[0].events == POLLIN);
  CHECK(fds[1].fd == 5);
  CHECK(fds[1].events == POLLOUT);
  CHECK(fds[2].fd == 6);
  CHECK(fds[2].events == (POLLIN | POLLOUT));
}

TEST_CASE("posix: close polls until the consumer is done, and answers its status") {
  static Pool pool;
  Consumer consumer;
  consumer.polls_left = 3;
  CHECK(posix::close(consumer, pool, 1234) == Status{Errc::timed_out, 7});
  CHECK(consumer.close_timeout_ms == 1234);
  CHECK(consumer.polls_left == -1);
}

namespace {

// As much of a ShareConsumer as a commit needs.
struct Committer : Consumer {
  Status begun{};
  Status outcome{};
  int answers_after = 0;  // polls
  int polls = 0;

  Status commit(uint64_t& ticket) {
    ticket = begun.ok() ? 7 : 0;
    return begun;
  }
  Status commit_status(uint64_t ticket) const {
    if (ticket != 7) return {Errc::unknown_ticket, 0};
    return polls >= answers_after ? outcome : Status{Errc::in_progress, 0};
  }
  bool poll(Instant now) {
    ++polls;
    return Consumer::poll(now);
  }
};

}  // namespace

TEST_CASE("posix: commit_sync polls until every ack has its answer, or its time is over") {
  static Pool pool;
  Committer good;
  good.polls_left = 1000;
  good.answers_after = 3;
  good.outcome = {Errc::broker_error, 121};
  uint64_t ticket = 0;
  CHECK(posix::commit_sync(good, pool, 5000, &ticket) == good.outcome);
  CHECK(good.polls == 3);
  CHECK(ticket == 7);

  Committer slow;  // a dead broker
  slow.polls_left = 100000;
  slow.answers_after = 100000;
  const Instant begin = pool.now();
  CHECK(posix::commit_sync(slow, pool, 30).code == Errc::timed_out);
  CHECK(pool.now() - begin >= 30);
  CHECK(pool.now() - begin < 5000);

  Committer refused;
  refused.begun = {Errc::too_many, 0};
  CHECK(posix::commit_sync(refused, pool, 5000, &ticket).code == Errc::too_many);
  CHECK(refused.polls == 0);
  CHECK(ticket == 0);

  Committer ended;  // the consumer fails for good in the middle
  ended.polls_left = 2;
  ended.answers_after = 1000;
  CHECK(posix::commit_sync(ended, pool, 5000).code == Errc::in_progress);
}

TEST_CASE("posix: without a descriptor to spare connecting fails with the reason, later it works") {
  Peer peer;
  peer.listen();
  rlimit before = {};
  REQUIRE(::getrlimit(RLIMIT_NOFILE, &before) == 0);
  Tcp tcp;
  CHECK(tcp.interest().fd < 0);  // UBSan needs descriptors to look at a type for the first time
  Status status;
  {
    const int spare = ::open("/dev/null", O_RDONLY);  // the lowest number that is free
    REQUIRE(spare >= 0);
    const rlimit none = {static_cast<rlim_t>(spare), before.rlim_max};
    ::close(spare);
    REQUIRE(::setrlimit(RLIMIT_NOFILE, &none) == 0);
    status = tcp.open({"127.0.0.1", peer.port()}, kSomeTime);
    REQUIRE(::setrlimit(RLIMIT_NOFILE, &before) == 0);
  }
  CHECK(status == Status{Errc::connect_failed, EMFILE});
  CHECK(tcp.interest().fd < 0);
  REQUIRE(tcp.open({"127.0.0.1", peer.port()}, kSomeTime).ok());
  CHECK(peer.accept() >= 0);
  tcp.close();
}

}  // namespace test_posix
