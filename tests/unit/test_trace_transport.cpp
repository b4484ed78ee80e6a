// SPDX-License-Identifier: Apache-2.0
// net/trace.hpp: what passes a TraceTransport is told, however it is cut, and comes out unchanged.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "../support/scene.hpp"
#include "kshare/core/inspect.hpp"
#include "kshare/core/trace_format.hpp"
#include "kshare/net/trace.hpp"

namespace test_trace_transport {

using kshare::Io;
using kshare::TraceEntry;
using kshare::TraceKind;
using kshare::WireEntry;
using kshare::WireKind;

namespace {

std::string line_of(const WireEntry& entry) {
  char line[kshare::kLineBytes];
  const uint32_t size = kshare::format(entry, line, sizeof line);
  CHECK(std::strlen(line) == size);
  return line;
}

// A transport whose other end is two strings.
class Strings final : public kshare::Transport {
 public:
  std::string in;   // what read() gives
  std::string out;  // what write() was given
  uint32_t piece = UINT32_MAX;
  int opens = 0;
  int closes = 0;
  bool broken = false;

  kshare::Status open(const kshare::Endpoint&, kshare::Instant) override {
    ++opens;
    return {};
  }
  kshare::IoResult advance(kshare::Instant) override { return {Io::done, 0, {}}; }
  kshare::IoResult read(kshare::MutableBytes into) override {
    if (broken) return {Io::failed, 0, {kshare::Errc::disconnected, 104}};
    const auto waiting = static_cast<uint32_t>(in.size());
    const uint32_t count = std::min({waiting, into.size, piece});
    if (count == 0) return {};
    std::memcpy(into.data, in.data(), count);
    in.erase(0, count);
    return {Io::done, count, {}};
  }
  kshare::IoResult write(kshare::Bytes from) override {
    const uint32_t count = std::min(from.size, piece);
    if (count == 0) return {};
    out.append(reinterpret_cast<const char*>(from.data), count);
    return {Io::done, count, {}};
  }
  void close() override { ++closes; }
  kshare::Interest interest() const override {
    kshare::Interest its;
    its.fd = 42;
    its.due = kshare::Instant{7};
    return its;
  }
};

struct Bench {
  Strings inside;
  kshare::TraceTransport transport;
  kshare::WireWatch watch;
  int64_t now = 1000;
  std::vector<WireEntry> all;

  Bench() {
    watch.sink = {&Bench::take, this};
    watch.clock = &Bench::clock;
    watch.pool = this;
    transport.attach(inside, 3, watch);
    CHECK(transport.open({"host", 1}, kshare::Instant{0}).ok());
  }
  Bench(const Bench&) = delete;
  Bench& operator=(const Bench&) = delete;
  static void take(void* self, const WireEntry& entry) {
    static_cast<Bench*>(self)->all.push_back(entry);
  }
  static kshare::Instant clock(void* self) {
    return kshare::Instant{static_cast<Bench*>(self)->now};
  }

