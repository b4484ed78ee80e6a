// SPDX-License-Identifier: Apache-2.0
// Records, the whole consumer against the mini broker: what a record looks like to the application,
// and what becomes of offsets that hold none, or none that can be handed out.
#include <doctest/doctest.h>

#include <optional>

#include "../support/scene.hpp"

namespace test_records {

using kshare::Ack;
using kshare::EventType;
using minibroker::BatchOptions;
using minibroker::Rec;
using minibroker::State;
using world::check_clean;
using world::check_sums;
using world::records;
using world::Scene;

namespace {

struct Copy {
  std::optional<std::string> key, value;
  std::vector<std::pair<std::string, std::optional<std::string>>> headers;
  int64_t offset = 0, timestamp = 0;
  kshare::TimestampType type{};
  int32_t leader_epoch = 0;
  int16_t count = 0;
};

std::optional<std::string> text(kshare::Bytes bytes) {
  if (bytes.is_null()) return std::nullopt;
  return std::string(bytes.text());
}

// Starts a scene that copies every record in full, and accepts it.
void copy_all(Scene& s, std::vector<Copy>& into) {
  s.m.options.acknowledgement_mode = kshare::AckMode::explicit_mode;
  s.m.judge = [&into](const kshare::Record& record, Ack&) {
    Copy copy;
    copy.key = text(record.key);
    copy.value = text(record.value);
    for (const kshare::Header& header : record.headers) {
      copy.headers.emplace_back(std::string(header.key), text(header.value));
    }
    CHECK(copy.headers.size() == record.headers.size());
    copy.offset = record.offset;
    copy.timestamp = record.timestamp;
    copy.type = record.timestamp_type;
    copy.leader_epoch = record.leader_epoch;
    copy.count = record.delivery_count;
    into.push_back(copy);
    return true;
  };
}

Rec rec(std::optional<std::string> key, std::optional<std::string> value) {
  Rec r;
  r.key = std::move(key);
  r.value = std::move(value);
  return r;
}
Rec rec_at(int32_t delta) {
  Rec r = rec("k", "v" + std::to_string(delta));
  r.offset_delta = delta;
  return r;
}

const kshare::Event* find(const Scene& s, EventType type) {
  for (const auto& event : s.m.events) {
    if (event.type == type) return &event;
  }
  return nullptr;
}

}  // namespace

TEST_CASE("null and empty key and value are kept apart") {
  Scene s;
  std::vector<Copy> seen;
  copy_all(s, seen);
  s.w.broker.add_topic("t", 1);
  s.w.broker.append("t", 0, {rec(std::nullopt, std::nullopt), rec("", ""), rec(std::nullopt, ""),
                             rec("", std::nullopt), rec("k", "v")});
  REQUIRE(s.m.start({"t"}).ok());
  REQUIRE(s.until_seen(5));
  CHECK_FALSE(seen[0].key);
  CHECK_FALSE(seen[0].value);
  CHECK(seen[1].key == "");
  CHECK(seen[1].value == "");
  CHECK_FALSE(seen[2].key);
  CHECK(seen[2].value == "");
  CHECK(seen[3].key == "");
  CHECK_FALSE(seen[3].value);
  CHECK(seen[4].key == "k");
  CHECK(seen[4].value == "v");
  CHECK(seen[4].headers.empty());
  check_clean(s.w);
}

TEST_CASE("100 headers, one huge, one with a null value, one without a name") {
  Scene s;
  std::vector<Copy> seen;
  copy_all(s, seen);
  Rec r = rec("k", "v");
  for (int i = 0; i < 100; ++i) r.headers.push_back({"h" + std::to_string(i), std::to_string(i)});
  r.headers[10].value = std::nullopt;
  r.headers[20].value = "";
  r.headers[30].key = "";
  r.headers[40].value = std::string(700, 'z');
  s.w.broker.add_topic("t", 1);
  s.w.broker.append("t", 0, {r, rec("next", "one")});
  REQUIRE(s.m.start({"t"}).ok());
  REQUIRE(s.until_seen(2));
  REQUIRE(seen[0].headers.size() == 100);
  for (size_t i = 0; i < 100; ++i) {
    CHECK(seen[0].headers[i].first == r.headers[i].key);
    CHECK(seen[0].headers[i].second == r.headers[i].value);
  }
  CHECK(seen[1].key == "next");
  check_clean(s.w);
}

TEST_CASE("timestamps of both types, leader epoch and delivery count") {
  Scene s;
  std::vector<Copy> seen;
  copy_all(s, seen);
  Rec a = rec("a", "1");
  Rec b = rec("b", "2");
  a.timestamp = 1700000000500;
  b.timestamp = 1700000000123;  // earlier than the one before
  BatchOptions create;
  create.leader_epoch = 7;
  BatchOptions append;
  append.log_append_time = true;
  append.max_timestamp = 1800000000000;
  append.leader_epoch = 8;
  s.w.broker.add_topic("t", 1);
  s.w.broker.append("t", 0, {a, b}, create);
  s.w.broker.append("t", 0, {a, b}, append);
  REQUIRE(s.m.start({"t"}).ok());
  REQUIRE(s.until_seen(4));
  CHECK(seen[0].timestamp == 1700000000500);
  CHECK(seen[1].timestamp == 1700000000123);
  CHECK(seen[0].type == kshare::TimestampType::create_time);
  CHECK(seen[0].leader_epoch == 7);
  for (size_t i = 2; i < 4; ++i) {
    CHECK(seen[i].timestamp == 1800000000000);
    CHECK(seen[i].type == kshare::TimestampType::log_append_time);
    CHECK(seen[i].leader_epoch == 8);
  }
  for (const Copy& copy : seen) CHECK(copy.count == 1);
  check_clean(s.w);
}

TEST_CASE("timestamps at the ends of their range do no harm") {
  Scene s;
  std::vector<Copy> seen;
  copy_all(s, seen);
  Rec a = rec("a", "1");
  Rec b = rec("b", "2");
  a.timestamp = INT64_MAX;
  b.timestamp = INT64_MAX - 5;
  Rec c = rec("c", "3");
  c.timestamp = -1;
  s.w.broker.add_topic("t", 1);
  s.w.broker.append("t", 0, {a, b});
  s.w.broker.append("t", 0, {c});
  REQUIRE(s.m.start({"t"}).ok());
  REQUIRE(s.until_seen(3));
  CHECK(seen[0].timestamp == INT64_MAX);
  CHECK(seen[1].timestamp == INT64_MAX - 5);
  CHECK(seen[2].timestamp == -1);
}

TEST_CASE("compaction holes, control batches and empty batches are gaps, acked by themselves") {
  Scene s;
  s.m.takes = false;  // the application never calls next()
  BatchOptions control;
  control.control = control.transactional = true;
  BatchOptions empty;
  empty.last_offset_delta = 4;
  s.w.broker.add_topic("t", 1);
  s.w.broker.append("t", 0, {minibroker::control_record(false)}, control);  // 0
  s.w.broker.append("t", 0, {}, empty);                                     // 1..5
  s.w.broker.append("t", 0, {minibroker::control_record(true)}, control);   // 6
  REQUIRE(s.m.start({"t"}).ok());
  CHECK(s.w.run_until([&] { return s.stats().gaps == 7; }, 5000));
  CHECK(s.w.broker.start_offset("group", "t", 0) == 7);
  CHECK(s.stats().records == 0);
  CHECK(s.stats().acks_ok == 0);
  CHECK(s.consumer().unsettled() == 0);
  for (const auto& settled : s.settled) CHECK(settled.type == minibroker::kGap);
  check_clean(s.w);
}

TEST_CASE("holes at the beginning, in the middle and at the end of a batch are gaps") {
  Scene s;
  BatchOptions longer;
  longer.last_offset_delta = 19;
  s.w.broker.add_topic("t", 1);
  s.w.broker.append("t", 0, {rec_at(3), rec_at(4), rec_at(9), rec_at(15)}, longer);
  s.w.broker.append("t", 0, records(2));
  REQUIRE(s.m.start({"t"}).ok());
  REQUIRE(s.until_seen(6));
  CHECK(s.w.run_until([&] { return s.stats().acks_ok == 6 && s.stats().gaps == 16; }, 5000));
  CHECK(s.w.broker.start_offset("group", "t", 0) == 22);
  const std::vector<int64_t> offsets{3, 4, 9, 15, 20, 21};
  for (size_t i = 0; i < 6; ++i) CHECK(s.m.seen[i].offset == offsets[i]);
  for (const auto& settled : s.settled) {
    const bool is_record = std::count(offsets.begin(), offsets.end(), settled.offset) != 0;
    CHECK(settled.type == (is_record ? minibroker::kAccept : minibroker::kGap));
  }
  check_clean(s.w);
}

TEST_CASE("batches removed from the log between others are gaps") {
  Scene s;
  s.w.broker.add_topic("t", 1);
  for (int i = 0; i < 6; ++i) s.w.broker.append("t", 0, records(5));
  s.w.broker.remove_batches("t", 0, 5, 9);
  s.w.broker.remove_batches("t", 0, 15, 24);
  REQUIRE(s.m.start({"t"}).ok());
  CHECK(s.w.run_until([&] { return s.w.broker.start_offset("group", "t", 0) == 30; }, 5000));
  CHECK(s.m.seen.size() == 15);
  CHECK(s.m.times().size() == 15);
  CHECK(s.until_settled());
  check_clean(s.w);
}

TEST_CASE("a CRC mismatch: the batch is rejected, told, and the neighbours are delivered") {
  for (const int bad : {0, 1, 2}) {
    CAPTURE(bad);
    Scene s;
    s.w.broker.add_topic("t", 2);
    for (int i = 0; i < 3; ++i) {
      BatchOptions options;
      options.corrupt_crc = i == bad;
      s.w.broker.append("t", 0, records(4), options);
    }
    s.w.broker.append("t", 1, records(4));
    REQUIRE(s.m.start({"t"}).ok());
    REQUIRE(s.until_seen(12));
    CHECK(s.w.run_until([&] { return s.w.broker.start_offset("group", "t", 0) == 12; }, 5000));
    for (const auto& seen : s.m.seen) CHECK((seen.partition == 1 || seen.offset / 4 != bad));
    for (int64_t offset = 4 * bad; offset < 4 * bad + 4; ++offset) {
      CHECK(s.state(offset) == State::Archived);
      CHECK(s.last(0, offset)->type == minibroker::kReject);
      CHECK(s.times(0, offset) == 1);
    }
    const kshare::Event* event = find(s, EventType::batch_corrupt);
    REQUIRE(event != nullptr);
    CHECK(event->first == 4 * bad);
    CHECK(event->last == 4 * bad + 3);
    CHECK(event->partition == 0);
    CHECK(event->words() == "t");
    CHECK(s.m.event_count(EventType::batch_corrupt) == 1);
    CHECK(s.until_settled());
    CHECK(s.stats().rejected == 4);
    check_sums(s.consumer());
    check_clean(s.w);
  }
}

TEST_CASE("check.crcs off: a batch with a wrong CRC is delivered") {
  Scene s;
  s.m.options.check_crcs = false;
  BatchOptions options;
  options.corrupt_crc = true;
  s.w.broker.add_topic("t", 1);
  s.w.broker.append("t", 0, records(4), options);
  REQUIRE(s.m.start({"t"}).ok());
  CHECK(s.until_seen(4));
  CHECK_FALSE(s.m.has_event(EventType::batch_corrupt));
}

TEST_CASE("a batch larger than a slot with a bad CRC is rejected too, and nothing of it is seen") {
  Scene s;
  BatchOptions options;
  options.corrupt_crc = true;
  s.w.broker.add_topic("t", 1);
  s.w.broker.append("t", 0, records(40, 100), options);
  s.w.broker.append("t", 0, records(3));
  REQUIRE(s.m.start({"t"}).ok());
  CHECK(s.w.run_until([&] { return s.w.broker.start_offset("group", "t", 0) == 43; }, 20000));
  CHECK(s.m.seen.size() == 3);
  CHECK(s.until_settled());
  CHECK(s.stats().rejected == 40);
  check_clean(s.w);
}

TEST_CASE("undecodable: released or rejected by option, told, and the neighbours are delivered") {
  for (const kshare::Unusable what : {kshare::Unusable::reject, kshare::Unusable::release}) {
    const bool reject = what == kshare::Unusable::reject;
    CAPTURE(reject);
    minibroker::Config config;
    config.delivery_limit = 2;
    Scene s(config);
    s.m.options.undecodable = what;
    BatchOptions options;
    options.codec = 4;  // and there is none
    s.w.broker.add_topic("t", 1);
    s.w.broker.append("t", 0, records(3));
    s.w.broker.append("t", 0, records(5), options);
    s.w.broker.append("t", 0, records(3));
    REQUIRE(s.m.start({"t"}).ok());
    REQUIRE(s.until_seen(6));
    CHECK(s.w.run_until([&] { return s.w.broker.start_offset("group", "t", 0) == 11; }, 20000));
    CHECK(s.m.seen.size() == 6);
    const kshare::Event* event = find(s, EventType::batch_undecodable);
    REQUIRE(event != nullptr);
    CHECK(event->first == 3);
    CHECK(event->last == 7);
    for (int64_t offset = 3; offset < 8; ++offset) {
      CHECK(s.last(0, offset)->type == (reject ? minibroker::kReject : minibroker::kRelease));
      CHECK(s.times(0, offset) == (reject ? 1 : 2));
    }
    CHECK(s.until_settled());
    check_clean(s.w);
  }
}

TEST_CASE("a record too large for a slot: by option, told, and the neighbours are delivered") {
  for (const kshare::Unusable what : {kshare::Unusable::reject, kshare::Unusable::release}) {
    const bool reject = what == kshare::Unusable::reject;
    CAPTURE(reject);
    minibroker::Config config;
    config.delivery_limit = 2;
    Scene s(config);
    s.m.options.too_large = what;
    std::vector<Rec> batch = records(9, 30);
    batch[0].value = std::string(9000, 'a');
    batch[4].value = std::string(5000, 'b');
    batch[8].value = std::string(3000, 'c');
    s.w.broker.add_topic("t", 2);
    s.w.broker.append("t", 0, batch);
    s.w.broker.append("t", 0, records(3));
    s.w.broker.append("t", 1, records(3));
    REQUIRE(s.m.start({"t"}).ok());
    CHECK(s.w.run_until([&] { return s.w.broker.start_offset("group", "t", 0) == 12; }, 20000));
    CHECK(s.w.run_until([&] { return s.stats().acks_ok == 12; }, 20000));
    CHECK(s.m.times().size() == 12);
    for (const auto& seen : s.m.seen) CHECK(seen.count == 1);
    for (int64_t offset : {0, 4, 8}) {
      CHECK(s.last(0, offset)->type == (reject ? minibroker::kReject : minibroker::kRelease));
      CHECK(s.state(offset) == State::Archived);
      bool told = false;
      for (const auto& event : s.m.events) {
        told = told || (event.type == EventType::record_too_large && event.first == offset &&
                        event.last == offset);
      }
      CHECK(told);
    }
    CHECK(s.until_settled());
    check_sums(s.consumer());
    check_clean(s.w);
  }
}

TEST_CASE("malformed records: those before are delivered, the rest is by option, never lost") {
  for (const int32_t claimed : {3, 7}) {  // the batch holds 5
    CAPTURE(claimed);
    Scene s;
    s.m.options.undecodable = kshare::Unusable::reject;
    BatchOptions options;
    options.record_count = claimed;
    options.last_offset_delta = 9;
    s.w.broker.add_topic("t", 1);
    s.w.broker.append("t", 0, records(5), options);
    s.w.broker.append("t", 0, records(3));
    REQUIRE(s.m.start({"t"}).ok());
    CHECK(s.w.run_until([&] { return s.w.broker.start_offset("group", "t", 0) == 13; }, 20000));
    const auto good = static_cast<size_t>(claimed < 5 ? claimed : 5);
    CHECK(s.m.times().size() == good + 3);
    const kshare::Event* event = find(s, EventType::record_malformed);
    REQUIRE(event != nullptr);
    CHECK(event->first == static_cast<int64_t>(good));
    CHECK(event->last == 9);
    for (int64_t offset = static_cast<int64_t>(good); offset < 10; ++offset) {
      CHECK(s.last(0, offset)->type == minibroker::kReject);
    }
    CHECK(s.until_settled());
    check_clean(s.w);
  }
}

TEST_CASE("a record whose fields make no sense is refused alone") {
  Scene s;
  s.m.options.undecodable = kshare::Unusable::reject;
  const std::string good = minibroker::encode_record(rec("k", "v"), 0, 0);
  const std::string other = minibroker::encode_record(rec("k", "v"), 0, 2);
  std::string bad = minibroker::encode_record(rec("k", "v"), 0, 1);
  bad[4] = 100;  // keyLength 50, behind length, attributes, timestampDelta, offsetDelta
  BatchOptions options;
  options.compress = [&](const std::string&) { return good + bad + other; };  // codec 0: as it is
  s.w.broker.add_topic("t", 1);
  s.w.broker.append("t", 0, records(3), options);
  REQUIRE(s.m.start({"t"}).ok());
  CHECK(s.w.run_until([&] { return s.w.broker.start_offset("group", "t", 0) == 3; }, 20000));
  CHECK(s.m.seen.size() == 2);
  CHECK(s.last(0, 1)->type == minibroker::kReject);
  REQUIRE(find(s, EventType::record_malformed) != nullptr);
  CHECK(find(s, EventType::record_malformed)->first == 1);
  CHECK(find(s, EventType::record_malformed)->last == 1);
  check_clean(s.w);
}

TEST_CASE("a mark that belongs to nobody does not swallow the next partition's records") {
  // record_limit: of partition 0 only the first records are acquired, the one that is too large
  // lies behind them in the same batch.
  for (const bool limited : {false, true}) {
    CAPTURE(limited);
    Scene s;
    if (limited) s.m.options.acquire_mode = kshare::AcquireMode::record_limit;
    s.m.options.max_poll_records = 6;
    s.m.options.too_large = kshare::Unusable::reject;
    std::vector<Rec> batch = records(8);
    batch[5].value = std::string(4000, 'b');
    s.w.broker.add_topic("t", 3);
    for (int p = 0; p < 3; ++p) s.w.broker.append("t", p, batch);
    REQUIRE(s.m.start({"t"}).ok());
    CHECK(s.w.run_until([&] { return s.stats().acks_ok == 21; }, 20000));
    CHECK(s.m.times().size() == 21);
    CHECK(s.until_settled());
    CHECK(s.stats().gaps == 0);
    CHECK(s.stats().rejected == 3);
    check_clean(s.w);
  }
}

TEST_CASE("a partition that is taken away does not swallow its neighbours' records") {
  Scene s;
  s.hold_all();
  s.w.broker.add_topic("t", 4);
  for (int p = 0; p < 4; ++p) s.w.broker.append("t", p, records(8, 30));
  REQUIRE(s.m.start({"t"}).ok());
  s.m.takes_max = 1;
  REQUIRE(s.until_seen(1));
  s.m.takes = false;
  world::Member<> other(2);
  other.options = s.m.options;
  other.options.acknowledgement_mode = kshare::AckMode::implicit_mode;
  s.w.join(other);
  REQUIRE(other.start({"t"}).ok());
  REQUIRE(s.w.run_until([&] { return s.consumer().assignment_count() == 2; }));
  s.m.takes = true;
  s.m.takes_max = UINT32_MAX;
  s.m.judge = [](const kshare::Record&, Ack&) { return true; };
  static_cast<void>(s.ack(0, Ack::accept));
  const auto through = [&] {
    for (int p = 0; p < 4; ++p) {
      if (s.w.broker.start_offset("group", "t", p) != 8) return false;
    }
    return true;
  };
  CHECK(s.w.run_until(through, 60000));
  CHECK(s.stats().gaps == 0);
  CHECK(other.consumer().stats().gaps == 0);
  auto all = s.m.times();
  for (const auto& entry : other.times()) all[entry.first] += entry.second;
  CHECK(all.size() == 32);
  check_clean(s.w);
}

TEST_CASE("a tail that is read again while its slot is read out is not taken for a gap") {
  // Offsets 5..9 are released; the next fetch brings them and 10..19 in one answer, of which the
  // hint lets 10.. be kept first. While 5..9 are read again, 10.. are taken by the application.
  for (const uint32_t piece : {200u, 700u, 1u << 20}) {
    CAPTURE(piece);
    Scene s;
    s.m.options.acknowledgement_mode = kshare::AckMode::explicit_mode;
    s.m.options.acquire_mode = kshare::AcquireMode::record_limit;
    s.m.options.max_poll_records = 15;
    s.m.judge = [](const kshare::Record& record, Ack& ack) {
      const bool back = record.offset % 15 >= 5 && record.offset % 15 < 10;
      ack = back && record.delivery_count == 1 ? Ack::release : Ack::accept;
      return true;
    };
    s.m.takes_max = 1;
    for (auto& transport : s.m.pool.transports) transport.piece = piece;
    s.start(1, 90, 280);
    const auto through = [&] {
      s.consumer().wake();
      return s.w.broker.start_offset("group", "t", 0) == 90;
    };
    int64_t end = s.w.now + 120000;
    while (!through() && s.w.now < end) s.w.step(s.w.now + 5);
    CHECK(s.w.broker.start_offset("group", "t", 0) == 90);
    CHECK(s.stats().gaps == 0);
    CHECK(s.m.times().size() == 90);
    CHECK(s.m.seen.size() == 120);
    check_clean(s.w);
  }
}

TEST_CASE("bytes that cannot be read again for now hold nobody up, and come in the end") {
  Scene s;
  s.w.broker.add_topic("t", 2);
  s.w.broker.append("t", 0, records(60, 100));
  s.w.broker.fail_next(minibroker::kFetch, 29, 9);  // for six seconds or so
  REQUIRE(s.m.start({"t"}).ok());
  REQUIRE(s.until_seen(5));
  s.w.run_for(1000);
  CHECK(s.m.seen.size() < 60);
  for (int i = 0; i < 10; ++i) {
    s.append(1, 1);
    s.w.run_for(300);
    CHECK(s.m.times().count({1, i}) == 1);
  }
  CHECK(s.m.seen.size() < 70);
  CHECK(s.w.broker.requests(minibroker::kFetch) < 10);  // a back-off of up to a second
  CHECK(s.w.run_until([&] { return s.m.seen.size() == 70; }, 15000));
  for (const auto& seen : s.m.seen) CHECK(seen.count == 1);
  check_clean(s.w);
}

TEST_CASE("a leader that moves while a batch is read again: the new one hands out the rest") {
  minibroker::Config config;
  config.nodes = 2;
  world::SceneOf<kshare::kSmallLimits> s(config);
  s.w.broker.add_topic("t", 2);
  s.w.broker.move_leader("t", 0, 0);
  s.w.broker.move_leader("t", 1, 0);
  s.w.broker.append("t", 0, records(400, 100));
  REQUIRE(s.m.start({"t"}).ok());
  s.m.takes_max = 10;
  REQUIRE(s.until_seen(60));
  s.w.broker.move_leader("t", 0, 1);
  s.append(1, 5);
  s.m.takes_max = UINT32_MAX;
  CHECK(s.w.run_until([&] { return s.m.times().count({1, 4}) == 1; }, 3000));
  CHECK(s.w.run_until([&] { return s.w.broker.start_offset("group", "t", 0) == 400; }, 10000));
  CHECK(s.m.times().size() == 405);
  CHECK(s.stats().gaps == 0);
  CHECK(s.until_settled());
  check_sums(s.consumer());
  check_clean(s.w);
}

TEST_CASE("headers may be walked by hand, more than once") {
  Scene s;
  size_t walks = 0;
  s.m.options.acknowledgement_mode = kshare::AckMode::explicit_mode;
  s.m.judge = [&](const kshare::Record& record, kshare::Ack&) {
    const kshare::Headers& headers = record.headers;
    for (int walk = 0; walk < 2; ++walk) {
      auto at = headers.begin();
      CHECK(at == headers.begin());
      CHECK(at->key == "first");
      CHECK(at->value.text() == "1");
      ++at;
      CHECK_FALSE(at == headers.begin());
      CHECK(at->key == "second");
      CHECK(at->value.is_null());
      ++at;
      CHECK(at == headers.end());
      ++walks;
    }
    return true;
  };
  Rec r = rec("k", "v");
  r.headers = {{"first", "1"}, {"second", std::nullopt}};
  s.w.broker.add_topic("t", 1);
  s.w.broker.append("t", 0, {r});
  REQUIRE(s.m.start({"t"}).ok());
  REQUIRE(s.until_seen(1));
  CHECK(walks == 2);
}

}  // namespace test_records
