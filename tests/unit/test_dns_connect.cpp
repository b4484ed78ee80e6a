// SPDX-License-Identifier: Apache-2.0
// net/posix_tcp.hpp with names: the addresses of a name in turn, the lookup's own descriptor, and a
// whole consumer whose brokers are names, against real sockets on loopback.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "../broker/tcp_front.hpp"
#include "../support/descriptors.hpp"
#include "../support/dns_server.hpp"
#include "kshare/kshare.hpp"
#include "kshare/net/dns.hpp"
#include "kshare/net/posix.hpp"

namespace test_dns_connect {
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

// A resolver of an application's own: a table, no waiting.
class Table final : public posix::Resolver {
 public:
  std::map<std::string, std::vector<std::string>> names;
  std::vector<int32_t> winners;  // of close()
  int open_lookups = 0;
  mutable uint32_t asked = 0;  // the address asked for last: the one that is tried

  IoResult open(std::string_view name, Instant, uint16_t& lookup) override {
    const auto found = names.find(std::string(name));
    if (found == names.end()) return {Io::failed, 0, {Errc::name_not_found, 0}};
    lookup = static_cast<uint16_t>(std::distance(names.begin(), found) & 0xFFFF);
    ++open_lookups;
    return {Io::done, 0, {}};
  }
  IoResult advance(uint16_t, Instant) override { return {Io::done, 0, {}}; }
  bool address(uint16_t lookup, uint32_t i, posix::Address& out) const override {
    const auto& all = std::next(names.begin(), static_cast<std::ptrdiff_t>(lookup))->second;
    asked = i;
    return i < all.size() && posix::parse_address(all[i], out);
  }
  Interest interest(uint16_t) const override { return {}; }
  void close(uint16_t, int32_t winner) override {
    --open_lookups;
    winners.push_back(winner);
  }
};

// A port on an address of loopback: refuses, until listen() or hang().
class Place {
 public:
  explicit Place(const std::string& address, uint16_t port = 0) : address_(address) {
    fd_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in here = {};
    here.sin_family = AF_INET;
    here.sin_port = htons(port);
    ::inet_pton(AF_INET, address.c_str(), &here.sin_addr);
    socklen_t size = sizeof here;
    void* const any = &here;
    REQUIRE(::bind(fd_, static_cast<sockaddr*>(any), size) == 0);
    REQUIRE(::getsockname(fd_, static_cast<sockaddr*>(any), &size) == 0);
    port_ = ntohs(here.sin_port);
  }
  Place(const Place&) = delete;
  Place& operator=(const Place&) = delete;
  ~Place() {
    for (Tcp& filler : fillers_) filler.close();
    ::close(fd_);
  }
  uint16_t port() const { return port_; }
  void listen() { REQUIRE(::listen(fd_, 8) == 0); }
  // Its backlog is full: whoever connects from now on hears nothing.
  void hang() {
    REQUIRE(::listen(fd_, 0) == 0);
    fillers_.resize(8);
    for (Tcp& filler : fillers_) REQUIRE(filler.open({address_, port_}, {}).ok());
  }

 private:
  std::string address_;
  int fd_ = -1;
  uint16_t port_ = 0;
  std::vector<Tcp> fillers_;
};

// Advances while the sockets have something to tell, without letting time pass.
IoResult settle(Tcp& tcp, Instant now) {
  for (;;) {
    const IoResult result = tcp.advance(now);
    if (result.io != Io::pending) return result;
    const Interest interest = tcp.interest();
    pollfd entry = {interest.fd, static_cast<short>(interest.write ? POLLOUT : POLLIN), 0};
    if (::poll(&entry, 1, 30) <= 0) return result;
  }
}

}  // namespace

TEST_CASE("dns: a name without a resolver is a bad address, and the words say what to do") {
  Tcp tcp;
  CHECK(tcp.open({"broker.example", 9092}, {}) == Status{Errc::bad_address, 0});
  CHECK(tcp.interest().fd == -1);
  char line[kshare::kLineBytes];
  kshare::describe({Errc::bad_address, 0}, line, sizeof line);
  CHECK(std::string(line).find("net/dns.hpp") != std::string::npos);
}

