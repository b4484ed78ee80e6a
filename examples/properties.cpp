// SPDX-License-Identifier: Apache-2.0
// What:        prints how kshare answers to each property of Kafka's share consumer: the table in
//              README.md.
// Flow:        properties > table.md; the rows come from what set() itself goes by.
// Memory:      a line.
// Errors:      none.
#include <unistd.h>

#include <cstring>

#include "kshare/base/text.hpp"
#include "kshare/core/properties.hpp"

namespace {

using kshare::Options;
using kshare::PropertyOutcome;
using kshare::TextOut;
namespace property = kshare::property;

const char* words(PropertyOutcome outcome) {
  switch (outcome) {
    case PropertyOutcome::accepted: return "accepted";
    case PropertyOutcome::no_effect: return "no effect";
    case PropertyOutcome::unknown: return "unknown";
    case PropertyOutcome::bad_value: return "bad value";
    case PropertyOutcome::rejected: return "rejected";
  }
  return "";
}

class Row {
 public:
  explicit Row(std::string_view name) : out_(line_, sizeof line_) {
    out_ << "| `" << name << "` | ";
  }
  Row& operator<<(std::string_view text) { return out_ << text, *this; }
  Row& operator<<(int64_t number) { return out_ << number, *this; }
  void end() {
    out_ << " |\n";
    static_cast<void>(!::write(STDOUT_FILENO, line_, out_.size()));
  }

 private:
  char line_[kshare::kLineBytes];
  TextOut out_;
};

// A property that is set by one of several words: its default, and what each word is answered.
struct Word {
  const char* name;
  const char* normal;
  const char* words[4];
};
constexpr Word kWords[] = {
    {"share.acknowledgement.mode", "implicit", {"implicit", "explicit"}},
    {"share.acquire.mode", "batch_optimized", {"batch_optimized", "record_limit"}},
    {"record.too.large", "release", {"release", "reject"}},
    {"batch.undecodable", "release", {"release", "reject"}},
    {"metadata.recovery.strategy", "rebootstrap", {"rebootstrap", "none"}},
    {"client.dns.lookup",
     "use_all_dns_ips",
     {"use_all_dns_ips", "resolve_canonical_bootstrap_servers_only"}},
    {"security.protocol", "PLAINTEXT", {"PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"}},
};

void print_word(const Word& word) {
  Row row(word.name);
  row << word.normal << " | ";
  bool first = true;
  for (const char* const text : word.words) {
    if (text == nullptr) break;
    Options options;
    const kshare::PropertyResult result = kshare::set(options, word.name, text);
    row << (first ? "" : "; ") << text << ": " << words(result.outcome);
    if (result.outcome == PropertyOutcome::rejected) row << " (" << result.reason << ")";
    first = false;
  }
  row.end();
}

}  // namespace

int main() {
  const Options options;
  for (const auto& text : property::kTexts) {
    Row row(text.name);
    row << options.*text.field << " | accepted";
    row.end();
  }
  for (const Word& word : kWords) print_word(word);
  for (const auto& number : property::kNumbers) {
    Row row(number.name);
    row << int64_t{options.*number.field} << " | accepted, from " << int64_t{number.min};
    row.end();
  }
  for (const auto& flag : property::kFlags) {
    Row row(flag.name);
    row << (options.*flag.field ? "true" : "false") << " | accepted";
    row.end();
  }
  for (const auto& answer : property::kAnswers) {
    Row row(answer.name);
    row << "| " << words(answer.result.outcome) << ": " << answer.result.reason;
    row.end();
  }
  return 0;
}
