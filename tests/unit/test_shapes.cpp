// SPDX-License-Identifier: Apache-2.0
// core/intake.hpp with core/handout.hpp: acquired ranges in all shapes against records in all
// shapes. A link without a broker gets answers made by hand; what becomes of each offset is
// compared with what it ought to be: handed out, read again, gap, or dropped.
#include <doctest/doctest.h>

#include <array>

#include "../support/batches.hpp"
#include "kshare/core/handout.hpp"
#include "kshare/core/storage.hpp"

namespace test_shapes {
namespace {

using batches::Batch;
using batches::make;
using batches::Ranges;
using batches::size32;
using kshare::Api;
using kshare::Handout;
using kshare::Instant;
using kshare::kNoLot;
using kshare::Lot;
using kshare::Record;
using kshare::Store;
using minibroker::Writer;

constexpr uint32_t kChunk = Store::kChunkBytes;
constexpr uint32_t kOffsets = 32;
constexpr uint32_t kPartitions = 2;
constexpr uint32_t kLink = 1;

constexpr kshare::Limits kLimits = [] {
  kshare::Limits l = kshare::kTinyLimits;
  l.receive_window_bytes = 4096;
  l.records_max = 40;
  l.lots_max = 16;
  return l;
}();

// What one partition's log holds and what of it was acquired.
struct Shape {
  std::vector<Batch> log;
  Ranges acquired;
};

class Rig {
 public:
  explicit Rig(uint32_t slot_bytes)
      : slot_bytes_(slot_bytes), memory_(kshare::Memory::of(storage_)) {
    store_ = std::make_unique<uint8_t[]>(size_t{slot_bytes} * kLimits.store_slots);
    for (uint32_t i = 0; i < 16; ++i) id_.octets[i] = static_cast<uint8_t>(i + 1);
    begin();
  }

  kshare::Tables tables;
  Instant now{1000};
  std::array<Shape, kPartitions> shapes{};
  size_t batches_a_fetch = 100;  // that a plain fetch brings
  uint32_t rereads = 0;
  uint32_t faults = 0;
  bool last_first = false;
  bool uneven = false;  // odd offsets come for the second time: no range goes on in the next
  std::array<std::array<int, kOffsets>, kPartitions> handed{};
  std::array<std::array<int, kOffsets>, kPartitions> gaps{};
  std::array<std::array<int, kOffsets>, kPartitions> refused{};

  void begin() {
    tables = kshare::Tables{};
    tables.shared.limits = &kLimits;
    tables.shared.events.attach(memory_.events);
    tables.shared.words = memory_.error_text;
    tables.store.attach(memory_.slots, store_.get(), slot_bytes_);
    tables.lots.attach(memory_.lots, memory_.lists);
    tables.acks.attach(memory_.acks, memory_.commits, tables.lots, tables.store);
    tables.topology.attach(memory_.topics, memory_.topic_names, memory_.brokers, memory_.hosts,
                           memory_.partitions, tables.lots);
    tables.topology.begin_assignment();
    for (int32_t i = 0; i < static_cast<int32_t>(kPartitions); ++i) {
      if (!tables.topology.assign(id_, i)) ++faults;
    }
    static_cast<void>(tables.topology.end_assignment());
    for (uint32_t i = 0; i < kPartitions; ++i) {
      tables.topology.partition(i).sessions = 1u << kLink;
    }
    kshare::make_anew(link_).attach({memory_.receive_windows, kLimits.receive_window_bytes},
                                    {memory_.send_windows, kLimits.send_window_bytes});
    link_.set_target(1, now, tables.shared);
    intake_.attach(kLink);
    correlation_ = 0;
    rereads = 0;
    handed = gaps = refused = {};
  }
  void set_hint(uint32_t partition, int64_t hint) {
    tables.topology.partition(partition).hint = hint;
  }

