// SPDX-License-Identifier: Apache-2.0
// core/trace.hpp, core/trace_format.hpp: the whole consumer against the mini broker, as the hook
// hears it; the ring; every kind of entry as a line.
#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "../support/scenario.hpp"
#include "../support/scene.hpp"

namespace test_trace {

using kshare::Api;
using kshare::Errc;
using kshare::LinkState;
using kshare::MemberState;
using kshare::TraceEntry;
using kshare::TraceKind;
using world::Scene;

namespace {

std::string line_of(const TraceEntry& entry) {
  char line[kshare::kLineBytes];
  const uint32_t size = kshare::format(entry, line, sizeof line);
  CHECK(std::strlen(line) == size);
  return line;
}

bool is_request(const TraceEntry& entry) { return entry.kind == TraceKind::request; }
bool is_answer(const TraceEntry& entry) { return entry.kind == TraceKind::answer; }

// Hears everything, and checks what must hold of any trace as it comes.
struct Listener {
  std::vector<TraceEntry> all;
  std::map<int, int32_t> open;     // link -> the request that waits for its answer
  std::map<int, Api> asked;        // link -> which one that is
  std::map<int, LinkState> links;  // link -> its state
  uint64_t requests = 0;
  uint64_t answers = 0;
  uint64_t losses = 0;
  uint64_t bytes_sent = 0;
  uint64_t bytes_received = 0;

  kshare::TraceHook hook() { return {&Listener::take, this}; }
  static void take(void* self, const TraceEntry& entry) {
    static_cast<Listener*>(self)->hear(entry);
  }

  uint32_t count(TraceKind kind) const {
    uint32_t found = 0;
    for (const TraceEntry& entry : all) found += entry.kind == kind ? 1 : 0;
    return found;
  }
  const TraceEntry* find(TraceKind kind, bool (*fits)(const TraceEntry&)) const {
    for (const TraceEntry& entry : all) {
      if (entry.kind == kind && fits(entry)) return &entry;
    }
    return nullptr;
  }
  // What became of links, membership and sessions, without the times.
  std::vector<std::string> states() const {
    std::vector<std::string> lines;
    for (const TraceEntry& entry : all) {
      if (is_request(entry) || is_answer(entry)) continue;
      const std::string line = line_of(entry);
      lines.push_back(line.substr(line.find(' ') + 1));
    }
    return lines;
  }
  // The requests and answers of one link: "> ShareFetch" "< ShareFetch".
  std::vector<std::string> exchange(int link) const {
    std::vector<std::string> lines;
    for (const TraceEntry& entry : all) {
      if ((!is_request(entry) && !is_answer(entry)) || entry.link != link) continue;
      lines.push_back(std::string(is_request(entry) ? "> " : "< ") + kshare::api_name(entry.api));
    }
    return lines;
  }

