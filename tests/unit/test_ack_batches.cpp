// SPDX-License-Identifier: Apache-2.0
// ack/ack_batches.hpp: acks of one partition that interleave, touch, nest or come in any order give
// ascending, disjoint, minimal batches. Exhaustive over small cases, against the rule of KIP-932's
// Java client: a new batch at each hole, more than ten equal types in a batch of their own.
#include <doctest/doctest.h>

#include <algorithm>
#include <map>

#include "../support/batches.hpp"
#include "kshare/ack/ack_batches.hpp"

namespace test_ack_batches {
namespace {

using kshare::Ack;
using kshare::AckBatchWriter;
using kshare::AckBuffer;
using kshare::AckClass;
using kshare::AckKind;
using kshare::AckSlot;
using kshare::AckState;
using kshare::Instant;
using kshare::Lot;
using kshare::Lots;
using kshare::PartitionLists;
using kshare::RecordId;
using kshare::Writer;

constexpr Instant kNow{1000};
constexpr uint32_t kBehind = 32;

// Lots by what they make of an ack on link 1 now.
enum LotKind : uint32_t { sound, late, doubtful, elsewhere, kLots };

struct AckBatch {
  int64_t first = 0;
  int64_t last = 0;
  std::vector<int8_t> types;

  friend bool operator==(const AckBatch& a, const AckBatch& b) {
    return a.first == b.first && a.last == b.last && a.types == b.types;
  }
};
using AckBatches = std::vector<AckBatch>;

struct Bench {
  explicit Bench(uint32_t slots) : box(1, 256), rows(kLots), lists(1), acks_memory(slots) {
    begin();
  }
  void begin() {
    box.store.attach({box.rows.data(), 1}, box.memory.get(), 256);
    lots.attach({rows.data(), kLots}, {lists.data(), 1});
    acks.attach({acks_memory.data(), batches::size32(acks_memory.size())}, {}, lots, box.store);
    for (uint32_t i = 0; i < kLots; ++i) {
      static_cast<void>(lots.add(0, i == elsewhere ? 2 : 1, 0, 1000000));
      lots[i].lock_min = i == late ? kNow : Instant{2000};
      lots[i].doubtful = i == doubtful;
    }
    box.store.slot(0).state = kshare::SlotState::ready;
    box.store.slot(0).lots_head = 9;  // never freed
  }
  void give(uint32_t lot, int64_t offset, uint8_t type) {
    if (type == kshare::kAckGap) return range(lot, offset, offset, type);
    bool freed = false;
    const RecordId id = acks.hand_out(lot, offset);
    if (!acks.acknowledge(id, static_cast<Ack>(type), freed).ok()) FAIL_CHECK("acknowledge");
  }
  void range(uint32_t lot, int64_t first, int64_t last, uint8_t type) {
    if (!acks.settle_range(lot, first, last, type)) FAIL_CHECK("range");
  }
  // The application wants more time for a record.
  void renew(uint32_t lot, int64_t offset) { give(lot, offset, static_cast<uint8_t>(Ack::renew)); }
  // What a lot has not handed out is to be renewed.
  void stage(uint32_t lot, int64_t first, int64_t last) {
    const Lot before = lots[lot];
    lots[lot].cursor = first;
    lots[lot].last = last;
    acks.stage_renewal(lot);
    lots[lot].cursor = before.cursor;
    lots[lot].last = before.last;
  }
  uint32_t count(AckState state) const {
    uint32_t all = 0;
    for (uint32_t i = 0; i < acks.count(); ++i) all += acks.slot(i).state == state ? 1u : 0u;
    return all;
  }
  // Writes into a window of exactly `room` octets; the batches as a broker reads them.
  AckBatches write(uint32_t room, AckClass wanted = AckClass::sound,
                   AckKind kind = AckKind::terminal) {
    const std::unique_ptr<uint8_t[]> window(new uint8_t[room]);
    Writer out{window.get(), room};
    AckBatchWriter writer{acks, kind, out, kBehind};
    const uint32_t count = writer.write(0, 1, wanted, kNow);
    AckBatches result;
    if (count == 0) return result;
    if (!out.has_room(kBehind)) FAIL_CHECK("no room is left behind");
    minibroker::Reader in(window.get(), out.size());
    const int64_t batches = in.array(true);
    if (batches != count) FAIL_CHECK("count");
    for (int64_t i = 0; i < batches; ++i) {
      AckBatch batch;
      batch.first = in.i64();
      batch.last = in.i64();
      const int64_t types = in.array(true);
      for (int64_t t = 0; t < types; ++t) batch.types.push_back(in.i8());
      in.tags();
      result.push_back(batch);
    }
    if (!in.done()) FAIL_CHECK("not what a broker can read");
    return result;
  }