  // ---- Answers.
  void ask_share() {
    const uint32_t slot = tables.store.reserve(kLink);
    if (slot == Store::kNone) ++faults;
    send(Api::share_fetch);
    intake_.begin_share_fetch(slot, tables);
  }
  std::string share_answer() const {
    Writer w;
    w.i32(0).i16(0).null().i32(30000).array(1).raw(id_text()).array(kPartitions);
    for (uint32_t i = 0; i < kPartitions; ++i) {
      const std::string records = batches::join(shapes[i].log);
      w.i32(i).i16(0).null().i16(0).null().i32(0).i32(0).tags();
      w.uvarint(records.size() + 1).raw(records);
      w.array(shapes[i].acquired.size());
      for (const auto& range : shapes[i].acquired) {
        w.i64(range.first).i64(range.second).i16(uneven && range.first % 2 != 0 ? 2 : 1).tags();
      }
      w.tags();
    }
    return framed(w.tags().array(0).tags().out);
  }
  // The lot that is read again next: the first missing one of the first partition that has any, or
  // the last one of all.
  uint32_t missing() const {
    uint32_t lot = kNoLot;
    for (uint32_t i = 0; i < tables.lots.count() && last_first; ++i) {
      const kshare::Lot& its = tables.lots[i];
      if (!its.used || !its.missing()) continue;
      if (lot == kNoLot || its.walked > tables.lots[lot].walked) lot = i;
    }
    for (uint32_t i = 0; i < kPartitions && lot == kNoLot; ++i) {
      lot = tables.lots.first_missing(i, kLink, 0);
    }
    return lot;
  }
  void ask_again(uint32_t lot) {
    const uint32_t slot = tables.store.reserve(kLink);
    if (slot == Store::kNone) ++faults;
    send(Api::fetch);
    from_ = tables.lots[lot].walked;
    row_ = tables.lots[lot].partition;
    intake_.begin_reread(slot, row_, from_);
    ++rereads;
  }
  std::string fetch_answer() const {
    std::string records;
    size_t count = 0;
    for (const Batch& batch : shapes[row_].log) {
      if (batch.last >= from_ && count++ < batches_a_fetch) records += batch.bytes;
    }
    Writer w;
    w.i32(0).i16(0).i32(0).array(1).raw(id_text()).array(1);
    w.i32(row_).i16(0).i64(100).i64(100).i64(0).null().i32(-1).uvarint(records.size() + 1);
    return framed(w.raw(records).tags().tags().tags().out);
  }
  // Bytes come in; true once the answer is complete.
  bool feed(const std::string& bytes) {
    for (size_t at = 0; at < bytes.size();) {
      const kshare::MutableBytes space = link_.space();
      const uint32_t count = std::min(space.size, size32(bytes.size() - at));
      if (count == 0) return false;
      std::memcpy(space.data, bytes.data() + at, count);
      at += count;
      link_.received(count, now, tables.shared);
      if (link_.in_answer() && intake_.read(link_, tables, now) && link_.end_answer(0, now)) {
        intake_.publish(tables);
        if (at != bytes.size()) ++faults;
        return true;
      }
      if (link_.reader().malformed()) return false;
    }
    return false;
  }
  bool malformed() { return link_.reader().malformed(); }

  // ---- The application: takes `most` records and accepts them; gaps are cleared out of the way.
  void take(uint32_t most = UINT32_MAX) {
    Record record;
    for (;;) {
      const Handout::Step step = Handout::next(tables, most == 0 ? nullptr : &record, now);
      settle();
      if (step == Handout::Step::empty || (step == Handout::Step::record && most == 0)) return;
      if (step != Handout::Step::record) continue;
      --most;
      const auto partition = static_cast<size_t>(record.partition);
      const auto offset = static_cast<size_t>(record.offset);
      ++handed[partition][offset];
      bool freed = false;
      if (!tables.acks.acknowledge(record.id, kshare::Ack::accept, freed).ok()) ++faults;
      if (record.value.text() != value_of(record.offset)) ++faults;
      settle();
    }
  }
  static std::string value_of(int64_t offset) { return "v" + std::to_string(offset + 100); }

  // Reads again and takes, until nothing is missing.
  bool finish() {
    for (int round = 0; round < 60; ++round) {
      take();
      const uint32_t lot = missing();
      if (lot == kNoLot) break;
      ask_again(lot);
      if (!feed(fetch_answer())) return false;
    }
    return is_idle();
  }
  bool is_idle() const {
    return tables.lots.free_count() == kLimits.lots_max && tables.acks.used() == 0 &&
           tables.store.free_count() == kLimits.store_slots && faults == 0;
  }

