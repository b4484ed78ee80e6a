// SPDX-License-Identifier: Apache-2.0
// What:        commands that make topics and records.
// Flow:        included by commands.hpp only.
// Memory:      see commands.hpp.
// Valid until: see commands.hpp.
// Errors:      see commands.hpp.
#ifndef MINIBROKER_COMMANDS_DATA_HPP
#define MINIBROKER_COMMANDS_DATA_HPP

#include <algorithm>
#include <fstream>

#include "commands.hpp"

namespace minibroker {

constexpr int64_t kBatchBytesMost = 64 << 20;

inline std::string Commands::topic(Words& w) {
  const std::string name = w.next("NAME");
  const int count = w.empty() ? 1 : w.small("PARTITIONS", 1, 10000);
  w.end();
  const bool plain = std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
  });
  if (!plain || name.empty() || name.size() > 249 || name == "." || name == "..") {
    throw Complaint{"a topic's name is made of up to 249 letters, digits, '.', '_' and '-', not " +
                    quote(name)};
  }
  if (broker_.topics().count(name) != 0) throw Complaint{"topic " + quote(name) + " is there"};
  broker_.add_topic(name, count);
  return ok();
}

inline std::string Commands::partitions(Words& w) {
  const std::string name = topic_word(w);
  const int now = partitions_of(name);
  const int count = w.small("COUNT", now, 10000);
  w.end();
  broker_.add_partitions(name, count - now);
  return ok();
}

inline std::string Commands::delete_topic(Words& w) {
  const std::string name = topic_word(w);
  w.end();
  broker_.delete_topic(name);
  return ok();
}

inline Rec Commands::record(const std::optional<std::string>& key,
                            const std::optional<std::string>& value) {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  Rec made;
  made.key = key;
  made.value = value;
  made.timestamp = std::chrono::duration_cast<std::chrono::milliseconds>(now).count();
  return made;
}

inline std::vector<Rec> Commands::generated(const Place& at, int64_t count, int64_t size) const {
  if (count * std::max<int64_t>(size, 20) > kBatchBytesMost) {
    throw Complaint{"COUNT times SIZE is at most " + std::to_string(kBatchBytesMost)};
  }
  const int64_t first = broker_.end_offset(at.topic, at.partition);
  std::vector<Rec> records;
  for (int64_t i = 0; i < count; ++i) {
    std::string text = std::to_string(first + i) + " ";
    text.resize(std::max(static_cast<size_t>(size), text.size()), 'x');
    records.push_back(record(std::nullopt, text));
  }
  return records;
}

inline std::string Commands::append(Words& w) {
  const Place at = place(w);
  const int64_t count = w.number("COUNT", 1, kBatchBytesMost);
  const int64_t size = w.empty() ? 0 : w.number("SIZE", 0, kBatchBytesMost);
  const int64_t hole = w.empty() ? 0 : w.number("HOLE", 0, 1000000);
  w.end();
  BatchOptions options;
  options.last_offset_delta = static_cast<int32_t>(count - 1 + hole);
  return ok(broker_.append(at.topic, at.partition, generated(at, count, size), options));
}

inline std::string Commands::value(Words& w) {
  const Place at = place(w);
  return ok(broker_.append(at.topic, at.partition, {record(std::nullopt, w.rest())}));
}

// A word without '=' or ':' in front is a mistake; of both signs the first one counts.
inline std::string Commands::add_record(Words& w) {
  const Place at = place(w);
  Rec made = record(std::nullopt, std::nullopt);
  while (!w.empty()) {
    const std::string word = w.next("key=K, value=V or NAME:V");
    const size_t sign = word.find_first_of("=:");
    const std::string name = word.substr(0, sign);
    const std::string text = sign == std::string::npos ? "" : word.substr(sign + 1);
    if (sign != std::string::npos && word[sign] == ':') made.headers.push_back({name, text});
    else if (sign != std::string::npos && name == "key") made.key = text;
    else if (sign != std::string::npos && name == "value") made.value = text;
    else throw Complaint{quote(word) + " is not key=K, value=V or NAME:V"};
  }
  return ok(broker_.append(at.topic, at.partition, {made}));
}

inline void Commands::spread(const std::string& topic, const std::vector<std::string>& lines) {
  const int count = partitions_of(topic);
  int64_t before = 0;
  for (int p = 0; p < count; ++p) before += broker_.end_offset(topic, p);
  std::vector<std::vector<Rec>> batches(static_cast<size_t>(count));
  for (const std::string& line : lines) {
    batches[static_cast<size_t>(before++ % count)].push_back(record(std::nullopt, line));
  }
  for (int p = 0; p < count; ++p) {
    const std::vector<Rec>& batch = batches[static_cast<size_t>(p)];
    if (!batch.empty()) broker_.append(topic, p, batch);
  }
}

inline std::string Commands::lines(Words& w) {
  constexpr size_t kLinesAtOnce = 500;
  const std::string name = topic_word(w);
  const std::string path = w.next("FILE");
  w.end();
  std::ifstream file(path, std::ios::binary);
  if (!file) throw Complaint{path + " cannot be read"};
  int64_t count = 0;
  std::vector<std::string> some;
  for (std::string line; std::getline(file, line); ++count) {
    some.push_back(line);
    if (some.size() < kLinesAtOnce) continue;
    spread(name, some);
    some.clear();
  }
  if (file.bad()) throw Complaint{path + " cannot be read"};  // a folder can be opened
  if (!some.empty()) spread(name, some);
  return ok(count);
}

inline std::string Commands::corrupt(Words& w) {
  const Place at = place(w);
  w.end();
  BatchOptions options;
  options.corrupt_crc = true;
  return ok(broker_.append(at.topic, at.partition, {record(std::nullopt, "damaged")}, options));
}

inline std::string Commands::transaction(Words& w) {
  const Place at = place(w);
  const std::string verdict = w.next("commit or abort");
  const bool commit = !choose("its end", verdict, "commit", "abort");
  const int64_t count = w.number("COUNT", 1, kBatchBytesMost);
  const int64_t size = w.empty() ? 0 : w.number("SIZE", 0, kBatchBytesMost);
  w.end();
  BatchOptions options;
  options.transactional = true;
  options.aborted = !commit;
  options.producer_id = 1;
  options.producer_epoch = 0;
  options.base_sequence = 0;
  const int64_t first =
      broker_.append(at.topic, at.partition, generated(at, count, size), options);
  options.control = true;
  options.base_sequence = -1;
  broker_.append(at.topic, at.partition, {control_record(commit)}, options);
  return ok(first);
}

inline std::string Commands::compact(Words& w) {
  const Place at = place(w);
  const int64_t first = w.number("FIRST");
  const int64_t last = w.number("LAST", first);
  w.end();
  broker_.remove_batches(at.topic, at.partition, first, last);
  return ok();
}

inline std::string Commands::trim(Words& w) {
  const Place at = place(w);
  const int64_t offset = w.number("OFFSET", 0, broker_.end_offset(at.topic, at.partition));
  w.end();
  broker_.set_log_start(at.topic, at.partition, offset);
  return ok();
}

inline std::string Commands::stable(Words& w) {
  const Place at = place(w);
  const std::string word = w.next("OFFSET");
  const int64_t end = broker_.end_offset(at.topic, at.partition);
  const int64_t offset = word == "none" ? -1 : to_number(word, "OFFSET", 0, end);
  w.end();
  broker_.set_stable_end(at.topic, at.partition, offset);
  return ok();
}

}  // namespace minibroker

#endif  // MINIBROKER_COMMANDS_DATA_HPP
