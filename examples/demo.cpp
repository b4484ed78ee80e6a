// SPDX-License-Identifier: Apache-2.0
// What:        the demo behind examples/run: a mini broker in a child process, records of several
//              kinds in it, and a kshare consumer that reads them over loopback TCP.
// Flow:        ends by itself. The mini broker alone, to be told what to do: tests/minibroker.
// Memory:      the consumer's is static, and printed; the broker is test code with a heap.
// Errors:      exit 0 if every record came and one of them twice, else 1.
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <string>

#include "broker/tcp_front.hpp"
#include "kshare/core/describe.hpp"
#include "kshare/kshare.hpp"
#include "kshare/net/posix.hpp"

namespace {

constexpr auto& kLimits = kshare::kTinyLimits;
kshare::Storage<kLimits> storage;
kshare::posix::TcpPool<kLimits> net;

// ---- The broker's process.

int64_t wall_clock_ms() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::milliseconds>(now).count();
}

minibroker::Rec record(const char* key, const char* value) {
  minibroker::Rec made;
  if (key != nullptr) made.key = key;
  if (value != nullptr) made.value = value;
  made.timestamp = wall_clock_ms();
  return made;
}

constexpr int kDemoRecords = 8;

void fill_for_demo(minibroker::Broker& broker) {
  broker.add_topic("commands", 2);
  minibroker::Rec traced = record("pump-7", "stop");
  traced.headers = {{"trace", "4f2a"}, {"from", "console"}, {"urgent", std::nullopt}};
  broker.append("commands", 0, {record("pump-7", "start"), record("valve-2", "open 40%"), traced});
  broker.append("commands", 1, {record(nullptr, "no key"), record("", "empty key")});
  broker.append("commands", 1, {record("valve-2", nullptr)});  // null value: a tombstone
  minibroker::BatchOptions compacted;
  compacted.last_offset_delta = 9;  // a hole behind it: acknowledged as a gap, by itself
  broker.append("commands", 0, {record("pump-7", "busy: try again")}, compacted);
  broker.append("commands", 0, {record("pump-7", "schedule 06:00-08:30, 17:00-22:00")});
}

// A child process with the demo's broker. It ends when `lifeline` is closed.
std::string fork_broker(int& lifeline) {
  int down[2], up[2];
  if (::pipe(down) != 0 || ::pipe(up) != 0) return "";
  const pid_t child = ::fork();
  if (child == 0) {
    ::close(down[1]);
    ::close(up[0]);
    minibroker::Broker broker{minibroker::Config{}};
    minibroker::TcpFront front(broker);
    fill_for_demo(broker);
    const std::string address = front.ok() ? front.bootstrap() : "";
    if (::write(up[1], address.data(), address.size()) < 0) ::_exit(1);
    ::close(up[1]);
    while (!front.run_once(1000, down[0])) {
    }
    ::_exit(0);
  }
  ::close(down[0]);
  ::close(up[1]);
  lifeline = down[1];
  char text[64];
  const ssize_t count = ::read(up[0], text, sizeof text);
  ::close(up[0]);
  return count > 0 ? std::string(text, static_cast<size_t>(count)) : "";
}

// ---- The consumer's process.

std::string quoted(kshare::Bytes bytes) {
  return bytes.is_null() ? "null" : '"' + std::string(bytes.text()) + '"';
}

void print(const kshare::Record& record) {
  std::printf("partition %d  offset %2lld  try %d  %-10s %s", record.partition,
              static_cast<long long>(record.offset), record.delivery_count,
              quoted(record.key).c_str(), quoted(record.value).c_str());
  for (const kshare::Header& header : record.headers) {
    std::printf("  %s=%s", std::string(header.key).c_str(), quoted(header.value).c_str());
  }
  std::printf("\n");
}

bool is_busy(const kshare::Record& record) {
  return record.value.size >= 4 && std::memcmp(record.value.data, "busy", 4) == 0;
}

void print_events(kshare::ShareConsumer& consumer) {
  kshare::Event event;
  while (consumer.next_event(event)) {
    char line[kshare::kLineBytes];
    kshare::format(event, line, sizeof line);
    std::printf("# %s\n", line);
  }
}

// Takes everything there is; answers how many records were done and how many came again.
void consume(kshare::ShareConsumer& consumer, int& done, int& again) {
  kshare::Record record;
  const kshare::Instant end = net.now() + 10000;
  for (auto now = net.now(); done < kDemoRecords && now < end && consumer.poll(now);
       now = net.now()) {
    print_events(consumer);
    if (!consumer.next(record, now)) {
      net.wait(consumer, 100);
      continue;
    }
    print(record);
    again += record.delivery_count > 1 ? 1 : 0;
    const bool later = is_busy(record) && record.delivery_count == 1;
    done += later ? 0 : 1;
    if (later) std::printf("  released: it comes again, its count one higher\n");
    const auto ack = later ? kshare::Ack::release : kshare::Ack::accept;
    static_cast<void>(consumer.acknowledge(record, ack));
  }
}

template <const kshare::Limits& L>
void print_ram(const char* preset) {
  const size_t parts[] = {sizeof(kshare::Storage<L>), sizeof(kshare::ShareConsumer),
                          sizeof(kshare::posix::TcpPool<L>)};
  std::printf("%-9s %9zu %9zu %9zu %9zu\n", preset, parts[0], parts[1], parts[2],
              parts[0] + parts[1] + parts[2]);
}

int demonstrate() {
  int lifeline = -1;
  const std::string address = fork_broker(lifeline);
  if (address.empty()) {
    std::fprintf(stderr, "the mini broker did not start\n");
    return 1;
  }
  std::printf("a mini broker listens on %s; a kshare consumer joins its share group\n\n",
              address.c_str());
  kshare::Options options;
  options.bootstrap_servers = address;
  options.group_id = "gateways";
  options.acknowledgement_mode = kshare::AckMode::explicit_mode;
  kshare::ShareConsumer consumer{storage, net};
  int done = 0, again = 0;
  if (consumer.start(options).ok() && consumer.subscribe({"commands"}).ok()) {
    consume(consumer, done, again);
  }
  const kshare::Status status = kshare::posix::close(consumer, net, 5000);
  print_events(consumer);
  const kshare::Stats& stats = consumer.stats();
  std::printf("\n%llu records handed out, %llu acknowledged, %llu gaps, %llu bytes received\n\n",
              static_cast<unsigned long long>(stats.records),
              static_cast<unsigned long long>(stats.acks_ok),
              static_cast<unsigned long long>(stats.gaps),
              static_cast<unsigned long long>(stats.bytes_received));
  std::printf("RAM in bytes  Storage  consumer   sockets       all\n");
  print_ram<kshare::kTinyLimits>("Tiny");
  print_ram<kshare::kSmallLimits>("Small");
  print_ram<kshare::kDefaultLimits>("Default");
  print_ram<kshare::kLargeLimits>("Large");
  std::printf("This demo used Tiny, and no heap: examples/static_memory.cpp has every part.\n");
  ::close(lifeline);
  ::wait(nullptr);
  return status.ok() && done == kDemoRecords && again == 1 ? 0 : 1;
}

}  // namespace

int main() { return demonstrate(); }
