// SPDX-License-Identifier: Apache-2.0
// What:        an explicit member that keeps a ledger: what it was given, what it said, and with
//              what result.
// Flow:        worker BOOTSTRAP GROUP TOPIC[,TOPIC] NAME=VALUE...; lines on stdout, counters on
//              stderr.
// Memory:      tests may use the heap; the consumer does not.
// Errors:      exit 0 done, 1 usage, 2 failed.
//
//   seed=1          of the mix
//   accept=100 release=0 reject=0 renew=0 forget=0 late=0   weights; renew: renewed once, then
//                   accepted; forget: never acknowledged, its lock runs out; late: accepted after
//                   late_ms
//   work_ms=0       blocking work on each record; work_at=0: only on that one
//   hold=0          so many records are held and settled in random order; those that are left when
//                   no more is there, or when there were as many as count says
//   count=0         ends after so many records; idle_ms=2000: or after such a time without one
//   forget_at=0     that one is never acknowledged, if none are held
//   skip=A-B,C-D    records at these offsets are never acknowledged, whatever the mix says
//   stop_at=0       takes so many records and no more, but goes on with poll()
//   mind=0          so often a record is accepted whatever the mix says, and then two more words
//                   are said of it again and again until they are refused, as it has been settled;
//                   the last one rejects every other, releases a quarter and accepts the rest
//   commit=0        commit_sync before any acknowledgement and after so many, within
//                   commit_ms=10000
//   close=1         so often it closes; close_ms=10000: how long that may take
//   leave=0         unsubscribes after so many records, settles what it holds and ends
//   pause=0         unsubscribes after so many records, and subscribes again pause_ms=1000 later
//   others are properties, as -X of kshare_cat; SIGTERM: settles what it holds and ends
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "kshare/consumer.hpp"
#include "kshare/core/describe.hpp"
#include "kshare/core/properties.hpp"
#include "kshare/net/posix.hpp"

namespace {

using kshare::Ack;
using kshare::kNever;
using kshare::Record;
using kshare::Status;

#if defined(KSHARE_WORKER_TINY)
constexpr kshare::Limits kLimits = kshare::kTinyLimits;
#elif defined(KSHARE_WORKER_LINKS)
constexpr kshare::Limits kLimits = [] {
  kshare::Limits limits = kshare::kDefaultLimits;
  limits.links_max = KSHARE_WORKER_LINKS;
  return limits;
}();
#else
constexpr kshare::Limits kLimits = kshare::kDefaultLimits;
#endif

kshare::Storage<kLimits> storage;
kshare::posix::TcpPool<kLimits> net;

// Gives its numbers by name; what is not in it is not known.
std::map<std::string, long> numbers = {
    {"seed", 1},      {"accept", 100},     {"release", 0}, {"reject", 0},        {"renew", 0},
    {"forget", 0},    {"late", 0},         {"late_ms", 0}, {"hold", 0},          {"work_ms", 0},
    {"work_at", 0},   {"count", 0},        {"commit", 0},  {"commit_ms", 10000}, {"mind", 0},
    {"forget_at", 0}, {"close_ms", 10000}, {"leave", 0},   {"pause", 0},         {"pause_ms", 1000},
    {"idle_ms", 2000}, {"stop_at", 0},     {"close", 1}};
std::vector<std::pair<long, long>> skipped_ranges;

volatile std::sig_atomic_t told_to_end = 0;

struct Held {
  kshare::RecordId id;
  std::string place;      // topic, partition, offset, delivery count and a number, as printed
  bool skipped = false;
  kshare::Instant due{};  // of one that is accepted late
  Ack last{};                                     // word of a change of mind, and
  kshare::Errc told = kshare::Errc::in_progress;  // what it was told so far
};

class Worker {
 public:
  Worker() : random_(static_cast<unsigned>(numbers["seed"])) {}

