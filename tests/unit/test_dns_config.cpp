// SPDX-License-Identifier: Apache-2.0
// net/dns_config.hpp: the hosts file and resolv.conf, in pieces of any size.
#include <doctest/doctest.h>

#include <cstdint>
#include <string>
#include <vector>

#include "../support/dns_server.hpp"
#include "kshare/base/random.hpp"
#include "kshare/net/dns_config.hpp"

namespace test_dns_config {
namespace {

using kshare::posix::Address;
using kshare::posix::DnsConfig;
using kshare::posix::DnsWords;

template <class Each>
void feed(const std::string& text, size_t piece, Each&& each) {
  DnsWords words;
  for (size_t at = 0; at < text.size(); at += piece) {
    const std::string part = text.substr(at, piece);
    words.feed(kshare::as_bytes(part), each);
  }
  words.end(each);
}

std::string hosts(const std::string& text, const std::string& name, size_t piece = 1000) {
  std::string found;
  kshare::posix::HostsReader reader{name};
  feed(text, piece, [&](std::string_view word, uint32_t index) {
    reader.take(word, index, [&](const Address& address) {
      found += (found.empty() ? "" : " ") + dnstest::text_of(address);
    });
  });
  return found;
}

DnsConfig resolv(const std::string& text, size_t piece = 1000) {
  DnsConfig config;
  kshare::posix::ResolvReader reader{config, 53};
  feed(text, piece, [&](std::string_view word, uint32_t index) { reader.take(word, index); });
  return config;
}

std::string servers(const DnsConfig& config) {
  std::string all;
  for (uint32_t i = 0; i < config.server_count; ++i) {
    all += (i == 0 ? "" : " ") + dnstest::text_of(config.servers[i].address) + "#" +
           std::to_string(config.servers[i].port);
  }
  return all;
}

std::string search(const DnsConfig& config) {
  std::string all;
  for (uint32_t i = 0; !config.domain(i).empty(); ++i) {
    all += (i == 0 ? "" : " ") + std::string(config.domain(i));
  }
  return all;
}

}  // namespace

TEST_CASE("dns: the hosts file, all lines of a name, any pieces") {
  const std::string text =
      "# 192.0.2.9 broker\n"
      "192.0.2.1\tbroker.example broker  # the first\r\n"
      "192.0.2.2 other\n"
      "\n"
      "   2001:db8::1 Broker.Example. broker broker\n"
      "nonsense broker\n"
      "192.0.2.300 broker\n"
      "192.0.2.5\n"
      "192.0.2.6 #broker\n"
      "192.0.2.7 brokers broke broker.exampl xbroker\n"
      "192.0.2.8 x broker";
  for (size_t piece = 1; piece < 40; ++piece) {
    CHECK(hosts(text, "broker", piece) == "192.0.2.1 2001:db8::1 192.0.2.8");
    CHECK(hosts(text, "BROKER.example", piece) == "192.0.2.1 2001:db8::1");
    CHECK(hosts(text, "192.0.2.5", piece).empty());
    CHECK(hosts(text, "nobody", piece).empty());
  }
  const std::string longest(253, 'x');
  CHECK(hosts("192.0.2.1 " + longest + "\n", longest) == "192.0.2.1");
  CHECK(hosts("192.0.2.1 " + longest + "yyyyyyyy\n", longest).empty());
  CHECK(hosts(std::string(100000, '1') + " broker\n192.0.2.1 broker", "broker") == "192.0.2.1");
}

TEST_CASE("dns: resolv.conf") {
  const std::string text =
      "; made by hand\n"
      "nameserver 192.0.2.53   # the near one\n"
      "nameserver 2001:db8::53\n"
      "nameserver\n"
      "nameserver dns.example\n"
      "search wrong.example\n"
      "domain example\n"
      "search default.svc.cluster.local svc.cluster.local. cluster.local ... 12\n"
      "options ndots:5 rotate timeout:2 attempts:4 edns0 ndots ndots:x\n"
      "sortlist 192.0.2.0\n"
      "nameserver fe80::1%lo\n"
      "nameserver 192.0.2.54\n";
  for (size_t piece = 1; piece < 40; ++piece) {
    const DnsConfig config = resolv(text, piece);
    CHECK(servers(config) == "192.0.2.53#53 2001:db8::53#53 fe80::1#53");
    CHECK(config.servers[2].address.scope == if_nametoindex("lo"));
    CHECK(search(config) == "default.svc.cluster.local svc.cluster.local cluster.local");
    CHECK(config.ndots == 5);
    CHECK(config.rotate);
    CHECK(config.timeout_ms == 2000);
    CHECK(config.attempts == 4);
  }
  DnsConfig config = resolv("");
  CHECK(config.server_count == 0);
  CHECK(config.ndots == 1);
  CHECK_FALSE(config.rotate);
  CHECK(config.domain(0).empty());
  config = resolv("options ndots:99999999999 attempts:0 timeout:1000000");
  CHECK(config.ndots == 15);
  CHECK(config.attempts == 1);
  CHECK(config.timeout_ms == 30000);
  config = resolv("search a.example\ndomain b.example\n");
  CHECK(search(config) == "b.example");
}

TEST_CASE("dns: servers with a port of their own") {
  CHECK(servers(resolv("nameserver [192.0.2.1]:5353\nnameserver [2001:db8::1]:1\n"
                       "nameserver [2001:db8::2]")) ==
        "192.0.2.1#5353 2001:db8::1#1 2001:db8::2#53");
  for (const char* bad :
       {"[192.0.2.1]:0", "[192.0.2.1]:65536", "[192.0.2.1]:999999", "[192.0.2.1]:", "[]:53",
        "[192.0.2.1:53", "[192.0.2.1]53", "[", ":53", "[x]:53"}) {
    CAPTURE(bad);
    CHECK(resolv(std::string("nameserver ") + bad).server_count == 0);
  }
}

TEST_CASE("dns: a search list that is too long keeps what fits") {
  std::string text = "search";
  for (int i = 0; i < 40; ++i) text += " domain-number-" + std::to_string(100 + i) + ".example";
  const DnsConfig config = resolv(text);
  uint32_t count = 0;
  while (!config.domain(count).empty()) ++count;
  CHECK(count == 256 / 27);
  CHECK(config.domain(count - 1) == "domain-number-108.example");
  const std::string label(62, 'a');
  const std::string tail = "." + label + "." + label + "." + label;
  const std::string fits = std::string(61, 'b') + tail;   // 250
  const std::string above = std::string(62, 'b') + tail;  // 251, and a NUL: one too many
  CHECK(search(resolv("search c.ex " + fits + " d.ex")) == "c.ex " + fits);
  CHECK(search(resolv("search c.ex " + above + " d.ex")) == "c.ex d.ex");
}

TEST_CASE("dns: noise in both files is passed over") {
  kshare::Random random;
  random.seed(3);
  const std::string alphabet = "nameserver search options ndots:[]:%#;.192\n\n\t \r";
  for (int i = 0; i < 3000; ++i) {
    std::string text;
    for (uint32_t left = random.below(300); left > 0; --left) {
      text += random.below(20) == 0
                  ? static_cast<char>(random.below(256))
                  : alphabet[random.below(static_cast<uint32_t>(alphabet.size()))];
    }
    const DnsConfig config = resolv(text, 1 + random.below(50));
    CHECK(config.server_count <= kshare::posix::kDnsServersMax);
    CHECK(config.search_bytes <= sizeof config.search);
    CHECK(hosts(text, "broker.example").empty());
  }
}

}  // namespace test_dns_config