TEST_CASE("dns: numeric addresses and localhost are not looked up") {
  Table table;
  Place place("127.0.0.1");
  place.listen();
  Tcp tcp;
  tcp.use(table);
  for (const char* host : {"127.0.0.1", "localhost", "LOCALHOST", "localhost.", "a.b.localhost"}) {
    CAPTURE(host);
    REQUIRE(tcp.open({host, place.port()}, {}).ok());
    CHECK(settle(tcp, {}).io == Io::done);
  }
  CHECK(table.winners.empty());
  CHECK(tcp.open({"nobody", 1}, {}) == Status{Errc::name_not_found, 0});
  CHECK(tcp.interest().fd == -1);
  tcp.close();
  CHECK(table.winners.empty());
}

TEST_CASE("dns: the next address after one that refuses; the winner is told") {
  Place refuses("127.0.0.2");
  Place takes("127.0.0.3", refuses.port());
  takes.listen();
  Table table;
  table.names["b"] = {"127.0.0.2", "2001:db8::1", "127.0.0.3", "127.0.0.4"};
  table.names["none"] = {"127.0.0.2", "127.0.0.2"};
  table.names["empty"] = {};
  const size_t before = open_descriptors();
  Tcp tcp;
  tcp.use(table);
  REQUIRE(tcp.open({"b", takes.port()}, {}).ok());
  const uint32_t first = tcp.interest().generation;
  Instant now{};
  IoResult result;
  while ((result = settle(tcp, now)).io == Io::pending) now = tcp.interest().due;  // 2001:db8::1
  CHECK(result.io == Io::done);
  CHECK(tcp.interest().generation != first);
  CHECK(tcp.interest().due == kNever);
  REQUIRE(table.winners.size() == 1);
  CHECK(table.winners[0] == 2);
  CHECK(table.open_lookups == 0);
  tcp.close();
  CHECK(table.winners.size() == 1);

  REQUIRE(tcp.open({"none", takes.port()}, {}).ok());
  result = settle(tcp, {});
  CHECK(result.io == Io::failed);
  CHECK(result.status == Status{Errc::connect_failed, ECONNREFUSED});
  CHECK(table.winners.back() == -1);
  CHECK(tcp.open({"empty", takes.port()}, {}).code == Errc::connect_failed);
  CHECK(table.open_lookups == 0);
  CHECK(open_descriptors() == before);
}

TEST_CASE("dns: an address that is silent has 250 ms, and more in each further round") {
  Place one("127.0.0.2");
  Place two("127.0.0.3", one.port());
  one.hang();
  two.hang();
  Table table;
  table.names["b"] = {"127.0.0.2", "127.0.0.3"};
  const size_t before = open_descriptors();
  Tcp tcp;
  tcp.use(table);
  Instant now{5000};
  REQUIRE(tcp.open({"b", one.port()}, now).ok());
  for (int64_t patience_ms : {250, 250, 500, 500, 1000, 1000, 2000}) {
    const Interest interest = tcp.interest();
    CHECK(interest.due - now == patience_ms);
    CHECK(tcp.advance(interest.due + -1).io == Io::pending);
    CHECK(tcp.interest().generation == interest.generation);
    now = interest.due;
    CHECK(tcp.advance(now).io == Io::pending);
    CHECK(tcp.interest().generation == interest.generation + 1);
    CHECK(open_descriptors() == before + 1);
  }
  // After a caller that gave up each has 250 ms, and then one has the rest.
  tcp.close();
  CHECK(table.winners.back() == -1);
  REQUIRE(tcp.open({"b", one.port()}, now).ok());
  for (int i = 0; i < 2; ++i) {
    CHECK(tcp.interest().due - now == 250);
    now = tcp.interest().due;
    CHECK(tcp.advance(now).io == Io::pending);
  }
  CHECK(tcp.interest().due == kNever);
  // All begins anew once something has been connected to.
  Place quick("127.0.0.4", one.port());
  quick.listen();
  table.names["quick"] = {"127.0.0.4"};
  REQUIRE(tcp.open({"quick", one.port()}, now).ok());
  REQUIRE(settle(tcp, now).io == Io::done);
  REQUIRE(tcp.open({"b", one.port()}, now).ok());
  for (int64_t patience_ms : {250, 250, 500}) {
    CHECK(tcp.interest().due - now == patience_ms);
    now = tcp.interest().due;
    CHECK(tcp.advance(now).io == Io::pending);
  }
  tcp.close();
  CHECK(open_descriptors() == before + 1);  // `quick`
}