 private:
  std::string id_text() const { return {reinterpret_cast<const char*>(id_.octets), 16}; }
  std::string framed(const std::string& body) const {
    return minibroker::framed(Writer().i32(correlation_).tags().raw(body).out);
  }
  void send(Api api) {
    kshare::Writer out = link_.begin(api, tables.shared);
    link_.send(out, now, tables.shared);
    ++correlation_;
  }
  // Everything pending is sent and confirmed.
  void settle() {
    for (uint32_t row = 0; row < kPartitions; ++row) {
      for (uint32_t i = tables.acks.head(row); i != kshare::kNoAck; i = tables.acks.next(i)) {
        const kshare::AckSlot& ack = tables.acks.slot(i);
        if (ack.state != kshare::AckState::pending) continue;
        tables.acks.mark_in_flight(i);
        for (int64_t at = ack.first; at <= ack.last(); ++at) {
          const auto offset = static_cast<size_t>(at);
          if (offset >= kOffsets)
            ++faults;
          else if (ack.type == kshare::kAckGap)
            ++gaps[row][offset];
          else if (ack.type != 1)
            ++refused[row][offset];
        }
      }
      tables.resolve(row, kLink, 0, now);
    }
  }

  kshare::Storage<kLimits> storage_{};
  uint32_t slot_bytes_;
  kshare::Memory memory_;
  std::unique_ptr<uint8_t[]> store_;
  kshare::Link link_;
  kshare::Intake intake_;
  kshare::Uuid id_{};
  int32_t correlation_ = 0;
  int64_t from_ = 0;
  uint32_t row_ = 0;
};

// One batch of [first, last] with records where `records` has a bit.
Batch batch_of(int64_t first, int64_t last, uint32_t records, bool corrupt = false) {
  std::vector<minibroker::Rec> all;
  for (int64_t at = first; at <= last; ++at) {
    if ((records >> at & 1u) == 0) continue;
    all.push_back(batches::rec(static_cast<int32_t>(at - first), Rig::value_of(at)));
  }
  minibroker::BatchOptions options;
  options.last_offset_delta = static_cast<int32_t>(last - first);
  options.corrupt_crc = corrupt;
  return make(first, all, options);
}

// Maximal ranges of the bits set, or one entry an offset as Kafka 4.1 gives them.
Ranges ranges_of(uint32_t bits, bool single) {
  Ranges all;
  for (int64_t at = 0; at < kOffsets; ++at) {
    if ((bits >> at & 1u) == 0) continue;
    if (single || all.empty() || all.back().second + 1 != at) all.push_back({at, at});
    all.back().second = at;
  }
  return all;
}

// 'r' to be handed out, 'g' a gap, 'm' to be read again, '.' not ours: after the first answer.
std::string expect_first(const Shape& shape, uint32_t records, uint32_t acquired, uint32_t count,
                         uint32_t room, int64_t hint) {
  int64_t begin = shape.log[0].base;
  if (shape.log[0].bytes.size() - 12 > room && hint > begin && hint <= shape.log[0].last)
    begin = hint;
  int64_t end = begin;
  uint32_t used = 0;
  bool cut = false;
  for (const Batch& batch : shape.log) {
    bool chunk = false;
    for (const auto& record : batch.records) {
      const uint32_t need = record.size + (chunk ? 0 : kChunk);
      if (cut || record.item.first < begin) continue;
      cut = used + need > room;
      if (cut) end = record.item.first;
      chunk = true;
      used += need;
    }
    if (!cut) end = batch.last + 1;
  }
  std::string text(count, '.');
  for (uint32_t at = 0; at < count; ++at) {
    if ((acquired >> at & 1u) == 0) continue;
    const bool walked = at >= begin && at < end;
    text[at] = !walked ? 'm' : (records >> at & 1u) != 0 ? 'r' : 'g';
  }
  return text;
}
std::string see_first(const Rig& rig, uint32_t records, uint32_t count) {
  std::string text(count, '.');
  for (uint32_t i = rig.tables.lots.head(0); i != kNoLot; i = rig.tables.lots.next(i)) {
    const Lot& lot = rig.tables.lots[i];
    for (int64_t at = lot.first; at <= lot.last; ++at) {
      const bool here = lot.in_slot && at < lot.walked;
      text[static_cast<size_t>(at)] = !here ? 'm' : (records >> at & 1u) != 0 ? 'r' : 'g';
    }
  }
  return text;
}

// Every acquired offset of `partition` ended once, as a record or as a gap; no other did.
bool exact(const Rig& rig, uint32_t partition, uint32_t records, uint32_t acquired) {
  for (uint32_t at = 0; at < kOffsets; ++at) {
    const bool ours = (acquired >> at & 1u) != 0;
    const bool has = (records >> at & 1u) != 0;
    if (rig.handed[partition][at] != (ours && has ? 1 : 0)) return false;
    if (rig.gaps[partition][at] != (ours && !has ? 1 : 0)) return false;
    if (rig.refused[partition][at] != 0) return false;
  }
  return true;
}

std::string words(uint32_t records, uint32_t acquired, uint32_t split, int64_t hint) {
  return "records " + std::to_string(records) + " acquired " + std::to_string(acquired) +
         " split " + std::to_string(split) + " hint " + std::to_string(hint);
}

// One case; false and a word about it if it went wrong.
bool run_case(Rig& rig, uint32_t count, uint32_t room, uint32_t records, uint32_t acquired,
              uint32_t split, int64_t hint, bool single) {
  rig.begin();
  Shape& shape = rig.shapes[0];
  shape.log.clear();
  const auto last = static_cast<int64_t>(count) - 1;
  if (split != 0) shape.log.push_back(batch_of(0, int64_t{split} - 1, records));
  shape.log.push_back(batch_of(split, last, records));
  shape.acquired = ranges_of(acquired, single);
  rig.set_hint(0, hint);
  rig.ask_share();
  if (!rig.feed(rig.share_answer())) {
    FAIL_CHECK("no end: " << words(records, acquired, split, hint));
    return false;
  }
  const std::string wanted = expect_first(shape, records, acquired, count, room, hint);
  const std::string seen = see_first(rig, records, count);
  const bool done = rig.finish();
  if (seen == wanted && done && exact(rig, 0, records, acquired)) return true;
  FAIL_CHECK(words(records, acquired, split, hint)
             << " room " << room << " single " << single << ": " << seen << " wanted " << wanted);
  return false;
}

}  // namespace

TEST_CASE(
    "acquired ranges in all shapes against records in all shapes: handed out, read again, "
    "gap or dropped") {
  constexpr uint32_t kCount = 5;
  const uint32_t record = batch_of(0, 0, 1).records[0].size;
  for (uint32_t room : {kChunk + record, kChunk + 2 * record + 5, 4 * kChunk + 8 * record}) {
    Rig rig(room);
    bool good = true;
    for (uint32_t records = 0; good && records < 1u << kCount; ++records) {
      for (uint32_t acquired = 0; good && acquired < 1u << kCount; ++acquired) {
        for (uint32_t split = 0; good && split < kCount; ++split) {
          for (int64_t hint : {0, 2}) {
            good = good && run_case(rig, kCount, room, records, acquired, split, hint,
                                    (records + acquired + split) % 2 == 0);
          }
        }
      }
    }
  }
}

TEST_CASE("larger shapes, drawn at random") {
  uint64_t state = 12345;
  const auto draw = [&](uint32_t below) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return static_cast<uint32_t>(state >> 33) % below;
  };
  for (uint32_t room : {kChunk + 14u, 130u, 200u, 300u}) {
    Rig rig(room);
    bool good = true;
    for (int i = 0; good && i < 1500; ++i) {
      rig.batches_a_fetch = 1 + draw(2);
      good =
          run_case(rig, 14, room, draw(1u << 14), draw(1u << 14), draw(14), draw(16), draw(4) == 0);
    }
  }
}

