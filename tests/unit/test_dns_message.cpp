// SPDX-License-Identifier: Apache-2.0
// net/dns_message.hpp: names, questions, and answers of any kind, without a socket.
#include <doctest/doctest.h>

#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "../support/dns_server.hpp"
#include "kshare/base/random.hpp"
#include "kshare/net/dns_message.hpp"

namespace test_dns_message {
namespace {

using dnstest::be16;
using dnstest::kA;
using dnstest::kAaaa;
using dnstest::kCname;
using dnstest::Packet;
using dnstest::Question;
using dnstest::record;
using dnstest::wire_address;
using dnstest::wire_name;
using kshare::Bytes;
using kshare::posix::DnsAnswer;
using kshare::posix::DnsOutcome;
using kshare::posix::DnsType;

const std::string kName = "b1.kafka.example";

Question question(const std::string& name = kName, DnsType type = DnsType::a) {
  uint8_t bytes[kshare::posix::kDnsQueryMax];
  const uint32_t size = kshare::posix::encode_dns_query(name, type, 0xABCD, bytes);
  return dnstest::read_question(std::string(bytes, bytes + size));
}

// From memory that ends where the packet ends: ASan watches.
DnsAnswer read(const Packet& packet, const Question& q) {
  const std::unique_ptr<uint8_t[]> exact{new uint8_t[packet.size()]};
  if (!packet.empty()) std::memcpy(exact.get(), packet.data(), packet.size());
  return kshare::posix::read_dns_answer(
      {exact.get(), static_cast<uint32_t>(packet.size() & 0xFFFFFFFFu)},
      kshare::as_bytes(q.packet));
}

Packet a(const Packet& owner, const std::string& address, uint32_t ttl_s = 60) {
  return record(owner, address.find(':') == std::string::npos ? kA : kAaaa, ttl_s,
                wire_address(address));
}
const Packet kSame = be16(0xC00C);  // a pointer to the question's name

std::string texts(const DnsAnswer& answer) {
  std::string all;
  for (uint32_t i = 0; i < answer.count; ++i) {
    all += (i == 0 ? "" : " ") + dnstest::text_of(answer.addresses[i]);
  }
  return all;
}

}  // namespace

TEST_CASE("dns: what can be a host's name") {
  using kshare::posix::is_dns_name;
  const std::string label(63, 'x');
  const std::string longest = label + "." + label + "." + label + "." + std::string(61, 'y');
  REQUIRE(longest.size() == 253);
  for (const std::string& name :
       {std::string("a"), kName, std::string("my_pod-0.svc"), std::string("3com.com"),
        std::string("xn--bcher-kva.example"), label, longest}) {
    CAPTURE(name);
    CHECK(is_dns_name(name));
  }
  for (const std::string& name :
       {std::string(), std::string("."), std::string("a."), std::string(".a"), std::string("a..b"),
        std::string("a b"), std::string("a/b"), std::string("a\0b", 3), std::string("1.2.3"),
        std::string("1.2.3.256"), std::string("12"), std::string("b\xC3\xBC"),
        std::string("fe80::1%x"), label + "x", longest + "y"}) {
    CAPTURE(name);
    CHECK_FALSE(is_dns_name(name));
  }
}

TEST_CASE("dns: localhost and what is below it") {
  using kshare::posix::is_localhost;
  for (const char* name :
       {"localhost", "LocalHost", "localhost.", "a.localhost", "A.B.LOCALHOST."}) {
    CAPTURE(name);
    CHECK(is_localhost(name));
  }
  for (const char* name :
       {"", ".", "notlocalhost", "localhost.example", "localhos", "localhost.."}) {
    CAPTURE(name);
    CHECK_FALSE(is_localhost(name));
  }
}

TEST_CASE("dns: a question is what RFC 1035 says") {
  const Packet expected = be16(0xABCD) + be16(0x0100) + be16(1) + be16(0) + be16(0) + be16(0) +
                          std::string("\2b1\5kafka\7example\0", 18) + be16(28) + be16(1);
  CHECK(question(kName, DnsType::aaaa).packet == expected);
}

TEST_CASE("dns: addresses, their order, and the least TTL") {
  const Question q = question();
  DnsAnswer answer =
      read(dnstest::answer(q, 0, 2, a(kSame, "192.0.2.1", 300) + a(kSame, "192.0.2.2", 30)), q);
  CHECK(answer.outcome == DnsOutcome::addresses);
  CHECK(texts(answer) == "192.0.2.1 192.0.2.2");
  CHECK(answer.ttl_s == 30);
  const Question six = question(kName, DnsType::aaaa);
  answer = read(dnstest::answer(six, 0, 1, a(wire_name(kName), "2001:db8::1", 0x80000001)), six);
  CHECK(texts(answer) == "2001:db8::1");
  CHECK(answer.addresses[0].v6);
  CHECK(answer.ttl_s == 0);
  Packet many;
  for (int i = 1; i <= 20; ++i) many += a(kSame, "192.0.2." + std::to_string(i));
  CHECK(read(dnstest::answer(q, 0, 20, many), q).count == kshare::posix::kDnsAddressesMax);
}

TEST_CASE("dns: aliases are followed, in any order of the records, and compressed") {
  const Question q = question();
  const Packet first = record(kSame, kCname, 20, wire_name("x.example"));
  const Packet second = record(wire_name("X.Example"), kCname, 9, "\1y" + be16(0xC00F + 6));
  const Packet third = a(wire_name("y.example"), "192.0.2.9", 50);
  const Packet stranger = a(wire_name("z.example"), "192.0.2.66");
  DnsAnswer answer = read(dnstest::answer(q, 0, 4, first + second + stranger + third), q);
  CHECK(texts(answer) == "192.0.2.9");
  CHECK(answer.ttl_s == 9);
  answer = read(dnstest::answer(q, 0, 4, third + stranger + second + first), q);
  CHECK(texts(answer) == "192.0.2.9");
  answer = read(dnstest::answer(q, 0, 2, first + second), q);
  CHECK(answer.outcome == DnsOutcome::no_data);

  const Packet circle = record(kSame, kCname, 20, kSame);
  CHECK(read(dnstest::answer(q, 0, 1, circle), q).outcome == DnsOutcome::failed);
  Packet chain;
  for (int i = 0; i < 8; ++i) {
    chain += record(i == 0 ? kSame : wire_name("c" + std::to_string(i)), kCname, 5,
                    wire_name("c" + std::to_string(i + 1)));
  }
  CHECK(texts(read(dnstest::answer(q, 0, 9, chain + a(wire_name("c8"), "192.0.2.8")), q)) ==
        "192.0.2.8");
  chain += record(wire_name("c8"), kCname, 5, wire_name("c9"));
  CHECK(read(dnstest::answer(q, 0, 10, chain + a(wire_name("c9"), "192.0.2.8")), q).outcome ==
        DnsOutcome::failed);
}

TEST_CASE("dns: what does not answer the question is ignored") {
  const Question q = question();
  const Packet good = dnstest::answer(q, 0, 1, a(kSame, "192.0.2.1"));
  REQUIRE(read(good, q).outcome == DnsOutcome::addresses);
  const auto changed = [&](size_t at, char to) {
    Packet packet = good;
    packet[at] = to;
    return read(packet, q).outcome;
  };
  CHECK(changed(0, 0) == DnsOutcome::ignored);  // id
  CHECK(changed(1, 0) == DnsOutcome::ignored);
  CHECK(changed(2, 1) == DnsOutcome::ignored);       // a question
  CHECK(changed(2, '\x91') == DnsOutcome::ignored);  // another opcode
  CHECK(changed(5, 0) == DnsOutcome::ignored);       // no question inside
  CHECK(changed(5, 2) == DnsOutcome::ignored);
  CHECK(changed(13, 'x') == DnsOutcome::ignored);    // another name
  CHECK(changed(13, 'B') == DnsOutcome::addresses);  // the same in other letters (0x20)
  CHECK(changed(31, 28) == DnsOutcome::ignored);     // another type
  CHECK(changed(33, 3) == DnsOutcome::ignored);      // another class
  CHECK(read(q.packet, q).outcome == DnsOutcome::ignored);
  CHECK(read({}, q).outcome == DnsOutcome::ignored);
  CHECK(
      read(dnstest::answer(question("b2.kafka.example"), 0, 1, a(kSame, "192.0.2.1")), q).outcome ==
      DnsOutcome::ignored);
}

TEST_CASE("dns: the ways to have no address") {
  const Question q = question();
  CHECK(read(dnstest::answer(q, 0, 0, {}), q).outcome == DnsOutcome::no_data);
  CHECK(read(dnstest::answer(q, 3, 0, {}), q).outcome == DnsOutcome::no_name);
  for (int rcode : {1, 2, 4, 5, 9, 15}) {
    CHECK(read(dnstest::answer(q, rcode, 0, {}), q).outcome == DnsOutcome::failed);
  }
  Packet unread = dnstest::answer(q, 1, 0, {}).substr(0, 12);
  unread[5] = 0;
  CHECK(read(unread, q).outcome == DnsOutcome::failed);
  Packet referral = dnstest::answer(q, 0, 0, {});
  referral[3] = 0;  // neither RA nor AA: it knows nothing and asks nobody
  CHECK(read(referral, q).outcome == DnsOutcome::failed);
  CHECK(read(dnstest::answer(q, 0, 2, a(kSame, "0.0.0.0") + a(kSame, "192.0.2.1")), q).count == 1);
  CHECK(read(dnstest::answer(q, 0, 1, a(kSame, "0.0.0.0")), q).outcome == DnsOutcome::no_data);
  CHECK(read(dnstest::answer(q, 0, 1, record(kSame, kA, 1, "abc")), q).outcome ==
        DnsOutcome::no_data);
  Packet chaos = a(kSame, "192.0.2.1");
  chaos[5] = 3;
  CHECK(read(dnstest::answer(q, 0, 1, chaos), q).outcome == DnsOutcome::no_data);
}

TEST_CASE("dns: of a truncated answer the whole records count") {
  const Question q = question();
  const Packet records = a(kSame, "192.0.2.1") + a(kSame, "192.0.2.2");
  const Packet whole = dnstest::answer(q, 0, 2, records, true);
  for (size_t cut = 0; cut <= records.size(); ++cut) {
    const DnsAnswer answer = read(whole.substr(0, whole.size() - cut), q);
    CHECK(answer.count == (cut == 0 ? 2 : cut <= records.size() / 2 ? 1 : 0));
    CHECK(answer.outcome == (answer.count != 0 ? DnsOutcome::addresses : DnsOutcome::failed));
  }
  CHECK(read(dnstest::answer(q, 0, 0, {}, true), q).outcome == DnsOutcome::failed);
  // The same without TC is damage: nothing of it is believed.
  const Packet damaged = dnstest::answer(q, 0, 2, records);
  CHECK(read(damaged.substr(0, damaged.size() - 1), q).outcome == DnsOutcome::failed);
  CHECK(read(damaged.substr(0, damaged.size() - 1), q).count == 0);
}

TEST_CASE("dns: pointers go backwards, counts lie, names have an end") {
  const Question q = question();
  const size_t at = q.packet.size();  // where the first record begins
  const auto failed = [&](const Packet& records, int count = 1) {
    return read(dnstest::answer(q, 0, count, records), q).outcome == DnsOutcome::failed;
  };
  const auto pointer = [](size_t to) { return be16(static_cast<int>(0xC000 + to)); };
  const Packet rest = a("", "192.0.2.1");
  CHECK(failed(pointer(at) + rest));                          // to itself
  CHECK(failed(pointer(at + 2) + rest));                      // forwards
  CHECK(failed(pointer(0x3FFF) + rest));                      // outside
  CHECK(failed(pointer(0) + rest));                           // into the header
  CHECK(failed(std::string("\1a", 2) + pointer(at) + rest));  // grows for ever
  CHECK(failed("\x40" + rest));                               // label types that do not exist
  CHECK(failed("\x80" + rest));
  CHECK(failed(a(kSame, "192.0.2.1"), 2));
  CHECK(failed(a(kSame, "192.0.2.1"), 65535));
  CHECK(failed({}, 65535));
  Packet endless;
  for (int i = 0; i < 128; ++i) endless += "\1a";
  CHECK(failed(endless + std::string(1, '\0') + rest));  // above 255 octets
  Packet far = a(kSame, "192.0.2.1");
  far[10] = '\xFF';  // RDLENGTH
  CHECK(failed(far));
  // A ladder of pointers, each to the one before: allowed, and it ends.
  Packet ladder = record(std::string(1, '\0'), 16, 1, [&] {
    Packet data = wire_name("x");
    size_t previous = at + 11;
    for (int i = 0; i < 60; ++i) {
      const size_t here = at + 11 + data.size();
      data += pointer(previous);
      previous = here;
    }
    return data;
  }());
  const size_t last = at + ladder.size() - 2;
  CHECK(read(dnstest::answer(q, 0, 2, ladder + a(pointer(last), "192.0.2.1")), q).outcome ==
        DnsOutcome::no_data);
}

TEST_CASE("dns: any prefix, any changed octet, and noise, end in an outcome") {
  const Question q = question();
  const Packet good = dnstest::answer(q, 0, 3,
                                      record(kSame, kCname, 20, "\1x" + be16(0xC00F)) +
                                          a("\1x" + be16(0xC00F), "192.0.2.1") +
                                          a("\1x" + be16(0xC00F), "192.0.2.2"));
  REQUIRE(texts(read(good, q)) == "192.0.2.1 192.0.2.2");
  for (size_t size = 0; size < good.size(); ++size) {
    const DnsAnswer answer = read(good.substr(0, size), q);
    CHECK(answer.count == 0);
    CHECK((answer.outcome == DnsOutcome::ignored || answer.outcome == DnsOutcome::failed));
  }
  for (size_t at = 0; at < good.size(); ++at) {
    for (int octet = 0; octet < 256; ++octet) {
      Packet packet = good;
      packet[at] = static_cast<char>(octet);
      const DnsAnswer answer = read(packet, q);
      CHECK(answer.count <= 2);
      CHECK((answer.count != 0) == (answer.outcome == DnsOutcome::addresses));
    }
  }
  kshare::Random random;
  random.seed(7);
  for (int i = 0; i < 20000; ++i) {
    Packet packet =
        dnstest::answer(q, 0, static_cast<int>(random.below(4)), {}, random.below(2) == 0);
    for (uint32_t left = random.below(480); left > 0; --left) {
      const uint32_t pick = random.below(4);
      packet += static_cast<char>(pick == 0   ? 0xC0
                                  : pick == 1 ? random.below(64)
                                              : random.below(256));
    }
    const DnsAnswer answer = read(packet, q);
    CHECK((answer.count != 0) == (answer.outcome == DnsOutcome::addresses));
  }
}

}  // namespace test_dns_message