namespace {

// One open() of a caller that gives up after `setup_ms`: true if it could connect; else `longest`
// has how long each address was tried at most.
bool try_once(Tcp& tcp, const Table& table, const char* host, uint16_t port, Instant& now,
              int64_t setup_ms, std::map<uint32_t, int64_t>& longest) {
  const Instant end = now + setup_ms;
  REQUIRE(tcp.open({host, port}, now).ok());
  while (now < end) {
    const uint32_t tried = table.asked;
    const Instant next = kshare::earlier(tcp.interest().due, end);
    longest[tried] = std::max(longest[tried], next - now);
    now = next;
    const IoResult result = tcp.advance(now);
    REQUIRE(result.io != Io::failed);
    if (result.io == Io::done) return true;
  }
  tcp.close();
  return false;
}

}  // namespace

TEST_CASE("dns: no address is out of reach, however many are silent and however long they were") {
  std::vector<std::unique_ptr<Place>> silent;
  for (int i = 2; i < 10; ++i) {
    const uint16_t port = silent.empty() ? uint16_t{0} : silent[0]->port();
    silent.push_back(std::make_unique<Place>("127.0.0." + std::to_string(i), port));
    silent.back()->hang();
  }
  const uint16_t port = silent[0]->port();
  int case_number = 0;
  for (uint32_t count = 2; count <= 8; ++count) {
    for (int64_t setup_ms : {3000, 10000}) {
      for (int hosts : {1, 2}) {  // opened in turn
        CAPTURE(count);
        CAPTURE(setup_ms);
        CAPTURE(hosts);
        Table table;
        for (uint32_t i = 0; i < count; ++i) {
          for (const char* host : {"a", "b"}) {
            table.names[host].push_back("127.0.0." + std::to_string(i + 2));
          }
        }
        Tcp tcp;
        tcp.use(table);
        Instant now{1000};
        for (uint32_t outage = 0; outage < 20; outage += count) {
          std::map<uint32_t, int64_t> longest;  // of "a", in few opens
          for (uint32_t i = 0; i < 3 * count; ++i) {
            std::map<uint32_t, int64_t> once;
            CHECK_FALSE(try_once(tcp, table, "a", port, now, setup_ms, once));
            CHECK(once.size() == count);  // each time all of them
            for (const auto& one : once) {
              CHECK(one.second >= 250);
              longest[one.first] = std::max(longest[one.first], one.second);
            }
            if (hosts == 2) try_once(tcp, table, "b", port, now, setup_ms, once);
          }
          // In turn each has nearly all the time: a round trip of 3 s is not too much.
          for (const auto& one : longest) {
            CAPTURE(one.first);
            CHECK(one.second >= setup_ms - 250 * count);
          }
        }
        // The last one comes back: the next open() finds it.
        table.names["a"].back() = "127.0.0." + std::to_string(20 + case_number++);
        Place living(table.names["a"].back(), port);
        living.listen();
        std::map<uint32_t, int64_t> once;
        CHECK(try_once(tcp, table, "a", port, now, setup_ms, once));
        CHECK(table.winners.back() == static_cast<int32_t>(count - 1));
        tcp.close();
      }
    }
  }
}

TEST_CASE("dns: the only address, and the only one left, has all the time") {
  Place slow("127.0.0.2");
  slow.hang();
  Place refuses("127.0.0.3", slow.port());
  Table table;
  table.names["one"] = {"127.0.0.2"};
  table.names["two"] = {"127.0.0.2", "127.0.0.3"};
  Tcp tcp;
  tcp.use(table);
  REQUIRE(tcp.open({"one", slow.port()}, {}).ok());
  CHECK(tcp.interest().due == kNever);
  CHECK(settle(tcp, Instant{1000000}).io == Io::pending);
  tcp.close();
  REQUIRE(tcp.open({"two", slow.port()}, {}).ok());
  CHECK(tcp.interest().due == Instant{250});
  CHECK(settle(tcp, Instant{250}).io == Io::pending);
  CHECK(tcp.interest().due == kNever);
  tcp.close();
}

