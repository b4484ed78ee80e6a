// SPDX-License-Identifier: Apache-2.0
// record/splitter.hpp and record/fields.hpp: the plain bytes of one batch in any pieces, and the
// fields inside a record.
#include <doctest/doctest.h>

#include "../support/batches.hpp"

namespace test_splitter {
namespace {

using batches::Batch;
using batches::Box;
using batches::Items;
using batches::make;
using batches::rec;
using batches::recs;
using batches::size32;
using kshare::Bytes;
using kshare::Cursor;
using kshare::Splitter;
using kshare::Wanted;

struct Split {
  Items items;
  bool cut = false;
  bool malformed = false;
  int64_t cut_at = 0;
  int64_t bad_from = 0;
};

// Feeds what is behind the header as a window would: what is not taken is offered again, in a block
// of its exact size.
Split split(const std::string& batch, uint32_t first, uint32_t then, uint32_t room = 4096,
            Wanted wanted = Wanted::from(0), int64_t from = 0) {
  Box box(1, room);
  const auto header = kshare::parse_batch_header(batches::bytes_of(batch).data);
  Splitter splitter;
  const uint32_t slot = box.store.reserve(1);
  splitter.begin(box.store, slot, 3, header, from);
  uint32_t at = kshare::BatchHeader::kBytes;
  uint32_t end = at;
  uint32_t piece = first;
  while (at < batch.size()) {
    end = std::min(size32(batch.size()), end + piece);
    piece = then;
    const std::string text = batch.substr(at, end - at);
    const std::vector<uint8_t> block(text.begin(), text.end());
    const uint32_t taken =
        splitter.feed(box.store, wanted, {block.data(), size32(block.size())}, end == batch.size());
    REQUIRE(taken <= block.size());
    REQUIRE((taken != 0 || end < batch.size()));
    at += taken;
  }
  splitter.finish(box.store);
  Split result;
  result.cut = splitter.cut();
  result.malformed = splitter.malformed();
  result.cut_at = splitter.cut_at();
  result.bad_from = splitter.bad_from();
  result.items = box.take(slot);
  return result;
}

Items items_of(const Batch& batch) {
  Items items;
  for (const auto& record : batch.records) items.push_back(record.item);
  return items;
}

std::string varlong(int64_t value) { return minibroker::Writer().varlong(value).out; }

}  // namespace

TEST_CASE("records in every split into two and in pieces of every size are the same") {
  minibroker::Rec rich = rec(2, "value");
  rich.key = std::string();
  rich.headers = {{"a", "1"}, {"", std::nullopt}};
  const Batch batch = make(7, {rec(0, ""), rich, rec(5, std::string(50, 'x'))});
  const Items wanted = items_of(batch);
  for (uint32_t piece = 1; piece < batch.bytes.size(); ++piece) {
    if (split(batch.bytes, piece, 4096).items != wanted) FAIL_CHECK("split at " << piece);
    const Split got = split(batch.bytes, piece, piece);
    if (got.items != wanted || got.malformed || got.cut) FAIL_CHECK("pieces of " << piece);
    CHECK(got.bad_from == 13);
  }
}

TEST_CASE("only offsets that are wanted are kept, asked for range by range") {
  const Batch batch = make(0, recs({0, 1, 2, 3, 4, 5, 6, 7}));
  for (uint32_t subset = 0; subset < 256; ++subset) {
    batches::Ranges ranges;
    Items wanted;
    for (uint32_t i = 0; i < 8; ++i) {
      if ((subset >> i & 1u) == 0) continue;
      ranges.push_back({i, i});
      wanted.push_back(batch.records[i].item);
    }
    const Split got = split(batch.bytes, 9, 9, 4096, Wanted::ranges(batches::next_range, &ranges));
    if (got.items != wanted || got.cut || got.malformed) FAIL_CHECK("subset " << subset);
  }
}

TEST_CASE(
    "a full slot cuts before the first wanted record that has no room, and nothing behind it "
    "is kept") {
  const Batch batch =
      make(0, {rec(0, std::string(30, 'a')), rec(1, std::string(60, 'b')), rec(2, "c")});
  const uint32_t chunk = kshare::Store::kChunkBytes;
  const uint32_t first = batch.records[0].size;
  const uint32_t second = batch.records[1].size;
  const Split got = split(batch.bytes, 10, 10, chunk + first + second - 1);
  CHECK(got.cut);
  CHECK(got.cut_at == 1);
  CHECK(got.items == Items{batch.records[0].item});
  const Split more = split(batch.bytes, 10, 10, chunk + first + second);
  CHECK(more.cut_at == 2);
  CHECK(more.items.size() == 2);
}

TEST_CASE("varints have at most five octets, varlongs ten, however the bytes are cut") {
  const auto varint = [](std::string octets, bool& ok) {
    octets.resize(12, '\0');
    Cursor cursor{batches::bytes_of(octets).begin(), batches::bytes_of(octets).end()};
    const int32_t value = cursor.varint();
    ok = cursor.ok();
    return value;
  };
  bool ok = false;
  CHECK(varint(varlong(INT32_MAX), ok) == INT32_MAX);
  CHECK(ok);
  CHECK(varint(varlong(INT32_MIN), ok) == INT32_MIN);
  CHECK(ok);
  static_cast<void>(varint(varlong(int64_t{INT32_MAX} + 1), ok));
  CHECK_FALSE(ok);
  CHECK(varint(std::string("\x82\x80\x80\x80\0", 5), ok) == 1);  // longer than need be
  CHECK(ok);
  static_cast<void>(varint(std::string("\x82\x80\x80\x80\x80\0", 6), ok));
  CHECK_FALSE(ok);
  for (int64_t value : {INT64_MIN, int64_t{-1}, int64_t{0}, int64_t{63}, int64_t{64}, INT64_MAX}) {
    const std::string octets = varlong(value) + std::string(9, '\0');
    const uint8_t* at = batches::bytes_of(octets).begin();
    uint64_t read = 0;
    CHECK(kshare::read_groups(at, read));
    CHECK(static_cast<int64_t>(kshare::from_zigzag(read)) == value);
    CHECK(at + 9 == batches::bytes_of(octets).end());
  }
  for (int32_t value : {INT32_MIN, -65, 64}) {
    const std::string octets = varlong(value);
    for (uint32_t size = 0; size < octets.size(); ++size) {  // cut short; more of it lies behind
      Cursor part{batches::bytes_of(octets).begin(), batches::bytes_of(octets).begin() + size};
      static_cast<void>(part.varint());
      CHECK_FALSE(part.ok());
    }
  }
  // A length in more octets than it may have is malformed in any split.
  minibroker::BatchOptions options;
  options.compress = [](const std::string&) {
    return std::string("\x8E\x80\x80\x80\x80\x80\x80\0", 8) + std::string("\0\0\0\1\1\0\0", 7);
  };
  const std::string batch = make(0, {rec(0, "")}, options).bytes;
  for (uint32_t piece = 1; piece < 20; ++piece) {
    const Split got = split(batch + std::string(30, '\0'), piece, piece);
    CHECK(got.malformed);
    CHECK(got.items.empty());
  }
}

TEST_CASE("the head of a record is read only where all of it is, and never of negative length") {
  const std::string octets = varlong(300) + '\0' + varlong(-70000) + varlong(1000);
  const std::string more = octets + std::string(30, '\x7F');
  for (uint32_t size = 0; size <= more.size(); ++size) {
    kshare::RecordHead head;
    const std::vector<uint8_t> all(more.begin(), more.begin() + size);  // ends where its room ends
    const bool read = kshare::parse_record_head({all.data(), size}, head);
    CHECK(read == (size >= octets.size()));
    if (!read) continue;
    CHECK(head.size == 302);
    CHECK(head.head_bytes == octets.size());
    CHECK(head.timestamp_delta == -70000);
    CHECK(head.offset_delta == 1000);
  }
  kshare::RecordHead head;
  const std::string negative = varlong(-2) + std::string(30, '\0');
  CHECK_FALSE(kshare::parse_record_head(batches::bytes_of(negative), head));
  const std::string tiny = varlong(1) + std::string(30, '\0');  // shorter than its own head
  CHECK_FALSE(kshare::parse_record_head(batches::bytes_of(tiny), head));
}

TEST_CASE(
    "null and empty key and value kept apart; 100 headers, one huge; header with null value") {
  const std::optional<std::string> kinds[] = {std::nullopt, "", "text"};
  for (const auto& key : kinds) {
    for (const auto& value : kinds) {
      minibroker::Rec r = rec(0, "");
      r.key = key;
      r.value = value;
      r.headers.assign(100, {"name", "value"});
      r.headers[50] = {"", std::string(20000, 'h')};
      r.headers[99] = {"null", std::nullopt};
      const std::string body = make(0, {r}).records[0].item.body;
      const std::vector<uint8_t> block(body.begin(), body.end());  // exact, for the sanitizer
      kshare::Record record;
      REQUIRE(kshare::parse_fields({block.data(), size32(block.size())}, record));
      CHECK(record.key.is_null() == !key);
      CHECK(record.key.text() == key.value_or(""));
      CHECK(record.value.is_null() == !value);
      CHECK(record.value.text() == value.value_or(""));
      REQUIRE(record.headers.size() == 100);
      uint32_t count = 0;
      for (const kshare::Header& header : record.headers) {
        const minibroker::Header& wanted = r.headers[count++];
        CHECK(header.key == wanted.key);
        CHECK(header.value.is_null() == !wanted.value);
        CHECK(header.value.text() == wanted.value.value_or(""));
      }
      CHECK(count == 100);
    }
  }
  kshare::Record none;
  for (const kshare::Header& header : none.headers) FAIL_CHECK(header.key);
}

TEST_CASE(
    "every prefix and every one-byte change of a record's fields is refused or reads within "
    "its bytes") {
  minibroker::Rec r = rec(0, "some value");
  r.key = "key";
  r.headers = {{"h", "1"}, {"i", std::nullopt}, {"", ""}};
  const std::string body = make(0, {r}).records[0].item.body;
  const auto sum = [](const std::string& text) {
    const std::vector<uint8_t> block(text.begin(), text.end());
    kshare::Record record;
    if (!kshare::parse_fields({block.data(), size32(block.size())}, record)) return -1;
    int octets = 0;
    for (uint8_t octet : record.key) octets += octet;
    for (uint8_t octet : record.value) octets += octet;
    for (const kshare::Header& header : record.headers) {
      for (char octet : header.key) octets += octet & 0xFF;
      for (uint8_t octet : header.value) octets += octet;
    }
    return octets;
  };
  CHECK(sum(body) > 0);
  for (size_t length = 0; length < body.size(); ++length) CHECK(sum(body.substr(0, length)) == -1);
  CHECK(sum(body + "x") == -1);
  int accepted = 0;
  for (size_t at = 0; at < body.size(); ++at) {
    for (int change = 1; change < 256; ++change) {
      std::string damaged = body;
      damaged[at] = static_cast<char>(damaged[at] ^ static_cast<char>(change));
      accepted += sum(damaged) >= 0 ? 1 : 0;
    }
  }
  CHECK(accepted > 0);                                               // changes of the text itself
  CHECK(sum(varlong(-1) + varlong(-1) + varlong(INT32_MAX)) == -1);  // hostile counts and lengths
  CHECK(sum(varlong(-1) + varlong(-1) + varlong(-1)) == -1);
  CHECK(sum(varlong(-2) + varlong(-1) + varlong(0)) == -1);
  CHECK(sum(varlong(-1) + varlong(INT32_MAX) + varlong(0)) == -1);
  CHECK(sum(varlong(-1) + varlong(-1) + varlong(1) + varlong(-1) + varlong(-1)) == -1);
  CHECK(sum(varlong(-1) + varlong(-1) + varlong(0)) == 0);
}

}  // namespace test_splitter