  int run(const kshare::Options& options, const std::vector<std::string_view>& topics) {
    topics_ = {topics.data(), static_cast<uint32_t>(topics.size())};
    Status status = consumer_.start(options);
    if (status.ok()) status = consumer_.subscribe(topics_);
    if (!status.ok()) return complain(status);
    kshare::Instant idle_since = net.now();
    for (kshare::Instant now = net.now(); consumer_.poll(now); now = net.now()) {
      report_events();
      accept_renewed();
      accept_late(now);
      change_mind();
      Record record;
      const bool enough = is_enough() || is_pausing(now);
      const bool one = !enough && !has_stopped() && consumer_.next(record, now);
      if (one) take(record);
      const bool more = one || (numbers["count"] != 0 && !enough);
      while (held_.size() > static_cast<size_t>(more ? numbers["hold"] : 0)) settle_one();
      const bool busy =
          !renewing_.empty() || !late_.empty() || !minding_.empty() || paused_at_ != kNever;
      if (one || busy || consumer_.assignment_count() == 0) idle_since = net.now();
      const int64_t idle = net.now() - idle_since;
      if (!busy && (enough || idle >= numbers["idle_ms"])) return finish();
      std::fflush(stdout);
      if (!one) net.wait(consumer_, 100);
    }
    return complain(consumer_.status());
  }

 private:
  int complain(Status status) {
    char line[kshare::kLineBytes];
    kshare::describe(status, line, sizeof line);
    std::fprintf(stderr, "worker: %s %s\n", line, std::string(consumer_.last_error()).c_str());
    return 2;
  }

  // By count, by a signal, or by leave, which is when it unsubscribes.
  bool is_enough() {
    if (numbers["leave"] != 0 && taken_ == numbers["leave"] && !left_) {
      left_ = true;
      unsubscribe();
    }
    return left_ || told_to_end != 0 || (numbers["count"] != 0 && taken_ == numbers["count"]);
  }
  bool has_stopped() const { return numbers["stop_at"] != 0 && taken_ >= numbers["stop_at"]; }
  bool is_pausing(kshare::Instant now) {
    if (numbers["pause"] != 0 && taken_ >= numbers["pause"]) {
      numbers["pause"] = 0;
      paused_at_ = now;
      unsubscribe();
    }
    if (paused_at_ == kNever || now - paused_at_ < numbers["pause_ms"]) return paused_at_ != kNever;
    paused_at_ = kNever;
    std::printf("subscribe %d\n", static_cast<int>(consumer_.subscribe(topics_).code));
    return false;
  }
  void unsubscribe() {
    std::printf("unsubscribe %d\n", static_cast<int>(consumer_.unsubscribe().code));
  }

  void take(const Record& record) {
    ++taken_;
    Held held;
    held.id = record.id;
    held.place = std::string(record.topic) + " " + std::to_string(record.partition) + " " +
                 std::to_string(record.offset) + " " + std::to_string(record.delivery_count) + " " +
                 std::to_string(taken_);
    std::printf("take %s %lld %lld %d\n", held.place.c_str(), static_cast<long long>(net.now().ms),
                static_cast<long long>(record.timestamp), record.leader_epoch);
    if (taken_ == 1 && numbers["commit"] != 0) commit();
    if (numbers["work_ms"] != 0 && (numbers["work_at"] == 0 || taken_ == numbers["work_at"])) {
      std::fflush(stdout);
      ::usleep(static_cast<useconds_t>(numbers["work_ms"] * 1000));
    }
    held.skipped = is_skipped(record.offset);
    if (numbers["hold"] != 0 || held.skipped) static_cast<void>(consumer_.detach(record));
    if (numbers["mind"] == 0 || taken_ % numbers["mind"] != 0) return held_.push_back(held);
    constexpr int64_t kFar = 1000000000;
    print("invalid", held, consumer_.acknowledge(record, static_cast<Ack>(9)));
    print("elsewhere", held,
          consumer_.acknowledge(record.topic, record.partition, record.offset + kFar, Ack::accept));
    say(held, "accept", Ack::accept);
    const size_t turn = minded_++ % 4;
    held.last = turn % 2 == 1 ? Ack::reject : turn == 2 ? Ack::release : Ack::accept;
    minding_.push_back(held);
  }