 private:
  void hear(const TraceEntry& entry) {
    if (!all.empty()) CHECK(entry.at >= all.back().at);
    all.push_back(entry);
    int32_t& waiting = open[entry.link];
    if (is_request(entry)) {
      ++requests;
      bytes_sent += entry.bytes;
      CHECK(waiting == 0);
      CHECK(entry.correlation > 0);
      CHECK(entry.elapsed_ms == 0);
      waiting = entry.correlation;
      asked[entry.link] = entry.api;
    } else if (is_answer(entry)) {
      ++answers;
      bytes_received += entry.bytes;
      CHECK(waiting == entry.correlation);
      CHECK(asked[entry.link] == entry.api);
      waiting = 0;
    } else if (entry.kind == TraceKind::link) {
      CHECK(entry.correlation == waiting);
      if (waiting != 0) ++losses;
      waiting = 0;
      // A link that has been given a broker waits; that alone is not worth an entry.
      const auto from = static_cast<LinkState>(entry.value);
      const LinkState was = links[entry.link];
      CHECK((from == was || (was == LinkState::idle && from == LinkState::waiting)));
      links[entry.link] = static_cast<LinkState>(entry.state);
    }
  }
};

}  // namespace

TEST_CASE("the hook hears a whole life in order, from the first connection to the last") {
  Scene s;
  Listener heard;
  s.m.options.trace = heard.hook();
  s.start(1, 3);
  s.m.options.trace = {};  // start() has copied it
  REQUIRE(s.w.run_until([&] { return s.stats().acks_ok == 3; }));
  REQUIRE(s.w.close(s.m));
  const std::vector<std::string> states = {
      "member joining",
      "link 0 bootstrap 0 connecting",
      "link 0 bootstrap 0 connected",
      "link 0 bootstrap 0 ready",
      "coordinator node 0",
      "member with epoch 1",
      "assigned partitions: 1",
      "link 1 node 0 connecting",
      "link 1 node 0 connected",
      "link 1 node 0 ready",
      "link 1 node 0 share session open, epoch 1",
      "link 1 node 0 share session over",
      "member leaving",
      "link 0 node 0 closed",
      "link 1 node 0 closed",
      "member of no group",
  };
  CHECK(heard.states() == states);

  const std::vector<std::string> control = heard.exchange(0);
  REQUIRE(control.size() >= 10);
  const std::vector<std::string> way_in = {
      "> ApiVersions",     "< ApiVersions",     "> Metadata",            "< Metadata",
      "> FindCoordinator", "< FindCoordinator", "> ShareGroupHeartbeat", "< ShareGroupHeartbeat"};
  CHECK(std::vector<std::string>(control.begin(), control.begin() + 8) == way_in);
  CHECK(control.back() == "< ShareGroupHeartbeat");
  const std::vector<std::string> leader = heard.exchange(1);
  REQUIRE(leader.size() >= 6);
  CHECK(leader[0] == "> ApiVersions");
  CHECK(leader[2] == "> ShareFetch");
  CHECK(leader.back() == "< ShareAcknowledge");
}

TEST_CASE("the hook hears each request once and each answer once, with the bytes on the wire") {
  minibroker::Config config;
  config.nodes = 2;
  Scene s(config);
  Listener heard;
  scenario::Watch watch(s.w, s.m);
  s.m.options.trace = heard.hook();
  s.start(4, 20);
  REQUIRE(s.w.run_until([&] { return s.stats().acks_ok == 80; }));
  s.w.run_for(20000);
  REQUIRE(s.w.close(s.m));
  CHECK(heard.requests == s.stats().requests);
  CHECK(heard.answers == heard.requests);
  CHECK(heard.losses == 0);
  CHECK(heard.bytes_sent == s.stats().bytes_sent);
  CHECK(heard.bytes_received == s.stats().bytes_received);
  for (const kshare::ApiRow& row : kshare::kApiRows) {
    int64_t found = 0;
    for (const TraceEntry& entry : heard.all) {
      if (is_request(entry) && kshare::api_row(entry.api).key == row.key) ++found;
    }
    CHECK(found == watch.count(row.key));
  }
}

TEST_CASE("what a request carries: version, node, the epoch of the member or of the session") {
  Scene s;
  Listener heard;
  scenario::Watch watch(s.w, s.m);
  s.m.options.trace = heard.hook();
  s.start(1, 5);
  s.w.run_for(12000);
  REQUIRE(s.w.close(s.m));
  size_t share = 0;
  size_t beat = 0;
  for (const TraceEntry& entry : heard.all) {
    if (!is_request(entry)) continue;
    CHECK(entry.version >= kshare::api_row(entry.api).min);
    CHECK(entry.version <= kshare::api_row(entry.api).max);
    if (entry.api == Api::share_group_heartbeat) {
      REQUIRE(beat < watch.beats.size());
      CHECK(entry.value == watch.beats[beat].request.epoch);
      CHECK(entry.at.ms == watch.beats[beat].now);
      ++beat;
    }
    if (entry.api != Api::share_fetch && entry.api != Api::share_acknowledge) continue;
    REQUIRE(share < watch.shares.size());
    CHECK(entry.value == watch.shares[share].request.epoch);
    CHECK(entry.at.ms == watch.shares[share].now);
    CHECK(entry.node == 0);
    ++share;
  }
  CHECK(share == watch.shares.size());
  CHECK(beat == watch.beats.size());
  CHECK(watch.shares.back().request.epoch == -1);
  CHECK(watch.beats.back().request.epoch == -1);
}

TEST_CASE("an answer says how long it took, its throttle time and its error") {
  Scene s;
  Listener heard;
  s.m.options.trace = heard.hook();
  s.m.options.fetch_max_wait_ms = 400;
  s.start(1, 0);
  s.w.run_for(3000);
  const TraceEntry* const poll = heard.find(TraceKind::answer, [](const TraceEntry& entry) {
    return entry.api == Api::share_fetch && entry.elapsed_ms > 250;  // the first one is shorter
  });
  REQUIRE(poll != nullptr);
  CHECK(poll->elapsed_ms == 400);
  CHECK(poll->throttle_ms == 0);
  CHECK(poll->value == 0);

  s.w.broker.set_throttle(70);
  s.w.run_for(1000);
  s.w.broker.set_throttle(0);
  s.w.run_for(3000);
  CHECK(heard.find(TraceKind::answer, [](const TraceEntry& entry) {
    return entry.api == Api::share_fetch && entry.throttle_ms == 70;
  }) != nullptr);

  const uint32_t sessions = heard.count(TraceKind::session);
  s.w.broker.fail_next(minibroker::kShareFetch, minibroker::kShareSessionNotFound);
  s.w.run_for(3000);
  CHECK(heard.find(TraceKind::answer, [](const TraceEntry& entry) {
    return entry.api == Api::share_fetch && entry.value == minibroker::kShareSessionNotFound;
  }) != nullptr);
  CHECK(heard.count(TraceKind::session) == sessions + 2);  // over, and open again
}

TEST_CASE("heartbeats in error: the coordinator is forgotten, the member joins again") {
  Scene s;
  Listener heard;
  s.m.options.trace = heard.hook();
  s.start(1, 0);
  s.w.run_for(2000);
  heard.all.clear();
  s.w.broker.fail_next(minibroker::kShareGroupHeartbeat, minibroker::kNotCoordinator);
  s.w.run_for(6000);
  std::vector<std::string> states = heard.states();
  CHECK(states == std::vector<std::string>{"coordinator unknown", "coordinator node 0"});
  CHECK(heard.find(TraceKind::answer, [](const TraceEntry& entry) {
    return entry.api == Api::share_group_heartbeat && entry.value == minibroker::kNotCoordinator;
  }) != nullptr);

  heard.all.clear();
  s.w.broker.fail_next(minibroker::kShareGroupHeartbeat, minibroker::kUnknownMemberId);
  s.w.run_for(6000);
  states = heard.states();
  REQUIRE(states.size() >= 2);
  CHECK(states[0] == "member joining");
  CHECK(states[1].rfind("member with epoch ", 0) == 0);
}

TEST_CASE("a new epoch of a stable member is told") {
  Scene s;
  Listener heard;
  s.m.options.trace = heard.hook();
  s.start(1, 0);
  s.w.run_for(2000);
  const int32_t epoch = s.consumer().member_epoch();
  heard.all.clear();
  s.w.broker.add_partitions("t", 2);
  s.w.run_for(12000);
  REQUIRE(s.consumer().member_epoch() > epoch);
  const std::string told = "member with epoch " + std::to_string(s.consumer().member_epoch());
  const std::vector<std::string> states = heard.states();
  REQUIRE(states.size() == 2);
  CHECK(states[0] == told);
  CHECK(states[1] == "assigned partitions: " + std::to_string(s.consumer().assignment_count()));
}

TEST_CASE("a lost connection takes the request that waits with it; nothing stays open") {
  Scene s;
  Listener heard;
  s.m.options.trace = heard.hook();
  s.start(1, 2);
  REQUIRE(s.w.run_until([&] { return s.stats().acks_ok == 2; }));
  s.w.run_for(700);  // in the middle of a long poll
  heard.all.clear();
  s.hang_up();
  s.w.run_for(5000);
  const TraceEntry* const lost = heard.find(TraceKind::link, [](const TraceEntry& entry) {
    return entry.link == 1 && static_cast<LinkState>(entry.state) == LinkState::waiting;
  });
  REQUIRE(lost != nullptr);
  CHECK(lost->status.code == Errc::disconnected);
  CHECK(lost->node == 0);
  CHECK(lost->api == Api::share_fetch);
  CHECK(lost->correlation > 0);
  CHECK(heard.losses == 1);
  CHECK(heard.requests == heard.answers + heard.losses + (heard.open[0] != 0 ? 1u : 0u) +
                              (heard.open[1] != 0 ? 1u : 0u));
  const std::vector<std::string> states = heard.states();
  const auto over = std::find(states.begin(), states.end(), "link 1 node 0 share session over");
  REQUIRE(over != states.end());
  CHECK((over + 1)->rfind("link 1 node 0 lost: disconnected; no answer to ShareFetch #", 0) == 0);
  CHECK(std::find(states.begin(), states.end(), "coordinator unknown") != states.end());
  CHECK(states.back() == "link 1 node 0 share session open, epoch 1");
}

TEST_CASE("whenever connections break, each request has an answer or a loss") {
  for (int64_t after = 0; after < 1500; after += 50) {
    CAPTURE(after);
    Scene s;
    Listener heard;
    s.m.options.trace = heard.hook();
    s.start(1, 10);
    for (int i = 0; i < 4; ++i) {
      s.w.run_for(after + i);
      s.append(0, 1);
      s.hang_up();
    }
    s.w.run_for(2000);
    REQUIRE(s.w.close(s.m));
    CHECK(heard.requests == s.stats().requests);
    CHECK(heard.requests == heard.answers + heard.losses);
    for (const auto& link : heard.links) CHECK(link.second == LinkState::idle);
  }
}

TEST_CASE("a broker that refuses, and one that does not answer: told with the reason") {
  Scene s;
  Listener heard;
  s.m.options.trace = heard.hook();
  for (auto& transport : s.m.pool.transports) transport.refuse = true;
  s.start(1, 0);
  s.w.run_for(300);
  CHECK(heard.find(TraceKind::link, [](const TraceEntry& entry) {
    return static_cast<LinkState>(entry.state) == LinkState::waiting && entry.correlation == 0 &&
           entry.status == kshare::Status{Errc::connect_failed, 111};
  }) != nullptr);
  CHECK(heard.requests == 0);
  for (auto& transport : s.m.pool.transports) transport.refuse = false;
  s.w.run_for(3000);
  for (auto& transport : s.m.pool.transports) transport.stall = true;
  s.w.run_for(40000);
  const TraceEntry* const silent = heard.find(TraceKind::link, [](const TraceEntry& entry) {
    return entry.status.code == Errc::timed_out && entry.api == Api::share_group_heartbeat;
  });
  REQUIRE(silent != nullptr);
  CHECK(silent->elapsed_ms == 30000);
  CHECK(line_of(*silent).find("; no answer to ShareGroupHeartbeat #") != std::string::npos);
}

TEST_CASE("a second life without a hook is silent") {
  Scene s;
  Listener heard;
  s.m.options.trace = heard.hook();
  s.start(1, 1);
  REQUIRE(s.w.run_until([&] { return s.stats().acks_ok == 1; }));
  REQUIRE(s.w.close(s.m));
  const size_t before = heard.all.size();
  s.m.options.trace = {};
  s.m.alive = true;
  REQUIRE(s.m.start({"t"}).ok());
  s.w.run_for(3000);
  CHECK(s.m.alive);
  CHECK(heard.all.size() == before);
}

TEST_CASE("a ring keeps the last entries, the oldest first, and counts the others") {
  static kshare::TraceRing<3> ring;
  const kshare::TraceRing<3> zero{};
  CHECK(std::memcmp(&ring, &zero, sizeof ring) == 0);
  const kshare::TraceHook hook = ring.hook();
  TraceEntry entry;
  CHECK_FALSE(ring.entry(0, entry));
  for (int32_t n = 1; n <= 8; ++n) {
    TraceEntry one;
    one.kind = TraceKind::assignment;
    one.value = n;
    hook.function(hook.context, one);
    const uint32_t kept = n < 3 ? static_cast<uint32_t>(n) : 3;
    CHECK(ring.size() == kept);
    CHECK(ring.lost() == static_cast<uint64_t>(n) - kept);
    for (uint32_t i = 0; i < kept; ++i) {
      REQUIRE(ring.entry(i, entry));
      CHECK(entry.value == n - static_cast<int32_t>(kept - 1 - i));
    }
    CHECK_FALSE(ring.entry(kept, entry));
  }
  ring.clear();
  CHECK(ring.size() == 0);
  CHECK(ring.lost() == 0);
  CHECK_FALSE(ring.entry(0, entry));
}

TEST_CASE("a ring as the hook of a consumer: its last entries are those of the end") {
  static kshare::TraceRing<16> ring;
  Scene s;
  s.m.options.trace = ring.hook();
  s.start(1, 3);
  REQUIRE(s.w.run_until([&] { return s.stats().acks_ok == 3; }));
  REQUIRE(s.w.close(s.m));
  CHECK(ring.size() == 16);
  CHECK(ring.lost() > 0);
  TraceEntry entry;
  REQUIRE(ring.entry(15, entry));
  CHECK(entry.kind == TraceKind::member);
  CHECK(static_cast<MemberState>(entry.state) == MemberState::idle);
}

TEST_CASE("every kind of entry is a line") {
  TraceEntry entry;
  CHECK(line_of(entry) == "");
  entry.at = kshare::Instant{12045};
  entry.node = 3;
  entry.link = 1;
  entry.api = Api::share_fetch;
  entry.version = 2;
  entry.correlation = 17;
  entry.bytes = 146;
  entry.value = 4;
  entry.kind = TraceKind::request;
  CHECK(line_of(entry) == "12.045 link 1 node 3 > ShareFetch v2 #17 epoch 4, 146 bytes");
  entry.api = Api::metadata;
  CHECK(line_of(entry) == "12.045 link 1 node 3 > Metadata v2 #17, 146 bytes");
  entry.kind = TraceKind::answer;
  entry.elapsed_ms = 5;
  entry.value = 0;
  CHECK(line_of(entry) == "12.045 link 1 node 3 < Metadata #17, 146 bytes, 5 ms");
  entry.throttle_ms = 70;
  entry.value = 122;
  CHECK(line_of(entry) == "12.045 link 1 node 3 < Metadata #17, 146 bytes, 5 ms, throttled for "
                          "70 ms, error 122 SHARE_SESSION_NOT_FOUND");
  entry.value = 9999;
  CHECK(line_of(entry).find("error 9999") != std::string::npos);
  entry.kind = TraceKind::link;
  entry.status = {Errc::timed_out, 0};
  entry.state = static_cast<uint8_t>(LinkState::waiting);
  CHECK(line_of(entry) == "12.045 link 1 node 3 lost: no answer in time; no answer to Metadata #17 "
                          "after 5 ms");
  entry.correlation = 0;
  entry.state = static_cast<uint8_t>(LinkState::opening);
  entry.node = -3;
  CHECK(line_of(entry) == "12.045 link 1 bootstrap 1 connecting");
  entry.node = -1;
  entry.state = static_cast<uint8_t>(LinkState::idle);
  CHECK(line_of(entry) == "12.045 link 1 closed");
  entry.kind = TraceKind::session;
  entry.node = 3;
  entry.value = 1;
  CHECK(line_of(entry) == "12.045 link 1 node 3 share session open, epoch 1");
  entry.value = 0;
  CHECK(line_of(entry) == "12.045 link 1 node 3 share session over");
  entry.kind = TraceKind::coordinator;
  CHECK(line_of(entry) == "12.045 coordinator node 3");
  entry.kind = TraceKind::assignment;
  entry.value = 12;
  CHECK(line_of(entry) == "12.045 assigned partitions: 12");
  entry.kind = TraceKind::member;
  entry.state = static_cast<uint8_t>(MemberState::stable);
  CHECK(line_of(entry) == "12.045 member with epoch 12");
}

TEST_CASE("the widest entry fits in a line, and a line is cut to any room") {
  TraceEntry entry;
  entry.at = kshare::Instant{INT64_MIN};
  entry.link = 255;
  entry.node = INT32_MAX;
  entry.api = Api::share_group_heartbeat;
  entry.version = INT8_MIN;
  entry.throttle_ms = UINT16_MAX;
  entry.correlation = INT32_MIN;
  entry.bytes = entry.elapsed_ms = UINT32_MAX;
  for (int kind = 1; kind <= static_cast<int>(TraceKind::session); ++kind) {
    entry.kind = static_cast<TraceKind>(kind);
    for (int code = 0; code <= static_cast<int>(Errc::broker_error); ++code) {
      // Kafka errors that a link can be lost with, and an errno with many words.
      for (const int16_t detail : {int16_t{0}, int16_t{129}, int16_t{33}, int16_t{97}}) {
        if (detail == 97 && code > static_cast<int>(Errc::disconnected)) continue;
        entry.status = {static_cast<Errc>(code), detail};
        entry.value = detail == 0 ? INT32_MIN : detail;
        for (const uint8_t state : {uint8_t{0}, uint8_t{1}, uint8_t{4}, uint8_t{200}}) {
          entry.state = state;
          char line[kshare::kLineBytes];
          const uint32_t size = kshare::format(entry, line, sizeof line);
          const std::string whole = line;
          CAPTURE(whole);
          CHECK(size < sizeof line - 1);  // nothing was cut
          for (const uint32_t room : {0u, 1u, 10u}) {
            char cut[10] = {'#'};
            const uint32_t used = kshare::format(entry, cut, room);
            CHECK(used == (room == 0 ? 0 : std::min(room - 1, size)));
            if (room == 0) CHECK(cut[0] == '#');
            else CHECK(whole.compare(0, used, cut) == 0);
          }
        }
      }
    }
  }
}

}  // namespace test_trace