  void write(const std::string& bytes) {
    const std::string before = inside.out;
    kshare::Bytes left = kshare::as_bytes(bytes);
    while (!left.empty()) {
      const kshare::IoResult result = transport.write(left);
      REQUIRE(result.io == Io::done);
      left = {left.data + result.count, left.size - result.count};
    }
    CHECK(inside.out == before + bytes);
  }
  void read(const std::string& bytes) {
    inside.in = bytes;
    std::string got;
    uint8_t room[100];
    for (;;) {
      const kshare::IoResult result = transport.read({room, sizeof room});
      if (result.io != Io::done) break;
      got.append(reinterpret_cast<const char*>(room), result.count);
    }
    CHECK(got == bytes);
  }
  std::vector<std::string> lines() const {
    std::vector<std::string> made;
    for (const WireEntry& entry : all) made.push_back(line_of(entry));
    return made;
  }
};

std::string frame(minibroker::Writer& body) { return minibroker::framed(body.out); }

std::string request(int16_t key, int16_t version, int32_t correlation, size_t more = 20) {
  minibroker::Writer w;
  w.i16(key).i16(version).i32(correlation).i16(0);
  w.out += std::string(more, 'r');
  return frame(w);
}
// Throttle time and error, as ShareFetch begins.
std::string answer(int32_t correlation, int32_t throttle, int16_t error, size_t more = 50) {
  minibroker::Writer w;
  w.i32(correlation).tags().i32(throttle).i16(error);
  w.out += std::string(more, 'a');
  return frame(w);
}

using Lines = std::vector<std::string>;

}  // namespace

TEST_CASE("requests and answers are told once each, whole or in pieces") {
  for (const uint32_t piece : {UINT32_MAX, 1u, 2u, 3u, 7u, 13u}) {
    CAPTURE(piece);
    Bench b;
    b.inside.piece = piece;
    b.write(request(78, 2, 5));
    b.now += 12;
    b.read(answer(5, 0, 0));
    b.write(request(79, 1, 6, 0));
    b.read(answer(6, 150, 122));
    CHECK(b.lines() == Lines{"1.000 link 3 > ShareFetch v2 #5, 34 bytes",
                             "1.012 link 3 < ShareFetch v2 #5, 65 bytes, 12 ms",
                             "1.012 link 3 > ShareAcknowledge v1 #6, 14 bytes",
                             "1.012 link 3 < ShareAcknowledge v1 #6, 65 bytes, 0 ms, throttled for "
                             "150 ms, error 122"});
  }
}

TEST_CASE("an answer is told with its last octet, not before") {
  Bench b;
  b.write(request(78, 2, 5));
  const std::string whole = answer(5, 0, 0, 500);
  for (size_t i = 0; i < whole.size(); ++i) {
    CHECK(b.all.size() == 1);
    b.now += 1;
    b.read(whole.substr(i, 1));
  }
  REQUIRE(b.all.size() == 2);
  CHECK(b.all[1].elapsed_ms == whole.size());
}

TEST_CASE("what stands first in each API's answer is read, and nothing else") {
  struct Row {
    int16_t key;
    bool tags;
    bool throttle;
    bool error;
  };
  const Row rows[] = {{1, true, true, true},   {3, true, true, false},  {10, true, true, false},
                      {17, false, false, true}, {18, false, false, true}, {36, true, false, true},
                      {76, true, true, true},  {78, true, true, true},  {79, true, true, true},
                      {0, true, false, false}};
  int32_t correlation = 0;
  Bench b;
  for (const Row& row : rows) {
    CAPTURE(row.key);
    b.all.clear();
    b.write(request(row.key, 1, ++correlation));
    minibroker::Writer w;
    w.i32(correlation);
    if (row.tags) w.tags();
    if (row.throttle) w.i32(1234);
    w.i16(35);
    w.out += std::string(5, '\x7F');
    b.read(frame(w));
    REQUIRE(b.all.size() == 2);
    CHECK(b.all[1].api == row.key);
    CHECK(b.all[1].throttle_ms == (row.throttle ? 1234 : 0));
    CHECK(b.all[1].error == (row.error ? 35 : 0));
  }
  CHECK(line_of(b.all[0]) == "1.000 link 3 > API 0 v1 #10, 34 bytes");
}

TEST_CASE("a short answer, or one with tagged fields in its header, is told without its error") {
  Bench b;
  for (size_t size = 4; size < 11; ++size) {
    CAPTURE(size);
    b.all.clear();
    b.write(request(78, 2, 7));
    minibroker::Writer w;
    w.i32(7).tags().i32(99).i16(122);
    w.out.resize(size);
    b.read(frame(w));
    REQUIRE(b.all.size() == 2);
    CHECK(b.all[1].bytes == size + 4);
    CHECK(b.all[1].throttle_ms == (size < 9 ? 0 : 99));
    CHECK(b.all[1].error == 0);
  }
  b.all.clear();
  b.write(request(78, 2, 8));
  minibroker::Writer w;
  w.i32(8).i8(1).i8(0).i8(1).i8(5).i32(99).i16(122);
  b.read(frame(w));
  REQUIRE(b.all.size() == 2);
  CHECK(b.all[1].error == 0);
  CHECK(b.all[1].throttle_ms == 0);
}

TEST_CASE("several frames in one read, and an answer that nobody waits for") {
  Bench b;
  b.write(request(78, 2, 5));
  b.read(answer(4, 0, 0) + answer(5, 0, 0, 0) + answer(5, 0, 3));
  CHECK(b.lines() == Lines{"1.000 link 3 > ShareFetch v2 #5, 34 bytes",
                           "1.000 link 3 < an answer nobody waits for #4, 65 bytes",
                           "1.000 link 3 < ShareFetch v2 #5, 15 bytes, 0 ms",
                           "1.000 link 3 < an answer nobody waits for #5, 65 bytes"});
}

TEST_CASE("a connection that ends takes the request with it, and half a frame is forgotten") {
  for (const bool by_open : {false, true}) {
    Bench b;
    b.write(request(76, 1, 9));
    b.read(answer(9, 0, 0).substr(0, 11));
    b.now += 250;
    if (by_open) CHECK(b.transport.open({"host", 1}, kshare::Instant{0}).ok());
    else b.transport.close();
    b.transport.close();
    b.write(request(18, 5, 1));
    b.read(answer(1, 0, 0));
    CHECK(b.lines() == Lines{"1.000 link 3 > ShareGroupHeartbeat v1 #9, 34 bytes",
                             "1.250 link 3 x ShareGroupHeartbeat v1 #9, no answer, 250 ms",
                             "1.250 link 3 > ApiVersions v5 #1, 34 bytes",
                             "1.250 link 3 < ApiVersions v5 #1, 65 bytes, 0 ms"});
    CHECK(b.inside.closes == (by_open ? 1 : 2));
  }
}

TEST_CASE("rubbish is told once a connection, and passes unchanged") {
  // Of web servers, TLS (an alert), SSH, mail and databases; sizes out of range; too short a frame.
  const std::string all[] = {"HTTP/1.1 400 Bad Request\r\n",
                             {"\x15\3\1\0\2\2\x46", 7},
                             "SSH-2.0-OpenSSH_9.6\r\n",
                             "220 mail ESMTP\r\n",
                             "-ERR unknown command\r\n",
                             {"\x4A\0\0\0\x0A\x38\x2E", 7},
                             "\xFF\xFF\xFF\xFF",
                             {"\x80\0\0\0xyz", 7},
                             {"\6\x40\0\1xyz", 7},
                             {"\0\0\0\3abc", 7}};
  for (const uint32_t piece : {UINT32_MAX, 1u, 7u}) {
    for (const std::string& rubbish : all) {
      CAPTURE(rubbish);
      Bench b;
      b.inside.piece = piece;
      b.write(request(18, 5, 1));
      b.read(rubbish);
      b.read(rubbish);
      REQUIRE(b.all.size() == 2);
      CHECK(line_of(b.all[1]) == "1.000 link 3 ? bytes that are no frame of Kafka's");
      b.transport.close();
      b.all.clear();
      b.write(request(18, 5, 1));
      b.read(answer(1, 0, 0));
      CHECK(b.all.size() == 2);
    }
  }
}

TEST_CASE("an answer of 100 MiB is one, its size field not counted; one octet more is garbage") {
  constexpr uint32_t kMost = 100 << 20;
  Bench b;
  b.write(request(78, 2, 5));
  minibroker::Writer w;
  w.i32(static_cast<int32_t>(kMost)).i32(5).tags().i32(0).i16(0);
  b.read(w.out);
  std::vector<uint8_t> room(1 << 20);
  for (uint32_t left = kMost + 4 - static_cast<uint32_t>(w.out.size()); left != 0;) {
    CHECK(b.all.size() == 1);
    const uint32_t count = std::min(left, 1u << 20);
    b.inside.in.assign(count, 'a');
    CHECK(b.transport.read({room.data(), 1 << 20}).count == count);
    left -= count;
  }
  b.write(request(78, 2, 6));
  w.out.clear();
  w.i32(static_cast<int32_t>(kMost + 1));
  b.read(w.out);
  CHECK(b.lines() == Lines{"1.000 link 3 > ShareFetch v2 #5, 34 bytes",
                           "1.000 link 3 < ShareFetch v2 #5, 104857604 bytes, 0 ms",
                           "1.000 link 3 > ShareFetch v2 #6, 34 bytes",
                           "1.000 link 3 ? bytes that are no frame of Kafka's"});
}

TEST_CASE("random octets in random pieces pass unchanged") {
  uint64_t seed = 5;
  const auto next = [&seed] {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return static_cast<uint32_t>(seed >> 33);
  };
  for (int round = 0; round < 300; ++round) {
    Bench b;
    b.inside.piece = 1 + next() % 40;
    for (int part = 0; part < 10; ++part) {
      std::string bytes;
      // Small sizes, so that some of it looks like frames.
      for (uint32_t i = 0; i < 1 + next() % 60; ++i) {
        bytes += static_cast<char>(next() % 4 == 0 ? next() % 256 : next() % 6);
      }
      if (part % 2 == 0) b.write(bytes);
      else b.read(bytes);
    }
    for (const WireEntry& entry : b.all) static_cast<void>(line_of(entry));
  }
}

TEST_CASE("an API has one name, whoever tells of it") {
  for (uint32_t i = 0; i < kshare::kApis; ++i) {
    const auto api = static_cast<kshare::Api>(i);
    const std::string name = kshare::api_name(api);
    CHECK(name == kshare::describe(api));
    const auto* const look = kshare::wire_trace::find_api(kshare::api_row(api).key);
    REQUIRE(look != nullptr);
    CHECK(name == look->name);
  }
  const auto none = static_cast<kshare::Api>(kshare::kApis);
  CHECK(std::string(kshare::api_name(none)) == kshare::describe(none));
}

TEST_CASE("all else is the transport's inside: failures, interest; a sink may be missing") {
  Bench b;
  b.watch.sink = {};
  b.write(request(78, 2, 5));
  b.read(answer(5, 0, 0));
  CHECK(b.all.empty());
  CHECK(b.inside.opens == 1);
  CHECK(b.transport.interest().fd == 42);
  CHECK(b.transport.interest().due.ms == 7);
  CHECK(b.transport.advance(kshare::Instant{0}).io == Io::done);
  b.inside.broken = true;
  uint8_t room[8];
  const kshare::IoResult result = b.transport.read({room, sizeof room});
  CHECK(result.io == Io::failed);
  CHECK(result.status == kshare::Status{kshare::Errc::disconnected, 104});
}

TEST_CASE("the widest entry fits in a line, and a line is cut to any room") {
  WireEntry entry;
  entry.at = kshare::Instant{INT64_MIN};
  entry.link = 255;
  entry.api = 76;
  entry.version = entry.error = INT16_MIN;
  entry.correlation = entry.throttle_ms = INT32_MIN;
  entry.bytes = entry.elapsed_ms = UINT32_MAX;
  for (int kind = 0; kind <= static_cast<int>(WireKind::garbage); ++kind) {
    entry.kind = static_cast<WireKind>(kind);
    const std::string whole = line_of(entry);
    CHECK(whole.size() < kshare::kLineBytes - 1);
    CHECK(whole.empty() == (kind == 0));
    char cut[10] = {'#'};
    CHECK(kshare::format(entry, cut, 0) == 0);
    CHECK(cut[0] == '#');
    CHECK(kshare::format(entry, cut, sizeof cut) == std::min<size_t>(whole.size(), 9));
    if (kind != 0) CHECK(whole.compare(0, 9, cut) == 0);
  }
}

// ---- A whole consumer behind a TracePool.

namespace {

constexpr kshare::Limits kLimits = kshare::kSmallLimits;

// A member whose every octet passes the tracer, while the hook of the core listens too.
class Traced final : public world::AnyMember {
 public:
  explicit Traced(const int64_t& clock)
      : AnyMember(kLimits.links_max), clocked_{&pool, &clock} {
    options.group_id = "group";
    options.bootstrap_servers = "127.0.0.1:9092";
    options.trace = {&Traced::take_inner, this};
  }
  kshare::ShareConsumer& consumer() override { return consumer_; }

