// SPDX-License-Identifier: Apache-2.0
// record/walker.hpp: batches in every split, slot size, start and kind of damage, against an oracle
// that works on whole records.
#include <doctest/doctest.h>

#include "../support/batches.hpp"

namespace test_walker {
namespace {

using batches::Batch;
using batches::Items;
using batches::make;
using batches::mark;
using batches::Outcome;
using batches::Pieces;
using batches::Ranges;
using batches::recs;
using batches::size32;
using batches::Trip;
using batches::walk;
using kshare::ChunkKind;

constexpr uint32_t kChunk = kshare::Store::kChunkBytes;

// Holes, log append time, a control batch, an empty batch, a record of its own size, neighbours.
std::vector<Batch> sample() {
  minibroker::BatchOptions plain;
  plain.leader_epoch = 7;
  minibroker::BatchOptions holes;
  holes.last_offset_delta = 9;
  minibroker::BatchOptions append;
  append.log_append_time = true;
  minibroker::BatchOptions control;
  control.control = control.transactional = true;
  minibroker::BatchOptions empty;
  empty.last_offset_delta = 4;
  std::vector<Batch> all;
  all.push_back(make(100, recs({0, 1, 2}), plain));
  all.push_back(make(103, recs({1, 4, 5}), holes));
  all.push_back(make(113, {minibroker::control_record(true)}, control));
  all.push_back(make(116, recs({0, 1}, 40), append));  // 114 and 115 are in no batch
  all.push_back(make(118, {}, empty));
  all.push_back(make(123, recs({0})));
  return all;
}

bool wants(const Ranges& ranges, int64_t offset) {
  for (const auto& range : ranges) {
    if (offset >= range.first && offset <= range.second) return true;
  }
  return false;
}

// One batch's worth of the oracle; `used` is the slot's fill.
void expect_batch(const Batch& batch, const Trip& trip, int64_t from, const Ranges& wanted,
                  uint32_t& used, Outcome& out) {
  const int64_t low = std::max(from, batch.base);
  int64_t stop = batch.last + 1;
  const uint32_t room = trip.slot_bytes;
  if (batch.bad_crc && trip.check_crcs) {
    if (used + kChunk > room) {
      out.cut = true;
      stop = low;
    } else {
      out.items.push_back(mark(ChunkKind::corrupt, low, batch.last));
      used += kChunk;
    }
  } else if (!batch.control) {
    bool chunk = false;
    for (const auto& record : batch.records) {
      const int64_t offset = record.item.first;
      if (!wants(wanted, offset)) continue;
      const bool never = record.size > room - kChunk;
      const uint32_t need = never ? kChunk : record.size + (chunk ? 0 : kChunk);
      if (used + need > room) {
        out.cut = true;
        stop = offset;
        break;
      }
      used += need;
      chunk = !never;
      out.items.push_back(never ? mark(ChunkKind::too_large, offset, offset) : record.item);
    }
  }
  out.end = std::max(out.end, stop);
}

Outcome expect(const std::vector<Batch>& all, const Trip& trip) {
  Outcome out;
  out.done = true;
  int64_t from = trip.from;
  Ranges wanted = trip.wanted;
  bool begun = trip.from_exact;
  out.first = out.end = from;
  uint32_t used = 0;
  for (const Batch& batch : all) {
    if (out.cut) break;
    if (!begun) {
      if (batch.bytes.size() - 12 > trip.slot_bytes && trip.hint > batch.base &&
          trip.hint <= batch.last) {
        from = trip.hint;
        wanted = {{from, INT64_MAX}};
      }
      begun = true;
      out.first = out.end = std::max(from, batch.base);
    }
    if (batch.last >= from) expect_batch(batch, trip, from, wanted, used, out);
  }
  out.walked = begun && out.end > out.first;
  return out;
}

std::string show(const Outcome& o) {
  std::string text = std::string(o.done ? "done " : "stuck ") +
                     (o.walked ? "walked " : "nothing ") + (o.cut ? "cut [" : "[") +
                     std::to_string(o.first) + "," + std::to_string(o.end) + ")";
  for (const auto& item : o.items) {
    text += " " + std::to_string(static_cast<int>(item.kind)) + ":" + std::to_string(item.first) +
            "-" + std::to_string(item.last);
  }
  return text;
}

// Compares quietly: a doctest assertion for each of a million cases would take its time.
bool same(const Outcome& got, const Outcome& wanted, const std::string& what) {
  if (got == wanted) return true;
  FAIL_CHECK(what << "\n  got    " << show(got) << "\n  wanted " << show(wanted));
  return false;
}

void check_batches(const std::vector<Batch>& all, const Trip& trip, const std::string& what) {
  static_cast<void>(same(walk(batches::join(all), trip), expect(all, trip), what));
}

// Batches at offset 10 whose records make no sense, each with a sound one at offset 20 behind it.
struct Malformed {
  const char* what;
  int32_t count;
  int32_t last_delta;
  std::string body;
  size_t kept;
  int64_t bad_from;  // -1: no mark

