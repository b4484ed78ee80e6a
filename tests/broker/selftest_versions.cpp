// SPDX-License-Identifier: Apache-2.0
// What:        the mini broker's own tests: each version of each API in its own form, features,
//              renewals.
// Flow:        hand-encoded requests (selftest_client.hpp); linked with selftest.cpp.
// Memory:      plain containers.
// Valid until: does not apply.
// Errors:      doctest.
#include <doctest/doctest.h>

#include "selftest_client.hpp"

namespace selftest_versions {

using namespace minibroker;
namespace {

std::string hello_body(int16_t version, const std::string& name = "kshare") {
  Writer w;
  if (version < 3) return {};
  w.compact(name).compact("1.0");
  if (version >= 5) w.null().i32(-1);
  return w.tags().out;
}

// An ApiVersions answer, taken apart.
struct Hello {
  int16_t error = -2;
  std::map<int16_t, std::pair<int16_t, int16_t>> apis;
  std::map<std::string, std::pair<int16_t, int16_t>> supported;
  std::map<std::string, std::pair<int16_t, int16_t>> finalized;  // max level, min level
  bool parsed = false;
};

std::map<std::string, std::pair<int16_t, int16_t>> features(const std::string& field) {
  std::map<std::string, std::pair<int16_t, int16_t>> all;
  Reader r(field);
  for (int64_t n = r.array(true); n > 0 && r.ok(); --n) {
    const std::string name = r.string(true);
    const int16_t first = r.i16();
    all[name] = {first, r.i16()};
    r.tags();
  }
  CHECK(r.done());
  return all;
}

Hello hello(Broker& b, int16_t version) {
  Client c(b, "g", "m");
  c.send(kApiVersions, version, hello_body(version), 0);
  const std::string body = c.receive(false);
  Reader r(body);
  Hello a;
  a.error = r.i16();
  const bool flexible = version >= 3 && a.error != kUnsupportedVersion;
  for (int64_t n = flexible ? r.array(true) : r.i32(); n > 0 && r.ok(); --n) {
    const int16_t key = r.i16();
    const int16_t min = r.i16();
    a.apis[key] = {min, r.i16()};
    if (flexible) r.tags();
  }
  if (version >= 1 && a.error != kUnsupportedVersion) CHECK(r.i32() == 0);
  for (uint64_t tags = flexible ? r.uvarint() : 0; tags > 0 && r.ok(); --tags) {
    const uint64_t tag = r.uvarint();
    const std::string field = r.bytes(static_cast<uint32_t>(r.uvarint()));
    if (tag == 0) a.supported = features(field);
    if (tag == 2) a.finalized = features(field);
  }
  a.parsed = r.done();
  return a;
}

// One record of topic t, held by member m.
struct Holding {
  explicit Holding(int16_t version, const Config& config = {})
      : b(config), tp(b.add_topic("t", 1), 0), c(b, "g", "m") {
    b.append("t", 0, some_records(2));
    FetchOptions o;
    o.version = version;
    fetched = c.fetch({{tp, {}}}, 0, o);
  }
  Reply ack(int16_t version, int8_t type, bool renew) {
    return c.acknowledge(c.epoch, {{tp, {{0, 0, {type}}}}}, 10, renew, version);
  }
  Broker b;
  TopicPartition tp;
  Client c;
  Reply fetched;
};

}  // namespace

TEST_CASE("ApiVersions 0 to 5, each in its own form") {
  Broker b{Config{}};
  for (int16_t version = 0; version <= 5; ++version) {
    const Hello a = hello(b, version);
    CHECK(a.parsed);
    CHECK(a.error == 0);
    CHECK(a.apis.size() == 7);
    CHECK(a.apis.at(kApiVersions) == std::pair<int16_t, int16_t>{0, 5});
    CHECK(a.apis.at(kShareFetch) == std::pair<int16_t, int16_t>{1, 2});
    CHECK(a.supported.count("share.version") == (version >= 4 ? 1u : 0u));
    CHECK(a.finalized.count("share.version") == (version >= 3 ? 1u : 0u));
  }
  CHECK(b.violations().empty());
}

TEST_CASE("ApiVersions above the broker's own: error 35 in version 0, with its range") {
  for (int max : {0, 2, 3, 4, 5}) {
    Config config;
    config.max_api_versions_version = max;
    Broker b{config};
    const Hello a = hello(b, static_cast<int16_t>(max + 1));
    CHECK(a.parsed);
    CHECK(a.error == kUnsupportedVersion);
    REQUIRE(a.apis.size() == 1);
    CHECK(a.apis.at(kApiVersions) == std::pair<int16_t, int16_t>{0, static_cast<int16_t>(max)});
    CHECK(hello(b, static_cast<int16_t>(max)).error == 0);
    CHECK(b.violations().empty());
  }
}

TEST_CASE("ApiVersions: the fields of version 5 in version 4 or missing in 5, refused names") {
  for (int16_t version : {int16_t{4}, int16_t{5}}) {
    Broker b{Config{}};
    Client c(b, "g", "m");
    c.send(kApiVersions, version, hello_body(version == 4 ? int16_t{5} : int16_t{4}), 0);
    CHECK(b.closed(c.conn));
  }
  Broker b{Config{}};
  Client c(b, "g", "m");
  c.send(kApiVersions, 5, hello_body(5, "no spaces"), 0);
  CHECK(Reader(c.receive(false)).i16() == kInvalidRequest);
  CHECK(b.violations().size() == 1);
}

TEST_CASE("finalized features: level, level 0, none; without them share requests answer 35") {
  for (int level : {2, 1, 0, -1}) {
    for (bool enabled : {true, false}) {
      Config config;
      config.share_version = level;
      config.share_enabled = enabled;
      Broker b{config};
      const Hello a = hello(b, 5);
      CHECK(a.finalized.count("metadata.version") == 1);
      CHECK(a.finalized.count("share.version") == (level >= 0 ? 1u : 0u));
      const bool on = enabled && level >= 1;
      if (level >= 0) CHECK(a.finalized.at("share.version").first == (on ? level : 0));
      const TopicPartition tp{b.add_topic("t", 1), 0};
      Client c(b, "g", "m");
      CHECK(c.heartbeat(0, {"t"}, 0).error == (on ? 0 : kUnsupportedVersion));
      CHECK(c.fetch({{tp, {}}}, 0).error == (on ? 0 : kUnsupportedVersion));
      CHECK(c.acknowledge(1, {}, 0).error == (on ? 0 : kUnsupportedVersion));
    }
  }
}

TEST_CASE("ShareFetch and ShareAcknowledge 1 and 2: with and without renewals and the lock time") {
  for (int16_t version : {int16_t{1}, int16_t{2}}) {
    Holding h(version);
    CHECK(h.fetched.parsed);
    CHECK(h.fetched.error == 0);
    CHECK(h.fetched.lock_ms == 30000);
    CHECK(h.fetched.parts.at(h.tp).acquired.size() == 1);
    const Reply r = h.ack(version, kAccept, false);
    CHECK(r.parsed);
    CHECK(r.parts.at(h.tp).ack_error == 0);
    CHECK(r.lock_ms == (version >= 2 ? 30000 : 0));
    CHECK(h.b.violations().empty());
    const Reply refused = h.c.acknowledge(99, {}, 10, false, version);
    CHECK(refused.parsed);
    CHECK(refused.error == kInvalidShareSessionEpoch);
  }
}

TEST_CASE("a share request of one version in the form of the other closes the connection") {
  for (int16_t version : {int16_t{1}, int16_t{2}}) {
    const auto other = static_cast<int16_t>(3 - version);
    for (int16_t key : {int16_t{kShareFetch}, int16_t{kShareAcknowledge}}) {
      Broker b{Config{}};
      Client c(b, "g", "m");
      Writer w;
      w.compact("g").compact("m").i32(0);
      if (key == kShareFetch) w.i32(0).i32(0).i32(0).i32(0).i32(0);
      if (other >= 2 && key == kShareFetch) w.i8(0);
      if (other >= 2) w.boolean(false);
      w.array(1).uuid(Uuid{}).array(1).i32(0).array(0).tags().tags();
      if (key == kShareFetch) w.array(0);
      c.send(key, version, w.tags().out, 0);
      CHECK(b.closed(c.conn));
    }
  }
}

TEST_CASE("versions outside of what is offered close the connection") {
  Config config = kafka_4_1();
  config.max_metadata_version = 12;
  config.max_find_coordinator_version = 5;
  struct Case {
    int16_t key, version;
  };
  for (const Case& one : {Case{kShareFetch, 2}, Case{kShareFetch, 0}, Case{kShareAcknowledge, 2},
                          Case{kMetadata, 13}, Case{kMetadata, 11}, Case{kFindCoordinator, 6},
                          Case{kFindCoordinator, 3}, Case{kShareGroupHeartbeat, 0}}) {
    Broker b{config};
    Client c(b, "g", "m");
    c.send(one.key, one.version, {}, 0);
    CHECK(b.closed(c.conn));
    CHECK(b.violations().size() == 1);
  }
}

TEST_CASE("Metadata 12 and 13: only the later has an error of its own") {
  for (int16_t version : {int16_t{12}, int16_t{13}}) {
    for (int16_t fault : {int16_t{0}, int16_t{129}}) {
      Broker b{Config{}};
      Client c(b, "g", "m");
      if (fault != 0) b.fail_next(kMetadata, fault);
      Writer w;
      w.array(1).uuid(Uuid{}).compact("t").tags().boolean(false).boolean(false).tags();
      c.send(kMetadata, version, w.out, 0);
      const std::string body = c.receive();
      Reader r(body);
      r.i32();
      REQUIRE(r.array(true) == 1);
      r.i32();
      r.string(true);
      r.i32();
      r.nullable_string(true);
      r.tags();
      CHECK(r.string(true) == "minibroker");
      r.i32();
      REQUIRE(r.array(true) == 1);
      const bool by_topic = fault != 0 && version == 12;
      CHECK(r.i16() == (by_topic ? fault : int16_t{kUnknownTopicOrPartition}));
      r.bytes(2 + 16 + 1 + 1 + 4 + 1);
      if (version >= 13) CHECK(r.i16() == fault);
      r.tags();
      CHECK(r.done());
    }
  }
}

TEST_CASE("FindCoordinator 4 to 6: one form") {
  Broker b{Config{}};
  for (int16_t version : {int16_t{4}, int16_t{5}, int16_t{6}}) {
    Client c(b, "g", "m");
    c.send(kFindCoordinator, version, Writer().i8(0).array(1).compact("g").tags().out, 0);
    const std::string body = c.receive();
    Reader r(body);
    CHECK(r.i32() == 0);
    REQUIRE(r.array(true) == 1);
    CHECK(r.string(true) == "g");
    CHECK(r.i32() == 0);
    CHECK(r.string(true) == "127.0.0.1");
    CHECK(r.i32() == 9092);
    CHECK(r.i16() == 0);
    CHECK(!r.nullable_string(true));
    r.tags();
    r.tags();
    CHECK(r.done());
  }
  CHECK(b.violations().empty());
}

TEST_CASE("renewals: with IsRenewAck; switched off 121; without it, and in version 1, 42") {
  Holding on(2);
  CHECK(on.ack(2, kRenew, true).parts.at(on.tp).ack_error == 0);
  CHECK(on.b.state_of("g", "t", 0, 0).lock_end == 30010);
  CHECK(on.b.violations().empty());
  CHECK(on.ack(2, kRenew, false).parts.at(on.tp).ack_error == kInvalidRequest);
  CHECK(on.b.violations().size() == 1);
  CHECK(on.ack(2, kAccept, true).parts.at(on.tp).ack_error == 0);  // others may come along
  Holding off(2);
  off.b.group_settings("g").renew_enabled = false;
  CHECK(off.ack(2, kRenew, true).parts.at(off.tp).ack_error == kInvalidRecordState);
  CHECK(off.b.state_of("g", "t", 0, 0).lock_end == 30000);
  CHECK(off.b.violations().empty());
  Holding old(1, kafka_4_1());
  CHECK(old.ack(1, kRenew, false).parts.at(old.tp).ack_error == kInvalidRequest);
  CHECK(old.b.state_of("g", "t", 0, 0).state == State::Acquired);
  CHECK(old.b.violations().size() == 1);
  CHECK(old.ack(1, kReject, false).parts.at(old.tp).ack_error == 0);
}

}  // namespace selftest_versions
