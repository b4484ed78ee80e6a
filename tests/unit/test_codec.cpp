// SPDX-License-Identifier: Apache-2.0
// The packed path of record/walker.hpp, with a toy codec: run-length, so that it inflates, with an
// end mark and with octets that no valid stream has.
#include <doctest/doctest.h>

#include "../support/batches.hpp"
#include "../support/world.hpp"

namespace test_codec {
namespace {

using batches::Batch;
using batches::Items;
using batches::make;
using batches::mark;
using batches::Outcome;
using batches::rec;
using batches::recs;
using batches::size32;
using batches::Trip;
using batches::walk;
using kshare::Bytes;
using kshare::ChunkKind;
using kshare::CodecStep;
using kshare::EventType;
using kshare::Instant;
using kshare::MutableBytes;

// Pairs of (count, octet); count 0 ends the stream; a count above 200 is damage.
class RunLength final : public kshare::Codec {
 public:
  void begin() override {
    ++begun;
    left_ = 0;
    has_count_ = ended_ = false;
  }
  CodecStep run(Bytes& in, MutableBytes& out) override {
    if (ended_) ++run_after_end;
    for (;;) {
      while (left_ != 0 && out.size != 0) {
        *out.data = octet_;
        out = {out.data + 1, out.size - 1};
        --left_;
      }
      if (left_ != 0 || in.size == 0) return CodecStep::more;
      const uint8_t next = *in.data;
      in = {in.data + 1, in.size - 1};
      if (has_count_) {
        has_count_ = false;
        octet_ = next;
        left_ = count_;
      } else if (next == 0) {
        ended_ = true;
        return CodecStep::done;
      } else {
        if (next > 200) return CodecStep::damaged;
        count_ = next;
        has_count_ = true;
      }
    }
  }
  int begun = 0;
  int run_after_end = 0;

 private:
  uint32_t left_ = 0;
  uint8_t count_ = 0;
  uint8_t octet_ = 0;
  bool has_count_ = false;
  bool ended_ = false;
};

// Takes and gives nothing, for ever.
class Idle final : public kshare::Codec {
 public:
  void begin() override {}
  CodecStep run(Bytes&, MutableBytes&) override { return CodecStep::more; }
};

std::string pack(const std::string& plain) {
  std::string packed;
  for (size_t at = 0; at < plain.size();) {
    size_t end = at;
    while (end < plain.size() && plain[end] == plain[at] && end - at < 200) ++end;
    packed += static_cast<char>(end - at);
    packed += plain[at];
    at = end;
  }
  return packed + '\0';
}

minibroker::BatchOptions packed(int codec = 1) {
  minibroker::BatchOptions options;
  options.codec = codec;
  options.compress = pack;
  return options;
}

struct Registry {
  explicit Registry(uint32_t window) : memory(new uint8_t[window]) {
    registry.by_id[1] = &codec;
    registry.window = {memory.get(), window};
  }
  std::unique_ptr<uint8_t[]> memory;
  RunLength codec;
  kshare::CodecRegistry registry;
};

Items items_of(const std::vector<Batch>& all) {
  Items items;
  for (const Batch& batch : all) {
    for (const auto& record : batch.records) items.push_back(record.item);
  }
  return items;
}

std::vector<Batch> sample() {
  return {make(10, recs({0, 1, 2})), make(13, recs({0, 2, 3}, 90), packed()),
          make(17, recs({0, 1}), packed()), make(19, recs({0}))};
}

// One link's walk over a field, and its window.
struct Line {
  explicit Line(const std::string& field) : bytes(field) { in.attach(window, sizeof window); }
  void begin(batches::Box& box, kshare::CodecRegistry& registry, int64_t from = 0) {
    kshare::WalkPlan plan;
    plan.wanted = kshare::Wanted::from(from);
    plan.from = from;
    plan.from_exact = from != 0;
    plan.slot = slot = box.store.reserve(1);
    plan.codecs = &registry;
    walker.begin(plan, size32(bytes.size()));
    in.begin_frame(size32(bytes.size()));
  }
  void fill(uint32_t count) {
    const MutableBytes space = in.space();
    REQUIRE(space.size >= count);
    std::memcpy(space.data, bytes.data() + at, count);
    in.filled(count);
    at += count;
  }
  void fill_rest() { fill(size32(bytes.size()) - at); }
  bool run(batches::Box& box) { return walker.run(box.store, in); }