TEST_CASE("dns: the only one that does not refuse is tried on, wherever it stands") {
  Place silent("127.0.0.2");
  silent.hang();
  for (size_t at = 0; at < 4; ++at) {
    CAPTURE(at);
    Table table;
    table.names["b"] = std::vector<std::string>(4, "255.255.255.255");  // fails at once
    table.names["b"][at] = "127.0.0.2";
    Tcp tcp;
    tcp.use(table);
    Instant now{1000};
    for (int i = 0; i < 8; ++i) {
      std::map<uint32_t, int64_t> longest;
      CHECK_FALSE(try_once(tcp, table, "b", silent.port(), now, 10000, longest));
      CHECK(longest[static_cast<uint32_t>(at)] >= 9750);
    }
  }
}

TEST_CASE("dns: a connection that comes late, but before its turn is over, is taken") {
  Place slow("127.0.0.2");
  slow.hang();
  Place quick("127.0.0.3", slow.port());
  quick.listen();
  Table table;
  table.names["b"] = {"127.0.0.2", "127.0.0.3"};
  Tcp tcp;
  tcp.use(table);
  REQUIRE(tcp.open({"b", quick.port()}, {}).ok());
  REQUIRE(settle(tcp, Instant{249}).io == Io::pending);
  REQUIRE(tcp.advance(Instant{250}).io != Io::failed);
  REQUIRE(settle(tcp, Instant{100000}).io == Io::done);  // its turn is over, but it is there
  CHECK(table.winners.back() == 1);
  REQUIRE(tcp.open({"b", quick.port()}, {}).ok());
  CHECK(tcp.interest().due == Instant{250});  // connected meanwhile: patience begins anew
  tcp.close();
}

TEST_CASE("dns: nine addresses are eight") {
  Place place("127.0.0.9");
  Table table;
  for (int i = 1; i <= 9; ++i) table.names["b"].push_back("127.0.0." + std::to_string(i));
  place.listen();
  Tcp tcp;
  tcp.use(table);
  REQUIRE(tcp.open({"b", place.port()}, {}).ok());
  CHECK(settle(tcp, {}).status == Status{Errc::connect_failed, ECONNREFUSED});
}

TEST_CASE("dns: while it resolves, a transport waits for the lookup's socket") {
  dnstest::Server server;
  const std::string server_list = server.name();
  posix::DnsOptions options;
  options.hosts_path = "";
  options.servers = server_list;
  posix::DnsStorage<2> storage{};
  posix::Dns dns{storage, options};
  Place place("127.0.0.1");
  place.listen();
  server.names["b.example"].addresses = {"127.0.0.1"};
  const size_t before = open_descriptors();
  Tcp one;
  Tcp two;
  Tcp three;
  for (Tcp* tcp : {&one, &two, &three}) tcp->use(dns);
  Instant now{1000};
  REQUIRE(one.open({"b.example", place.port()}, now).ok());
  REQUIRE(two.open({"b.example", place.port()}, now).ok());
  CHECK(three.open({"c.example", place.port()}, now) == Status{Errc::too_many, 0});
  const Interest asking = one.interest();
  CHECK(asking.fd >= 0);
  CHECK(asking.fd != two.interest().fd);
  CHECK(asking.read);
  CHECK_FALSE(asking.write);
  CHECK(asking.due == Instant{2000});
  CHECK(one.advance(now).io == Io::pending);
  CHECK(one.interest().generation == asking.generation);
  two.close();
  REQUIRE(three.open({"c.example", place.port()}, now).ok());
  server.serve();
  const IoResult unknown = settle(three, now);
  CHECK(unknown.io == Io::failed);
  CHECK(unknown.status == Status{Errc::name_not_found, 0});
  CHECK(three.interest().fd == -1);
  CHECK(settle(one, now).io == Io::done);
  CHECK(one.interest().generation != asking.generation);
  CHECK(one.interest().read);
  CHECK(open_descriptors() == before + 1);
  one.close();

  // With an answer in the cache it connects at once.
  REQUIRE(two.open({"b.example", place.port()}, now).ok());
  CHECK(two.interest().write);
  two.close();
  CHECK(open_descriptors() == before);

  // A server that is asked in place of a silent one has another socket: another generation.
  dnstest::Server silent;
  silent.silent = true;
  const std::string both = silent.name() + " " + server.name();
  options.servers = both;
  posix::DnsStorage<2> storage_of_two{};
  posix::Dns dns_of_two{storage_of_two, options};
  one.use(dns_of_two);
  REQUIRE(one.open({"b.example", place.port()}, now).ok());
  const Interest first = one.interest();
  now = first.due;
  CHECK(one.advance(now).io == Io::pending);
  CHECK(one.interest().generation != first.generation);
  server.serve();
  CHECK(settle(one, now).io == Io::done);
  one.close();
}