TEST_CASE("two partitions in one slot: neither one's leftovers become the other's gaps") {
  const uint32_t all = 0xFF;
  Rig rig(1000);
  for (uint32_t mine = 0; mine < 256; mine += 3) {
    for (uint32_t other = 1; other < 256; other += 7) {
      rig.begin();
      rig.shapes[0] = {{batch_of(0, 3, all), batch_of(4, 7, all)}, ranges_of(mine, false)};
      rig.shapes[1] = {{batch_of(0, 7, all)}, ranges_of(other, false)};
      rig.ask_share();
      REQUIRE(rig.feed(rig.share_answer()));
      if (!rig.finish() || !exact(rig, 0, all, mine) || !exact(rig, 1, all, other)) {
        FAIL_CHECK("mine " << mine << " other " << other);
      }
    }
  }
}

TEST_CASE("a lot that is given up does not take the records behind it in the slot along") {
  const uint32_t all = 0xFF;
  Rig rig(1000);
  for (uint32_t taken = 0; taken <= 8; ++taken) {  // records taken before
    for (int how = 0; how < 3; ++how) {
      rig.begin();
      rig.shapes[0] = {{batch_of(0, 7, all)}, {{0, 3}, {5, 7}}};
      rig.shapes[1] = {{batch_of(0, 7, all)}, {{0, 7}}};
      rig.ask_share();
      REQUIRE(rig.feed(rig.share_answer()));
      rig.take(taken);
      for (uint32_t i = rig.tables.lots.head(0); i != kNoLot;) {
        const uint32_t next = rig.tables.lots.next(i);
        if (how == 0) rig.tables.give_back(i);         // revoked, or nobody took it in time
        if (how == 1) rig.tables.drop_undelivered(i);  // its leader has moved
        if (how == 2) rig.tables.lose_lot(i, {kshare::Errc::lock_lost, 0});
        if (rig.tables.lots[i].used) static_cast<void>(rig.tables.lots.free_if_done(i));
        i = next;
      }
      rig.tables.release_given_back();
      CHECK(rig.finish());
      INFO("taken " << taken << " how " << how);
      CHECK(exact(rig, 1, all, all));
      for (uint32_t at = 0; at < 8; ++at) {
        const bool was = at < 4 ? at < taken : at > 4 && at - 1 < taken;
        CHECK(rig.handed[0][at] == (was ? 1 : 0));
        CHECK(rig.gaps[0][at] == (at == 4 ? 0 : 0));
        CHECK(rig.refused[0][at] == (how == 0 && at != 4 && !was ? 1 : 0));
      }
    }
  }
}

