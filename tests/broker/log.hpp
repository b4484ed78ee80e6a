// SPDX-License-Identifier: Apache-2.0
// What:        topics and partition logs: batches by offset, leaders, reads limited by bytes.
// Flow:        Broker::append -> PartitionLog -> read() -> ShareFetch and Fetch answers.
// Memory:      every batch's bytes once; reads copy.
// Valid until: a Slice is a copy; references to partitions hold until the topic is deleted.
// Errors:      none; offsets outside the log give an empty slice.
#ifndef MINIBROKER_LOG_HPP
#define MINIBROKER_LOG_HPP

#include <algorithm>
#include <string>
#include <vector>

#include "share_partition.hpp"

namespace minibroker {

struct LogBatch {
  int64_t base;
  int64_t last;
  std::string bytes;
  bool aborted;
  size_t position;  // of its first byte in the log
};

struct Slice {
  size_t from = 0;  // batches [from, to) of the log are complete in it
  size_t to = 0;
  std::vector<Span> spans;
  size_t bytes = 0;  // of the read, a partial batch at the end included
  bool empty() const { return spans.empty(); }
};

struct PartitionLog {
  int leader = -1;
  int32_t leader_epoch = 0;
  std::vector<int> replicas;
  int64_t log_start = 0;
  int64_t end = 0;
  int64_t stable_end = -1;  // last stable offset when held back, -1: all is stable
  std::vector<LogBatch> batches;
  int16_t fetch_error = 0;  // injected
  int fetch_errors = 0;
  int16_t ack_error = 0;
  int ack_errors = 0;
  bool hint = true;  // error 6 names the leader

  void append(int64_t base, int64_t last, const std::string& bytes, bool aborted) {
    const size_t at = batches.empty() ? 0 : batches.back().position + batches.back().bytes.size();
    batches.push_back({base, last, bytes, aborted, at});
    end = std::max(end, last + 1);
  }

  // Index of the first batch that ends at or after `offset`.
  size_t batch_at(int64_t offset) const {
    const auto it = std::lower_bound(
        batches.begin(), batches.end(), offset,
        [](const LogBatch& b, int64_t wanted) { return b.last < wanted; });
    return static_cast<size_t>(it - batches.begin());
  }
  int64_t visible_end(bool committed) const {
    return committed && stable_end >= 0 ? std::min(stable_end, end) : end;
  }
  size_t bytes_from(int64_t offset, bool committed = false) const {
    const size_t i = batch_at(offset);
    const size_t j = batch_at(visible_end(committed));
    if (i >= j) return 0;
    return batches[j - 1].position + batches[j - 1].bytes.size() - batches[i].position;
  }

  // Whole batches up to max_bytes; the first one even when larger if `at_least_one`.
  Slice read(int64_t offset, size_t max_bytes, bool at_least_one, bool committed = false) const {
    Slice s;
    s.from = s.to = batch_at(offset);
    const size_t stop = batch_at(visible_end(committed));
    if (s.from >= stop) return s;
    size_t limit = max_bytes;
    if (batches[s.from].bytes.size() > limit) {
      if (!at_least_one) return s;
      limit = batches[s.from].bytes.size();
    }
    size_t used = 0;
    while (s.to < stop && used + batches[s.to].bytes.size() <= limit) {
      used += batches[s.to].bytes.size();
      s.spans.push_back({batches[s.to].base, batches[s.to].last});
      ++s.to;
    }
    s.bytes = s.to < stop ? limit : used;
    return s;
  }

  // Bytes of batches [from, to); `total` larger than that adds the front part of the next batch.
  std::string bytes(size_t from, size_t to, size_t total = 0) const {
    std::string out;
    for (size_t i = from; i < to; ++i) out += batches[i].bytes;
    if (out.size() < total && to < batches.size()) {
      out += batches[to].bytes.substr(0, total - out.size());
    }
    return out;
  }

  void set_log_start(int64_t offset) {
    log_start = std::max(log_start, std::min(offset, end));
    const size_t keep = batch_at(log_start);
    batches.erase(batches.begin(), batches.begin() + static_cast<std::ptrdiff_t>(keep));
  }
};

struct Topic {
  std::string name;
  Uuid id{};
  std::vector<PartitionLog> partitions;
};

}  // namespace minibroker

#endif  // MINIBROKER_LOG_HPP
