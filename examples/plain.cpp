// SPDX-License-Identifier: Apache-2.0
// What:        the smallest whole program: each record of a topic is worked on, then accepted.
// Flow:        plain [HOST:PORT]; from Storage on it stands in README.md too, and a test compares.
// Memory:      what `storage`, `net` and `consumer` occupy; sizes known to the compiler.
// Errors:      exit 1 with the reason on standard error; connections are tried again for ever.
#include <unistd.h>

#include "kshare/core/describe.hpp"
#include "kshare/kshare.hpp"
#include "kshare/net/posix.hpp"

// Your code: here the value becomes a line.
static void work(kshare::Bytes value) {
  static_cast<void>(!::write(STDOUT_FILENO, value.data, value.size));
  static_cast<void>(!::write(STDOUT_FILENO, "\n", 1));
}

static int report(kshare::Status status) {
  char line[kshare::kLineBytes];
  const uint32_t size = kshare::describe(status, line, sizeof line - 1);
  line[size] = '\n';
  static_cast<void>(!::write(STDERR_FILENO, line, size + 1));
  return status.ok() ? 0 : 1;
}

static kshare::Storage<kshare::kSmallLimits> storage;     // all the memory there is, in .bss
static kshare::posix::TcpPool<kshare::kSmallLimits> net;  // sockets, clock and entropy of this OS

int main(int argc, char** argv) {
  kshare::Options options;
  options.bootstrap_servers = argc > 1 ? argv[1] : "127.0.0.1:9092";
  options.group_id = "gateways";
  kshare::ShareConsumer consumer{storage, net};
  consumer.start(options);  // copies what it keeps; a failure stays in status()
  consumer.subscribe({"commands"});
  kshare::Record record;
  for (auto now = net.now(); consumer.poll(now); now = net.now()) {  // false: failed for good
    if (consumer.next(record, now)) work(record.value);  // asking for the next accepts this one
    else net.wait(consumer);                             // sleeps until I/O or the next deadline
  }
  return report(consumer.status());
}