  // By link, what the wire has told, and what the core has: the same words for the same thing. The
  // wire hears of a loss a turn later, when the transport is closed.
  std::map<int, Lines> outer;
  std::map<int, Lines> inner;

 private:
  struct Clocked {
    world::Pool* pool;
    const int64_t* clock;
    kshare::Transport& transport(uint32_t i) const { return pool->transport(i); }
    bool entropy(kshare::MutableBytes into) const { return pool->entropy(into); }
    kshare::Instant now() const { return kshare::Instant{*clock}; }
  };

  static std::string words(char kind, int api, int correlation, uint32_t bytes, uint32_t ms,
                           int32_t throttle, int error) {
    std::string made(1, kind);
    for (const int64_t number : {int64_t{api}, int64_t{correlation}, int64_t{bytes}, int64_t{ms},
                                 int64_t{throttle}, int64_t{error}}) {
      made += " " + std::to_string(number);
    }
    return made;
  }
  static void take_outer(void* self, const WireEntry& entry) {
    const char kinds[] = {'-', '>', '<', 'x', '?'};
    static_cast<Traced*>(self)->outer[entry.link].push_back(
        words(kinds[static_cast<int>(entry.kind)], entry.api, entry.correlation, entry.bytes,
              entry.kind == WireKind::unanswered ? 0 : entry.elapsed_ms, entry.throttle_ms,
              entry.error));
  }
  static void take_inner(void* self, const TraceEntry& entry) {
    const bool lost = entry.kind == TraceKind::link && entry.correlation != 0;
    const bool answer = entry.kind == TraceKind::answer;
    if (!lost && !answer && entry.kind != TraceKind::request) return;
    static_cast<Traced*>(self)->inner[entry.link].push_back(
        words(lost ? 'x' : answer ? '<' : '>', kshare::api_row(entry.api).key, entry.correlation,
              lost ? 0 : entry.bytes, lost ? 0 : entry.elapsed_ms, answer ? entry.throttle_ms : 0,
              answer ? entry.value : 0));
  }