  std::string bytes;
  uint8_t window[1024];
  kshare::Reader in;
  kshare::Walker walker;
  uint32_t slot = 0;
  uint32_t at = 0;
};

}  // namespace

TEST_CASE("packed batches give the same records through windows and pieces of any size") {
  const std::vector<Batch> all = sample();
  const std::string bytes = batches::join(all);
  for (uint32_t window : {64u, 65u, 100u, 1000u}) {
    for (uint32_t piece : {1u, 2u, 7u, 61u, 1000u}) {
      Registry codecs(window);
      Trip trip;
      trip.codecs = &codecs.registry;
      const Outcome got = walk(bytes, trip, {128, piece, piece});
      CHECK(got.done);
      CHECK(got.items == items_of(all));
      CHECK(got.first == 10);
      CHECK(got.end == 20);
      CHECK(codecs.codec.begun == 2);
      CHECK(codecs.registry.used_by == nullptr);
    }
  }
  for (uint32_t cut = 1; cut < bytes.size(); ++cut) {
    Registry codecs(64);
    Trip trip;
    trip.codecs = &codecs.registry;
    if (walk(bytes, trip, {1024, cut, 1024}).items != items_of(all)) FAIL_CHECK("cut at " << cut);
  }
}

TEST_CASE("a compressed batch that inflates past the slot is read again slotful by slotful") {
  const Batch batch = make(100, recs({0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, 150), packed());
  REQUIRE(batch.bytes.size() < 400);
  for (uint32_t room = 256; room < 1000; room += 31) {
    Registry codecs(64);
    Trip trip;
    trip.codecs = &codecs.registry;
    trip.slot_bytes = room;
    trip.from_exact = true;
    trip.from = 100;
    Items items;
    for (int round = 0; trip.from < 110 && round < 10; ++round) {
      trip.wanted = {{trip.from, 109}};
      const Outcome got = walk(batch.bytes, trip, {128, 50, 50});
      REQUIRE(got.done);
      REQUIRE(got.walked);
      items.insert(items.end(), got.items.begin(), got.items.end());
      CHECK(got.cut == (got.end < 110));
      trip.from = got.end;
    }
    CHECK(items == items_of({batch}));
  }
}

TEST_CASE("damaged compressed data is marked as a whole, the neighbours are delivered") {
  const std::vector<Batch> all = sample();
  const std::string head = all[0].bytes;
  const std::string tail = all[3].bytes;
  const auto check = [&](const std::string& middle, const char* what, ChunkKind kind) {
    for (uint32_t piece : {1u, 1000u}) {
      Registry codecs(64);
      Trip trip;
      trip.codecs = &codecs.registry;
      const Outcome got = walk(head + middle + tail, trip, {128, piece, piece});
      INFO(what);
      REQUIRE(got.items.size() == 5);
      CHECK(got.items[3] == mark(kind, 13, 16));
      CHECK(got.items[4] == all[3].records[0].item);
      CHECK(got.end == 20);
      CHECK(codecs.registry.used_by == nullptr);
    }
  };
  std::string damaged = all[1].bytes;
  damaged[damaged.size() - 3] = '\xFF';  // the last count: records were out already
  batches::mend_crc(damaged);
  check(damaged, "damage at the end", ChunkKind::undecodable);
  damaged = all[1].bytes;
  damaged[61] = '\xFF';
  batches::mend_crc(damaged);
  check(damaged, "damage at the beginning", ChunkKind::undecodable);
  damaged[61] = '\x01';
  check(damaged, "CRC", ChunkKind::corrupt);
  minibroker::BatchOptions none = packed(3);  // a codec that is not there
  check(make(13, recs({0, 2, 3}), none).bytes, "no codec", ChunkKind::undecodable);
  none.codec = 7;  // one that does not exist
  check(make(13, recs({0, 2, 3}), none).bytes, "unknown codec", ChunkKind::undecodable);
}

TEST_CASE("without codecs, without a window, or with a codec that stands still: undecodable") {
  const Batch batch = make(0, recs({0, 1}), packed());
  Trip trip;
  CHECK(walk(batch.bytes, trip).items == Items{mark(ChunkKind::undecodable, 0, 1)});
  Registry codecs(64);
  trip.codecs = &codecs.registry;
  codecs.registry.window = {};
  CHECK(walk(batch.bytes, trip).items == Items{mark(ChunkKind::undecodable, 0, 1)});
  Idle idle;
  codecs.registry.window = {codecs.memory.get(), 64};
  codecs.registry.by_id[1] = &idle;
  const Outcome got = walk(batch.bytes, trip);
  CHECK(got.done);
  CHECK(got.items.size() == 1);
  CHECK(got.items[0].kind != ChunkKind::records);
}

TEST_CASE("a stream that ends early: the records before are delivered, the rest is marked") {
  minibroker::BatchOptions options = packed();
  options.compress = [](const std::string& plain) {
    return pack(plain.substr(0, plain.size() - 1));
  };
  Registry codecs(64);
  Trip trip;
  trip.codecs = &codecs.registry;
  const Batch batch = make(5, recs({0, 1, 2}), options);
  const Outcome got = walk(batch.bytes, trip, {128, 1, 1});
  REQUIRE(got.items.size() == 3);
  CHECK(got.items[2] == mark(ChunkKind::malformed, 7, 7));
  CHECK(got.end == 8);
}

TEST_CASE("octets behind the stream's end are passed over, the codec is not asked again") {
  minibroker::BatchOptions options = packed();
  options.compress = [](const std::string& plain) { return pack(plain) + std::string(50, '\xEE'); };
  const Batch batch = make(5, recs({0, 1, 2}), options);
  for (uint32_t piece : {1u, 10u, 1000u}) {
    Registry codecs(64);
    Trip trip;
    trip.codecs = &codecs.registry;
    const Outcome got = walk(batch.bytes, trip, {128, piece, piece});
    CHECK(got.items == items_of({batch}));
    CHECK(codecs.codec.run_after_end == 0);
  }
}

TEST_CASE(
    "every one-byte change and every prefix of a packed batch: bounded, nothing wrong is kept") {
  const Batch batch = make(0, recs({0, 1, 3}, 30), packed());
  const std::string tail = make(4, recs({0})).bytes;
  uint32_t wrong = 0;
  for (size_t at = 0; at < batch.bytes.size(); ++at) {
    for (int change = 1; change < 256; ++change) {
      std::string damaged = batch.bytes;
      damaged[at] = static_cast<char>(damaged[at] ^ static_cast<char>(change));
      const bool mended = (change & 1) != 0;
      if (mended) batches::mend_crc(damaged);
      Registry codecs(64);
      Trip trip;
      trip.codecs = &codecs.registry;
      trip.slot_bytes = 256;
      const Outcome got = walk(damaged + tail, trip, {128, 70, 70});
      bool good = got.done && codecs.registry.used_by == nullptr;
      int64_t before = -1;
      for (const auto& item : got.items) {
        good = good && item.first > before && item.last < got.end;
        before = item.last;
        if (!mended && at >= 17 && item.first < 4) good = good && item.kind == ChunkKind::corrupt;
      }
      if (!good && ++wrong < 5) FAIL_CHECK("octet " << at << " change " << change);
    }
  }
  CHECK(wrong == 0);
  for (size_t length = 0; length < batch.bytes.size(); ++length) {
    Registry codecs(64);
    Trip trip;
    trip.codecs = &codecs.registry;
    CHECK_FALSE(walk(batch.bytes.substr(0, length), trip).walked);
  }
}

TEST_CASE("a codec in use by another link is waited for, and the wait costs no octet") {
  const Batch batch = make(0, recs({0, 1, 2}), packed());
  Registry codecs(64);
  batches::Box box(2, 512);
  Line a(batch.bytes);
  Line b(batch.bytes);
  a.begin(box, codecs.registry);
  b.begin(box, codecs.registry);
  const uint32_t half = 61 + 10;
  a.fill(half);
  CHECK_FALSE(a.run(box));  // it has the codec now
  b.fill(size32(batch.bytes.size()));
  const uint32_t waiting = size32(batch.bytes.size()) - 61;
  for (int i = 0; i < 3; ++i) {
    CHECK_FALSE(b.run(box));
    CHECK(b.in.available() == waiting);
  }
  SUBCASE("until the other batch has ended") {
    a.fill_rest();
    CHECK(a.run(box));
    CHECK(box.take(a.slot) == items_of({batch}));
  }
  SUBCASE("until the other connection is lost") { a.walker.abandon(); }
  CHECK(b.run(box));
  CHECK(box.take(b.slot) == items_of({batch}));
  CHECK(codecs.codec.begun == 2);
  CHECK(codecs.registry.used_by == nullptr);
}

TEST_CASE("a batch that loses the codec in its midst is neither kept nor walked, nor is what lies "
          "behind it; what lies before it is") {
  const Batch before = make(10, recs({0, 1, 2}));
  const Batch frozen = make(13, recs({0, 2, 3}, 30), packed());
  const Batch behind = make(17, recs({0, 1}));
  const Batch other = make(100, recs({0, 1, 2}, 40), packed());
  for (const bool soon : {false, true}) {  // it goes on before the other has begun
    for (uint32_t k = 1; k < frozen.bytes.size() - 61; ++k) {
      Registry codecs(64);
      batches::Box box(3, 1024);
      Line a(before.bytes + frozen.bytes + behind.bytes);
      Line b(other.bytes);
      a.begin(box, codecs.registry);
      b.begin(box, codecs.registry);
      a.fill(size32(before.bytes.size()) + 61 + k);
      REQUIRE_FALSE(a.run(box));
      REQUIRE(codecs.registry.end_turn(Instant{1000}) == kshare::kNever);  // nobody waits
      b.fill_rest();
      for (const int64_t now : {1001, 1499}) {
        REQUIRE_FALSE(b.run(box));
        REQUIRE(codecs.registry.end_turn(Instant{now}) == Instant{1500});
        REQUIRE(codecs.registry.used_by == &a.walker);
      }
      REQUIRE_FALSE(b.run(box));
      REQUIRE(codecs.registry.end_turn(Instant{1500}) == Instant{1500});
      if (!soon) REQUIRE(b.run(box));
      a.fill_rest();
      REQUIRE(a.run(box));
      REQUIRE(b.run(box));
      CHECK(box.take(b.slot) == items_of({other}));
      CHECK(box.take(a.slot) == items_of({before}));
      CHECK(a.walker.cut());
      CHECK(a.walker.walk_first() == 10);
      CHECK(a.walker.walk_end() == 13);
      CHECK(codecs.registry.used_by == nullptr);
      Line again(frozen.bytes + behind.bytes);
      again.begin(box, codecs.registry, 13);
      again.fill_rest();
      REQUIRE(again.run(box));
      CHECK(box.take(again.slot) == items_of({frozen, behind}));
    }
  }
}

TEST_CASE("a batch keeps the codec while it moves, longer when it is read again, and for good when "
          "nobody waits any more") {
  const Batch batch = make(7, recs({0, 1, 2}), packed());
  for (const int64_t from : {0, 7}) {
    const int64_t patience = from == 0 ? 500 : 2000;
    Registry codecs(64);
    batches::Box box(2, 512);
    Line a(batch.bytes);
    Line b(batch.bytes);
    a.begin(box, codecs.registry, from);
    b.begin(box, codecs.registry);
    a.fill(61 + 1);
    b.fill_rest();
    int64_t now = 1000;
    for (int i = 0; i < 10; ++i, now += patience - 1) {
      CHECK_FALSE(a.run(box));
      CHECK_FALSE(b.run(box));
      CHECK(codecs.registry.end_turn(Instant{now}) == Instant{now + patience});
      a.fill(1);
    }
    CHECK_FALSE(a.run(box));
    b.walker.abandon();
    CHECK(codecs.registry.end_turn(Instant{now}) == kshare::kNever);
    CHECK(codecs.registry.end_turn(Instant{now + 100000}) == kshare::kNever);
    a.fill_rest();
    CHECK(a.run(box));
    CHECK(box.take(a.slot) == items_of({batch}));
  }
}

namespace {

// Two brokers that lead a partition each, and a member with one codec.
struct Pair {
  Pair() {
    w.broker.add_topic("packed", 2);
    for (int partition = 0; partition < 2; ++partition) {
      w.broker.move_leader("packed", partition, partition + 1);
    }
    m.options.codecs = &codecs.registry;
    w.join(m);
  }
  static minibroker::Config config() {
    minibroker::Config its;
    its.nodes = 3;
    its.lock_ms = 60000;
    return its;
  }
  // A packed batch of three records, for the partition of that number.
  void append(int partition, size_t bytes, minibroker::BatchOptions options = packed()) {
    std::vector<minibroker::Rec> records = recs({0, 1, 2});
    for (auto& record : records) {
      std::string text;  // does not pack well
      for (size_t i = 0; i < bytes; ++i) text += static_cast<char>('a' + i % 20);
      record.value = text;
    }
    w.broker.tick(w.now);
    w.broker.append("packed", partition, records, options);
  }
  // The connection to the leader of that partition.
  world::PipeTransport& line(int partition) {
    uint32_t i = 1;
    while (i + 1 < m.pool.size() && m.consumer().engine().link(i).target() != partition + 1) ++i;
    return m.pool.transports[i];
  }
  bool has_seen(int partition, int count) const {
    for (const auto& record : m.seen) count -= record.partition == partition ? 1 : 0;
    return count == 0;
  }
  // Node 1 has stopped in the midst of its batch.
  void freeze() {
    for (auto& transport : m.pool.transports) transport.piece = 150;
    REQUIRE(m.start({"packed"}).ok());
    w.run_for(3000);
    append(0, 300);
    REQUIRE(w.run_until([&] { return codecs.registry.used_by != nullptr; }, 1000));
    line(0).stall = true;
  }
  // Nothing was lost, handed out twice, or burned.
  void check_all(size_t records) {
    CHECK(m.seen.size() == records);
    for (const auto& record : m.seen) CHECK(record.count == 1);
    for (const auto& one : m.times()) CHECK(one.second == 1);
    CHECK_FALSE(m.has_event(EventType::disconnected));
    CHECK(codecs.registry.used_by == nullptr);
    for (const std::string& violation : w.broker.violations()) FAIL_CHECK(violation);
  }

  world::World w{config()};
  world::Member<kshare::kSmallLimits> m;
  Registry codecs{64};
};

}  // namespace

TEST_CASE(
    "fetches to several brokers share one codec: who has waited goes on when it is free, with "
    "no new byte to wake it") {
  for (const size_t bytes : {size_t{100}, size_t{4000}}) {  // less and more than a receive window
    Pair pair;
    world::World& w = pair.w;
    world::Member<kshare::kSmallLimits>& m = pair.m;
    Registry& codecs = pair.codecs;
    for (int partition = 0; partition < 2; ++partition) pair.append(partition, bytes / 3);
    // The second link has the codec and stands still with it; the first comes later.
    for (auto& transport : m.pool.transports) transport.piece = 150;
    m.pool.transports[1].stall = true;
    REQUIRE(m.start({"packed"}).ok());
    REQUIRE(w.run_until([&] { return codecs.registry.used_by != nullptr; }, 5000));
    m.pool.transports[2].stall = true;
    m.pool.transports[1].stall = false;
    w.run_for(300);
    CHECK(m.consumer().engine().link(1).has_unread());
    CHECK(m.seen.empty());
    CHECK(w.turns < 2000);  // nobody spins
    m.pool.transports[2].stall = false;
    m.takes = false;
    const int64_t from = w.now;
    int64_t free_at = from;
    for (int i = 0; i < 500 && codecs.registry.used_by != nullptr; ++i) {
      free_at = w.now;
      w.step(from + 100);
    }
    CHECK(codecs.registry.used_by == nullptr);
    CHECK(m.consumer().deadline().ms <= free_at);  // poll() is to be called again at once
    m.takes = true;
    CHECK(w.run_until([&] { return m.seen.size() == 6; }, 20000));
    CHECK(w.now - from <= 2);
    CHECK(w.run_until([&] { return m.consumer().stats().acks_ok == 6; }));
    CHECK(m.seen.size() == 6);
    CHECK_FALSE(m.has_event(kshare::EventType::disconnected));
    CHECK(codecs.registry.used_by == nullptr);
    for (const std::string& violation : w.broker.violations()) FAIL_CHECK(violation);
    CHECK(w.close(m));
  }
}

TEST_CASE("a link that froze within a compressed batch does not keep the codec from another, and "
          "its own records come when it is alive again") {
  Pair pair;
  pair.freeze();
  world::World& w = pair.w;
  const uint64_t turns = w.turns;
  const int64_t from = w.now;
  pair.append(1, 300);
  CHECK(w.run_until([&] { return pair.has_seen(1, 3); }));
  CHECK(w.now - from <= 1000);
  CHECK(pair.has_seen(0, 0));
  w.run_for(2000);
  pair.append(1, 300);  // and it does not wait for a second time
  const int64_t second = w.now;
  CHECK(w.run_until([&] { return pair.has_seen(1, 6); }));
  CHECK(w.now - second <= 10);
  CHECK(w.turns - turns < 1000);  // nobody spins
  SUBCASE("at once") {}
  SUBCASE("after a while") { w.run_for(20000); }
  pair.line(0).stall = false;
  CHECK(w.run_until([&] { return pair.has_seen(0, 3); }, 2000));
  CHECK(w.run_until([&] { return pair.m.consumer().stats().acks_ok == 9; }));
  CHECK(pair.m.consumer().stats().reread == 1);
  pair.check_all(9);
  // What is damaged is told as ever.
  minibroker::BatchOptions damaged = packed();
  damaged.corrupt_crc = true;
  for (int partition = 0; partition < 2; ++partition) {
    pair.append(partition, 300, damaged);
    pair.append(partition, 300);
  }
  CHECK(w.run_until([&] { return pair.m.consumer().stats().acks_ok == 15; }));
  CHECK(pair.m.event_count(EventType::batch_corrupt) == 2);
  pair.check_all(15);
  CHECK(w.close(pair.m));
}

TEST_CASE("a link that froze within a compressed batch and is lost: nobody loses the codec with "
          "it, and its records come again") {
  Pair pair;
  pair.freeze();
  world::World& w = pair.w;
  pair.append(1, 300);
  CHECK(w.run_until([&] { return pair.has_seen(1, 3); }, 1000));
  world::PipeTransport& lost = pair.line(0);
  w.broker.close_connection(lost.conn(), w.now);
  lost.stall = false;
  CHECK(w.run_until([&] { return pair.has_seen(0, 3); }, 90000));
  CHECK(w.run_until([&] { return pair.m.consumer().stats().acks_ok == 6; }));
  CHECK(pair.m.event_count(EventType::disconnected) == 1);
  for (const auto& one : pair.m.times()) CHECK(one.second == 1);
  CHECK(pair.codecs.registry.used_by == nullptr);
  CHECK(w.close(pair.m));
}

TEST_CASE("a slow link keeps the codec, and a link that waits for it is not late") {
  Pair pair;
  world::World& w = pair.w;
  pair.m.options.request_timeout_ms = 3000;
  REQUIRE(pair.m.start({"packed"}).ok());
  w.run_for(3000);
  world::PipeTransport& slow = pair.line(0);
  world::PipeTransport& waits = pair.line(1);
  waits.stall = true;  // its answer is long under way
  pair.append(1, 300);
  w.run_for(2800);
  slow.piece = 150;
  pair.append(0, 300);
  REQUIRE(w.run_until([&] { return pair.codecs.registry.used_by != nullptr; }, 1000));
  const void* const user = pair.codecs.registry.used_by;
  slow.piece = 20;
  waits.stall = false;
  for (int i = 0; i < 5; ++i) {
    slow.stall = false;
    w.step(w.now);
    slow.stall = true;
    w.run_for(480);
    CHECK(pair.codecs.registry.used_by == user);
  }
  CHECK(pair.m.seen.empty());
  slow.stall = false;
  CHECK(w.run_until([&] { return pair.m.consumer().stats().acks_ok == 6; }, 1000));
  CHECK(pair.m.consumer().stats().reread == 0);
  pair.check_all(6);
  CHECK(w.close(pair.m));
}

}  // namespace test_codec