  batches::Box box;
  std::vector<Lot> rows;
  std::vector<PartitionLists> lists;
  std::vector<AckSlot> acks_memory;
  Lots lots;
  AckBuffer acks;
};

using Types = std::map<int64_t, int8_t>;  // offset -> what is pending for it

// The rule, from single offsets.
AckBatches expect(const Types& types) {
  std::vector<AckBatch> stretches;  // touching offsets of one type
  for (const auto& [offset, type] : types) {
    if (stretches.empty() || stretches.back().last + 1 != offset ||
        stretches.back().types[0] != type) {
      stretches.push_back({offset, offset, {type}});
    }
    stretches.back().last = offset;
  }
  AckBatches result;
  bool open = false;  // the last batch may be extended
  for (const AckBatch& stretch : stretches) {
    const int64_t length = stretch.last - stretch.first + 1;
    const bool own = length > 10;
    const bool joins = open && !own && result.back().last + 1 == stretch.first &&
                       static_cast<int64_t>(result.back().types.size()) + length <= 126;
    if (!joins) result.push_back({stretch.first, stretch.first - 1, {}});
    const auto count = own ? size_t{1} : static_cast<size_t>(length);
    result.back().types.insert(result.back().types.end(), count, stretch.types[0]);
    result.back().last = stretch.last;
    open = !own;
  }
  for (AckBatch& batch : result) {
    const auto& all = batch.types;
    const bool one = std::all_of(all.begin(), all.end(), [&](int8_t t) { return t == all[0]; });
    if (one) batch.types.resize(1);
  }
  return result;
}

std::string show(const AckBatches& all) {
  std::string text;
  for (const AckBatch& batch : all) {
    text += " [" + std::to_string(batch.first) + "-" + std::to_string(batch.last) + ":";
    for (int8_t type : batch.types) text += std::to_string(type);
    text += "]";
  }
  return text;
}

bool compare(const AckBatches& got, const AckBatches& wanted, uint32_t code) {
  if (got == wanted) return true;
  FAIL_CHECK("case " << code << " got" << show(got) << " wanted" << show(wanted));
  return false;
}

// Adds what was written to what was written before; false if an offset comes a second time.
bool collect(Types& all, const AckBatches& written) {
  for (const AckBatch& batch : written) {
    for (int64_t at = batch.first; at <= batch.last; ++at) {
      const auto i = static_cast<size_t>(at - batch.first);
      if (!all.emplace(at, batch.types.size() == 1 ? batch.types[0] : batch.types[i]).second) {
        return false;
      }
    }
  }
  return true;
}

// One assignment: a digit for each offset. 0 to 3: pending with that type; 4: nobody's; 5: ours no
// more, not yet, or not in this request.
bool run_assignment(Bench& bench, const std::vector<uint32_t>& digits, uint32_t code) {
  bench.begin();
  Types types;
  uint32_t pending = 0;
  const bool backwards = code % 2 != 0;  // the order in which the application speaks
  const uint32_t count = batches::size32(digits.size());
  for (uint32_t n = 0; n < count; ++n) {
    const uint32_t i = backwards ? count - 1 - n : n;
    if (digits[i] < 4) {
      bench.give(sound, i, static_cast<uint8_t>(digits[i]));
      types[i] = static_cast<int8_t>(digits[i]);
    } else if (digits[i] == 5 && i % 4 == 0) {
      static_cast<void>(bench.acks.hand_out(sound, i));
    } else if (digits[i] == 5) {
      bench.give(i % 4, i, 1);
      ++pending;
    }
  }
  const AckBatches got = bench.write(400);
  uint32_t flying = 0;
  for (uint32_t i = 0; i < bench.acks.count(); ++i) {
    if (bench.acks.slot(i).state == AckState::in_flight) ++flying;
  }
  const bool good = compare(got, expect(types), code) && bench.acks.pending() == pending &&
                    flying == types.size();
  if (!good) FAIL_CHECK("case " << code);
  return good;
}

// 0: a record to be renewed; 1: a range to be renewed; 2: a record that is acknowledged; 3: a gap;
// 4: with the application; 5: nobody's; 6: to be renewed, but not in this request.
constexpr uint32_t kRenewDigits = 7;

bool run_renewals(Bench& bench, const std::vector<uint32_t>& digits, uint32_t code) {
  bench.begin();
  Types terminal;
  Types renewals;
  uint32_t others = 0;
  const bool backwards = code % 2 != 0;
  const uint32_t count = batches::size32(digits.size());
  for (uint32_t n = 0; n < count; ++n) {
    const uint32_t i = backwards ? count - 1 - n : n;
    if (digits[i] == 0) bench.renew(sound, i);
    if (digits[i] == 1) bench.stage(sound, i, i);
    if (digits[i] <= 1) renewals[i] = 4;
    if (digits[i] == 2) bench.give(sound, i, 1);
    if (digits[i] == 3) bench.give(sound, i, kshare::kAckGap);
    if (digits[i] == 2 || digits[i] == 3) terminal[i] = digits[i] == 2 ? 1 : 0;
    if (digits[i] == 4) static_cast<void>(bench.acks.hand_out(sound, i));
    if (digits[i] == 6) bench.renew(1 + i % 3, i);
    if (digits[i] == 6) ++others;
  }
  const auto renewals_first = [&] {
    const AckBatches got = bench.write(400, AckClass::sound, AckKind::renewal);
    return compare(got, expect(renewals), code) && bench.acks.renewals() == others &&
           bench.count(AckState::renewing) == others &&
           bench.count(AckState::renew_in_flight) == renewals.size();
  };
  const auto terminal_first = [&] {
    const AckBatches got = bench.write(400);
    return compare(got, expect(terminal), code) && bench.acks.pending() == 0 &&
           bench.count(AckState::in_flight) == terminal.size();
  };
  bool good =
      code % 3 == 0 ? renewals_first() && terminal_first() : terminal_first() && renewals_first();
  good = good && bench.lots[sound].renewing == !renewals.empty() && !bench.lots[late].renewing &&
         !bench.lots[doubtful].renewing && !bench.lots[elsewhere].renewing;
  if (!good) FAIL_CHECK("renewals, case " << code);
  return good;
}

}  // namespace

TEST_CASE("all assignments of renewals among acks over six offsets: each kind in its own request") {
  Bench bench(6);
  std::vector<uint32_t> digits(6);
  bool good = true;
  for (uint32_t code = 0; good && code < 117649; ++code) {
    uint32_t left = code;
    for (uint32_t& digit : digits) {
      digit = left % kRenewDigits;
      left /= kRenewDigits;
    }
    good = run_renewals(bench, digits, code);
  }
}

TEST_CASE("all assignments of accept, release, reject, gap, none and not ours over six offsets") {
  Bench bench(6);
  std::vector<uint32_t> digits(6);
  bool good = true;
  for (uint32_t code = 0; good && code < 46656; ++code) {
    uint32_t left = code;
    for (uint32_t& digit : digits) {
      digit = left % 6;
      left /= 6;
    }
    good = run_assignment(bench, digits, code);
  }
}

TEST_CASE("all assignments of accept, release, reject, gap and none over seven offsets") {
  Bench bench(7);
  std::vector<uint32_t> digits(7);
  bool good = true;
  for (uint32_t code = 0; good && code < 78125; ++code) {
    uint32_t left = code;
    for (uint32_t& digit : digits) {
      digit = left % 5;
      left /= 5;
    }
    good = run_assignment(bench, digits, code);
  }
}

TEST_CASE("stretches and ranges around the length that is worth a batch of its own") {
  const int64_t widths[] = {1, 4, 10, 11, 12};
  Bench bench(64);
  uint32_t total = 1;
  for (int i = 0; i < 4; ++i) total *= 16;
  bool good = true;
  for (uint32_t code = 0; good && code < total; ++code) {
    bench.begin();
    Types types;
    int64_t at = 3;
    for (uint32_t i = 0, left = code; i < 4; ++i, left /= 16) {
      const uint32_t digit = left % 16;
      if (digit == 0) {
        ++at;  // a hole
        continue;
      }
      const int64_t width = widths[(digit - 1) / 3];
      const auto type = static_cast<uint8_t>((digit - 1) % 3);
      if (i % 2 == 0 || width > 4) {
        bench.range(sound, at, at + width - 1, type);
      } else {
        for (int64_t w = 0; w < width; ++w) bench.give(sound, at + w, type);
      }
      for (int64_t w = 0; w < width; ++w) types[at + w] = static_cast<int8_t>(type);
      at += width;
    }
    good = compare(bench.write(1000), expect(types), code) && bench.acks.pending() == 0;
    if (!good) FAIL_CHECK("case " << code);
  }
}

TEST_CASE(
    "more acks than one request holds: they go in several, none is lost, none is sent twice") {
  Bench bench(16);
  for (uint32_t code = 0; code < 4096; code += 7) {
    for (uint32_t room = kBehind + 1; room < kBehind + 150; room += 13) {
      bench.begin();
      Types types;
      for (uint32_t i = 0, left = code; i < 6; ++i, left /= 4) {
        const int64_t first = i * 12;
        const auto type = static_cast<uint8_t>(left % 4);
        if (type == 3) continue;
        const int64_t last = first + (type == 0 ? 11 : static_cast<int64_t>(i % 3) * 5);
        bench.range(sound, first, last, type);
        for (int64_t at = first; at <= last; ++at) types[at] = static_cast<int8_t>(type);
      }
      Types sent;
      bool good = true;
      for (int requests = 0; good && requests < 10; ++requests) {
        const uint32_t before = bench.acks.pending();
        const AckBatches written = bench.write(room);
        good = collect(sent, written) && written.empty() == (before == bench.acks.pending());
        if (written.empty()) room += 40;  // a window that holds one batch at least
      }
      if (!good || sent != types || bench.acks.pending() != 0) {
        FAIL_CHECK("case " << code << " room " << room);
      }
    }
  }
}

TEST_CASE(
    "a request of any room holds whole batches, from the first offset on, and says how many") {
  for (uint32_t room = kBehind + 1; room < 300; ++room) {
    Bench bench(40);
    Types types;
    for (int64_t at = 0; at < 40; ++at) {
      const auto type = static_cast<uint8_t>(1 + (at / 3 + at / 7) % 3);
      if (at % 9 != 8) bench.give(sound, at, type);
      if (at % 9 != 8) types[at] = static_cast<int8_t>(type);
    }
    const AckBatches all = expect(types);
    const AckBatches got = bench.write(room);
    REQUIRE(got.size() <= all.size());
    CHECK(std::equal(got.begin(), got.end(), all.begin()));
    uint32_t flying = 0;
    for (const AckBatch& batch : got) flying += static_cast<uint32_t>(batch.last - batch.first + 1);
    CHECK(bench.acks.pending() == types.size() - flying);
    if (room >= kBehind + 1 + 1 + 18 + 8 + 1) CHECK_FALSE(got.empty());
  }
}

TEST_CASE("an array holds 126 entries: more batches, or more types, wait for the next one") {
  Bench holes(300);
  for (int64_t i = 0; i < 130; ++i) holes.give(sound, 2 * i, 1);
  CHECK(holes.write(8000).size() == 126);
  CHECK(holes.acks.pending() == 4);
  CHECK(holes.write(8000).size() == 4);
  CHECK(holes.write(8000).empty());

  Bench mixed(300);
  Types types;
  for (int64_t i = 0; i < 260; ++i) {
    types[i] = static_cast<int8_t>(1 + i % 2);
    mixed.give(sound, i, static_cast<uint8_t>(1 + i % 2));
  }
  const AckBatches got = mixed.write(8000);
  CHECK(compare(got, expect(types), 0));
  REQUIRE(got.size() == 3);
  CHECK(got[0].types.size() == 126);
  CHECK(got[2].types.size() == 8);

  // A stretch that would overrun the types begins the next batch.
  Bench edge(300);
  types.clear();
  for (int64_t i = 0; i < 130; ++i) {
    types[i] = static_cast<int8_t>(i < 120 ? 1 + i % 2 : 3);
    edge.give(sound, i, static_cast<uint8_t>(types[i]));
  }
  CHECK(compare(edge.write(8000), expect(types), 1));
}

TEST_CASE("acks whose lock may be gone do not travel with sound ones") {
  Bench bench(8);
  bench.give(doubtful, 0, 1);
  bench.give(late, 1, 1);
  bench.give(sound, 2, 1);
  bench.give(elsewhere, 3, 1);
  bench.give(sound, 4, 2);
  bench.give(late, 5, 1);
  bench.give(doubtful, 6, 1);
  AckClass its = AckClass::doubtful;
  CHECK(AckBatchWriter::first_class(bench.acks, AckKind::terminal, 0, 1, kNow, its));
  CHECK(its == AckClass::late);  // they cannot wait
  CHECK(bench.write(400, its) == AckBatches{{1, 1, {1}}, {5, 5, {1}}});
  CHECK(AckBatchWriter::first_class(bench.acks, AckKind::terminal, 0, 1, kNow, its));
  CHECK(its == AckClass::sound);
  CHECK(bench.write(400, its) == AckBatches{{2, 2, {1}}, {4, 4, {2}}});
  CHECK(AckBatchWriter::first_class(bench.acks, AckKind::terminal, 0, 1, kNow, its));
  CHECK(its == AckClass::doubtful);
  CHECK(bench.write(400, its) == AckBatches{{0, 0, {1}}, {6, 6, {1}}});
  CHECK_FALSE(AckBatchWriter::first_class(bench.acks, AckKind::terminal, 0, 1, kNow, its));
  CHECK(AckBatchWriter::first_class(bench.acks, AckKind::terminal, 0, 2, kNow, its));
  CHECK(bench.acks.pending() == 1);
}

constexpr auto kNoClass = static_cast<AckClass>(9);

TEST_CASE("renewals whose lock may be gone do not travel with sound ones, nor with acks") {
  Bench bench(16);
  const auto first = [&](AckKind kind) {
    AckClass its = AckClass::sound;
    if (!AckBatchWriter::first_class(bench.acks, kind, 0, 1, kNow, its)) return kNoClass;
    return its;
  };
  CHECK(first(AckKind::renewal) == kNoClass);
  bench.give(sound, 0, 1);
  CHECK(first(AckKind::renewal) == kNoClass);
  bench.renew(doubtful, 1);
  CHECK(first(AckKind::renewal) == AckClass::doubtful);
  CHECK(first(AckKind::terminal) == AckClass::sound);
  bench.renew(elsewhere, 9);
  bench.stage(sound, 10, 30);
  bench.give(late, 31, 2);
  CHECK(first(AckKind::renewal) == AckClass::sound);
  bench.renew(late, 2);
  bench.stage(late, 3, 8);
  CHECK(first(AckKind::renewal) == AckClass::late);
  CHECK(bench.write(400, AckClass::late, AckKind::renewal) == AckBatches{{2, 8, {4}}});
  CHECK(first(AckKind::renewal) == AckClass::sound);
  CHECK(bench.write(400, AckClass::sound, AckKind::renewal) == AckBatches{{10, 30, {4}}});
  CHECK(first(AckKind::renewal) == AckClass::doubtful);
  CHECK(bench.write(400, AckClass::doubtful, AckKind::renewal) == AckBatches{{1, 1, {4}}});
  CHECK(first(AckKind::renewal) == kNoClass);
  CHECK(bench.acks.renewals() == 1);
  CHECK(bench.write(400) == AckBatches{{0, 0, {1}}});
  CHECK(bench.write(400, AckClass::late) == AckBatches{{31, 31, {2}}});
}

TEST_CASE("renewals that find no room wait for the next request; none is lost, none sent twice") {
  Bench bench(40);
  for (uint32_t room = kBehind + 1; room < kBehind + 160; room += 3) {
    bench.begin();
    Types types;
    uint32_t slots = 0;
    for (int64_t i = 0; i < 10; ++i) {
      const int64_t at = 40 * i;
      const int64_t last = i % 3 == 0 ? at + 4 * i : at + i % 3;
      if (i % 3 == 0) bench.stage(sound, at, last);
      for (int64_t n = at; n <= last && i % 3 != 0; ++n) bench.renew(sound, n);
      for (int64_t n = at; n <= last; ++n) types[n] = 4;
      slots += i % 3 == 0 ? 1 : batches::size32(static_cast<size_t>(i % 3)) + 1;
    }
    CHECK(bench.acks.renewals() == slots);
    Types sent;
    bool good = true;
    uint32_t window = room;
    for (int requests = 0; good && requests < 15; ++requests) {
      const uint32_t before = bench.acks.renewals();
      const AckBatches written = bench.write(window, AckClass::sound, AckKind::renewal);
      good = collect(sent, written) && written.empty() == (before == bench.acks.renewals());
      if (written.empty()) window += 40;
    }
    if (!good || sent != types || bench.count(AckState::renew_in_flight) != slots) {
      FAIL_CHECK("room " << room);
    }
  }
}

TEST_CASE("acks made while a request is in flight are left for the next one") {
  Bench bench(8);
  bench.give(sound, 1, 1);
  bench.give(sound, 2, 1);
  CHECK(bench.write(400).size() == 1);
  bench.give(sound, 0, 1);
  bench.give(sound, 3, 1);
  CHECK(bench.write(400) == AckBatches{{0, 0, {1}}, {3, 3, {1}}});
}

TEST_CASE("an ack whose journey may outlast its lock does not travel with sound ones") {
  kshare::Lot lot{};
  lot.set_lock({kshare::Instant{5000}, kshare::Instant{5200}});
  CHECK(kshare::ack_class(lot, kshare::Instant{4899}) == AckClass::sound);
  CHECK(kshare::ack_class(lot, kshare::Instant{4900}) == AckClass::late);
  CHECK(kshare::ack_class(lot, kshare::Instant{5199}) == AckClass::late);
}

}  // namespace test_ack_batches
