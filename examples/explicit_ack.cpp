// SPDX-License-Identifier: Apache-2.0
// What:        explicit acknowledgement: accept what worked, release what may work later, reject
//              what never will, and what has been tried often enough.
// Flow:        explicit_ack HOST:PORT GROUP TOPIC; a value beginning with "bad" is rejected, one
//              with "busy" is released twice before it works.
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

enum class Outcome { done, busy, broken };

bool begins(std::string_view text, std::string_view with) {
  return text.size() >= with.size() && std::memcmp(text.data(), with.data(), with.size()) == 0;
}

// Your work. Here the value says how it goes.
Outcome work(const kshare::Record& record) {
  const std::string_view value = record.value.text();
  if (begins(value, "bad")) return Outcome::broken;
  if (begins(value, "busy") && record.delivery_count < 3) return Outcome::busy;
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

void handle(kshare::ShareConsumer& consumer, const kshare::Record& record) {
  static constexpr const char* kNames[] = {"", "accept", "release", "reject"};
  const kshare::Ack ack = decide(record, work(record));
  char line[kshare::kLineBytes];
  kshare::TextOut text(line, sizeof line);
  text << record.offset << " try " << int32_t{record.delivery_count} << " "
       << kNames[static_cast<int>(ack)] << " " << record.value.text();
  // After this line the record's views are gone. lock_lost: the work took longer than the lock, the
  // record will be delivered again; what it did should bear being done twice.
  const kshare::Status status = consumer.acknowledge(record, ack);
  if (!status.ok()) text << ": " << status;
  text << "\n";
  print(text, line);
}

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
  kshare::Record record;
  for (auto now = net.now(); stop_wanted == 0 && consumer.poll(now); now = net.now()) {
    report(consumer);
    if (consumer.next(record, now)) handle(consumer, record);
    else net.wait(consumer);
  }
  // Sends what is acknowledged, gives back what is not, leaves the group.
  const kshare::Status status = kshare::posix::close(consumer, net, 5000);
  report(consumer);
  return status.ok() ? 0 : 2;
}
