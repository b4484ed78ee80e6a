// SPDX-License-Identifier: Apache-2.0
// What:        the records of the benchmarks: values of one size, in batches as a Kafka producer
//              makes them with its default batch.size.
// Flow:        here -> floor.cpp, serve.cpp, path.cpp.
// Memory:      the programs' own.
// Errors:      none.
#ifndef KSHARE_BENCH_BATCHES_HPP
#define KSHARE_BENCH_BATCHES_HPP

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "../broker/broker.hpp"

namespace bench {

inline constexpr size_t kBatchBytes = 16384;  // batch.size
inline constexpr size_t kHeaderBytes = 61;    // of a batch
inline constexpr size_t kRecordBytes = 10;    // around a value

inline size_t records_per_batch(size_t value_bytes) {
  return std::max<size_t>(1, (kBatchBytes - kHeaderBytes) / (value_bytes + kRecordBytes));
}

// Records `from` and on; three of them share a millisecond.
inline std::vector<minibroker::Rec> records(size_t value_bytes, size_t from, size_t count) {
  std::vector<minibroker::Rec> all(count);
  for (size_t i = 0; i < count; ++i) {
    all[i].timestamp = 1700000000000 + static_cast<int64_t>((from + i) / 3);
    all[i].value = std::string(value_bytes, static_cast<char>('a' + (from + i) % 26));
  }
  return all;
}

// Topic "t", with `wanted` records in four partitions.
inline void fill(minibroker::Broker& broker, size_t value_bytes, size_t wanted) {
  broker.add_topic("t", 4);
  const size_t per_batch = records_per_batch(value_bytes);
  for (size_t i = 0; i * per_batch < wanted; ++i) {
    const size_t from = i * per_batch;
    broker.append("t", static_cast<int>(i % 4),
                  records(value_bytes, from, std::min(per_batch, wanted - from)));
  }
}

}  // namespace bench

#endif  // KSHARE_BENCH_BATCHES_HPP
