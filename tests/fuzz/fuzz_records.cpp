// SPDX-License-Identifier: Apache-2.0
// A Records field from the walker to the fields of a record: any bytes, any pieces, any ranges
// wanted, batches that claim to be packed too. The first eight octets choose.
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include "kshare/record/walker.hpp"

namespace {

constexpr uint32_t kSlots = 2;
constexpr uint32_t kSlotBytes = 1024;

// Doubles every octet; 0xEE is damage, 0xDD the end. As a codec should, it holds back what does not
// fit.
class Doubler final : public kshare::Codec {
 public:
  void begin() override { held_ = 0; }
  kshare::CodecStep run(kshare::Bytes& in, kshare::MutableBytes& out) override {
    for (;;) {
      for (; held_ != 0 && out.size != 0; --held_) {
        *out.data++ = octet_;
        --out.size;
      }
      if (held_ != 0 || in.size == 0) return kshare::CodecStep::more;
      octet_ = *in.data++;
      --in.size;
      if (octet_ == 0xEE) return kshare::CodecStep::damaged;
      if (octet_ == 0xDD) return kshare::CodecStep::done;
      held_ = octet_ < 0x80 ? 1 : 2;
    }
  }

 private:
  uint8_t octet_ = 0;
  uint32_t held_ = 0;
};

struct Ranges {
  int64_t from = 0;
  int64_t step = 1;
  static bool next(const void* context, int64_t at, int64_t& first, int64_t& last) {
    const auto& self = *static_cast<const Ranges*>(context);
    if (at > INT64_MAX - 3 * self.step) return false;
    first = at < self.from ? self.from : at + self.step / 2;
    last = first + self.step;
    return true;
  }
};

struct Bench {
  Bench() {
    store.attach({slots, kSlots}, memory.get(), kSlotBytes);
    codecs.by_id[1] = &doubler;
    codecs.by_id[4] = &doubler;
    codecs.window = {window.get(), 64};
  }
  kshare::StoreSlot slots[kSlots] = {};
  std::unique_ptr<uint8_t[]> memory{new uint8_t[kSlots * kSlotBytes]};
  std::unique_ptr<uint8_t[]> window{new uint8_t[64]};
  kshare::Store store{};
  kshare::CodecRegistry codecs{};
  Doubler doubler{};
};

kshare::WalkPlan plan_of(const uint8_t* choice, Bench& bench, const Ranges& ranges) {
  kshare::WalkPlan plan;
  plan.partition = 3;
  plan.slot = choice[0] & 1u;
  plan.check_crcs = (choice[0] & 2) != 0;
  if ((choice[0] & 4) != 0) plan.codecs = &bench.codecs;
  plan.from_exact = (choice[0] & 8) != 0;
  plan.from = plan.from_exact ? choice[1] : 0;
  plan.hint = (choice[0] & 16) != 0 ? choice[2] : 0;
  plan.wanted = (choice[0] & 32) != 0 ? kshare::Wanted::ranges(Ranges::next, &ranges)
                                      : kshare::Wanted::from(choice[3]);
  return plan;
}

void read_out(Bench& bench, uint32_t slot) {
  kshare::StoreItem item;
  uint64_t sum = 0;
  uint32_t items = 0;
  while (bench.store.peek(slot, item)) {
    if (++items > kSlotBytes) std::abort();
    if (item.last < item.first) std::abort();
    kshare::Record record;
    if (item.chunk.kind == kshare::ChunkKind::records &&
        kshare::parse_fields(item.body, record)) {
      for (uint8_t octet : record.key) sum += octet;
      for (uint8_t octet : record.value) sum += octet;
      uint32_t headers = 0;
      for (const kshare::Header& header : record.headers) {
        ++headers;
        sum += header.key.size() + header.value.size;
      }
      if (headers != record.headers.size()) std::abort();
    }
    bench.store.skip(slot, item);
  }
  if (sum == UINT64_MAX) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 8 || size > 100000) return 0;
  Bench bench;
  const Ranges ranges{data[4], 1 + data[5]};
  const kshare::WalkPlan plan = plan_of(data, bench, ranges);
  const uint32_t window = 512;
  const uint32_t piece = data[6] == 0 ? window : data[6];
  const std::unique_ptr<uint8_t[]> memory{new uint8_t[window]};
  kshare::Reader in;
  in.attach(memory.get(), window);
  const auto total = static_cast<uint32_t>(size) - 8;
  in.begin_frame(total);
  kshare::Walker walker;
  walker.begin(plan, total);
  uint32_t at = 8;
  bool done = walker.run(bench.store, in);
  while (!done) {
    const kshare::MutableBytes space = in.space();
    uint32_t count = total + 8 - at;
    if (count > piece) count = piece;
    if (count > space.size) count = space.size;
    if (count == 0) std::abort();  // it must take what is there
    std::memcpy(space.data, data + at, count);
    in.filled(count);
    at += count;
    if ((data[7] & 2) != 0) bench.codecs.used_by = nullptr;  // given to another link, and back
    done = walker.run(bench.store, in);
  }
  if (bench.codecs.used_by != nullptr) std::abort();
  if (walker.walked() && walker.walk_first() < 0) std::abort();
  if ((data[7] & 1) != 0) {
    bench.store.trim(plan.slot, 0, [&](int64_t offset) { return (offset & 3) != 0; });
  }
  read_out(bench, plan.slot);
  return 0;
}