  // One of those held, by chance.
  void settle_one() {
    const size_t index = held_.size() == 1 ? 0 : random_() % held_.size();
    Held held = held_[index];
    held_.erase(held_.begin() + static_cast<std::ptrdiff_t>(index));
    const bool forgotten = held.skipped || taken_ == numbers["forget_at"];
    const std::string word = forgotten ? "forget" : draw();
    if (word == "forget" || word == "late") {
      std::printf("%s %s\n", word.c_str(), held.place.c_str());
      held.due = net.now() + numbers["late_ms"];
      if (word == "late") late_.push_back(held);
      return;
    }
    const Ack ack = word == "accept"    ? Ack::accept
                    : word == "release" ? Ack::release
                    : word == "reject"  ? Ack::reject
                                        : Ack::renew;
    say(held, word, ack);
    if (ack == Ack::renew) renewing_.push_back(held);
  }
  void say(const Held& held, const std::string& word, Ack ack) {
    print(word, held, consumer_.acknowledge(held.id, ack));
    if (numbers["commit"] != 0 && ++acks_ % numbers["commit"] == 0) commit();
  }
  void commit() {
    std::fflush(stdout);
    const kshare::Instant began = net.now();
    kshare::Ticket ticket = 0;
    const Status status = kshare::posix::commit_sync(consumer_, net, numbers["commit_ms"], &ticket);
    std::printf("commit %d %d %lld\n", static_cast<int>(status.code), status.detail,
                static_cast<long long>(net.now() - began));
    kshare::CommitResult row;
    for (uint32_t i = 0; consumer_.commit_result(ticket, i, row); ++i) {
      std::printf("result %s %d %u %d\n", std::string(row.topic).c_str(), row.partition,
                  row.records, static_cast<int>(row.status.code));
    }
  }
  static void print(const std::string& word, const Held& held, Status status) {
    std::printf("%s %s %d\n", word.c_str(), held.place.c_str(), static_cast<int>(status.code));
  }
  std::string draw() {
    static const char* const kWords[] = {"accept", "release", "reject", "renew", "forget", "late"};
    long sum = 0;
    for (const char* word : kWords) sum += numbers[word];
    long at = static_cast<long>(random_() % static_cast<unsigned long>(sum));
    for (const char* word : kWords) {
      at -= numbers[word];
      if (at < 0) return word;
    }
    return "accept";
  }
  void accept_renewed() {
    for (size_t i = 0; i < renewing_.size();) {
      if (is_renewing(renewing_[i].id)) {
        ++i;
        continue;
      }
      say(renewing_[i], "accept", Ack::accept);
      renewing_.erase(renewing_.begin() + static_cast<std::ptrdiff_t>(i));
    }
  }
  void accept_late(kshare::Instant now) {  // the first of them is due first
    while (!late_.empty() && now >= late_.front().due) {
      say(late_.front(), "accept", Ack::accept);
      late_.erase(late_.begin());
    }
  }
  // Before a word is sent the next one takes its place; after that it stands.
  void change_mind() {
    for (size_t i = 0; i < minding_.size();) {
      Held& held = minding_[i];
      const bool releases = held.last == Ack::release;
      const Status status = consumer_.acknowledge(held.id, releases ? Ack::accept : Ack::release);
      const bool same = status.code == held.told;
      held.told = status.code;
      if (!same) print(releases ? "accept" : "release", held, status);
      if (status.ok()) {
        const Status again = consumer_.acknowledge(held.id, held.last);
        if (!same || !again.ok()) print(name_of(held.last), held, again);
      }
      if (status.code == kshare::Errc::unknown_record) {
        minding_.erase(minding_.begin() + static_cast<std::ptrdiff_t>(i));
      } else {
        ++i;
      }
    }
  }
  static const char* name_of(Ack ack) {
    return ack == Ack::accept ? "accept" : ack == Ack::release ? "release" : "reject";
  }
  static bool is_skipped(int64_t offset) {
    for (const auto& range : skipped_ranges) {
      if (range.first <= offset && offset <= range.second) return true;
    }
    return false;
  }
  bool is_renewing(kshare::RecordId id) {
    kshare::HeldRecord held;
    return consumer_.held(id.slot, held) && held.id == id && held.renewing;
  }

