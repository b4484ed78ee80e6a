// SPDX-License-Identifier: Apache-2.0
// core/address.hpp: bootstrap.servers, entry by entry.
#include <doctest/doctest.h>

#include <string>

#include "kshare/core/address.hpp"

namespace test_address {

using kshare::Address;
using kshare::bootstrap_count;
using kshare::bootstrap_entry;
using kshare::is_valid_bootstrap;

namespace {

std::string entry(std::string_view list, uint32_t index) {
  const std::string exact(list);  // so that a sanitizer sees a look beyond its end
  const Address address = bootstrap_entry(exact, index);
  return std::string(address.host) + "|" + std::to_string(address.port);
}

}  // namespace

TEST_CASE("a bootstrap list of one, of several, with blanks around the entries") {
  CHECK(entry("127.0.0.1:9092", 0) == "127.0.0.1|9092");
  CHECK(entry("a:1,bb:22,ccc:65535", 0) == "a|1");
  CHECK(entry("a:1,bb:22,ccc:65535", 1) == "bb|22");
  CHECK(entry("a:1,bb:22,ccc:65535", 2) == "ccc|65535");
  CHECK(entry(" a:1 ,  bb:22 ", 0) == "a|1");
  CHECK(entry(" a:1 ,  bb:22 ", 1) == "bb|22");
  CHECK(bootstrap_count("a:1,bb:22,ccc:65535") == 3);
  CHECK(is_valid_bootstrap("a:1,bb:22,ccc:65535"));
}

TEST_CASE("IPv6 literals stand in brackets") {
  CHECK(entry("[::1]:9092", 0) == "::1|9092");
  CHECK(entry("[fe80::1%eth0]:1,[2001:db8::2]:9", 0) == "fe80::1%eth0|1");
  CHECK(entry("[fe80::1%eth0]:1,[2001:db8::2]:9", 1) == "2001:db8::2|9");
}

TEST_CASE("an entry behind the end of the list is empty") {
  CHECK(entry("a:1", 1) == "|0");
  CHECK(entry("a:1,b:2", 2) == "|0");
  CHECK(entry("a:1", UINT32_MAX) == "|0");
  CHECK(entry("", 0) == "|0");
  CHECK(bootstrap_entry(std::string_view{}, 0).host.empty());
}

TEST_CASE("an entry without a port, with a port out of range, or without a host makes no sense") {
  for (const char* list : {"",
                           " ",
                           ",",
                           ":",
                           "host",
                           "host:",
                           ":9092",
                           " :9092",
                           "host:0",
                           "host:65536",
                           "host:99999",
                           "host:123456",
                           "host:9999999999",
                           "host:port",
                           "host: 9092",
                           "host:90x92",
                           "host:-1",
                           "[]:9092",
                           "[:9092",
                           "]:9092",
                           "[::1:9092",
                           "PLAINTEXT://a:1",
                           "9092",
                           "host:9092,",
                           ",host:9092",
                           "a:1,,b:2",
                           "a:1;b:2",
                           "[::1]9092",
                           "a b:9092"}) {
    CAPTURE(list);
    CHECK_FALSE(is_valid_bootstrap(std::string(list)));
  }
}

TEST_CASE("a port may have zeros in front, up to five digits") {
  CHECK(entry("a:00080", 0) == "a|80");
  CHECK(entry("a:000080", 0) == "|0");
}

TEST_CASE("no list of these characters makes it look beyond its end") {
  const std::string letters = "a:,[]1 ";
  std::string list(6, 'a');
  uint32_t sum = 0;
  for (uint32_t code = 0; code < 117649; ++code) {  // 7^6
    uint32_t rest = code;
    for (char& c : list) {
      c = letters[rest % 7];
      rest /= 7;
    }
    const std::string exact(list);
    const uint32_t count = bootstrap_count(exact);
    for (uint32_t i = 0; i <= count; ++i) {
      const Address address = bootstrap_entry(exact, i);
      sum += address.port;
      if (address.host.empty() != (address.port == 0)) FAIL_CHECK(list);
    }
    if (is_valid_bootstrap(exact)) sum += count;
  }
  CHECK(sum != 0);
}

}  // namespace test_address
