// SPDX-License-Identifier: Apache-2.0
// net/dns.hpp against DNS servers of these tests, on loopback sockets, with a clock of its own.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <cstdint>
#include <cstdio>
#include <fstream>
#include <string>
#include <type_traits>
#include <vector>

#include "../support/descriptors.hpp"
#include "../support/dns_server.hpp"
#include "kshare/net/dns.hpp"

namespace test_dns {
namespace {

namespace posix = kshare::posix;
using dnstest::Packet;
using dnstest::Question;
using dnstest::Server;
using kshare::Errc;
using kshare::Instant;
using kshare::Io;
using kshare::IoResult;
using kshare::kNever;
using kshare::Status;
using posix::Dns;

static_assert(std::is_trivially_destructible_v<Dns>);
static_assert(std::is_trivially_destructible_v<posix::DnsStorage<>>);
static_assert(sizeof(posix::DnsSlot) <= 248 && sizeof(posix::DnsConfig) <= 352);

// A folder that is gone with the test.
class Folder {
 public:
  Folder() { REQUIRE(::mkdtemp(path_) != nullptr); }
  ~Folder() {
    for (const char* name : {"hosts", "resolv.conf"}) std::remove(path(name).c_str());
    std::remove(path_);
  }
  std::string path(const std::string& name) const { return std::string(path_) + "/" + name; }
  void write(const std::string& name, const std::string& text) const {
    std::ofstream(path(name), std::ios::binary) << text;
  }

 private:
  char path_[32] = "/tmp/kshare-dns-XXXXXX";
};

// A resolver, what it is told, and a clock that only goes when told to.
struct Bench {
  std::vector<Server*> servers;
  std::string server_list;
  std::string search;
  posix::DnsStorage<4> storage{};
  Dns dns;
  Instant now{1000};
  uint16_t lookup = 0;

  explicit Bench(std::vector<Server*> its_servers, std::string its_search = {})
      : servers(its_servers),
        server_list(list(its_servers)),
        search(its_search),
        dns(storage, options(server_list, search)) {}
  explicit Bench(const posix::DnsOptions& its_options, std::vector<Server*> its_servers = {})
      : servers(its_servers), dns(storage, its_options) {}

  static std::string list(const std::vector<Server*>& all) {
    std::string text;
    for (const Server* one : all) text += one->name() + " ";
    return text;
  }
  static posix::DnsOptions options(const std::string& servers, const std::string& search) {
    posix::DnsOptions its;
    its.hosts_path = "";
    its.servers = servers;
    its.search = search;
    return its;
  }

  bool serve() {
    bool some = false;
    for (Server* one : servers) some = one->serve() || some;
    return some;
  }
  // Advances until there is a result; time passes only while nobody has anything to say.
  IoResult go_on(IoResult result) {
    for (int turns = 0; result.io == Io::pending; ++turns) {
      REQUIRE(turns < 1000);
      const kshare::Interest interest = dns.interest(lookup);
      CHECK(interest.fd >= 0);
      CHECK(interest.read);
      CHECK_FALSE(interest.write);
      REQUIRE(interest.due != kNever);
      if (!serve()) now = kshare::later(now, interest.due);
      result = dns.advance(lookup, now);
    }
    return result;
  }
  // The addresses of a name, or nothing and `status`.
  Status status{};
  std::string look_up(const std::string& name, int32_t winner = -1) {
    const IoResult opened = dns.open(name, now, lookup);
    const IoResult result = go_on(opened);
    status = result.status;
    if (result.io == Io::failed) {
      if (opened.io != Io::failed) dns.close(lookup, -1);
      return {};
    }
    CHECK(dns.interest(lookup).fd == -1);
    const std::string found = addresses();
    dns.close(lookup, winner);
    return found;
  }
  std::string addresses() const {
    std::string found;
    posix::Address address;
    for (uint32_t i = 0; dns.address(lookup, i, address); ++i) {
      found += (i == 0 ? "" : " ") + dnstest::text_of(address);
    }
    return found;
  }
};

// No descriptor can be had while this lives.
class NoDescriptors {
 public:
  NoDescriptors() {
    REQUIRE(::getrlimit(RLIMIT_NOFILE, &before_) == 0);
    rlimit none = before_;
    none.rlim_cur = 0;
    REQUIRE(::setrlimit(RLIMIT_NOFILE, &none) == 0);
  }
  NoDescriptors(const NoDescriptors&) = delete;
  NoDescriptors& operator=(const NoDescriptors&) = delete;
  ~NoDescriptors() { static_cast<void>(::setrlimit(RLIMIT_NOFILE, &before_)); }