  int64_t last() const { return int64_t{10} + last_delta; }
  std::string bytes() const {
    minibroker::BatchOptions options;
    options.record_count = count < 0 ? 0 : count;
    options.last_offset_delta = last_delta;
    options.compress = [this](const std::string&) { return body; };
    std::string all = make(10, recs({0}), options).bytes;
    if (count < 0) all[57] = '\x80';
    batches::mend_crc(all);
    return all + make(20, recs({0})).bytes;
  }
};

std::vector<Malformed> malformed() {
  const auto one = [](int32_t delta) {
    return minibroker::encode_record(batches::rec(delta, "abc"), 0, delta);
  };
  return {
      {"fewer records than counted", 3, 4, one(0) + one(1), 2, 12},
      {"more records than counted", 1, 4, one(0) + one(1), 1, 11},
      {"descending offset deltas", 3, 4, one(0) + one(2) + one(1), 2, 13},
      {"equal offset deltas", 2, 4, one(2) + one(2), 1, 13},
      {"offset delta behind the last", 2, 1, one(0) + one(2), 1, 11},
      {"negative offset delta", 1, 4, one(-1), 0, 10},
      {"half a record", 2, 4, one(0) + one(1).substr(0, one(1).size() - 1), 1, 11},
      {"a record's head only", 2, 4, one(0) + one(1).substr(0, 3), 1, 11},
      {"a length that is negative", 2, 4, one(0) + "\x01", 1, 11},
      {"a length shorter than the head", 2, 4, one(0) + std::string("\x02\0\0\0", 4), 1, 11},
      {"a length past the end", 2, 4, one(0) + "\xFE\xFF\xFF\xFF\x0F" + std::string(30, 'x'), 1,
       11},
      {"a varint without end", 2, 4, one(0) + std::string(40, '\xFF'), 1, 11},
      {"no records but bytes", 0, 4, one(0), 0, 10},
      {"records counted, none here", 2, 4, "", 0, 10},
      {"a negative count", INT32_MIN, 4, one(0), 0, 10},
      {"bytes behind the last record, no offset left", 2, 1, one(0) + one(1) + "zz", 2, -1},
  };
}

}  // namespace

TEST_CASE("record batches in every split into pieces give the same records and walk") {
  const std::vector<Batch> all = sample();
  std::string bytes = batches::join(all);
  bytes += all[0].bytes.substr(0, all[0].bytes.size() - 1);  // a partial batch is not walked
  const Outcome wanted = expect(all, {});
  CHECK(wanted.items.size() == 9);
  CHECK(wanted.first == 100);
  CHECK(wanted.end == 124);
  bool good = true;
  for (uint32_t cut = 1; good && cut <= bytes.size(); ++cut) {
    good = same(walk(bytes, {}, {4096, cut, UINT32_MAX}), wanted, "cut at " + std::to_string(cut));
  }
  for (uint32_t window : {61u, 64u, 77u, 128u, 512u}) {
    for (uint32_t piece : {1u, 2u, 3u, 7u, 21u, 61u, 500u}) {
      CHECK(same(walk(bytes, {}, {window, piece, piece}), wanted, "window"));
    }
  }
}

TEST_CASE("trailing partial batch of any length is ignored") {
  const std::vector<Batch> all = sample();
  const std::string bytes = batches::join(all);
  bool good = true;
  size_t end = 0;
  for (size_t count = 0; good && count <= all.size(); ++count) {
    const std::vector<Batch> whole(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(count));
    const size_t next = count == all.size() ? end + 1 : end + all[count].bytes.size();
    for (size_t length = end; good && length < next; ++length) {
      for (const bool exact : {false, true}) {
        Trip trip;
        trip.from_exact = exact;
        trip.from = exact ? 100 : 0;
        good = good && same(walk(bytes.substr(0, length), trip), expect(whole, trip),
                            "prefix " + std::to_string(length));
      }
    }
    end = next;
  }
}

TEST_CASE(
    "a slot that is full in any position: whole records are kept, the walk ends before the "
    "first one that is not, and the rest is read again") {
  const std::vector<Batch> all = sample();
  bool good = true;
  for (uint32_t room = kChunk; good && room < 600; ++room) {
    Trip trip;
    trip.slot_bytes = room;
    check_batches(all, trip, "room " + std::to_string(room));
    // Slotful by slotful, as rereads do: every record once, and none of them stands still.
    trip.from_exact = true;
    trip.from = 100;
    Items taken;
    int64_t marked = 0;
    for (int round = 0; good && trip.from < 124 && round < 40; ++round) {
      trip.wanted = {{trip.from, INT64_MAX}};
      const Outcome got = walk(batches::join(all), trip);
      good = same(got, expect(all, trip), "round") && got.walked && got.first == trip.from;
      for (const auto& item : got.items) {
        if (item.kind == ChunkKind::records) taken.push_back(item);
        if (item.kind != ChunkKind::records) marked += item.last - item.first + 1;
      }
      trip.from = got.end;
    }
    Items every;
    int64_t never = 0;
    for (const Batch& batch : all) {
      for (const auto& record : batch.records) {
        if (batch.control) continue;
        if (record.size <= room - kChunk) every.push_back(record.item);
        if (record.size > room - kChunk) ++never;
      }
    }
    good = good && taken == every && marked == never && trip.from == 124;
    CHECK_MESSAGE(good, "room ", room);
  }
}

TEST_CASE(
    "only acquired offsets are kept when the ranges are known, and a wanted offset at any "
    "place begins the walk") {
  const std::vector<Batch> all = sample();
  const std::string bytes = batches::join(all);
  bool good = true;
  for (int64_t from = 98; good && from <= 126; ++from) {
    for (int64_t last = from; good && last <= 127; ++last) {
      Trip trip;
      trip.from = from;
      trip.from_exact = true;
      trip.wanted = {{from, last}, {last + 3, last + 4}};
      good = same(walk(bytes, trip), expect(all, trip), "from " + std::to_string(from));
      trip.slot_bytes = kChunk + 40;
      good = good && same(walk(bytes, trip), expect(all, trip), "tight");
    }
  }
}

TEST_CASE("batches that end before the offset asked for are passed over, not refused") {
  const std::vector<Batch> all = sample();
  Trip trip;
  trip.from_exact = true;
  trip.from = 116;
  trip.wanted = {{116, 200}};
  const Outcome got = walk(batches::join(all), trip);
  CHECK(got.items.size() == 3);
  CHECK(got.first == 116);
  CHECK(got.end == 124);
}

TEST_CASE("the hint begins the walk inside a batch larger than the slot, and nowhere else") {
  const std::vector<Batch> all{make(50, recs({0, 1, 2, 3, 4, 5, 6, 7})), make(58, recs({0, 1}))};
  bool good = true;
  for (uint32_t room : {64u, 100u, 150u, 200u, 400u, 1000u}) {
    for (int64_t hint = 0; good && hint < 64; ++hint) {
      Trip trip;
      trip.slot_bytes = room;
      trip.hint = hint;
      good = same(walk(batches::join(all), trip), expect(all, trip),
                  "room " + std::to_string(room) + " hint " + std::to_string(hint));
    }
  }
  Trip trip;
  trip.slot_bytes = 100;
  trip.hint = 54;
  CHECK(walk(batches::join(all), trip).first == 54);
  trip.hint = 50;
  CHECK(walk(batches::join(all), trip).first == 50);
}

TEST_CASE(
    "CRC mismatch: nothing of the batch is handed out, its offsets are marked, the neighbours "
    "are delivered") {
  for (uint32_t bad = 0; bad < 64; ++bad) {  // every subset of the six batches
    std::vector<Batch> all = sample();
    for (uint32_t i = 0; i < all.size(); ++i) {
      if ((bad >> i & 1u) == 0) continue;
      all[i].bad_crc = true;
      all[i].bytes[17] = static_cast<char>(all[i].bytes[17] ^ 0x40);
    }
    for (uint32_t room = kChunk; room < 600; room += 23) {
      Trip trip;
      trip.slot_bytes = room;
      check_batches(all, trip, "bad " + std::to_string(bad) + " room " + std::to_string(room));
    }
    Trip trip;
    trip.check_crcs = false;
    check_batches(all, trip, "unchecked");
  }
}

TEST_CASE("a corrupt batch in mid-range is marked from the first offset of interest only") {
  minibroker::BatchOptions options;
  options.corrupt_crc = true;
  const Batch batch = make(10, recs({0, 1, 2, 3}), options);
  Trip trip;
  trip.from_exact = true;
  trip.from = 12;
  trip.wanted = {{12, 12}};
  const Outcome got = walk(batch.bytes, trip);
  CHECK(got.items == Items{mark(ChunkKind::corrupt, 12, 13)});
  CHECK(got.first == 12);
  CHECK(got.end == 14);
}

TEST_CASE(
    "a batch of an unknown form, or headers that contradict each other, are marked and what "
    "stands before them is kept") {
  const Batch good = make(10, recs({0, 1}));
  const auto spoil = [](size_t at, const std::string& octets) {
    std::string bytes = make(12, recs({0, 1})).bytes;
    bytes.replace(at, octets.size(), octets);
    batches::mend_crc(bytes);
    return bytes;
  };
  const std::string bad[] = {
      spoil(16, std::string(1, '\0')),               // magic 0
      spoil(16, std::string(1, '\1')),               // magic 1
      spoil(16, "\x03"),                             // magic 3
      spoil(0, "\xFF"),                              // base offset negative
      spoil(0, std::string(8, '\0')),                // before the batch in front of it
      spoil(23, "\xFF\xFF\xFF\xFF"),                 // last offset delta -1
      spoil(0, "\x7F\xFF\xFF\xFF\xFF\xFF\xFF\xFF"),  // offsets run over
  };
  for (const std::string& batch : bad) {
    const Outcome got = walk(good.bytes + batch + make(14, recs({0})).bytes, {});
    CHECK(got.done);
    REQUIRE(got.items.size() == 3);
    CHECK(got.items[2] == mark(ChunkKind::undecodable, 12, INT64_MAX - 1));
    CHECK(got.end == INT64_MAX);
  }
  // In front of everything else: its offsets are not known, so it is read again from one that is.
  const Outcome first = walk(bad[0], {});
  CHECK(first.done);
  CHECK_FALSE(first.walked);
  CHECK(first.items.empty());
  Trip trip;
  trip.from_exact = true;
  trip.from = 12;
  const Outcome again = walk(bad[0], trip);
  CHECK(again.items == Items{mark(ChunkKind::undecodable, 12, INT64_MAX - 1)});
}

TEST_CASE("malformed records: what stands before is delivered, the rest of the batch is marked") {
  for (const Malformed& its : malformed()) {
    for (uint32_t piece : {1u, 5u, 1000u}) {
      const Outcome got = walk(its.bytes(), {}, {128, piece, piece});
      INFO(its.what);
      INFO(show(got));
      REQUIRE(got.items.size() == its.kept + (its.bad_from < 0 ? 1 : 2));
      if (its.bad_from >= 0) {
        CHECK(got.items[its.kept] == mark(ChunkKind::malformed, its.bad_from, its.last()));
      }
      CHECK(got.items.back().first == 20);
      CHECK(got.end == 21);
      CHECK_FALSE(got.cut);
    }
  }
}

TEST_CASE("malformed records in a slot of any size: the mark, too, may find no room at first") {
  for (const Malformed& its : malformed()) {
    const std::string bytes = its.bytes();
    for (uint32_t room = 2 * kChunk; room < 200; ++room) {
      Trip trip;
      trip.slot_bytes = room;
      trip.from_exact = true;
      trip.from = 10;
      size_t kept = 0;
      int64_t marked = 0;
      for (int round = 0; trip.from < 21 && round < 20; ++round) {
        trip.wanted = {{trip.from, INT64_MAX}};
        const Outcome got = walk(bytes, trip);
        INFO(its.what << " room " << room << " from " << trip.from << show(got));
        REQUIRE(got.walked);
        for (const auto& item : got.items) {
          if (item.kind == ChunkKind::records) ++kept;
          if (item.kind == ChunkKind::malformed) marked += item.last - item.first + 1;
        }
        trip.from = got.end;
      }
      const int64_t wanted = its.bad_from < 0 ? 0 : its.last() - its.bad_from + 1;
      if (marked != wanted) FAIL_CHECK(its.what << " room " << room << " marked " << marked);
      if (room >= 64 && kept != its.kept + 1) FAIL_CHECK(its.what << " room " << room);
    }
  }
}

TEST_CASE("half a record in front of the offset asked for does not move the mark before it") {
  minibroker::BatchOptions options;
  options.record_count = 4;
  options.last_offset_delta = 9;
  const std::string whole = minibroker::encode_record(batches::rec(0, "abc"), 0, 0);
  for (int64_t from = 10; from <= 15; ++from) {
    options.compress = [&](const std::string&) {
      const std::string next = minibroker::encode_record(batches::rec(2, "abc"), 0, 2);
      return whole + next.substr(0, next.size() - 1);
    };
    Trip trip;
    trip.from_exact = true;
    trip.from = from;
    trip.wanted = {{from, 19}};
    const Outcome got = walk(make(10, recs({0}), options).bytes, trip);
    const int64_t bad = from > 11 ? from : 11;
    REQUIRE_FALSE(got.items.empty());
    CHECK(got.items.back() == mark(ChunkKind::malformed, bad, 19));
    CHECK(got.end == 20);
  }
}

TEST_CASE("a record larger than a slot is marked, its neighbours are delivered") {
  const std::vector<Batch> all{
      make(5, {batches::rec(0, "a"), batches::rec(1, std::string(300, 'b')), batches::rec(2, "c")}),
      make(8, {batches::rec(0, std::string(300, 'd'))})};
  Trip trip;
  trip.slot_bytes = 256;
  const Outcome got = walk(batches::join(all), trip);
  REQUIRE(got.items.size() == 4);
  CHECK(got.items[0].first == 5);
  CHECK(got.items[1] == mark(ChunkKind::too_large, 6, 6));
  CHECK(got.items[2].first == 7);
  CHECK(got.items[3] == mark(ChunkKind::too_large, 8, 8));
  for (uint32_t room = kChunk; room < 500; ++room) {
    trip.slot_bytes = room;
    check_batches(all, trip, "room " + std::to_string(room));
  }
  // The largest that fits, and one octet more.
  const Batch largest = make(0, {batches::rec(0, std::string(100, 'x'))});
  trip.slot_bytes = kChunk + largest.records[0].size;
  CHECK(walk(largest.bytes, trip).items == Items{largest.records[0].item});
  --trip.slot_bytes;
  CHECK(walk(largest.bytes, trip).items == Items{mark(ChunkKind::too_large, 0, 0)});
}

TEST_CASE("offsets and times at the ends of their ranges stay defined") {
  minibroker::Rec late = batches::rec(0, "x");
  late.timestamp = INT64_MAX;
  minibroker::BatchOptions options;
  options.base_timestamp = INT64_MAX - 5;
  std::string bytes = make(0, {late}, options).bytes;
  CHECK(walk(bytes, {}).items.at(0).timestamp == INT64_MAX);
  options.compress = [](const std::string&) {
    return minibroker::encode_record(batches::rec(0, "x"), INT64_MAX, 0) +
           minibroker::encode_record(batches::rec(1, "x"), INT64_MIN, INT32_MAX);
  };
  options.record_count = 2;
  bytes = make(INT64_MAX - 1, {late}, options).bytes;  // its last offset is INT64_MAX - 1
  const Outcome got = walk(bytes, {});
  REQUIRE(got.items.size() == 1);
  CHECK(got.items[0].first == INT64_MAX - 1);
  CHECK(got.end == INT64_MAX);
}

TEST_CASE("every one-byte change of a batch, CRC on: nothing wrong is kept, the neighbours stay") {
  const std::vector<Batch> all{make(10, recs({0, 1})), make(12, recs({0, 2})), make(15, recs({0}))};
  const std::string bytes = batches::join(all);
  const auto begin = all[0].bytes.size();
  const auto end = begin + all[1].bytes.size();
  const Outcome whole = walk(bytes, {});
  REQUIRE(whole.items.size() == 5);
  uint32_t wrong = 0;
  for (size_t at = begin; at < end; ++at) {
    for (int change = 1; change < 256; ++change) {
      std::string damaged = bytes;
      damaged[at] = static_cast<char>(damaged[at] ^ static_cast<char>(change));
      const Outcome got = walk(damaged, {}, {256, 100, 100});
      bool good = got.done && got.walked && got.first == 10 && got.items.size() >= 2 &&
                  got.items[0] == whole.items[0] && got.items[1] == whole.items[1];
      const size_t field = at - begin;
      for (size_t i = 2; good && i < got.items.size(); ++i) {
        if (got.items[i].kind != ChunkKind::records) continue;
        if (got.items[i] == whole.items[4]) continue;  // the batch behind
        // Only the first 16 octets can change without the CRC noticing: base offset, leader epoch.
        good = field < 8 || (field >= 12 && field < 16);
        good = good && (got.items[i].body == whole.items[2].body ||
                        got.items[i].body == whole.items[3].body);
      }
      if (field >= 17 &&
          (field != 23 ||
           change < 128)) {  // 23 to 26, the last offset's delta, decide how far the mark goes
        const bool known = field < 23 || field >= 27;
        good = good && got.items.size() == 4 && got.items[2].kind == ChunkKind::corrupt &&
               got.items[2].first == 12 && (!known || got.items[2].last == 14) &&
               (!known || got.items[3] == whole.items[4]);
      }
      if (!good && ++wrong < 5) FAIL_CHECK("octet " << field << " change " << change << show(got));
    }
  }
  CHECK(wrong == 0);
}

TEST_CASE(
    "every one-byte change of a batch without CRC, or with a CRC that agrees: bounded and "
    "ascending, what stands before is kept") {
  minibroker::Rec rich = batches::rec(1, "value");
  rich.key = "key";
  rich.headers = {{"h", "1"}, {"i", std::nullopt}};
  const Batch batch = make(12, {batches::rec(0, "zero"), rich, batches::rec(4, "four")});
  const std::string tail = make(17, recs({0})).bytes;
  uint32_t wrong = 0;
  for (size_t at = 0; at < batch.bytes.size(); ++at) {
    for (int change = 1; change < 256; ++change) {
      std::string damaged = batch.bytes;
      damaged[at] = static_cast<char>(damaged[at] ^ static_cast<char>(change));
      Trip trip;
      trip.check_crcs = (change & 1) != 0;
      if (trip.check_crcs) batches::mend_crc(damaged);
      trip.slot_bytes = 180;
      const Outcome got = walk(damaged + tail, trip, {128, 60, 60});
      bool good = got.done && got.items.size() <= 6;
      int64_t before = -1;
      for (const auto& item : got.items) {
        good = good && item.first > before && item.last >= item.first && item.first >= got.first &&
               item.last < got.end;
        before = item.last;
        kshare::Record record;
        const kshare::Bytes body = batches::bytes_of(item.body);
        if (item.kind != ChunkKind::records || !kshare::parse_fields(body, record)) continue;
        uint32_t octets = record.key.size + record.value.size;
        for (const kshare::Header& header : record.headers) {
          octets += size32(header.key.size()) + header.value.size;
        }
        good = good && octets <= body.size;
      }
      if (!good && ++wrong < 5) FAIL_CHECK("octet " << at << " change " << change << show(got));
    }
  }
  CHECK(wrong == 0);
}

TEST_CASE("every prefix of every sample batch ends without a record that is not whole") {
  const std::vector<Batch> all = sample();
  for (const Batch& batch : all) {
    for (size_t length = 0; length < batch.bytes.size(); ++length) {
      const Outcome got = walk(batch.bytes.substr(0, length), {});
      const bool nothing = got.done && !got.walked && got.items.empty();
      if (!nothing) FAIL_CHECK("length " << length << show(got));
    }
  }
}

TEST_CASE("record bytes that nobody wants are consumed to their end") {
  const std::string bytes = batches::join(sample());
  uint8_t window[100];
  kshare::Reader in;
  in.attach(window, sizeof window);
  batches::Box box(1, 256);
  kshare::Walker walker;
  walker.begin_discard(size32(bytes.size()));
  in.begin_frame(size32(bytes.size()));
  uint32_t at = 0;
  while (!walker.run(box.store, in)) {
    const kshare::MutableBytes space = in.space();
    const uint32_t count = std::min(space.size, size32(bytes.size()) - at);
    REQUIRE(count != 0);
    std::memcpy(space.data, bytes.data() + at, count);
    in.filled(count);
    at += count;
  }
  CHECK(at == bytes.size());
  CHECK(in.frame_left() == 0);
  CHECK_FALSE(walker.walked());
}

}  // namespace test_walker