TEST_CASE(
    "a batch that cannot be handed out and was not acquired does not touch the next partition") {
  const uint32_t all = 0xFF;
  Rig rig(1000);
  for (uint32_t acquired = 0; acquired < 256; ++acquired) {
    rig.begin();
    rig.shapes[0] = {{batch_of(0, 3, all), batch_of(4, 7, all, true)}, ranges_of(acquired, false)};
    rig.shapes[1] = {{batch_of(0, 7, all)}, {{0, 7}}};
    rig.ask_share();
    REQUIRE(rig.feed(rig.share_answer()));
    const bool done = rig.finish();
    bool good = done && exact(rig, 1, all, all);
    for (uint32_t at = 0; at < 8; ++at) {
      const int ours = (acquired >> at & 1u) != 0 ? 1 : 0;
      good = good && rig.handed[0][at] == (at < 4 ? ours : 0);
      good = good && rig.refused[0][at] == (at < 4 ? 0 : ours) && rig.gaps[0][at] == 0;
    }
    if (!good) FAIL_CHECK("acquired " << acquired);
  }
}

TEST_CASE("records taken while others are read again are not mistaken for gaps") {
  const uint32_t all = 0xFFFF;
  const uint32_t record = batch_of(0, 0, 1).records[0].size;
  Rig rig(kChunk + 4 * record);
  for (int64_t hint = 1; hint < 16; ++hint) {
    for (uint32_t taken = 0; taken < 6; ++taken) {
      for (size_t part = 0; part < 12; ++part) {
        // Released records 0 to 2 come again, together with new ones: the hint begins behind them.
        rig.begin();
        rig.shapes[0] = {{batch_of(0, 15, all)}, {{0, 2}, {4, 13}, {15, 15}}};
        rig.shapes[1] = {};
        rig.set_hint(0, hint);
        rig.ask_share();
        REQUIRE(rig.feed(rig.share_answer()));
        const uint32_t lot = rig.missing();
        REQUIRE(lot != kNoLot);
        rig.ask_again(lot);
        const std::string answer = rig.fetch_answer();
        const size_t cut = answer.size() * part / 12;
        REQUIRE_FALSE(rig.feed(answer.substr(0, cut)));
        rig.take(taken);
        const bool fed = rig.feed(answer.substr(cut));
        if (!fed || !rig.finish() || !exact(rig, 0, all, 0xBFF7)) {
          FAIL_CHECK("hint " << hint << " taken " << taken << " part " << part);
        }
      }
    }
  }
}

TEST_CASE("acquired ranges that do not ascend, overlap or repeat lose nothing to gaps") {
  const uint32_t all = 0xFF;
  Rig rig(1000);
  const Ranges cases[] = {{{4, 7}, {0, 3}}, {{5, 5}, {0, 2}, {7, 7}}, {{0, 3}, {2, 7}},
                          {{0, 7}, {0, 7}}, {{0, 7}, {3, 3}},         {{2, 3}, {1, 1}, {2, 3}}};
  for (const Ranges& acquired : cases) {
    rig.begin();
    rig.shapes[0] = {{batch_of(0, 7, all)}, acquired};
    rig.shapes[1] = {{batch_of(0, 7, all)}, {{0, 7}}};
    rig.ask_share();
    REQUIRE(rig.feed(rig.share_answer()));
    CHECK(rig.finish());
    CHECK(exact(rig, 1, all, all));
    for (uint32_t at = 0; at < 8; ++at) {
      CHECK(rig.gaps[0][at] == 0);
      CHECK(rig.handed[0][at] <= 1);
    }
    for (int64_t at = acquired.back().first; at <= acquired.back().second; ++at) {
      CHECK(rig.handed[0][static_cast<size_t>(at)] == 1);
    }
  }
}