  void report_events() {
    kshare::Event event;
    while (consumer_.next_event(event)) {
      char line[kshare::kLineBytes];
      kshare::format(event, line, sizeof line);
      std::fprintf(stderr, "# %lld %s\n", static_cast<long long>(net.now().ms), line);
    }
  }
  int finish() {
    std::fflush(stdout);
    Status status;
    for (long i = 0; i < numbers["close"]; ++i) {
      const kshare::Instant began = net.now();
      status = kshare::posix::close(consumer_, net, numbers["close_ms"]);
      std::printf("close %d %d %lld\n", static_cast<int>(status.code), status.detail,
                  static_cast<long long>(net.now() - began));
    }
    report_events();
    const kshare::Stats& s = consumer_.stats();
    const std::pair<const char*, uint64_t> rows[] = {{"records", s.records},
                                                     {"redelivered", s.redelivered},
                                                     {"acks_ok", s.acks_ok},
                                                     {"acks_failed", s.acks_failed},
                                                     {"acks_unknown", s.acks_unknown},
                                                     {"released", s.released},
                                                     {"rejected", s.rejected},
                                                     {"renewed", s.renewed},
                                                     {"renew_failed", s.renew_failed},
                                                     {"expired", s.expired},
                                                     {"gaps", s.gaps},
                                                     {"reread", s.reread},
                                                     {"session_resets", s.session_resets}};
    std::fprintf(stderr, "{");
    for (const auto& row : rows) {
      std::fprintf(stderr, "%s\"%s\":%llu", row.first == rows[0].first ? "" : ",", row.first,
                   static_cast<unsigned long long>(row.second));
    }
    std::fprintf(stderr, "}\n");
    return status.ok() ? 0 : complain(status);
  }

  kshare::ShareConsumer consumer_{storage, net};
  std::mt19937 random_;
  std::vector<Held> held_;
  std::vector<Held> renewing_;
  std::vector<Held> late_;
  std::vector<Held> minding_;
  kshare::Span<const std::string_view> topics_;
  kshare::Instant paused_at_ = kNever;
  bool left_ = false;
  long taken_ = 0;
  long acks_ = 0;
  size_t minded_ = 0;
};

bool read_ranges(const char* text) {
  long from = 0;
  long to = 0;
  int read = 0;
  for (; std::sscanf(text, "%ld-%ld%n", &from, &to, &read) == 2; text += read) {
    skipped_ranges.emplace_back(from, to);
    if (text[read] == '\0') return true;
    if (text[read++] != ',') break;
  }
  return false;
}

bool read_argument(kshare::Options& options, const std::string& name, const char* value) {
  const auto number = numbers.find(name);
  if (number != numbers.end()) {
    number->second = std::atol(value);
    return true;
  }
  if (name == "skip") return read_ranges(value);
  return kshare::set(options, name, value).ok();
}

}  // namespace

int main(int argc, char** argv) {
  std::signal(SIGTERM, [](int) { told_to_end = 1; });  // it may come at once
  if (argc < 4) return 1;
  kshare::Options options;
  options.bootstrap_servers = argv[1];
  options.group_id = argv[2];
  options.acknowledgement_mode = kshare::AckMode::explicit_mode;
  for (int i = 4; i < argc; ++i) {
    const std::string_view word = argv[i];
    const size_t equals = word.find('=');
    if (equals == std::string_view::npos ||
        !read_argument(options, std::string(word.substr(0, equals)), argv[i] + equals + 1)) {
      std::fprintf(stderr, "worker: what is %s\n", argv[i]);
      return 1;
    }
  }
  std::vector<std::string_view> topics;
  std::string_view list = argv[3];
  for (size_t comma = 0; comma != std::string_view::npos; list.remove_prefix(comma + 1)) {
    comma = list.find(',');
    topics.push_back(list.substr(0, comma));
    if (comma == std::string_view::npos) break;
  }
  Worker worker;
  return worker.run(options, topics);
}
