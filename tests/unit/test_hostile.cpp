// SPDX-License-Identifier: Apache-2.0
// A hostile or broken peer against the whole consumer: whatever it says, the connection is closed
// or the answer does no harm, and with an honest broker everything goes on.
#include <doctest/doctest.h>

#include <set>

#include "../support/hostile_life.hpp"
#include "../support/spoiler.hpp"

namespace test_hostile {

using spoiler::Change;
using spoiler::How;
using spoiler::Talk;

namespace {

constexpr int kApis[] = {minibroker::kApiVersions,
                         minibroker::kMetadata,
                         minibroker::kFindCoordinator,
                         minibroker::kShareGroupHeartbeat,
                         minibroker::kShareFetch,
                         minibroker::kShareAcknowledge,
                         minibroker::kFetch};

std::string recorded(int api) {
  Talk talk{api, 0, {}};
  const char* broken = talk.live();
  INFO("broken: ", std::string(broken == nullptr ? "no" : broken));
  REQUIRE(broken == nullptr);
  REQUIRE(talk.spoilt);
  return talk.original;
}

// Which octets of a frame are looked at one by one: the fields, not the records' insides.
bool is_interesting(int api, size_t at, size_t size) {
  const bool bulky = api == minibroker::kShareFetch || api == minibroker::kFetch;
  return !bulky || at < 150 || at + 60 > size || at % 97 == 0;
}

void check_talk(int api, const Change& change, bool may_be_refused) {
  Talk talk{api, 0, change};
  const char* broken = talk.live();
  if (broken == nullptr && talk.fatal() && !may_be_refused) broken = "refused for good";
  if (broken != nullptr) {
    FAIL_CHECK(std::string(broken), ": api ", api, " how ", static_cast<int>(change.how), " at ",
               change.at, " value ", static_cast<int>(change.value));
  }
}

}  // namespace

TEST_CASE("the conversation that is spoilt below has an answer of every API in it") {
  for (int api : kApis) {
    CAPTURE(api);
    CHECK(recorded(api).size() > 8);
  }
}

TEST_CASE("an answer that stops coming, wherever, is given up, and everything goes on") {
  for (int api : kApis) {
    const size_t size = recorded(api).size();
    for (size_t at = 0; at < size; at += 1 + size / 24) {
      check_talk(api, {How::end, static_cast<uint32_t>(at), 0}, false);
    }
  }
}

TEST_CASE("a frame that is too short, wherever it ends, closes the connection and no more") {
  for (int api : kApis) {
    const size_t size = recorded(api).size();
    for (size_t at = 4; at < size; ++at) {
      if (is_interesting(api, at, size) && at % 3 == 0) {
        check_talk(api, {How::cut, static_cast<uint32_t>(at), 0}, false);
      }
    }
  }
}

TEST_CASE("one byte changed in an answer does no lasting harm") {
  // An error code may say that the group refuses us for good; ranges may say the broker is too old.
  const std::set<int> refusing = {minibroker::kApiVersions, minibroker::kShareGroupHeartbeat};
  for (int api : kApis) {
    const size_t size = recorded(api).size();
    for (size_t at = 0; at < size; ++at) {
      if (!is_interesting(api, at, size)) continue;
      const auto value = static_cast<uint8_t>(1u << (at % 8));
      check_talk(api, {How::change, static_cast<uint32_t>(at), value}, refusing.count(api) != 0);
      if (at % 3 == 0) {
        check_talk(api, {How::change, static_cast<uint32_t>(at), 0xFF}, refusing.count(api) != 0);
      }
    }
  }
}

TEST_CASE("one byte too many or too few in an answer does no lasting harm") {
  const std::set<int> refusing = {minibroker::kApiVersions, minibroker::kShareGroupHeartbeat};
  for (int api : kApis) {
    const size_t size = recorded(api).size();
    for (size_t at = 0; at < size; ++at) {
      if (!is_interesting(api, at, size) || at % 5 != 0) continue;
      const auto where = static_cast<uint32_t>(at);
      check_talk(api, {How::insert, where, 0x7F}, refusing.count(api) != 0);
      check_talk(api, {How::drop, where, 0}, refusing.count(api) != 0);
    }
  }
}

TEST_CASE("an answer that never comes is asked for again") {
  for (int api : kApis) {
    for (int nth = 0; nth < 3; ++nth) {
      Talk talk{api, nth, {How::lose, 0, 0}};
      const char* broken = talk.live();
      if (talk.spoilt) CHECK(broken == nullptr);
    }
  }
}

TEST_CASE("peers that talk nonsense in well-formed answers break no rule of the tables") {
  uint64_t seed = 1;
  for (int life = 0; life < 60; ++life) {
    std::vector<uint8_t> octets(300 + static_cast<size_t>(life) * 20);
    for (uint8_t& octet : octets) {
      seed = seed * 6364136223846793005u + 1442695040888963407u;
      const auto high = static_cast<uint32_t>(seed >> 33);
      octet = static_cast<uint8_t>((high & 0x100u) != 0 ? high & 0xFFu : high & 0x0Fu);
    }
    const char* broken = hostile::play(octets.data(), octets.size());
    if (broken != nullptr) FAIL_CHECK(std::string(broken), " in life ", life);
  }
}

TEST_CASE("an absurd member epoch is no membership: the consumer joins again") {
  for (uint8_t value : {uint8_t{0x80}, uint8_t{0xFF}}) {
    Talk talk{minibroker::kShareGroupHeartbeat, 0, {How::change, 39, value}};
    const char* broken = talk.live();
    CHECK(broken == nullptr);
    CHECK_FALSE(talk.fatal());
    CHECK(talk.m.has_event(kshare::EventType::rejoining));
  }
}

TEST_CASE("an absurd heartbeat interval does not make a silent member") {
  Talk talk{minibroker::kShareGroupHeartbeat, 0, {How::change, 43, 0x7F}};
  REQUIRE(talk.m.start({"t"}).ok());
  talk.w.run_for(100000);
  CHECK(talk.spoilt);
  CHECK(talk.w.broker.requests(minibroker::kShareGroupHeartbeat) >= 4);
  CHECK(talk.m.event_count(kshare::EventType::joined) == 1);
}

TEST_CASE("a consumer that is refused for good while it closes can start again") {
  world::World w;
  w.broker.add_topic("t", 1);
  w.broker.append("t", 0, spoiler::records(4));
  world::Member<> m;
  m.options.acknowledgement_mode = kshare::AckMode::explicit_mode;
  m.judge = [](const kshare::Record&, kshare::Ack&) { return false; };  // holds them all
  w.join(m);
  REQUIRE(m.start({"t"}).ok());
  REQUIRE(w.run_until([&] { return m.seen.size() == 4; }));
  w.broker.on_response = [](int api, std::string& frame) {
    const size_t at = frame.find(std::string("\0\x4E\0", 3));  // ShareFetch in the list of APIs
    if (api == minibroker::kApiVersions && at != std::string::npos) frame[at + 1] = 7;
    return true;
  };
  for (auto& pipe : m.pool.transports) w.broker.close_connection(pipe.conn(), w.now);
  CHECK(w.close(m, 60000));
  CHECK(m.consumer().status().code == kshare::Errc::unsupported_broker);
  w.broker.on_response = nullptr;
  m.judge = nullptr;
  m.alive = true;
  REQUIRE(m.start({"t"}).ok());
  CHECK(w.run_until([&] { return w.broker.start_offset("group", "t", 0) == 4; }));
  CHECK(w.close(m));
}

TEST_CASE("a link that comes back after all its locks have ended does not spin while closing") {
  minibroker::Config config;
  config.lock_ms = 1000;
  world::World w{config};
  w.broker.add_topic("t", 1);
  w.broker.append("t", 0, spoiler::records(4));
  world::Member<> m;
  m.options.acknowledgement_mode = kshare::AckMode::explicit_mode;
  m.judge = [](const kshare::Record&, kshare::Ack&) { return false; };
  w.join(m);
  REQUIRE(m.start({"t"}).ok());
  REQUIRE(w.run_until([&] { return m.seen.size() == 4; }));
  world::PipeTransport& coordinator = m.pool.transports[0];
  world::PipeTransport& leader = m.pool.transports[1];
  w.broker.close_connection(leader.conn(), w.now);
  w.run_for(5);
  leader.stall = true;  // it is being opened while the locks end
  static_cast<void>(m.consumer().close(kshare::Instant{w.now}, 20000));
  w.run_for(500);
  coordinator.stall = true;  // nobody answers when we leave
  w.run_for(1000);
  leader.stall = false;
  w.run_for(1000);
  const uint64_t before = w.turns;
  w.run_for(5000);
  CHECK(m.alive);
  CHECK(w.turns - before < 100);
}

TEST_CASE("records of a partition that is not in the session are for nobody") {
  minibroker::Config config;
  config.nodes = 2;
  world::World w{config};
  w.broker.add_topic("t", 2);
  for (int partition : {0, 1}) {
    w.broker.move_leader("t", partition, partition);
    w.broker.append("t", partition, spoiler::records(4));
  }
  bool changed = false;
  w.broker.on_response = [&](int api, std::string& frame) {
    if (api == minibroker::kShareFetch && frame.size() > 200 && !changed) {
      frame[41] = static_cast<char>(frame[41] ^ 1);  // PartitionIndex: that of the other leader
      changed = true;
    }
    return true;
  };
  world::Member<kshare::kSmallLimits> m;
  w.join(m);
  REQUIRE(m.start({"t"}).ok());
  REQUIRE(w.run_until([&] { return m.consumer().stats().acks_ok == 8; }));
  CHECK(changed);
  CHECK(m.has_event(kshare::EventType::session_surplus));
  CHECK(m.times().size() == 8);
  CHECK(w.close(m));
}

TEST_CASE("an absurd throttle time does not silence the consumer for good") {
  for (int api : {minibroker::kShareFetch, minibroker::kShareGroupHeartbeat}) {
    Talk talk{api, 0, {How::change, 9, 0x7F}};  // ThrottleTimeMs: 24 days
    const char* broken = talk.live();
    CHECK(broken == nullptr);
    CHECK(talk.w.now < 120000);
  }
}

}  // namespace test_hostile