TEST_CASE("dns: a consumer whose bootstrap server and brokers are names, by UDP and TCP") {
  static constexpr auto kLimits = kshare::kTinyLimits;
  static kshare::Storage<kLimits> storage;
  static posix::TcpPool<kLimits> net;
  minibroker::Config config;
  config.nodes = 2;
  minibroker::Broker broker(config);
  minibroker::TcpFront front(broker);
  REQUIRE(front.ok());
  for (int node : broker.node_ids()) {
    broker.set_node_address(node, "broker-" + std::to_string(node), front.port(node));
  }
  broker.add_topic("orders", 2);
  dnstest::Server server;
  server.names["kafka.lab.example"].addresses = {"2001:db8::1", "127.0.0.1"};
  for (int node : broker.node_ids()) {
    server.names["broker-" + std::to_string(node) + ".lab.example"].addresses = {"127.0.0.1"};
  }
  const std::string server_list = server.name();
  posix::DnsOptions dns_options;
  dns_options.hosts_path = "";
  dns_options.servers = server_list;
  dns_options.search = "lab.example";
  static posix::DnsStorage<4> names;
  posix::Dns dns{names, dns_options};
  net.use(dns);
  const size_t before = open_descriptors();

  const int first = broker.node_ids().front();
  const std::string bootstrap = "kafka.lab.example:" + std::to_string(front.port(first));
  kshare::Options options;
  options.bootstrap_servers = bootstrap;
  options.group_id = "group";
  kshare::ShareConsumer consumer{storage, net};
  REQUIRE(consumer.start(options).ok());
  REQUIRE(consumer.subscribe({"orders"}).ok());
  uint32_t records = 0;
  bool produced = false;
  kshare::Record record;
  for (int turn = 0; turn < 20000 && consumer.stats().acks_ok < 20; ++turn) {
    REQUIRE(consumer.poll(net.now()));
    while (consumer.next(record, net.now())) ++records;
    front.run_once(0);
    server.serve();
    if (!produced && consumer.assignment_count() == 2) {
      for (int partition : {0, 1}) {
        broker.append("orders", partition, std::vector<minibroker::Rec>(10));
      }
      produced = true;
    }
    net.wait(consumer, 1);
  }
  CHECK(records == 20);
  CHECK(consumer.stats().acks_ok == 20);
  CHECK(server.asked_for("kafka.lab.example") >= 2);
  size_t advertised = 0;
  for (int node : broker.node_ids()) {
    advertised += server.asked_for("broker-" + std::to_string(node) + ".lab.example");
  }
  CHECK(advertised >= 2);
  static_cast<void>(consumer.close(net.now(), 5000));
  for (int turn = 0; turn < 20000 && consumer.poll(net.now()); ++turn) {
    front.run_once(0);
    net.wait(consumer, 1);
  }
  CHECK(consumer.status().ok());
  front.run_once(0);
  CHECK(open_descriptors() <= before + 1);  // the pool's eventfd
  for (const std::string& violation : broker.violations()) FAIL_CHECK(violation);
}

}  // namespace test_dns_connect
