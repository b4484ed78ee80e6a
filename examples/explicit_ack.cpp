// SPDX-License-Identifier: Apache-2.0
// What:        explicit acknowledgement: accept what worked, release what may work later, reject
//              what never will, and what has been tried often enough; renew what is still at work.
// Flow:        explicit_ack HOST:PORT GROUP TOPIC; a value beginning with "bad" is rejected, one
//              with "busy" is released twice before it works, one with "slow" takes 2.5 locks.
// Memory:      16 KiB for the consumer: kTinyLimits.
// Errors:      exit 0 after SIGINT or SIGTERM, 1 usage, 2 failed for good.
#include <signal.h>
#include <unistd.h>

#include "kshare/core/describe.hpp"
#include "kshare/kshare.hpp"
#include "kshare/net/posix.hpp"

namespace {

kshare::Storage<kshare::kTinyLimits> storage;
kshare::posix::TcpPool<kshare::kTinyLimits> net;
volatile sig_atomic_t stop_wanted = 0;

extern "C" void on_signal(int) {
  stop_wanted = 1;
  net.wakeup();
}

enum class Outcome { done, busy, broken, slow };

bool begins(std::string_view text, std::string_view with) {
  return text.size() >= with.size() && std::memcmp(text.data(), with.data(), with.size()) == 0;
}

// Your work. Here the value says how it goes.
Outcome work(const kshare::Record& record) {
  const std::string_view value = record.value.text();
  if (begins(value, "bad")) return Outcome::broken;
  if (begins(value, "busy") && record.delivery_count < 3) return Outcome::busy;
  if (begins(value, "slow")) return Outcome::slow;
  return Outcome::done;
}

kshare::Ack decide(const kshare::Record& record, Outcome outcome) {
  // The broker archives what is released at the group's delivery limit (5 unless configured), and
  // says nothing. Rejecting it before that is our own decision, and can be logged.
  constexpr int16_t kAttemptsMax = 4;
  if (outcome == Outcome::done) return kshare::Ack::accept;
  if (outcome == Outcome::broken || record.delivery_count >= kAttemptsMax) {
    return kshare::Ack::reject;
  }
  return kshare::Ack::release;  // comes again soon, here or elsewhere, its count one higher
}

void print(const kshare::TextOut& text, const char* line) {
  static_cast<void>(!::write(STDOUT_FILENO, line, text.size()));
}

void settle(kshare::ShareConsumer& consumer, kshare::RecordId id, kshare::Ack ack,
            kshare::TextOut& text, const char* line) {
  // lock_lost: the work took longer than the lock, the record will be delivered again; what was
  // done should bear being done twice.
  const kshare::Status status = consumer.acknowledge(id, ack);
  if (!status.ok()) text << ": " << status;
  text << "\n";
  print(text, line);
}

void handle(kshare::ShareConsumer& consumer, const kshare::Record& record, Outcome outcome) {
  static constexpr const char* kNames[] = {"", "accept", "release", "reject"};
  const kshare::Ack ack = decide(record, outcome);
  char line[kshare::kLineBytes];
  kshare::TextOut text(line, sizeof line);
  text << record.offset << " try " << int32_t{record.delivery_count} << " "
       << kNames[static_cast<int>(ack)] << " " << record.value.text();
  settle(consumer, record.id, ack, text, line);  // after this the record's views are gone
}

// Work that goes on beside the loop, on a motor or another machine, and takes longer than a lock.
class Jobs {
 public:
  // All hands are full: records are not asked for then, and go to other members.
  bool full() const {
    for (const Job& job : jobs_) {
      if (!job.busy) return false;
    }
    return true;
  }
  void begin(kshare::ShareConsumer& consumer, const kshare::Record& record, kshare::Instant now) {
    for (Job& job : jobs_) {
      if (job.busy) continue;
      const int64_t lock_ms = record.lock_deadline - now;
      job.busy = true;
      job.id = record.id;
      job.offset = record.offset;
      job.lock_ms = lock_ms;
      job.renew_at = now + lock_ms / 2;
      job.done_at = now + lock_ms * 5 / 2;
      // What the work needs is copied (here the offset), so the record's bytes may go: the store
      // has room for the next ones. The record itself stays ours.
      static_cast<void>(consumer.detach(record));
      return;
    }
  }
  void step(kshare::ShareConsumer& consumer, kshare::Instant now) {
    for (Job& job : jobs_) {
      if (!job.busy || now < kshare::earlier(job.renew_at, job.done_at)) continue;
      const bool done = now >= job.done_at;
      char line[kshare::kLineBytes];
      kshare::TextOut text(line, sizeof line);
      text << job.offset << (done ? " accept after slow work" : " renew");
      settle(consumer, job.id, done ? kshare::Ack::accept : kshare::Ack::renew, text, line);
      job.renew_at = now + job.lock_ms / 2;
      job.busy = !done;
    }
  }
  // Until something is to be done; -1: nothing is.
  int64_t wait_ms(kshare::Instant now) const {
    kshare::Instant next = kshare::kNever;
    for (const Job& job : jobs_) {
      if (job.busy) next = kshare::earlier(next, kshare::earlier(job.renew_at, job.done_at));
    }
    if (next == kshare::kNever) return -1;
    return next < now ? 0 : next - now;
  }

 private:
  struct Job {
    kshare::RecordId id;
    int64_t offset = 0;
    int64_t lock_ms = 0;
    kshare::Instant renew_at{};
    kshare::Instant done_at{};
    bool busy = false;
  };
  Job jobs_[8];
};

void report(kshare::ShareConsumer& consumer) {
  kshare::Event event;
  while (consumer.next_event(event)) {
    char line[kshare::kLineBytes];
    kshare::TextOut text(line, sizeof line);
    char words[kshare::kLineBytes];
    kshare::format(event, words, sizeof words);
    text << "# " << words << "\n";
    print(text, line);
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) return 1;
  kshare::Options options;
  options.bootstrap_servers = argv[1];
  options.group_id = argv[2];
  options.acknowledgement_mode = kshare::AckMode::explicit_mode;
  ::signal(SIGINT, on_signal);
  ::signal(SIGTERM, on_signal);

  kshare::ShareConsumer consumer{storage, net};
  if (!consumer.start(options).ok() || !consumer.subscribe({argv[3]}).ok()) return 1;
  Jobs jobs;
  kshare::Record record;
  for (auto now = net.now(); stop_wanted == 0 && consumer.poll(now); now = net.now()) {
    report(consumer);
    jobs.step(consumer, now);
    if (jobs.full() || !consumer.next(record, now)) {
      net.wait(consumer, jobs.wait_ms(now));
      continue;
    }
    const Outcome outcome = work(record);
    if (outcome == Outcome::slow) jobs.begin(consumer, record, now);
    else handle(consumer, record, outcome);
  }
  // Sends what is acknowledged, gives back what is not, leaves the group.
  const kshare::Status status = kshare::posix::close(consumer, net, 5000);
  report(consumer);
  return status.ok() ? 0 : 2;
}