 private:
  rlimit before_{};
};

posix::DnsOptions files(const std::string& hosts, const std::string& resolv) {
  posix::DnsOptions options;
  options.hosts_path = hosts.c_str();
  options.resolv_path = resolv.c_str();
  return options;
}

}  // namespace

TEST_CASE("dns: A and AAAA, IPv6 first and in turn") {
  Server server;
  REQUIRE(server.ok());
  server.names["b.example"].addresses = {"192.0.2.1", "192.0.2.2", "192.0.2.3", "2001:db8::1",
                                         "2001:db8::2"};
  server.names["four.example"].addresses = {"192.0.2.4"};
  server.names["six.example"].addresses = {"2001:db8::6"};
  server.names["alias.example"].alias = "real.example";
  server.names["alias.example"].addresses = {"192.0.2.5"};
  const size_t before = open_descriptors();
  Bench bench({&server});
  CHECK(bench.look_up("b.example") == "2001:db8::1 192.0.2.1 2001:db8::2 192.0.2.2 192.0.2.3");
  CHECK(bench.look_up("four.example") == "192.0.2.4");
  CHECK(bench.look_up("six.example") == "2001:db8::6");
  CHECK(bench.look_up("alias.example") == "192.0.2.5");
  CHECK(bench.now == Instant{1000});  // nobody had to be waited for
  CHECK(server.asked.size() == 8);
  CHECK(open_descriptors() == before);
}

TEST_CASE("dns: of many addresses each family keeps half") {
  Server server;
  for (int i = 1; i <= 9; ++i) {
    server.names["b.example"].addresses.push_back("192.0.2." + std::to_string(i));
    server.names["b.example"].addresses.push_back("2001:db8::" + std::to_string(i));
  }
  Bench bench({&server});
  CHECK(bench.look_up("b.example") ==
        "2001:db8::1 192.0.2.1 2001:db8::2 192.0.2.2 2001:db8::3 192.0.2.3");
}

TEST_CASE("dns: ids and ports are not the same twice") {
  Server server;
  server.names["b.example"] = {{"192.0.2.1"}, "", 0, 0};
  Bench bench({&server});
  for (int i = 0; i < 8; ++i) {
    CHECK(bench.look_up("b.example") == "192.0.2.1");
    bench.now = bench.now + 5000;
  }
  REQUIRE(server.asked.size() == 16);
  int repeated = 0;
  for (size_t i = 2; i < 16; ++i) {
    for (size_t k = 0; k < i; ++k) {
      if (server.asked[i].packet.substr(0, 2) == server.asked[k].packet.substr(0, 2)) ++repeated;
    }
  }
  CHECK(repeated <= 1);
}

TEST_CASE("dns: what can be no name is refused at once, and so is one too long to keep") {
  Server server;
  Bench bench({&server});
  for (const char* name : {"", ".", "a..b", "1.2.3", "a b", "-.5"}) {
    CAPTURE(name);
    CHECK(bench.look_up(name).empty());
    CHECK(bench.status == Status{Errc::bad_address, 0});
  }
  CHECK(bench.look_up(std::string(60, 'a') + "." + std::string(60, 'b') + ".example").empty());
  CHECK(bench.status == Status{Errc::too_long, 0});  // 129
  bench.serve();
  CHECK(server.asked.empty());
}

TEST_CASE("dns: an answer is kept for its TTL, an hour at most") {
  Server server;
  server.names["b.example"] = {{"192.0.2.1"}, "", 60, 0};
  server.names["long.example"] = {{"192.0.2.2"}, "", 1000000, 0};
  server.names["none.example"] = {{"192.0.2.3"}, "", 0, 0};
  Bench bench({&server});
  CHECK(bench.look_up("b.example", 0) == "192.0.2.1");
  server.names["b.example"].addresses = {"192.0.2.9"};
  bench.now = bench.now + 59999;
  CHECK(bench.look_up("B.Example", 0) == "192.0.2.1");
  CHECK(server.asked.size() == 2);
  bench.now = bench.now + 1;
  CHECK(bench.look_up("b.example", 0) == "192.0.2.9");

  CHECK(bench.look_up("long.example", 0) == "192.0.2.2");
  CHECK(bench.look_up("none.example", 0) == "192.0.2.3");
  const size_t asked = server.asked.size();
  bench.now = bench.now + 999;
  CHECK(bench.look_up("none.example", 0) == "192.0.2.3");  // not twice in a second
  CHECK(server.asked.size() == asked);
  bench.now = bench.now + 1;
  CHECK(bench.look_up("none.example", 0) == "192.0.2.3");
  CHECK(server.asked.size() == asked + 2);
  bench.now = bench.now + (3600000 - 1001);
  CHECK(bench.look_up("long.example", 0) == "192.0.2.2");
  CHECK(server.asked.size() == asked + 2);
  bench.now = bench.now + 1;
  CHECK(bench.look_up("long.example", 0) == "192.0.2.2");
  CHECK(server.asked.size() == asked + 4);
}

TEST_CASE("dns: addresses that led nowhere are asked for again after 10 s, whatever their TTL") {
  Server server;
  server.names["b.example"] = {{"192.0.2.1"}, "", 3600, 0};
  Bench bench({&server});
  CHECK(bench.look_up("b.example", -1) == "192.0.2.1");
  bench.now = bench.now + 9999;
  CHECK(bench.look_up("b.example", -1) == "192.0.2.1");
  CHECK(server.asked.size() == 2);
  server.names["b.example"].addresses = {"192.0.2.2"};
  bench.now = bench.now + 1;
  CHECK(bench.look_up("b.example", -1) == "192.0.2.2");
}

TEST_CASE("dns: the address that could be connected to goes first, also of a later answer") {
  Server server;
  server.names["b.example"].addresses = {"192.0.2.1", "192.0.2.2", "2001:db8::1"};
  Bench bench({&server});
  CHECK(bench.look_up("b.example", 2) == "2001:db8::1 192.0.2.1 192.0.2.2");
  CHECK(bench.look_up("b.example", 0) == "192.0.2.2 2001:db8::1 192.0.2.1");
  bench.now = bench.now + 60000;
  server.names["b.example"].addresses = {"192.0.2.3", "192.0.2.2", "2001:db8::1"};
  CHECK(bench.look_up("b.example", 0) == "192.0.2.2 2001:db8::1 192.0.2.3");
  bench.now = bench.now + 60000;
  server.names["b.example"].addresses = {"192.0.2.3", "2001:db8::1"};
  CHECK(bench.look_up("b.example", 7) == "2001:db8::1 192.0.2.3");
}

TEST_CASE("dns: the winners of two who share the addresses of a name are what they connected to") {
  Server server;
  server.names["b.example"].addresses = {"192.0.2.1", "192.0.2.2", "192.0.2.3"};
  Bench bench({&server});
  CHECK(bench.look_up("b.example", 0) == "192.0.2.1 192.0.2.2 192.0.2.3");
  uint16_t other = 0;
  REQUIRE(bench.dns.open("b.example", bench.now, bench.lookup).io == Io::done);
  REQUIRE(bench.dns.open("b.example", bench.now, other).io == Io::done);
  CHECK(other == bench.lookup);
  bench.dns.close(other, 1);
  CHECK(bench.addresses() == "192.0.2.1 192.0.2.2 192.0.2.3");  // not under its holder's hands
  bench.dns.close(bench.lookup, 1);
  CHECK(bench.look_up("b.example", -1) == "192.0.2.2 192.0.2.1 192.0.2.3");
  // One wins, one gives up.
  REQUIRE(bench.dns.open("b.example", bench.now, bench.lookup).io == Io::done);
  REQUIRE(bench.dns.open("b.example", bench.now, other).io == Io::done);
  bench.dns.close(other, 2);
  bench.dns.close(bench.lookup, -1);
  CHECK(bench.look_up("b.example", -1) == "192.0.2.3 192.0.2.2 192.0.2.1");
}

TEST_CASE("dns: a hosts file that changes does not touch addresses that somebody tries") {
  Folder folder;
  const std::string hosts = folder.path("hosts");
  Server server;
  server.names["b.example"].addresses = {"192.0.2.1", "192.0.2.2"};
  const std::string server_list = server.name();
  posix::DnsOptions options = files(hosts, "");
  options.servers = server_list;
  Bench bench(options, {&server});
  CHECK(bench.look_up("b.example", 0) == "192.0.2.1 192.0.2.2");
  REQUIRE(bench.dns.open("b.example", bench.now, bench.lookup).io == Io::done);
  folder.write("hosts", "192.0.2.7 b.example\n");
  uint16_t other = 0;
  REQUIRE(bench.dns.open("b.example", bench.now, other).io == Io::done);
  CHECK(bench.addresses() == "192.0.2.1 192.0.2.2");
  bench.dns.close(other, 1);
  bench.dns.close(bench.lookup, 1);
  CHECK(bench.look_up("b.example", 0) == "192.0.2.7");
}

TEST_CASE("dns: a name that does not exist, or has no address, is said so, for 3 s from memory") {
  Server server;
  server.names["empty.example"] = {};
  Bench bench({&server});
  for (const char* name : {"nobody.example", "empty.example"}) {
    const size_t asked = server.asked.size();
    CHECK(bench.look_up(name).empty());
    CHECK(bench.status == Status{Errc::name_not_found, 0});
    bench.now = bench.now + 2999;
    CHECK(bench.look_up(name).empty());
    CHECK(bench.status == Status{Errc::name_not_found, 0});
    CHECK(server.asked.size() == asked + 2);
    server.names[name] = {{"192.0.2.1"}, "", 60, 0};
    bench.now = bench.now + 1;
    CHECK(bench.look_up(name) == "192.0.2.1");
  }
}

TEST_CASE("dns: a name that has gone is not served from memory") {
  Server server;
  server.names["b.example"].addresses = {"192.0.2.1"};
  Bench bench({&server});
  CHECK(bench.look_up("b.example", 0) == "192.0.2.1");
  bench.now = bench.now + 60000;
  server.names.clear();
  for (int i = 0; i < 2; ++i) {
    CHECK(bench.look_up("b.example", 0).empty());
    CHECK(bench.status == Status{Errc::name_not_found, 0});
  }
}

TEST_CASE("dns: the next server where the first is silent, refuses, fails or is not there") {
  for (int how = 0; how < 5; ++how) {
    CAPTURE(how);
    Server one;
    Server two;
    two.names["b.example"].addresses = {"192.0.2.1"};
    two.names["c.example"].addresses = {"192.0.2.2"};
    if (how == 0) one.silent = true;
    if (how == 1) one.rcode = 5;
    if (how == 2) one.rcode = 2;
    if (how == 4)
      one.lie = [](const Question& q) {
        return std::vector<Packet>{dnstest::answer(q, 0, 9, "damaged")};
      };
    if (how == 3) {
      one.lie = [](const Question& q) {
        return std::vector<Packet>{dnstest::answer(q, 0, 0, {}, true)};
      };
    }
    Bench bench({&one, &two});
    CHECK(bench.look_up("b.example") == "192.0.2.1");
    CHECK(bench.now == (how == 0 ? Instant{2000} : Instant{1000}));
    CHECK(one.asked.size() == 2);
    CHECK(bench.look_up("c.example") == "192.0.2.2");
    CHECK(one.asked.size() == 2);  // the one that answered is asked first
  }
  Server gone;
  Server two;
  two.names["b.example"].addresses = {"192.0.2.1"};
  Bench bench({&gone, &two});
  gone.stop();
  CHECK(bench.look_up("b.example") == "192.0.2.1");
  CHECK(bench.now == Instant{1000});
}

TEST_CASE("dns: no server answers") {
  Server one;
  Server two;
  one.silent = two.silent = true;
  const size_t before = open_descriptors();
  {
    Bench bench({&one});
    CHECK(bench.look_up("b.example").empty());
    CHECK(bench.status == Status{Errc::lookup_failed, 0});
    CHECK(bench.now == Instant{1000 + 1000 + 2000 + 4000});
    CHECK(one.asked.size() == 6);
    // Asked again on the same socket: an answer to the first question would have counted.
    CHECK(one.asked[0].packet == one.asked[2].packet);
  }
  {
    Bench bench({&one, &two});
    CHECK(bench.look_up("b.example").empty());
    CHECK(bench.status == Status{Errc::lookup_failed, 0});
    CHECK(bench.now == Instant{1000 + Dns::kLookupMs});
  }
  {
    two.silent = false;
    two.rcode = 2;
    Bench bench({&two});
    CHECK(bench.look_up("b.example").empty());
    CHECK(bench.status == Status{Errc::lookup_failed, 0});
    CHECK(bench.now == Instant{1000});
  }
  {
    Bench bench({&one});
    one.stop();
    CHECK(bench.look_up("b.example").empty());
    CHECK(bench.status == Status{Errc::lookup_failed, ECONNREFUSED});
  }
  CHECK(open_descriptors() == before - 1);  // `one` has been stopped
}

TEST_CASE("dns: a server that goes away in the middle is noticed at once") {
  Server server;
  server.names["b.example"] = {};
  server.silent_type = dnstest::kAaaa;
  Bench bench({&server});
  REQUIRE(bench.dns.open("b.example", bench.now, bench.lookup).io == Io::pending);
  server.serve();
  CHECK(bench.dns.advance(bench.lookup, bench.now).io == Io::pending);
  server.stop();
  bench.now = bench.now + 1000;
  CHECK(bench.dns.advance(bench.lookup, bench.now).io == Io::pending);  // AAAA once more
  const IoResult result = bench.dns.advance(bench.lookup, bench.now);
  CHECK(result.io == Io::failed);
  CHECK(result.status == Status{Errc::lookup_failed, ECONNREFUSED});
  bench.dns.close(bench.lookup, -1);
}

TEST_CASE("dns: servers that are silent are not asked for the whole search list") {
  Server server;
  server.silent = true;
  Bench bench({&server}, "a.example b.example");
  CHECK(bench.look_up("kafka").empty());
  CHECK(bench.status == Status{Errc::lookup_failed, 0});
  CHECK(bench.now == Instant{1000 + 7000});
  CHECK(server.asked_for("kafka.a.example") == server.asked.size());
}

TEST_CASE("dns: a late answer to the first question of a server that is asked again counts") {
  Server server;
  server.names["b.example"].addresses = {"192.0.2.1"};
  server.hold = true;
  Bench bench({&server});
  REQUIRE(bench.dns.open("b.example", bench.now, bench.lookup).io == Io::pending);
  server.serve();
  bench.now = bench.now + 1500;
  CHECK(bench.dns.advance(bench.lookup, bench.now).io == Io::pending);
  server.release();
  CHECK(bench.dns.advance(bench.lookup, bench.now).io == Io::done);
  CHECK(bench.addresses() == "192.0.2.1");
  bench.dns.close(bench.lookup, 0);
}

TEST_CASE("dns: only what is missing is asked again; half an answer is waited for 100 ms") {
  Server server;
  server.names["b.example"] = {{"192.0.2.1", "2001:db8::1"}, "", 60, 0};
  server.silent_type = dnstest::kAaaa;
  Bench bench({&server});
  CHECK(bench.look_up("b.example", 0) == "192.0.2.1");
  CHECK(bench.now == Instant{1000 + Dns::kOtherFamilyMs});
  bench.now = bench.now + 4999;
  CHECK(bench.look_up("b.example", 0) == "192.0.2.1");
  CHECK(server.asked.size() == 2);
  server.silent_type = 0;
  bench.now = bench.now + 1;  // half an answer is kept for 5 s
  CHECK(bench.look_up("b.example") == "192.0.2.1 2001:db8::1");

  server.names["no-a.example"] = {};
  server.silent_type = dnstest::kAaaa;
  server.asked.clear();
  CHECK(bench.look_up("no-a.example").empty());
  CHECK(bench.status == Status{Errc::lookup_failed, 0});
  CHECK(server.asked.size() == 4);  // A once, AAAA three times
}

TEST_CASE("dns: what was good before is used when no server answers any more") {
  Server server;
  server.names["b.example"] = {{"192.0.2.1", "192.0.2.2"}, "", 60, 0};
  Bench bench({&server});
  CHECK(bench.look_up("b.example", 1) == "192.0.2.1 192.0.2.2");
  bench.now = bench.now + 100000;
  server.silent = true;
  Instant begun = bench.now;
  CHECK(bench.look_up("b.example", 0) == "192.0.2.2 192.0.2.1");
  CHECK(bench.now - begun == 1000);  // one round, no more
  const size_t asked = server.asked.size();
  CHECK(bench.look_up("b.example", 0) == "192.0.2.2 192.0.2.1");
  CHECK(server.asked.size() == asked);  // the servers have a rest
  server.silent = false;
  server.names["b.example"].addresses = {"192.0.2.3"};
  bench.now = bench.now + Dns::kStaleMs;
  CHECK(bench.look_up("b.example", 0) == "192.0.2.3");
  // A lookup that nobody waits for to the end does not forget them either.
  bench.now = bench.now + 60000;
  REQUIRE(bench.dns.open("b.example", bench.now, bench.lookup).io == Io::pending);
  bench.dns.close(bench.lookup, -1);
  server.stop();
  CHECK(bench.look_up("b.example", 0) == "192.0.2.3");
}

TEST_CASE("dns: a truncated answer counts for what is in it") {
  Server server;
  server.truncate = true;
  server.names["b.example"].addresses = {"192.0.2.1", "192.0.2.2", "192.0.2.3"};
  Bench bench({&server});
  CHECK(bench.look_up("b.example") == "192.0.2.1 192.0.2.2");
}

TEST_CASE("dns: an answer of more than 512 octets counts for what is in the first 512") {
  Server server;
  for (int i = 1; i <= 60; ++i) {
    server.names["b.example"].addresses.push_back("192.0.2." + std::to_string(i));
  }
  Bench bench({&server});
  CHECK(bench.look_up("b.example") ==
        "192.0.2.1 192.0.2.2 192.0.2.3 192.0.2.4 192.0.2.5 192.0.2.6");
  CHECK(bench.now == Instant{1000});
  CHECK(server.asked.size() == 2);
}

TEST_CASE("dns: the search list") {
  Server server;
  server.names["kafka.svc.example"] = {{"192.0.2.1"}, "", 60, 0};
  server.names["b.kafka"] = {{"192.0.2.2"}, "", 60, 0};
  server.names["kafka"] = {{"192.0.2.3"}, "", 60, 0};
  Bench bench({&server}, "ns.svc.example svc.example");
  CHECK(bench.look_up("kafka") == "192.0.2.1");
  REQUIRE(server.asked.size() == 4);
  CHECK(server.asked[0].name == "kafka.ns.svc.example");
  CHECK(server.asked[2].name == "kafka.svc.example");
  CHECK(bench.look_up("b.kafka") == "192.0.2.2");
  CHECK(server.asked.size() == 6);  // a dot inside: as it stands first
  CHECK(bench.look_up("kafka.") == "192.0.2.3");
  CHECK(server.asked.size() == 8);  // a dot at the end: as it stands, and not out of the cache
  CHECK(bench.look_up("nobody").empty());
  CHECK(bench.status == Status{Errc::name_not_found, 0});
  CHECK(server.asked.size() == 14);
  CHECK(server.asked.back().name == "nobody");
  CHECK(bench.look_up("x.nobody").empty());
  CHECK(server.asked[14].name == "x.nobody");
  CHECK(server.asked.back().name == "x.nobody.svc.example");
}

TEST_CASE("dns: a search list that makes names too long, and a server that fails for one") {
  const std::string label(60, 'd');
  const std::string domain = label + "." + label + "." + label;
  Server server;
  const std::string name = std::string(40, 'a') + "." + std::string(40, 'b');
  server.names[name] = {{"192.0.2.1"}, "", 60, 0};
  Bench bench({&server}, domain);
  CHECK(bench.look_up(name) == "192.0.2.1");
  CHECK(bench.look_up(std::string(40, 'c') + "." + std::string(40, 'b')).empty());
  CHECK(bench.status == Status{Errc::name_not_found, 0});
  CHECK(bench.look_up(std::string(63, 'f') + std::string(".") + std::string(63, 'g')).empty());
  CHECK(bench.status == Status{Errc::name_not_found, 0});
  const std::string one_label(63, 'e');
  CHECK(bench.look_up(one_label).empty());  // with the domain: 246, fits; then alone
  CHECK(server.asked.back().name == one_label);

  Server half;
  half.names["kafka"] = {{"192.0.2.3"}, "", 60, 0};
  half.names["kafka.one.example"].rcode = 2;
  half.names["x.one.example"].rcode = 2;
  Bench other({&half}, "one.example two.example");
  CHECK(other.look_up("kafka") == "192.0.2.3");
  CHECK(other.look_up("x").empty());
  CHECK(other.status == Status{Errc::lookup_failed, 0});  // it might exist
}

TEST_CASE("dns: files: hosts first, resolv.conf read again when it has changed") {
  Folder folder;
  Server one;
  Server two;
  one.names["b.example"] = {{"192.0.2.1"}, "", 0, 0};
  two.names["b.example"] = {{"192.0.2.2"}, "", 0, 0};
  two.names["kafka.lab.example"] = {{"192.0.2.3"}, "", 0, 0};
  const std::string hosts = folder.path("hosts");
  const std::string resolv = folder.path("resolv.conf");
  folder.write("resolv.conf", "nameserver " + one.name() + "\n");
  Bench bench(files(hosts, resolv), {&one, &two});
  CHECK(bench.look_up("b.example", 0) == "192.0.2.1");
  bench.now = bench.now + 5000;
  folder.write("resolv.conf",
               "search lab.example\nnameserver " + two.name() + "\noptions ndots:2\n");
  CHECK(bench.look_up("b.example", 0) == "192.0.2.2");
  CHECK(two.asked[0].name == "b.example.lab.example");  // ndots
  CHECK(bench.look_up("kafka", 0) == "192.0.2.3");

  folder.write("hosts", "192.0.2.7 b.example\n2001:db8::7 b.example\n192.0.2.8 b.example\n");
  const size_t asked = two.asked.size();
  CHECK(bench.look_up("b.example", 2) == "2001:db8::7 192.0.2.7 192.0.2.8");
  CHECK(bench.look_up("b.example", 0) == "192.0.2.8 2001:db8::7 192.0.2.7");
  folder.write("hosts", "192.0.2.9 b.example");  // no end of line at the end
  CHECK(bench.look_up("B.EXAMPLE.", 0) == "192.0.2.9");
  CHECK(two.asked.size() == asked);
  folder.write("hosts", "");
  bench.now = bench.now + 5000;
  CHECK(bench.look_up("b.example", 0) == "192.0.2.2");
}

TEST_CASE("dns: files that cannot be opened at the moment are not taken for empty ones") {
  Server one;
  Server two;
  for (const char* name : {"a.example", "b.example", "c.example", "d.example"}) {
    one.names[name] = {{"192.0.2.1"}, "", 60, 0};
    two.names[name] = {{"192.0.2.2"}, "", 60, 0};
  }
  Folder folder;
  const std::string hosts = folder.path("hosts");
  const std::string resolv = folder.path("resolv.conf");
  folder.write("resolv.conf", "nameserver " + one.name() + "\n");
  // hosts_path "": not there, whatever the descriptors.
  for (const std::string& its_hosts : {hosts, std::string()}) {
    CAPTURE(its_hosts);
    folder.write("hosts", "192.0.2.7 other.example\n");
    folder.write("resolv.conf", "nameserver " + one.name() + "\n");
    Bench bench(files(its_hosts, resolv), {&one, &two});
    {
      const NoDescriptors none;
      CHECK(bench.look_up("a.example").empty());
      CHECK(bench.status == Status{Errc::lookup_failed, EMFILE});
    }
    CHECK(bench.look_up("a.example", 0) == "192.0.2.1");
    folder.write("resolv.conf", "nameserver " + two.name() + "\noptions ndots:1\n");
    {
      const NoDescriptors none;
      CHECK(bench.look_up("b.example").empty());
      CHECK(bench.status == Status{Errc::lookup_failed, EMFILE});
    }
    CHECK(bench.look_up("b.example", 0) == "192.0.2.2");
  }
  Bench bench(files(hosts, resolv), {&one, &two});
  CHECK(bench.look_up("c.example", 0) == "192.0.2.2");
  folder.write("hosts", "192.0.2.7 c.example\n");
  {
    const NoDescriptors none;  // the name is in memory, but the hosts file goes first
    CHECK(bench.look_up("c.example").empty());
    CHECK(bench.status == Status{Errc::lookup_failed, EMFILE});
  }
  CHECK(bench.look_up("c.example", 0) == "192.0.2.7");

  // Where resolv.conf can no longer be opened, the servers that it named go on being asked.
  std::remove(resolv.c_str());
  REQUIRE(::symlink("resolv.conf", resolv.c_str()) == 0);  // ELOOP, also for root
  CHECK(bench.look_up("d.example", 0) == "192.0.2.2");
}

TEST_CASE("dns: rotate, timeout and attempts of resolv.conf") {
  Folder folder;
  Server one;
  Server two;
  for (Server* server : {&one, &two}) {
    for (const char* name : {"a.example", "b.example", "c.example", "d.example"}) {
      server->names[name].addresses = {"192.0.2.1"};
    }
  }
  const std::string resolv = folder.path("resolv.conf");
  folder.write("resolv.conf", "nameserver " + one.name() + "\nnameserver " + two.name() +
                                  "\noptions rotate timeout:3 attempts:1\n");
  Bench bench(files("", resolv), {&one, &two});
  for (const char* name : {"a.example", "b.example", "c.example", "d.example"}) {
    CHECK(bench.look_up(name) == "192.0.2.1");
  }
  CHECK(one.asked.size() == 4);
  CHECK(two.asked.size() == 4);
  one.silent = two.silent = true;
  CHECK(bench.look_up("e.example").empty());
  CHECK(bench.now == Instant{1000 + 6000});
}

TEST_CASE("dns: hostile answers change nothing, the true one is taken") {
  Server server;
  server.names["b.example"].addresses = {"192.0.2.1"};
  server.lie = [&](const Question& q) {
    const Packet good = server.honest(q);
    std::vector<Packet> all;
    const auto evil = [&](const Question& asked) {
      return dnstest::answer(
          asked, 0, 1,
          dnstest::record(
              dnstest::be16(0xC00C), q.type, 60,
              dnstest::wire_address(q.type == dnstest::kA ? "203.0.113.6" : "2001:db8::666")));
    };
    Question other = q;
    other.packet[0] = static_cast<char>(other.packet[0] ^ 1);
    all.push_back(evil(other));  // wrong id
    other = q;
    other.packet[13] = 'x';
    all.push_back(evil(other));  // wrong question
    all.push_back({});
    all.push_back(good.substr(0, 5));
    all.push_back(evil(other) + std::string(600, 'x'));  // wrong, and long
    all.push_back(good);
    all.push_back(evil(q));  // too late
    return all;
  };
  Bench bench({&server});
  CHECK(bench.look_up("b.example") == "192.0.2.1");
  CHECK(bench.now == Instant{1000});
}

TEST_CASE("dns: a packet of another sender is not seen") {
  Server server;
  Server stranger;
  server.names["b.example"].addresses = {"192.0.2.1"};
  Bench bench({&server});
  REQUIRE(bench.dns.open("b.example", bench.now, bench.lookup).io == Io::pending);
  // A stranger that even knows port and id: the socket is connected to the server.
  sockaddr_in here = {};
  socklen_t size = sizeof here;
  void* const any = &here;
  REQUIRE(::getsockname(bench.dns.interest(bench.lookup).fd, static_cast<sockaddr*>(any), &size) ==
          0);
  server.hold = true;
  server.serve();
  const int fd = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  for (const Question& q : server.asked) {
    const Packet packet = dnstest::answer(
        q, 0, 1,
        dnstest::record(dnstest::be16(0xC00C), q.type, 60, Packet(q.type == 1 ? 4 : 16, 'x')));
    REQUIRE(::sendto(fd, packet.data(), packet.size(), 0, static_cast<sockaddr*>(any), size) > 0);
  }
  ::close(fd);
  CHECK(bench.dns.advance(bench.lookup, bench.now).io == Io::pending);
  server.release();
  CHECK(bench.dns.advance(bench.lookup, bench.now).io == Io::done);
  CHECK(bench.addresses() == "192.0.2.1");
  bench.dns.close(bench.lookup, 0);
}

TEST_CASE("dns: lookups at a time have a socket each, and a full table says so") {
  Server server;
  for (const char* name : {"a.example", "b.example", "c.example", "d.example", "e.example"}) {
    server.names[name].addresses = {"192.0.2.1"};
  }
  const size_t before = open_descriptors();
  Bench bench({&server});
  uint16_t lookups[4] = {};
  // The same name twice is fine too: nobody waits for somebody else's answer.
  const char* const names[4] = {"a.example", "b.example", "b.example", "d.example"};
  for (int i = 0; i < 4; ++i)
    REQUIRE(bench.dns.open(names[i], bench.now, lookups[i]).io == Io::pending);
  for (int i = 0; i < 4; ++i) {
    for (int k = 0; k < i; ++k) {
      CHECK(bench.dns.interest(lookups[i]).fd != bench.dns.interest(lookups[k]).fd);
    }
  }
  CHECK(open_descriptors() == before + 4);
  uint16_t fifth = 99;
  IoResult result = bench.dns.open("e.example", bench.now, fifth);
  CHECK(result.io == Io::failed);
  CHECK(result.status == Status{Errc::too_many, 0});

  bench.dns.close(lookups[3], -1);  // in the middle: place and socket are free
  CHECK(open_descriptors() == before + 3);
  REQUIRE(bench.dns.open("e.example", bench.now, fifth).io == Io::pending);
  server.serve();
  for (uint16_t lookup : {lookups[0], lookups[1], lookups[2], fifth}) {
    CHECK(bench.dns.advance(lookup, bench.now).io == Io::done);
    CHECK(bench.dns.advance(lookup, bench.now).io == Io::done);
  }
  CHECK(open_descriptors() == before);
  // While they are held no other name gets a place; the same name does.
  CHECK(bench.dns.open("d.example", bench.now, lookups[3]).status == Status{Errc::too_many, 0});
  CHECK(bench.dns.open("a.example", bench.now, lookups[3]).io == Io::done);
  for (uint16_t lookup : {lookups[0], lookups[1], lookups[2], lookups[3], fifth}) {
    bench.dns.close(lookup, 0);
  }
  CHECK(bench.look_up("d.example") == "192.0.2.1");
}

TEST_CASE("dns: a name that is held and too old is asked for beside, not under its holder") {
  Server server;
  server.names["b.example"] = {{"192.0.2.1"}, "", 1, 0};
  Bench bench({&server});
  uint16_t held = 0;
  bench.lookup = 0;
  REQUIRE(bench.go_on(bench.dns.open("b.example", bench.now, bench.lookup)).io == Io::done);
  held = bench.lookup;
  bench.now = bench.now + 1000;
  server.names["b.example"].addresses = {"192.0.2.2"};
  REQUIRE(bench.dns.open("b.example", bench.now, bench.lookup).io == Io::pending);
  CHECK(bench.lookup != held);
  posix::Address address;
  REQUIRE(bench.dns.address(held, 0, address));
  CHECK(dnstest::text_of(address) == "192.0.2.1");
  bench.dns.close(held, 0);
  CHECK(bench.go_on({}).io == Io::done);
  CHECK(bench.addresses() == "192.0.2.2");
  bench.dns.close(bench.lookup, 0);
  CHECK(bench.look_up("b.example", 0) == "192.0.2.2");
  uint32_t slots = 0;
  for (const posix::DnsSlot& slot : bench.storage.slots) slots += slot.text() == "b.example";
  CHECK(slots == 1);  // the old one has gone from the table
}

TEST_CASE("dns: lookups that fail at once leave nothing behind") {
  posix::DnsOptions options;
  options.hosts_path = "";
  options.servers = "255.255.255.255";
  Bench bench(options);
  for (int i = 0; i < 300; ++i) {
    CHECK(bench.look_up("b" + std::to_string(i % 20)).empty());
    CHECK(bench.status.code == Errc::lookup_failed);
    CHECK(bench.status.detail != 0);
  }
}

TEST_CASE("dns: the name used longest ago makes room") {
  Server server;
  const std::vector<std::string> names = {"a.example", "b.example", "c.example", "d.example",
                                          "e.example"};
  for (const std::string& name : names) server.names[name].addresses = {"192.0.2.1"};
  Bench bench({&server});
  for (int i = 0; i < 4; ++i) {
    CHECK(bench.look_up(names[static_cast<size_t>(i)], 0) == "192.0.2.1");
    bench.now = bench.now + 1;
  }
  CHECK(bench.look_up("a.example", 0) == "192.0.2.1");
  bench.now = bench.now + 1;
  CHECK(bench.look_up("e.example", 0) == "192.0.2.1");
  CHECK(bench.look_up("a.example", 0) == "192.0.2.1");
  CHECK(server.asked_for("a.example") == 2);
  CHECK(bench.look_up("b.example", 0) == "192.0.2.1");
  CHECK(server.asked_for("b.example") == 4);
}

TEST_CASE(
    "dns: without resolv.conf the server is 127.0.0.1; a server nobody can reach is an error") {
  Folder folder;
  const std::string resolv = folder.path("resolv.conf");
  posix::DnsOptions options = files("", resolv);
  Server server;
  server.names["b.example"].addresses = {"192.0.2.1"};
  const std::string name = server.name();
  options.port = static_cast<uint16_t>(std::stoi(name.substr(name.find(':') + 1)));
  Bench bench(options, {&server});
  CHECK(bench.look_up("b.example") == "192.0.2.1");
  folder.write("resolv.conf", "nameserver 255.255.255.255\n");
  CHECK(bench.look_up("c.example").empty());
  CHECK(bench.status.code == Errc::lookup_failed);
  CHECK(bench.status.detail != 0);
}

}  // namespace test_dns
