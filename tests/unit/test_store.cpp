// SPDX-License-Identifier: Apache-2.0
// record/store.hpp: the life of a slot, in which order slots are read, and what trim() leaves.
#include <doctest/doctest.h>

#include "../support/batches.hpp"

namespace test_store {
namespace {

using batches::Box;
using batches::Items;
using batches::recs;
using kshare::Chunk;
using kshare::ChunkKind;
using kshare::SlotState;
using kshare::Store;
using kshare::StoreItem;

Chunk chunk_of(int64_t first, ChunkKind kind = ChunkKind::records, int64_t last = 0) {
  Chunk chunk;
  chunk.first = first;
  chunk.last = last;
  chunk.kind = kind;
  return chunk;
}

// One chunk with the records of these offset deltas.
void put(Box& box, uint32_t slot, int64_t base, const std::vector<int32_t>& deltas) {
  const uint32_t at = box.store.slot(slot).used;
  REQUIRE(box.store.begin_chunk(slot, chunk_of(base), 0));
  for (int32_t delta : deltas) {
    const std::string whole = minibroker::encode_record(batches::rec(delta, "v"), 0, delta);
    box.store.append(slot, batches::bytes_of(whole));
  }
  box.store.end_chunk(slot, at);
}

std::vector<int64_t> offsets(const Items& items) {
  std::vector<int64_t> all;
  for (const auto& item : items) all.push_back(item.first);
  return all;
}

}  // namespace

TEST_CASE(
    "a slot is free, reserved, ready, and free again when it is read out and nothing is held") {
  Box box(2, 256);
  Store& store = box.store;
  CHECK(store.free_count() == 2);
  const uint32_t a = store.reserve(1);
  const uint32_t b = store.reserve(2);
  CHECK(a != b);
  CHECK(store.reserve(1) == Store::kNone);
  CHECK(store.free_count() == 0);
  CHECK(store.slot(b).link == 2);
  CHECK(store.oldest() == Store::kNone);
  store.drop_reservation(b);
  CHECK(store.free_count() == 1);

  store.slot(a).lots_head = 1;  // a lot has bytes here
  store.publish(a);
  CHECK(store.oldest() == a);
  store.hold(a);
  store.hold(a);
  store.slot(a).lots_head = 0;
  CHECK_FALSE(store.free_if_done(a));  // records are still held
  CHECK(store.oldest() == Store::kNone);
  CHECK_FALSE(store.unhold(a));
  CHECK(store.unhold(a));
  CHECK(store.slot(a).state == SlotState::free);
  CHECK(store.free_count() == 2);
}

TEST_CASE("a slot that holds nothing is free as soon as it is published") {
  Box box(1, 256);
  box.store.publish(box.store.reserve(1));
  CHECK(box.store.free_count() == 1);
  CHECK_FALSE(box.store.free_if_done(0));
}

TEST_CASE("a reserved slot is never freed by what is done to it") {
  Box box(1, 256);
  const uint32_t slot = box.store.reserve(1);
  CHECK_FALSE(box.store.free_if_done(slot));
  CHECK(box.store.slot(slot).state == SlotState::reserved);
}

TEST_CASE("slots are read in the order of their publication") {
  Box box(3, 256);
  Store& store = box.store;
  for (uint32_t i = 0; i < 3; ++i) store.slot(store.reserve(1)).lots_head = 1;
  for (uint32_t i : {2u, 0u, 1u}) store.publish(i);
  std::vector<uint32_t> order;
  while (store.oldest() != Store::kNone) {
    order.push_back(store.oldest());
    store.slot(order.back()).lots_head = 0;
  }
  CHECK(order == std::vector<uint32_t>{2, 0, 1});
}

TEST_CASE("the order of publication holds when its count wraps around, whichever slot is which") {
  for (uint32_t older : {0u, 1u}) {
    Box box(2, 256);
    Store& store = box.store;
    for (uint32_t i = 0; i < UINT16_MAX - 1u; ++i) store.publish(store.reserve(1));
    for (uint32_t i = 0; i < 2; ++i) store.slot(store.reserve(1)).lots_head = 1;
    store.publish(older);
    store.publish(1 - older);
    CHECK(store.slot(older).order == UINT16_MAX);
    CHECK(store.slot(1 - older).order == 0);
    CHECK(store.oldest() == older);
    store.slot(older).lots_head = 0;
    CHECK(store.oldest() == 1 - older);
  }
}

TEST_CASE("a slot that is used again comes behind those published meanwhile") {
  Box box(2, 256);
  Store& store = box.store;
  const auto publish = [&] {
    const uint32_t slot = store.reserve(1);
    store.slot(slot).lots_head = 1;
    store.publish(slot);
    return slot;
  };
  const uint32_t first = publish();
  CHECK(store.oldest() == first);
  const uint32_t second = publish();
  CHECK(store.oldest() == first);
  store.slot(first).lots_head = 0;
  REQUIRE(store.free_if_done(first));
  REQUIRE(publish() == first);
  CHECK(store.oldest() == second);
  store.slot(second).lots_head = 0;
  REQUIRE(store.free_if_done(second));
  CHECK(store.oldest() == first);
  store.attach({&store.slot(0), 2}, box.memory.get(), 256);  // another life
  CHECK(store.oldest() == Store::kNone);
}

TEST_CASE("a chunk begins only where it and its first record have room") {
  Box box(1, 256);
  const uint32_t slot = box.store.reserve(1);
  CHECK(box.store.room(slot) == 256);
  CHECK(box.store.largest_record() == 256 - Store::kChunkBytes);
  CHECK_FALSE(box.store.begin_chunk(slot, chunk_of(0), 257 - Store::kChunkBytes));
  CHECK(box.store.room(slot) == 256);
  CHECK(box.store.begin_chunk(slot, chunk_of(0), 256 - Store::kChunkBytes));
  const std::string most(256 - Store::kChunkBytes, 'x');
  box.store.append(slot, batches::bytes_of(most));
  CHECK(box.store.room(slot) == 0);
  CHECK_FALSE(box.store.begin_chunk(slot, chunk_of(0), 0));
}

TEST_CASE("a chunk in which nothing was kept takes no room") {
  Box box(1, 256);
  const uint32_t slot = box.store.reserve(1);
  put(box, slot, 5, {});
  CHECK(box.store.room(slot) == 256);
  CHECK(box.take(slot).empty());
}

TEST_CASE("peek gives records and marks in order, and the same one until it is skipped") {
  Box box(1, 512);
  Store& store = box.store;
  const uint32_t slot = store.reserve(1);
  put(box, slot, 10, {0, 3});
  REQUIRE(store.begin_chunk(slot, chunk_of(15, ChunkKind::corrupt, 19), 0));
  REQUIRE(store.begin_chunk(slot, chunk_of(20, ChunkKind::too_large, 20), 0));
  put(box, slot, 21, {0});
  StoreItem item;
  for (int i = 0; i < 3; ++i) {
    REQUIRE(store.peek(slot, item));
    CHECK(item.first == 10);
  }
  store.skip(slot, item);
  REQUIRE(store.peek(slot, item));
  CHECK(item.first == 13);
  store.skip(slot, item);
  for (int i = 0; i < 2; ++i) {
    REQUIRE(store.peek(slot, item));
    CHECK(item.chunk.kind == ChunkKind::corrupt);
    CHECK(item.first == 15);
    CHECK(item.last == 19);
  }
  store.skip(slot, item);
  CHECK(offsets(box.take(slot)) == std::vector<int64_t>{20, 21});
  CHECK_FALSE(store.peek(slot, item));
}

TEST_CASE("trim keeps exactly what is wanted behind its beginning, for every subset") {
  for (uint32_t subset = 0; subset < 128; ++subset) {
    Box box(1, 1024);
    Store& store = box.store;
    const uint32_t slot = store.reserve(1);
    put(box, slot, 0, {0, 1});
    const uint32_t from = store.slot(slot).used;
    put(box, slot, 10, {0, 1, 5});
    REQUIRE(store.begin_chunk(slot, chunk_of(16, ChunkKind::corrupt, 19), 0));
    put(box, slot, 20, {0, 1});
    put(box, slot, 30, {0, 7});
    const int64_t all[] = {10, 11, 15, 20, 21, 30, 37};
    const auto wanted = [&](int64_t offset) {
      for (uint32_t i = 0; i < 7; ++i) {
        if (all[i] == offset) return (subset >> i & 1u) != 0;
      }
      return false;
    };
    const uint32_t before = store.room(slot);
    store.trim(slot, from, wanted);
    std::vector<int64_t> left{0, 1};
    for (int64_t offset : all) {
      if (offset > 19 && left.back() < 16) left.push_back(16);  // marks stay
      if (wanted(offset)) left.push_back(offset);
    }
    if (left.back() < 16) left.push_back(16);
    const uint32_t after = store.room(slot);
    if (offsets(box.take(slot)) != left) FAIL_CHECK("subset " << subset);
    if (subset == 127) CHECK(after == before);
    if (subset == 0) {
      store.trim(slot, 0, [](int64_t) { return false; });
      CHECK(store.room(slot) == 1024 - Store::kChunkBytes);
    }
  }
}

TEST_CASE("log append time is every record's time, create time is each record's own") {
  Box box(1, 512);
  const uint32_t slot = box.store.reserve(1);
  for (const bool append : {false, true}) {
    Chunk chunk = chunk_of(append ? 10 : 0);
    chunk.timestamp = 5000;
    chunk.log_append_time = append;
    const uint32_t at = box.store.slot(slot).used;
    REQUIRE(box.store.begin_chunk(slot, chunk, 0));
    box.store.append(slot,
                     batches::bytes_of(minibroker::encode_record(batches::rec(0, "v"), 7, 0)));
    box.store.end_chunk(slot, at);
  }
  const Items items = box.take(slot);
  REQUIRE(items.size() == 2);
  CHECK(items[0].timestamp == 5007);
  CHECK(items[1].timestamp == 5000);
}

}  // namespace test_store