  std::unique_ptr<kshare::Storage<kLimits>> storage_ =
      std::make_unique<kshare::Storage<kLimits>>();
  Clocked clocked_;
  kshare::TracePool<kLimits, Clocked> traced_{clocked_, {&Traced::take_outer, this}};
  kshare::ShareConsumer consumer_{*storage_, traced_};
};

}  // namespace

TEST_CASE("what the wire tells is what the core's hook tells, on every link, also through losses") {
  for (const uint32_t piece : {UINT32_MAX, 1u, 7u}) {
    CAPTURE(piece);
    minibroker::Config config;
    config.nodes = 2;
    world::World w(config);
    Traced m(w.now);
    w.join(m);
    for (auto& transport : m.pool.transports) transport.piece = transport.write_piece = piece;
    w.broker.add_topic("t", 4);
    for (int p = 0; p < 4; ++p) w.broker.append("t", p, world::records(20));
    REQUIRE(m.start({"t"}).ok());
    REQUIRE(w.run_until([&] { return m.consumer().stats().acks_ok == 80; }));
    w.broker.set_throttle(40);
    w.run_for(2000);
    w.broker.set_throttle(0);
    w.broker.fail_next(minibroker::kShareFetch, 122);
    w.run_for(2000);
    for (auto& transport : m.pool.transports) w.broker.close_connection(transport.conn(), w.now);
    w.run_for(7000);
    REQUIRE(w.close(m));
    for (const std::string& violation : w.broker.violations()) FAIL_CHECK(violation);
    CHECK(m.outer.size() == 3);
    CHECK(m.outer[0].size() > 10);
    CHECK(m.outer[1].size() > 20);
    uint32_t lost = 0;
    for (const auto& link : m.inner) {
      const Lines& outer = m.outer[link.first];
      REQUIRE(outer.size() == link.second.size());
      for (size_t i = 0; i < outer.size(); ++i) {
        CHECK(outer[i] == link.second[i]);
        if (outer[i][0] == 'x') ++lost;
      }
    }
    CHECK(lost != 0);
  }
}

}  // namespace test_trace_transport