TEST_CASE("more ranges than rows: those with a row are served, the others are counted") {
  Rig rig(1000);
  const uint32_t all = UINT32_MAX;
  rig.uneven = true;
  rig.shapes[0] = {{batch_of(0, 31, all)}, ranges_of(all, true)};
  rig.shapes[1] = {};
  for (int64_t hint : {0, 3}) {
    rig.begin();
    rig.set_hint(0, hint);
    rig.ask_share();
    REQUIRE(rig.feed(rig.share_answer()));
    CHECK(rig.finish());
    CHECK(exact(rig, 0, all, (1u << kLimits.lots_max) - 1));
  }
}

TEST_CASE("a range for every offset needs one row if they are neighbours (Kafka 4.1)") {
  Rig rig(1000);
  const uint32_t all = UINT32_MAX;
  for (uint32_t hole : {40u, 0u, 7u, 31u}) {
    const uint32_t acquired = hole < 32 ? all & ~(1u << hole) : all;
    rig.shapes[0] = {{batch_of(0, 31, all)}, ranges_of(acquired, true)};
    rig.shapes[1] = {};
    rig.begin();
    rig.ask_share();
    REQUIRE(rig.feed(rig.share_answer()));
    CHECK(kLimits.lots_max - rig.tables.lots.free_count() == (hole == 7 ? 2u : 1u));
    CHECK(rig.finish());
    CHECK(exact(rig, 0, all, acquired));
  }
}

TEST_CASE("bytes are read again for any lot first: those below it take no room from it") {
  for (uint32_t room : {100u, 150u, 300u}) {
    for (uint32_t acquired : {0x55555555u, 0xF0F0F0F0u, 0x80000001u, 0x0F00FF0Fu}) {
      Rig rig(room);
      rig.last_first = true;
      rig.shapes[0] = {{batch_of(0, 31, UINT32_MAX)}, ranges_of(acquired, false)};
      rig.shapes[1] = {};
      rig.begin();
      rig.ask_share();
      REQUIRE(rig.feed(rig.share_answer()));
      CHECK(rig.finish());
      CHECK(exact(rig, 0, UINT32_MAX, acquired));
    }
  }
}

TEST_CASE("ranges that no broker gives are malformed, and nothing runs over") {
  for (const auto& range : Ranges{{-1, 3},
                                  {3, 2},
                                  {0, INT64_MAX},
                                  {0, INT64_MAX - 1},
                                  {INT64_MIN, INT64_MAX},
                                  {5, int64_t{5} + INT32_MAX}}) {
    Rig rig(1000);
    rig.shapes[0] = {{batch_of(0, 7, 0xFF)}, {range}};
    rig.ask_share();
    CHECK_FALSE(rig.feed(rig.share_answer()));
    CHECK(rig.malformed());
  }
}

TEST_CASE("records that nobody acquired make room in the slot for the next partition's") {
  Rig rig(512);
  rig.shapes[0].log = {batch_of(0, 19, 0xFFFFF)};
  rig.shapes[0].acquired = {{0, 0}};
  rig.shapes[1].log = {batch_of(0, 19, 0xFFFFF)};
  rig.shapes[1].acquired = {{0, 19}};
  rig.ask_share();
  REQUIRE(rig.feed(rig.share_answer()));
  CHECK(rig.finish());
  CHECK(rig.rereads == 0);
  CHECK(exact(rig, 0, 0xFFFFF, 1));
  CHECK(exact(rig, 1, 0xFFFFF, 0xFFFFF));
}

TEST_CASE("a batch of an unknown form is read again once, from a known offset, then refused") {
  Rig rig(1000);
  Batch batch = batch_of(0, 3, 0xF);
  batch.bytes[16] = 1;  // magic
  rig.shapes[0] = {{batch}, {{0, 3}}};
  rig.ask_share();
  REQUIRE(rig.feed(rig.share_answer()));
  CHECK(rig.finish());
  CHECK(rig.rereads == 1);
  for (size_t offset = 0; offset < 4; ++offset) {
    CHECK(rig.refused[0][offset] == 1);
    CHECK(rig.handed[0][offset] == 0);
  }
}

}  // namespace test_shapes
